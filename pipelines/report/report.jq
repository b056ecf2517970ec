# The report's page, of report.json.
include "numbers";

# Characters that a page may not have are shown as one that stands for them.
def esc: tostring | gsub("[\\x{00}-\\x{08}\\x{0b}\\x{0c}\\x{0e}-\\x{1f}\\x{7f}-\\x{9f}\\x{fdd0}-\\x{fdef}\\x{fffe}\\x{ffff}]"; "\ufffd") | @html;
def thousands: tostring | [while(length > 0; .[:-3]) | .[-3:]] | reverse | join(",");
def fixed(n): if . == null then "&ndash;" else digits(n) end;
def cell($best): # a metric
    if . == null or .value == null then "<td class=none>&ndash;</td>"
    else "<td\(if $best then " class=best" else "" end)>\(.value | fixed(3))"
        + (if .low != null and .high != null then "<small>\(.low | fixed(3))&hairsp;&ndash;&hairsp;\(.high | fixed(3))</small>" else "" end) + "</td>"
    end;

def title: {amazon: "Amazon reviews", sst2: "SST-2", yahoo: "Yahoo! Answers", youtube: "YouTube comments"}[.] // .;
def said: {
    untrained: "the model as it is, one prompt, no shots",
    teacher: "the ensemble of prompts, weighted",
    "teacher/prompts": "the average prompt of the ensemble",
    calibrated: "the ensemble, its prompts calibrated before they are weighted",
    "calibrated/prompts": "the average calibrated prompt",
    softmax: "student, softmax head",
    dirichlet: "student, Dirichlet head",
    baseline: "the same training on the labels alone",
    edl: "evidential deep learning: labels alone, Dirichlet head"
}[.] // "";

def columns: [
    {key: "accuracy", name: "accuracy", up: true}, {key: "macro_f1", name: "macro F1", up: true},
    {key: "nll", name: "NLL"}, {key: "ece", name: "ECE"}, {key: "mce", name: "MCE"}, {key: "brier", name: "Brier"},
    {key: "roc_auc", name: "ROC AUC", up: true}];
def arrow: if .up then "&uarr;" else "&darr;" end;

# Whether a set's value of a column is the best, beyond doubt: no other set's interval overlaps with its own. Without
# intervals none is.
def best($sets; $column):
    .metrics[$column.key] as $own | .name as $name
    | $own.low != null and all($sets[] | select(.name != $name) | .metrics[$column.key] | select(.value != null);
        .low != null and (if $column.up then .high < $own.low else .low > $own.high end));

def set_name: "<th scope=row>\(. | esc)<small>\(said)</small></th>";

