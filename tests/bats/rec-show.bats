# rec show, and what a terminal is spared.

load refuses

bats_require_minimum_version 1.5.0

setup() {
    cd "$BATS_TEST_TMPDIR" || exit 1
    export COLUMNS=60
}

# Predictions of three classes with these probabilities, tab-separated, and a label (null: none).
predictions() {
    jq -nc '{duq: 1, schema: "prediction", classes: ["no", "yes", "perhaps"], head: "softmax"}' >lines
    jq -R -c 'split("\t") | map(fromjson) | {id: "\(input_line_number)", label: .[3], probs: .[:3],
        total: 0.5, aleatoric: null, epistemic: null}' >>lines
    rec from-json lines
}

# On a terminal of so many columns; what it got, without carriage returns, is in $output.
on_terminal() { # COLUMNS COMMAND
    run script -qec "stty cols $1; $2" /dev/null
    output=${output//$'\r'/}
}

@test "a table has the best class and its probability, and no column that is empty" {
    printf '0.2\t0.7\t0.1\t1\n0.5\t0.25\t0.25\t2\n' | predictions >p.mp
    rec show --table p.mp >table
    cat >wanted <<'END'
id  label    class  confidence   total
1   yes      yes        0.7000  0.5000
2   perhaps  no         0.5000  0.5000
END
    diff wanted table
    rec show -n 1 --table p.mp | tail -n 1 | grep -qx '(1 of 2 records; -n says how many)'
}

@test "histograms count every record in its bin, with the accuracy of those that are labelled" {
    {
        printf '%s\n' $'0.4\t0.35\t0.25\t0' $'0.3\t0.45\t0.25\t0' $'0.45\t0.3\t0.25\tnull' $'0\t0\t1\t2' $'0.9\t0.05\t0.05\t0'
    } | predictions >p.mp
    rec show -n 1 p.mp >shown
    # Of three classes the likeliest has 1/3 at least; 0.9 begins the last bin, which has 1 too.
    [ "$(awk '/^confidence/ { on = 1; next } !NF { on = 0 } on { print $1, $3, $4, $5 }' shown)" = "$(
        cat <<'END'
0.300 0.400 0 -
0.400 0.500 3 0.5000
0.500 0.600 0 -
0.600 0.700 0 -
0.700 0.800 0 -
0.800 0.900 0 -
0.900 1.000 2 1.0000
END
    )" ]
    # Entropies, by jq: 1.0805, 1.0671, 1.0671, 0 and 0.3944 of ln 3 = 1.0986 at most.
    [ "$(awk '/^entropy/ { on = 1; next } on { printf "%s ", $4 }' shown)" = "1 0 0 1 0 0 0 0 0 3 " ]
    # The longest bar ends where the line does.
    [ "$(awk '/^entropy/ { on = 1; next } on && /#/ && length > longest { longest = length } END { print longest }' shown)" -eq 60 ]
    rec show --table p.mp >table
    run ! grep -q confidence.*n table
}

@test "scores are shown by the softmax of their logits, weights as bars" {
    jq -nc '{duq: 1, schema: "scores", classes: ["no", "yes"], model: "m", prompts: 1},
        {id: "a", prompt: 0, logits: [0, 1], label: 1}' >lines # softmax: 0.2689, 0.7311
    rec from-json lines | rec show | awk '/^confidence/ { on = 1; next } !NF { on = 0 } on && $4 == 1 { print $1, $3 }' |
        grep -qx '0.700 0.800'
    jq -nc '{duq: 1, schema: "weights", prompts: 2}, {prompt: 0, weight: 0.25}, {prompt: 1, weight: 0.75}' >lines
    rec from-json lines | rec show >shown
    [ "$(tail -n 2 shown | awk '{ print length($3) }' | paste -sd' ')" = "14 42" ]
}

@test "scores that are not numbers are shown as an ensemble takes them, with even probabilities" {
    # 22 of the 40 have NaN or +inf among their logits (tests/oracle/calibration.py): ln 3 is their entropy, 1/3 their
    # confidence. Of the others four have more than 0.989 nats, and one is that sure.
    rec show "$BATS_TEST_DIRNAME/../data/uq/calibrate-not-finite.mp" >shown
    [ "$(awk '/^entropy/ { on = 1; next } on { printf "%s ", $4 }' shown)" = "0 0 0 1 0 1 1 4 7 26 " ]
    [ "$(awk '/^confidence/ { on = 1; next } !NF { on = 0 } on { print $4; exit }' shown)" -eq 23 ]
}

@test "columns are counted as a terminal does, and what is too long is cut" {
    # Wide characters take two columns, a combining accent none.
    printf '日本語\tx\nab\tx\ne\xcc\x81e\tx\n' | rec from-tsv --no-header --id 1 --text 2 | rec show >shown
    printf 'id      text\n日本語  x\nab      x\ne\xcc\x81e      x\n' | diff - shown
    printf '日本語日本語日本語\n0123456789abcdefghi\n' | rec from-lines | COLUMNS=20 rec show >shown
    printf 'id  text\n1   日本語日本語日…\n2   0123456789abcde…\n' | diff - shown
}

@test "what a table lacks room for is taken from texts, then names of numbers, then words, never numbers" {
    jq -nc '{duq: 1, schema: "prediction", classes: ["negative", "positive"], head: "softmax"}, {id: "one", label: 1,
        probs: [0.25, 0.75], total: 0.5, aleatoric: 0.25, epistemic: 0.125, text: ("word " * 20)}' | rec from-json >p.mp
    local columns
    for columns in 80 70 60 20; do
        COLUMNS=$columns rec show --table p.mp
    done >shown
    diff shown - <<'END'
id   label     class     confidence   total  aleatoric  epistemic  text
one  positive  positive      0.7500  0.5000     0.2500     0.1250  word word wo…
id   label     class     confiden…   total  aleatoric  epistemic  text
one  positive  positive     0.7500  0.5000     0.2500     0.1250  wor…
id   label    class     confi…   total  aleat…  epist…  text
one  positi…  positive  0.7500  0.5000  0.2500  0.1250  wor…
…  …  …  confi…   total  aleat…  epist…  …
…  …  …  0.7500  0.5000  0.2500  0.1250  …
END
    COLUMNS=20 rec show --table --full p.mp | tail -n 1 |
        grep -Eqx 'one  positive  positive      0\.7500  0\.5000     0\.2500     0\.1250  (word ){19}word'
}

