#!/usr/bin/env bash
# The demo, on fewer texts, against tests/data/demo/teacher.json: what transformers, scipy, scikit-learn and
# torchmetrics say about the same model and texts (tests/oracle/demo.py).

setup_file() {
    export DEMO="$BATS_FILE_TMPDIR/a folder/demo"
    BUILD="$BATS_FILE_TMPDIR/a folder" PROGRAMS=$BUILD/bin "$BATS_TEST_DIRNAME/../../examples/demo.sh" 100 200 \
        >"$BATS_FILE_TMPDIR/output"
    export OUTPUT=$BATS_FILE_TMPDIR/output
}

setup() {
    recorded=$BATS_TEST_DIRNAME/../data/demo/teacher.json
    cd "$BATS_TEST_DIRNAME/../.." || exit 1
}

# agree SET NAME TOLERANCE: the metric in eval.json is the recorded one.
agree() {
    jq -en --slurpfile measured "$BATS_TEST_TMPDIR/eval.json" --slurpfile recorded "$recorded" \
        --arg set "$1" --arg name "$2" --argjson tolerance "$3" '
        ($measured[0].sets[] | select(.name == $set) | .metrics[$name].value) as $a
        | $recorded[0][$set][$name] as $b
        | if ($a - $b | fabs) <= $tolerance then true
          else "\($set) \($name) is \($a), recorded \($b)" | halt_error end'
}

@test "the demo shows its command lines and the table" {
    grep -q '^+ teacher \$D/val.mp | bpe-fit --entropy-weight 10 >\$D/weights.mp$' "$OUTPUT"
    grep -q '^teacher  *100 ' "$OUTPUT"
    grep -q '^teacher/prompts  *100 ' "$OUTPUT"
}

