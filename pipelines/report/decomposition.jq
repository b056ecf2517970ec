# The figure of decomposition.sh, of objects {set, foreign, name, classes, total, epistemic, aleatoric}.
include "numbers";

def esc: tostring | @html;
def bins: 20;
def width: 200;
def height: 90;
def columns: [{key: "total", name: "total"}, {key: "epistemic", name: "epistemic"}, {key: "aleatoric", name: "aleatoric"}];
def colour: {teacher: "#0072b2", dirichlet: "#d55e00", softmax: "#009e73"}[.];

# The share of the numbers that falls into each bin from 0 to $high.
def frequencies($high):
    length as $n
    | [.[] | . / $high * bins | floor | if . < 0 then 0 elif . >= bins then bins - 1 else . end]
    | reduce .[] as $bin ([range(bins) | 0]; .[$bin] += 1 / $n);
def steps($top): # the outline of bars
    "M0 \(height)" + ([to_entries[] | "V\(height - .value / $top * (height - 6) | digits(1))H\((.key + 1) * width / bins | digits(1))"] | join(""))
    + "V\(height)";

# Where the axes of a column end: its histograms are compared, so they have the same ones.
def axes($all; $key):
    ([$all[][$key][]] | max // 0) as $most
    | (if $key != "epistemic" then [$all[].classes | log] | max elif $most > 0 then $most else 1 end) as $high
    | {high: $high, top: ([$all[] | select(.[$key] != []) | .[$key] | frequencies($high)[]] | max // 1)};

def panel($lines; $key; $axes):
    [$lines[] | select(.[$key] != []) | {name, shares: (.[$key] | frequencies($axes.high))}] as $drawn
    | "<rect width=\"\(width)\" height=\"\(height)\" fill=\"none\" stroke=\"#c9ced6\"/>"
    + ($drawn | map(. as $line | "<path fill=\"none\" stroke-width=\"1.5\" stroke=\"\($line.name | colour)\" d=\"\($line.shares | steps($axes.top))\"/>") | join(""))
    + "<text y=\"\(height + 14)\">0</text><text x=\"\(width)\" y=\"\(height + 14)\" text-anchor=\"end\">\($axes.high | digits(3))</text>";

. as $all
| (columns | map({key, value: axes($all; .key)}) | from_entries) as $axes
| group_by(.set) | sort_by(.[0].foreign) as $rows
| ($rows[0] | map(.name)) as $names
| (90 + 3 * (width + 30)) as $w | (40 + ($rows | length) * (height + 34)) as $h
| "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 \($w) \($h)\" width=\"\($w)\" height=\"\($h)\" font-family=\"sans-serif\" font-size=\"11\" fill=\"#1d2026\">"
+ "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>"
+ ($names | to_entries | map("<text x=\"\(90 + .key * 90)\" y=\"14\" fill=\"\(.value | colour)\">\(.value | esc)</text>") | join(""))
+ (columns | to_entries | map("<text x=\"\(90 + .key * (width + 30))\" y=\"32\">\(.value.name), in nats</text>") | join(""))
+ ($rows | to_entries | map(.key as $i | .value as $lines
    | "<text x=\"82\" y=\"\(40 + $i * (height + 34) + height / 2)\" text-anchor=\"end\">\($lines[0].set | esc)</text>"
    + (columns | to_entries | map("<g transform=\"translate(\(90 + .key * (width + 30)) \(40 + $i * (height + 34)))\">\(panel($lines; .value.key; $axes[.value.key]))</g>") | join(""))) | join("\n"))
+ "</svg>"