@test "the sets of decisions are classes by their names, where they have names" {
    local header='{duq: 1, schema: "decision", classes: ["no", "yes", "perhaps"], rule: {}}'
    jq -nc "$header"', ([[2], [0, 1], []] | to_entries[] | {id: "\(.key)", label: null, decision: "abstain",
        answer: null, set: .value, score: 0.5, reason: "several"})' >lines
    rec from-json lines | rec show --table >shown
    diff shown - <<'END'
id  decision  set       score  reason
0   abstain   perhaps  0.5000  several
1   abstain   no, yes  0.5000  several
2   abstain            0.5000  several
END
    sed '1s/,"classes":[^]]*]//' lines | rec from-json | rec show --table | grep -q '^1   abstain   0, 1 '
}

@test "what a terminal would obey is spelt out" {
    printf 'a\e[31mb\x07\xc2\x9bc\xe2\x80\xaed\t\xe2\x80\x8d.\n' | rec from-lines | rec show --table | tail -n 1 >shown
    printf '1   a\\x1b[31mb\\x07\\x9bc\\u202ed\\t\xe2\x80\x8d.\n' | diff - shown
    jq -nc '{id: "x\u001b]0;y", text: "two\nlines\r"}' | rec from-jsonl --id id --text text | rec show --table |
        tail -n 1 | grep -qxF 'x\x1b]0;y  two\nlines\r'
}

@test "a table is as wide as the terminal" {
    printf '%0200d\n' 0 | rec from-lines >long.mp
    on_terminal 40 'rec show long.mp'
    [ "$status" -eq 0 ]
    [ "$(tail -n 1 <<<"$output")" = "1   $(printf '%035d' 0)…" ]
}

@test "an array has its first numbers, after how many there are where that is more" {
    rec show --table "$BATS_TEST_DIRNAME/../data/lora/streams/tokens.mp" >shown
    head -n 1 shown | grep -Eqx 'id +prompt +label +tokens'
    grep -Eqx 't0 +0 +bad +1 87 3' shown
    grep -Eq '^t3 +0 +bad +\(18\) 1 90 61 66 ' shown
}

@test "no broken stream ends what shows, prints and checks it by a signal" {
    local file command
    for file in "$BATS_TEST_DIRNAME"/../data/rec/bad/*.mp; do
        for command in show to-json to-csv check; do
            run rec $command "$file"
            [[ $status =~ ^(0|64|65)$ ]] || { echo "rec $command $file: $status" && false; }
        done
    done
}

@test "records of an unknown type are shown, an array of theirs by its size" {
    local data=$BATS_TEST_DIRNAME/../data/rec
    rec show --table "$data/unknown.mp" >shown
    head -n 1 shown | grep -Eqx 'id +\\x1b\[31mred +wave'
    tail -n 1 shown | grep -Eqx 'a +1 +2 +\(8 bytes\)'
    refuses 65 "record 1: field 'waves' is binary and no schema says of what" rec show "$data/unknown-nested.mp"
}

@test "an input without records, or with broken ones, is an error" {
    printf '' | refuses 65 'empty, not even a header' rec show
    jq -nc '{duq: 1, schema: "prediction", classes: ["no", "yes"], head: "softmax"}' | rec from-json >none.mp || true
    refuses 65 "record 1: field 'weight' is not between 0 and 1" rec show "$BATS_TEST_DIRNAME/../data/rec/bad/weight-beyond.mp"
    refuses 64 'not compressed here' rec show -z none.mp
}

@test "a program refuses to write a binary stream onto a terminal, and says what to do" {
    printf 'a\n' >text
    rec from-lines -o one.mp text
    on_terminal 80 'rec head -n 1 one.mp'
    [ "$status" -eq 64 ]
    [[ $output == *"standard output is a terminal, which cannot show a binary stream: add '| rec show' to look at it, or keep it with -o FILE" ]]
    on_terminal 80 'rec cat -z one.mp'
    [ "$status" -eq 64 ]
    on_terminal 80 'rec from-lines text -o two.mp && rec to-json two.mp && rec count two.mp'
    [ "$status" -eq 0 ]
    cmp <(rec to-json one.mp) <(rec to-json two.mp)
    on_terminal 80 "prompt-expand --task '$BATS_TEST_DIRNAME/../../examples/sst2/task.json' --zero-shot one.mp"
    [ "$status" -eq 64 ]
}
