#!/usr/bin/env bash
# The demo, on fewer texts, against tests/data/demo/teacher.json: what transformers, scipy, scikit-learn and
# torchmetrics say about the same model and texts (tests/oracle/demo.py).

setup_file() {
    export DEMO=$BATS_FILE_TMPDIR/demo
    BUILD=$BATS_FILE_TMPDIR PROGRAMS=$BUILD/bin "$BATS_TEST_DIRNAME/../../examples/demo.sh" 100 200 \
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
    grep -q '^+ teacher \$D/val.mp | bpe-fit >\$D/weights.mp$' "$OUTPUT"
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

@test "the demo's figures are those of transformers within what bf16 products allow" {
    dir-eval --json --members teacher="$DEMO/teacher.test.mp" >"$BATS_TEST_TMPDIR/eval.json"
    for set in teacher teacher/prompts; do
        agree $set accuracy 0.02
        agree $set nll 0.01
        agree $set brier 0.01
        agree $set roc_auc 0.01
        agree $set ece 0.03
    done
}

@test "with float32 products the weights and figures are those of transformers to three digits" {
    cd "$BATS_TEST_TMPDIR"
    examples=$BATS_TEST_DIRNAME/../../examples
    teacher() {
        prompt-expand --task "$examples/amazon/task.json" --shots "$DEMO/shots.mp" "$1" |
            tok --model "$examples/model" | lm-score --compute f32 --model "$examples/model"
    }
    teacher "$DEMO/val.mp" | bpe-fit >weights.mp
    teacher "$DEMO/test.mp" | bpe-fit --apply weights.mp >teacher.mp
    dir-eval --json --members teacher=teacher.mp >eval.json
    for set in teacher teacher/prompts; do
        for name in accuracy macro_f1 nll brier roc_auc ece; do
            agree $set $name 0.001
        done
    done
    rec to-json weights.mp | jq -es --slurpfile recorded "$recorded" '
        [., $recorded[0].weights] | transpose | map(.[0].weight - .[1] | fabs) | max <= 0.001'
}