def quality:
    . as $r | .metrics.sets as $sets
    | "<table><thead><tr><th></th>" + (columns | map("<th>\(.name)&nbsp;\(arrow)</th>") | join("")) + "</tr></thead><tbody>"
    + ($sets | map(. as $set | "<tr>" + (.name | set_name)
        + (columns | map(. as $c | $set.metrics[.key] | ($set | best($sets; $c)) as $best | cell($best)) | join("")) + "</tr>") | join("\n"))
    + (($r.published.sets // {}) | to_entries | map(. as $p
        | "\n<tr class=published><th scope=row>\($p.key | esc)<small>published\($p.value.from | if . then ": \(esc)" else "" end)</small></th>"
        + (columns | map($p.value[.key] | if . == null then "<td></td>" else "<td>\(fixed(3))</td>" end) | join("")) + "</tr>") | join("\n"))
    + "</tbody></table>"
    + (if $r.published.sets then "<p class=note>Rows in italics are published figures"
            + ($r.published | if .model then ", of \(.model | esc)" else "" end + if .paper then " (\(.paper | esc); notebooks of \(.code | esc))" else "" end)
            + ": they were not measured here."
            + (if $r.changed != [] then " This run is not as published: " + ($r.changed | departures | esc) + "." else "" end)
            + (if any($r.published.sets[]; .chosen_on_test) then " Of an epoch that was chosen on the test set the figures are too good." else "" end)
            + "</p>" else "" end)
    + (($r.published.notes // []) | map("<p class=note>\(esc)</p>") | join("\n"))
    + (if $r.published.elsewhere then "<p class=note>The published figures are those of other steps: PROFILE=\($r.published.elsewhere | esc) follows them, and has the figures in its report.</p>" else "" end);

def uncertainty:
    "<table><thead><tr><th></th><th colspan=3>mean, in nats</th><th colspan=3>area under the risk-coverage curve&nbsp;&darr;</th></tr>"
    + "<tr><th></th>" + (["total", "aleatoric", "epistemic"] | map("<th>\(.)</th>") | join("") | . + .) + "</tr></thead><tbody>"
    + (.metrics.sets | map(. as $set | "<tr><th scope=row>\(.name | esc)</th>"
        + ([("mean", "aurc") as $m | ("total", "aleatoric", "epistemic") as $k | "\($m)_\($k)"]
            | map($set.metrics[.] | cell(false)) | join("")) + "</tr>") | join("\n"))
    + "</tbody></table>";

# ---- students ----

def students:
    if .students == [] then "" else
        "<h2>Students</h2><p class=note>Which epoch&rsquo;s each student is"
        + (if any(.students[]; .keep == "best") then ", the one with the lowest loss" else "" end)
        + ", and its figures on \(.held_out | thousands) validation texts; loss: of what it learns, without dropout. The weights of the teacher&rsquo;s prompts are from the same texts. Its course during the training is in the figure of training.</p>"
        + "<table><thead><tr><th></th><th>epoch</th><th>step</th><th>loss</th><th>NLL</th><th>accuracy</th><th>ECE</th></tr></thead><tbody>"
        + (.students | map("<tr><th scope=row>\(.name | esc)</th><td>\(.epoch | digits(1))</td><td>\(.step | thousands)</td>"
            + ([.validation | .loss, .nll, .accuracy, .ece | "<td>\(fixed(3))</td>"] | join("")) + "</tr>") | join("\n"))
        + "</tbody></table>"
    end;

# ---- in words ----

def percent: . * 100 | "\(digits(1))&#8239;%";
def of($name): first(.metrics.sets[] | select(.name == $name)) // null;
# Whether two metrics' intervals overlap; null where there are none.
def overlap($a; $b): if $a.low == null or $b.low == null then null else $a.low <= $b.high and $b.low <= $a.high end;
def right_and_calibrated: "right about \(.accuracy.value | percent), with a calibration error (ECE) of \(.ece.value | fixed(3))";
# Which of the two are not shown to be better than always giving the largest class's answer; nothing where both are.
def always_the_same($teacher; $student):
    .task.classes as $classes | (.labels | map(.number) | add) as $texts
    | (.labels | max_by(.number)) as $largest | select($largest != null) | ($largest.number / $texts) as $share
    | [{it: "the ensemble", set: $teacher}, {it: "the student", set: $student}
        | select(.set.metrics.accuracy.value != null and (.set.metrics.accuracy | .low // .value) <= $share) | .it]
    | select(. != [])
    | "Always answering <q>\($classes[$largest.class] // $largest.class | esc)</q> would be right about \($share | percent): "
        + (if length == 2 then "neither of the two is" else "\(.[0]) is not" end) + " shown to be better.";
# The other set of a detection, and how it was asked where that was by prompts of its own.
def other_set($r):
    (.against | rtrimstr(":own")) as $name
    | ($name | title | esc) + if .against == $name then "" else
        ($r.task.classes | length) as $here | (first($r.others[] | select(.name == $name)).classes | length) as $there
        | ", asked by prompts of their own" + (if $here == $there then "," else " for \($there) classes where these have \($here), so that the uncertainties' ranges differ," end)
      end;
def in_words:
    . as $r | (.task.instructions | length) as $prompts
    | of("teacher") as $teacher | of("untrained") as $untrained | (of("dirichlet") // of("softmax")) as $student
    | [ "On \($r.metrics.sets[0].texts | thousands) test texts the ensemble of \($prompts) prompts \($teacher.metrics | if .accuracy.value then "was \(right_and_calibrated)" else "had no labels to be right about" end); that takes \($prompts) passes through the model for each text.",
        (if $student.metrics.accuracy.value then
            "The \($student.name | if . == "dirichlet" then "Dirichlet" else . end) student, which is asked once and without shots, was \($student.metrics | right_and_calibrated)"
            + (overlap($student.metrics.accuracy; $teacher.metrics.accuracy) as $same
                | if $same == null then "." elif $same then ": in accuracy the 95&#8239;% intervals of the two overlap, so these texts do not tell them apart."
                  else ": in accuracy the 95&#8239;% intervals of the two do not overlap." end)
         else empty end),
        ($r | always_the_same($teacher; $student)),
        (if $untrained.metrics.accuracy.value and $student then
            "The same model, asked in the same way before its training, was \($untrained.metrics | right_and_calibrated)." else empty end),
        (if $student.metrics.error_auroc_total.value then
            "Of a right and a wrong answer of the student the wrong one is the more uncertain in \($student.metrics.error_auroc_total.value | percent) of the cases."
         else empty end),
        ([$r.metrics.detection[]? | select(.set == $student.name and .metrics.auroc_total.value != null)]
            | if . == [] then empty else "How well its uncertainty tells texts of other kinds from these (AUROC; 0.5 is chance): "
                + (map("\(other_set($r)) \(.metrics.auroc_total.value | fixed(2)) by the total"
                    + (.metrics.auroc_epistemic.value // null | if . then ", \(fixed(2)) by the epistemic uncertainty" else " uncertainty" end)) | join("; ")) + "." end)
      ] | "<p>\(join(" "))</p>";

# ---- which texts ----

def confusion($classes):
    (reduce .counts[] as $c ({}; .["\($c.class) \($c.answer)"] = $c.number)) as $n
    | "<figure><figcaption>\(.name | esc)</figcaption><div class=wide><table class=confusion><thead><tr><th></th>"
    + ($classes | map("<th>\(esc)</th>") | join("")) + "</tr></thead><tbody>"
    + ([range($classes | length) as $class | ([range($classes | length) | $n["\($class) \(.)"] // 0] | add) as $row
        | "<tr><th scope=row>\($classes[$class] | esc)</th>"
        + ([range($classes | length) as $answer | ($n["\($class) \($answer)"] // 0)
            | "<td style=\"background:rgba(\(if $answer == $class then "0,114,178" else "213,94,0" end),\(if $row > 0 then . / $row * 0.5 else 0 end | digits(2)))\">\(thousands)</td>"] | join("")) + "</tr>"] | join("\n"))
    + "</tbody></table></div></figure>";
def confusions:
    . as $r | [.confusions[] | select(.counts != [])]
    | if . == [] then "" else "<h2>Which classes are taken for which</h2><p class=note>A row for each class of the texts, a column for each answer; the darker, the larger a part of its row.</p><div class=figures>"
        + (map(confusion($r.task.classes)) | join("\n")) + "</div>" end;

def uncertain:
    . as $r | if .uncertain.texts == [] then "" else
        "<h2>The most uncertain texts</h2><p class=note>Those that \(.uncertain.of | if . == "teacher" then "the teacher" else "the \(esc) student" end) was least sure of, by its total uncertainty, in nats.</p>"
        + "<div class=wide><table class=texts><thead><tr><th class=word>text</th><th class=word>class</th><th class=word>answer</th><th>confidence</th><th>total</th><th>aleatoric</th><th>epistemic</th></tr></thead><tbody>"
        + (.uncertain.texts | map("<tr><td class=word>\(.text | esc)</td><td class=word>\(if .class == null then "&ndash;" else $r.task.classes[.class] | esc end)</td><td class=word>\($r.task.classes[.answer] | esc)</td>"
            + "<td>\(.confidence | fixed(3))</td>" + ([.total, .aleatoric, .epistemic] | map("<td>\(fixed(3))</td>") | join("")) + "</tr>") | join("\n"))
        + "</tbody></table></div>" end;

# ---- epochs ----

def epoch_metrics: [{key: "accuracy", name: "accuracy"}, {key: "macro_f1", name: "macro F1"}, {key: "ece", name: "ECE"},
    {key: "nll", name: "NLL"}, {key: "brier", name: "Brier"}];
# A small chart of one metric over the epochs: solid on the texts to test on, dashed on those to train on.
def chart($rows; $metric):
    ([$rows[] | .train[$metric.key], .test[$metric.key] | values]) as $all
    | ($all | min) as $low | ($all | max) as $high | ($rows | length) as $n
    | def x: 48 + 232 * (if $n > 1 then . / ($n - 1) else 0.5 end);
      def y: 124 - 104 * (if $high > $low then (. - $low) / ($high - $low) else 0.5 end);
      def line($part; $style): "<polyline fill=none stroke=\"#0072b2\" stroke-width=2 \($style) points=\""
          + ([$rows | to_entries[] | select(.value[$part][$metric.key] != null)
              | "\(.key | x | digits(1)),\(.value[$part][$metric.key] | y | digits(1))"] | join(" ")) + "\"/>";
    "<figure><figcaption>\($metric.name)</figcaption><svg viewBox=\"0 0 290 150\" width=290 height=150 role=img aria-label=\"\($metric.name) over the epochs\" font-size=11 fill=\"#5a6270\">"
    + "<path d=\"M48 16V128H284\" fill=none stroke=\"#c9ced6\"/>"
    + "<text x=44 y=24 text-anchor=end>\($high | digits(3))</text><text x=44 y=128 text-anchor=end>\($low | digits(3))</text>"
    + "<text x=48 y=144 text-anchor=middle>\($rows[0].epoch)</text><text x=280 y=144 text-anchor=middle>\($rows[-1].epoch)</text>"
    + line("train"; "stroke-dasharray=\"5 4\"") + line("test"; "") + "</svg></figure>";

def epochs_of($rows):
    ($rows | map(.test.macro_f1 | values) | max) as $best
    | any($rows[]; .alpha0 != null) as $sums | any($rows[]; .regulariser != null) as $pull
    | "<table><thead><tr><th></th><th></th><th colspan=5>on the texts to train on</th><th colspan=5>on the texts to test on</th>"
    + (if $sums then "<th></th>" else "" end) + (if $pull then "<th></th>" else "" end) + "</tr><tr><th>epoch</th><th>loss</th>"
    + ([range(2) as $i | epoch_metrics[] | "<th>\(.name)</th>"] | join(""))
    + (if $sums then "<th>&alpha;<sub>0</sub></th>" else "" end) + (if $pull then "<th>regulariser</th>" else "" end) + "</tr></thead><tbody>"
    + ($rows | to_entries | map(.value as $row | (.key + 1 == ($rows | length)) as $last | (($rows | map(.test.macro_f1) | index($best)) == .key) as $top
        | "<tr><th scope=row>\($row.epoch)"
        + (if $last then "<small>the student above</small>" else "" end)
        + (if $top and ($last | not) then "<small>best on the test texts: chosen on them, if taken</small>" else "" end) + "</th><td>\($row.loss | fixed(4))</td>"
        + ([("train", "test") as $part | epoch_metrics[] | $row[$part][.key] | "<td>\(fixed(3))</td>"] | join(""))
        + (if $sums then "<td>\($row.alpha0 | fixed(2))</td>" else "" end)
        + (if $pull then "<td>\($row.regulariser | fixed(3))</td>" else "" end) + "</tr>") | join("\n"))
    + "</tbody></table><div class=figures>\(epoch_metrics | map(chart($rows; .)) | join("\n"))</div>";

def epochs:
    if .epochs == [] then "" else
        "<h2>Epoch by epoch</h2><p class=note>Each student after each epoch, without dropout; loss: the mean of the epoch's steps. In the charts the dashed line is on the texts to train on. The last epoch is the student of this report. An epoch that is chosen by its figures on the test texts has better ones there than it would have on others.</p>"
        + (.epochs | group_by(.student) | sort_by(.[0].student as $s | ["softmax", "dirichlet", "baseline", "edl"] | index($s) // 9)
            | map("<h3>\(.[0].student | esc)</h3>" + epochs_of(.)) | join("\n"))
    end;

# ---- seeds ----

def spread($n): if . == null or .mean == null then "<td class=none>&ndash;</td>"
    else "<td>\(.mean | fixed($n))<small>&plusmn;&hairsp;\(.deviation | fixed($n))</small></td>" end;
def figures_over_seeds($first): # a row of cells
    "<tr><th scope=row>\($first | esc)</th>" + (. as $row | epoch_metrics | map($row[.key] | spread(3)) | join("")) + "</tr>";
def seeds:
    if .seeds == [] then "" else
        "<h2>Over seeds</h2><p class=note>Each student trained with \(.seeds[0].accuracy.seeds // 1) seeds, by itself: mean of their figures on the test texts, and standard deviation. The tables above are of the first seed&rsquo;s.</p>"
        + "<table><thead><tr><th></th>" + (epoch_metrics | map("<th>\(.name)</th>") | join("")) + "</tr></thead><tbody>"
        + (.seeds | map(.name as $name | figures_over_seeds($name)) | join("\n")) + "</tbody></table>"
    end;

# ---- sweep ----

def sweep:
    . as $r | if .sweep == [] then "" else
        "<h2>Fixed sums of alphas</h2><p class=note>Dirichlet students whose alphas are scaled to the sum &alpha;<sub>0</sub> in training: mean over \(.sweep[0].accuracy.seeds // 1) seeds, and standard deviation.</p>"
        + "<table><thead><tr><th>&alpha;<sub>0</sub></th>" + (epoch_metrics | map("<th>\(.name)</th>") | join("")) + "</tr></thead><tbody>"
        + (.sweep | map(.alpha0 as $sum | figures_over_seeds($sum)) | join("\n"))
        + (($r.published.alpha0.rows // []) | map("\n<tr class=published><th scope=row>\(.alpha0 | esc)<small>published</small></th><td></td>"
            + "<td>\(.macro_f1 | fixed(3))<small>&plusmn;&hairsp;\(.macro_f1_deviation | fixed(3))</small></td><td>\(.ece | fixed(3))<small>&plusmn;&hairsp;\(.ece_deviation | fixed(3))</small></td><td></td><td></td></tr>") | join(""))
        + "</tbody></table>"
        + (if $r.published.alpha0 then "<p class=note>Rows in italics: \($r.published.alpha0.from | esc). They were not measured here.</p>" else "" end)
    end;

# ---- detection ----

def natural_log: if . == 1 then 0 else log end;
# What was asked of the texts of one detection, and how high the total uncertainty can be.
def classes($k): "\($k) classes: total uncertainty is at most ln&hairsp;\($k)&nbsp;= \($k | natural_log | fixed(3))";
def asked($r; $own): # of another set
    ($r.task.classes | length) as $here | (.classes | length) as $there
    | if $own then "<h4>asked by their own prompts</h4><p class=note>The texts of \(.name | title | esc) are asked for their own classes, the students by <q>\(.own | esc)</q>, the teacher with this set's weights. They have \(classes($there)); this set's have \(classes($here))"
        + (if $here == $there then "." else ". The ranges differ, so part of what tells the sets apart is how many classes were asked for." end) + "</p>"
    else "<h4>asked by this set's prompts</h4><p class=note>The texts of \(.name | title | esc) are asked as if they were of this set, for its \(classes($here)) for both.</p>" end;

def detection_rows($rows; $published):
    "<table><thead><tr><th></th><th>uncertainty</th><th>AUROC&nbsp;&uarr;</th><th>AUPR&nbsp;&uarr;</th><th>FPR at 95&#8239;%&nbsp;&darr;</th><th>Wasserstein&nbsp;&uarr;</th></tr></thead><tbody>"
    + ([$rows[] | . as $row | ("total", "aleatoric", "epistemic", "vacuity", "differential_entropy", "pairwise_kl") as $k | select($row.metrics["auroc_\($k)"].value != null)
        | "<tr><th scope=row>\($row.set | esc)</th><td class=word>\($k)</td>"
        + (["auroc", "aupr", "fpr95", "wasserstein"] | map($row.metrics["\(.)_\($k)"] | cell(false)) | join("")) + "</tr>"] | join("\n"))
    + ($published | to_entries
        | map("\n<tr class=published><th scope=row>\(.key | esc)<small>published</small></th><td class=word>total</td><td>\(.value.auroc | fixed(2))</td><td></td><td></td><td>\(.value.wasserstein | fixed(2))</td></tr>") | join("\n"))
    + "</tbody></table>";

def detection:
    . as $r
    | if (.metrics.detection // []) == [] then "" else
        "<h2>Telling other texts apart</h2><p>Texts of another kind are given to all of them; the higher the uncertainty of a text, the likelier it is called foreign.</p>"
        + ($r.others | map(. as $other
            | "<h3>against \($other.name | title | esc)</h3>"
            + ([{own: false, name: $other.name}, {own: true, name: "\($other.name):own"}] | map(. as $one
                | [$r.metrics.detection[] | select(.against == $one.name)] as $rows
                | if $rows == [] then "" else
                    ($other | asked($r; $one.own))
                    + detection_rows($rows; if ($r.published.detection.protocol // "") == (if $one.own then "own" else "common" end)
                        then $r.published.detection.against[$other.name] // {} else {} end)
                  end) | join("\n"))) | join("\n"))
        + (if $r.published.detection then "<p class=note>Rows in italics: \($r.published.detection.from | esc). They were not measured here.</p>" else "" end)
      end
    + (.missing | map("<p class=note>Detection against \(title | esc) was asked for and left out: its texts could not be had.</p>") | join("\n"));

def figure_title: if . == "reliability" then "Reliability"
    elif . == "risk-coverage" then "Risk over coverage"
    elif . == "training" then "Training"
    elif . == "decomposition-own" then "Uncertainties of this set and of the others, each asked by its own prompts, for its own classes"
    elif . == "decomposition-common" then "Uncertainties of this set and of the others, asked by this set's prompts"
    elif startswith("uncertainty-") then "Uncertainty: \(.[12:])"
    else . end;
# First the sets that tell all three uncertainties, for their figures are wide; the others fit side by side.
def figures:
    ([.metrics.sets | sort_by(.metrics.mean_epistemic.value == null)[].name | "uncertainty-\(.)"]) as $sets
    | (["reliability", "risk-coverage"] + $sets + ["decomposition-own", "decomposition-common", "training"]) as $order
    | .figures | sort_by(. as $figure | $order | index($figure) // length)
    | map("<figure><figcaption>\(figure_title | esc)</figcaption><a href=\"figures/\(. | @uri).svg\"><img src=\"figures/\(. | @uri).svg\" alt=\"\(figure_title | esc)\"></a></figure>") | join("\n");

def prompts:
    . as $r | ($r.weights | max) as $most
    | "<table class=prompts><thead><tr><th>prompt</th><th>weight</th><th></th><th class=word>instruction</th></tr></thead><tbody>"
    + ($r.weights | to_entries | map("<tr\(if .value == $most then " class=chosen" else "" end)><td>\(.key)</td><td>\(.value | fixed(3))</td>"
        + "<td class=bar><span style=\"width:\(100 * .value / $most | round)%\"></span></td>"
        + "<td class=word>\($r.task.instructions[.key] | esc)</td></tr>") | join("\n"))
    + "</tbody></table><p class=note>The students are asked by the prompt with the highest weight, without shots.</p>";

def what:
    . as $r
    | ($r.split | map({key: .part, value: .number}) | from_entries) as $n
    | "<dl><dt>profile</dt><dd>\($r.profile | esc)\(if $r.changed != [] then ", but for " + ($r.changed | departures | esc) else "" end)</dd><dt>model</dt><dd>\($r.model.name | esc) (\($r.model.type | esc)), <code>\($r.model.digest | esc)</code>, products in \($r.model.compute // "?" | esc)</dd>"
    + "<dt>classes</dt><dd>\([$r.task.classes[] | esc] | join(", "))</dd>"
    + "<dt>texts</dt><dd>\($n.train | thousands) to train on, \($n.shots | thousands) for shots, \($n.validation | thousands) to weigh the prompts, \($n.test | thousands) to test on"
    + (if ($r.labels | length) > 0 then ($n.test - ($r.labels | map(.number) | add)) as $without
            | " (" + ($r.labels | map("\(.number | thousands) \($r.task.classes[.class] // .class | esc)") | join(", "))
            + (if $without > 0 then ", \($without | thousands) without a label" else "" end) + ")" else "" end) + "</dd>"
    + "<dt>data</dt><dd>" + ($r.data | map(split("  ") | "\(.[1] | esc), <code title=\"\(.[0])\">sha256:\(.[0][:16])&hellip;</code>") | join("<br>")) + "</dd>"
    + "<dt>duq</dt><dd>\($r.version | esc)</dd></dl>";

def settings:
    "<details><summary>Settings</summary><div class=wide><table class=settings><tbody>"
    + (.settings | map(select(.value != null and .value != "") | "<tr><th scope=row>\(.key)</th><td class=word>\(.value | esc)</td></tr>") | join("\n"))
    + "</tbody></table></div></details>";

"<!DOCTYPE html>
<html lang=en>
<meta charset=utf-8>
<meta name=viewport content=\"width=device-width\">
<title>duq: \(.name | title | esc)</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #1d2026; max-width: 64rem; margin: 2.5rem auto 4rem; padding: 0 1.25rem }
h1 { font-size: 1.9rem; margin: 0 } h2 { font-size: 1.3rem; margin: 2.6rem 0 .6rem } h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem } h4 { font-size: .95rem; margin: 1.1rem 0 .2rem }
.lead { color: #5a6270; margin: .2rem 0 1.4rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0 } .wide { overflow-x: auto }
th, td { text-align: right; padding: .36rem .6rem; border-bottom: 1px solid #e3e6eb; vertical-align: top; white-space: nowrap }
thead th { color: #5a6270; font-weight: 600; font-size: .85rem; border-bottom: 2px solid #c9ced6; vertical-align: bottom }
th[scope=row] { text-align: left; font-weight: 600 } th:first-child, td:first-child { padding-left: 0 }
.wide th[scope=row] { position: sticky; left: 0; background: #fff } th[scope=row] small { white-space: normal; max-width: 11rem } .texts td:first-child { min-width: 14rem }
small { display: block; font-weight: 400; font-size: .72rem; line-height: 1.3; color: #7a8290 }
.best { font-weight: 700; color: #00634b } .none { color: #a8aeb8 }
.published th, .published td { font-style: italic; font-weight: 400; color: #5a6270; background: #f7f8fa }
.word { text-align: left; white-space: normal } .note { color: #5a6270; font-size: .88rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; margin: 1rem 0 } dt { color: #5a6270 } dd { margin: 0 }
code { font-size: .85em } .figures { display: flex; flex-wrap: wrap; gap: 1.6rem } figure { margin: 0; max-width: 100% } figcaption { font-weight: 600; margin-bottom: .3rem } img { max-width: 100%; height: auto; border: 1px solid #e3e6eb }
.bar { width: 8rem; min-width: 8rem } .bar span { display: block; height: .8rem; margin-top: .35rem; background: #56b4e9 } .chosen td { font-weight: 600 } .chosen .bar span { background: #0072b2 }
summary { cursor: pointer; font-size: 1.3rem; font-weight: 700; margin: 2.6rem 0 .6rem }
@media (max-width: 40rem) { tr:not(.published) th[scope=row] small { display: none } body { margin-top: 1.2rem } }
@media print { body { margin: 0; max-width: none } a { color: inherit } }
</style>
<h1>\(.name | title | esc)</h1>
<p class=lead>A prompt ensemble and what was learned from it: how right, how well calibrated, how sure.</p>
\(in_words)
\(what)
<h2>How right, how well calibrated</h2>
<div class=wide>\(quality)</div>
<p class=note>On \(.metrics.sets[0].texts | thousands) test texts; small print: 95&#8239;% intervals of \(.metrics.bootstrap.replicates // 0 | thousands) resamplings; in green the best of a column, where its interval overlaps with no other. Definitions: dir-eval(1).</p>
<h2>Uncertainty</h2>
<div class=wide>\(uncertainty)</div>
<div class=wide>\(students)</div>
\(confusions)
\(uncertain)
<div class=wide>\(epochs)</div>
<div class=wide>\(seeds)</div>
<div class=wide>\(sweep)</div>
<div class=wide>\(detection)</div>
<h2>Figures</h2>
<div class=figures>
\(figures)
</div>
<h2>The prompts and their weights</h2>
<div class=wide>\(prompts)</div>
\(settings)
<h2>Files</h2>
<p><a href=tables.txt>tables.txt</a> (as text), <a href=metrics.csv>metrics.csv</a>, <a href=metrics.json>metrics.json</a>, <a href=report.json>report.json</a> (what this page shows); the <a href=../manifest.json>manifest</a> says how to run it again, and how long it took.</p>
</html>"