@test "the demo compares both students and detects the texts of another kind" {
    grep -q '^+ student \$D/train.mp | lora-train .* --loss dirichlet ' "$OUTPUT"
    for set in untrained softmax dirichlet; do
        grep -Eq "^$set  *100 ( *[01]\.[0-9]{4}){7}$" "$OUTPUT"
    done
    grep -Eq "^dirichlet  *comments  *epistemic  *200 ( *[01]\.[0-9]{4}){4}$" "$OUTPUT"
    ls "$DEMO"/figures/*.svg
}

@test "the demo's weights and figures are those of transformers to three digits" {
    dir-eval --json --members teacher="$DEMO/teacher.test.mp" >"$BATS_TEST_TMPDIR/eval.json"
    for set in teacher teacher/prompts; do
        for name in accuracy macro_f1 nll brier roc_auc ece; do
            agree $set $name 0.001
        done
    done
    rec to-json "$DEMO/weights.mp" | jq -es --slurpfile recorded "$recorded" '
        [., $recorded[0].weights] | transpose | map(.[0].weight - .[1] | fabs) | max <= 0.001'
}

@test "the demo is the same whatever the processor: no product of it takes bf16" {
    for file in "$DEMO"/{teacher,untrained,softmax,dirichlet}.test.mp "$DEMO"/{teacher,softmax,dirichlet}.other.mp "$DEMO/weights.mp"; do
        rec to-json --header "$file" | head -n 1 | jq -e '.compute == "f32"'
    done
    for loss in softmax dirichlet; do
        jq -e '.training.compute == "f32"' "$DEMO/$loss.lora/duq.json"
    done
}

# The numbers in line N of the five, one a line.
numbers() {
    grep "^$1\. " "$OUTPUT" | cut -c 3- | grep -Eo -- '-?[0-9]+(\.[0-9]+)?'
}

# are EXPECTED TOLERANCE: as many numbers on standard input as there are in EXPECTED, and those.
are() {
    paste -sd ' ' >"$BATS_TEST_TMPDIR/numbers"
    echo "$(cat "$BATS_TEST_TMPDIR/numbers"), expected $1"
    awk -v expected="$1" -v tolerance="$2" '{ n = split(expected, e); if (n != NF) exit 1
        for (i = 1; i <= n; i++) if ($i - e[i] > tolerance || e[i] - $i > tolerance) exit 1 }' "$BATS_TEST_TMPDIR/numbers"
}

metric() { # SET NAME
    jq ".sets[] | select(.name == \"$1\").metrics.$2.value" "$BATS_TEST_TMPDIR/eval.json"
}

@test "the demo ends in five lines, with what its predictions say" {
    [ "$(grep -v '^$' "$OUTPUT" | tail -n 6 | cut -c 1-2 | paste -sd ' ')" = "1. 2. 3. 4. 5. # " ]
    # A line a text: the label, each prompt's probability of class 0, class 1.
    rec to-json "$DEMO/teacher.test.mp" | jq -r '[.label] + .members | @tsv' | awk '
        { first = $2 > 0.5; same = 1
          for (i = 2; i < NF; i += 2) { c = $i > 0.5 ? 0 : 1; sure += c ? $(i + 1) : $i; right += c == $1; if (c == first) same = 0; n++ }
          one += same }
        END { printf "%d %f %f %f", n / NR, 100 * one / NR, 100 * sure / n, 100 * right / n }' >"$BATS_TEST_TMPDIR/expected"
    numbers 1 | are "$(cat "$BATS_TEST_TMPDIR/expected")" 0.5001
    dir-eval --json --members teacher="$DEMO/teacher.test.mp" softmax="$DEMO/softmax.test.mp" \
        dirichlet="$DEMO/dirichlet.test.mp" >"$BATS_TEST_TMPDIR/eval.json"
    for name in nll ece; do
        for i in {0..8}; do
            prompt-expand --task examples/amazon/task.json --zero-shot --instruction "$i" "$DEMO/test.mp" | tok --model examples/model |
                lm-score --compute f32 --model examples/model --head softmax | dir-eval --json | jq ".sets[0].metrics.$name.value"
        done | sort -g | head -n 1 >"$BATS_TEST_TMPDIR/best.$name"
    done
    numbers 2 | are "$(metric teacher nll) $(metric teacher ece) $(metric teacher/prompts nll) $(metric teacher/prompts ece) \
        $(cat "$BATS_TEST_TMPDIR/best.nll") $(cat "$BATS_TEST_TMPDIR/best.ece")" 0.001
    for name in nll ece; do
        for set in softmax dirichlet; do
            jq -n "100 * ($(metric teacher/prompts $name) - $(metric $set $name)) / ($(metric teacher/prompts $name) - $(metric teacher $name))"
        done
    done | paste -sd ' ' >"$BATS_TEST_TMPDIR/expected"
    numbers 3 | are "9 $(cat "$BATS_TEST_TMPDIR/expected")" 0.5001
    for set in dirichlet teacher; do
        paste <(rec to-json "$DEMO/$set.test.mp" | jq .epistemic) <(rec to-json "$DEMO/$set.other.mp" | jq .epistemic) |
            awk '{ a[NR] = $1; b[NR] = $2 }
                END { for (i = 1; i <= NR; i++) for (j = 1; j <= NR; j++) n += a[i] < b[j] ? 1 : a[i] == b[j] ? 0.5 : 0; print n / NR / NR }'
    done | paste -sd ' ' >"$BATS_TEST_TMPDIR/expected"
    numbers 4 | are "$(cat "$BATS_TEST_TMPDIR/expected")" 0.0006
    rec to-json "$DEMO/dirichlet.test.mp" | jq -r '[.total, .label != (.probs | index(max))] | @tsv' | sort -g |
        awk '$2 == "true" { n++ } NR == 70 { best = n } END { print n / NR * 100, 70, best / 70 * 100 }' >"$BATS_TEST_TMPDIR/expected"
    numbers 5 | are "$(cat "$BATS_TEST_TMPDIR/expected")" 0.0501
}

# line N of the five, of the demo's evaluation changed by a filter.
line_of() { # N FILTER
    jq "$2" "$DEMO/evaluation.json" >"$BATS_TEST_TMPDIR/changed"
    rec to-json "$DEMO/teacher.test.mp" | jq -rn --slurpfile evaluation "$BATS_TEST_TMPDIR/changed" -f examples/five-lines.jq | sed -n "$1p"
}

@test "a line says where what it is to show was not shown" {
    def='def set($s): .sets[] | select(.name == $s).metrics; def difference($s): .differences[] | select(.set == $s).metrics;
        def detection($s): .detection[] | select(.set == $s).metrics;'
    while IFS='#' read -r number holds fails; do
        ! line_of "$number" "$def $holds" | grep "NOT SHOWN" || { echo "line $number, $holds"; false; }
        line_of "$number" "$def $holds | $fails" | grep -q "^$number\. .*\. (NOT SHOWN IN THIS RUN)$" ||
            { echo "line $number, $fails"; false; }
    done <<'END'
1#set("teacher/prompts").accuracy.high = 0.4#set("teacher/prompts").accuracy.high = 1
2#.differences[].metrics[].low = 0.01#difference("teacher/prompts").difference_nll.low = -0.01
2#.differences[].metrics[].low = 0.01#difference("teacher/prompts").difference_ece.low = -0.01
2#.differences[].metrics[].low = 0.01 | set("prompt.4").nll.value = 0.001#difference("prompt.4").difference_nll.low = -0.01
2#.differences[].metrics[].low = 0.01 | set("prompt.8").ece.value = 0.0001#difference("prompt.8").difference_ece.low = 0
3#set("teacher/prompts", "teacher", "softmax", "dirichlet")["nll", "ece"].value = 0.1 | set("teacher/prompts")["nll", "ece"].value = 0.4#set("dirichlet").nll.value = 0.21
3#set("teacher/prompts", "teacher", "softmax", "dirichlet")["nll", "ece"].value = 0.1 | set("teacher/prompts")["nll", "ece"].value = 0.4#set("softmax").ece.value = 0.21
4#detection("dirichlet", "teacher").auroc_epistemic.low = 0.91#detection("teacher").auroc_epistemic.low = 0.9
4#detection("dirichlet", "teacher").auroc_epistemic.low = 0.91#detection("dirichlet").auroc_epistemic.low = 0.9
5#set("dirichlet").accuracy.value = 0.875 | set("dirichlet")["risk_at_coverage_0.7_total"].value = 0.0625#set("dirichlet")["risk_at_coverage_0.7_total"].value = 0.07
END
}
