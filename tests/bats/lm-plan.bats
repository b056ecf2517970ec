# lm-plan: its options, its agreement with lm-score on a stream, and bad input. That its counts are right
# is tests/c/test_plan.c's to show.

load refuses

setup() {
    data=$BATS_TEST_DIRNAME/../data/engine
    model=$data/llama-tied
    mistral=$BATS_TEST_DIRNAME/../data/plan/mistral-7b.json
    export DUQ_THREADS=1
    cd "$BATS_TEST_TMPDIR" || exit 1
}

plan() { # OPTION...
    lm-plan --config "$model/config.json" --gpu h100 --json "$@"
}

# The part of lm-score -v that both count.
scored() { # OPTION...
    lm-score -v --model "$model" -o /dev/null "$@" "$data/good.mp" 2>&1 |
        sed -nE 's/.*: ([0-9]+) tokens in ([0-9]+) records; ([0-9]+) computed .* in ([0-9]+) passes, ([0-9]+) shared.*/\1 \2 \3 \4 \5/p'
}

planned() { # OPTION...
    plan "$@" "$data/good.mp" |
        jq -r '[.tokens, .records, .computed_tokens, .passes, .prefixes] | map(tostring) | join(" ")'
}

@test "what is planned is what lm-score does: tokens, computed tokens, passes, prefixes" {
    for options in "" "--no-share" "--batch-tokens 50" "--batch-tokens 1"; do
        # shellcheck disable=SC2086
        ours=$(planned $options) theirs=$(scored $options)
        echo "[$options] planned $ours, scored $theirs"
        [ -n "$theirs" ]
        [ "$ours" = "$theirs" ]
    done
}

@test "weights take what lm-score says that they take, whatever they are stored in" {
    printf '%s\n' '{"duq":1,"schema":"tokens","classes":["a","b"],"made":[],"class_tokens":[3,4]}' \
        '{"id":"0","prompt":0,"tokens":[1,5,6],"label":0}' | rec from-json >few.mp
    for model in "$data/llama-tied" "$BATS_TEST_DIRNAME"/../data/gguf/{llama,qwen2}.gguf; do
        config=$model
        [ ! -d "$model" ] || config=$model/config.json
        theirs=$(lm-score -v --model "$model" --compute bf16 -o /dev/null few.mp 2>&1 | sed -n 's/.*memory: \([^ ]*\) GB of weights.*/\1/p')
        ours=$(lm-plan --config "$config" --gpu h100 --compute bf16 --json few.mp | jq .memory.weights)
        echo "${model##*/}: planned $ours, said $theirs"
        awk -v a="$ours" -v b="$theirs" 'BEGIN { exit !(b > 0 && a / b > 0.995e9 && a / b < 1.005e9) }'
    done
}

@test "answers of several tokens are planned as they are computed" {
    answers=$BATS_TEST_DIRNAME/../data/answers/branches.mp
    theirs=$(lm-score -v --model "$BATS_TEST_DIRNAME/../data/engine/mistral-window" -o /dev/null "$answers" 2>&1 |
        sed -n 's/.*; \([0-9]*\) computed.* in \([0-9]*\) passes, \([0-9]*\) shared.*/\1 \2 \3/p')
    ours=$(lm-plan --config "$BATS_TEST_DIRNAME/../data/engine/mistral-window/config.json" --gpu h100 --json "$answers" |
        jq -r '"\(.computed_tokens) \(.passes) \(.prefixes)"')
    echo "planned $ours, scored $theirs"
    [ -n "$theirs" ]
    [ "$ours" = "$theirs" ]
}

@test "a stream is planned as it comes off a pipe, in several files as one" {
    rec head -n 5 "$data/good.mp" >first.mp
    rec head --skip 5 "$data/good.mp" >rest.mp
    plan "$data/good.mp" >whole.json
    plan <"$data/good.mp" | cmp - whole.json
    plan first.mp rest.mp | cmp - whole.json
    plan -o out.json "$data/good.mp"
    cmp out.json whole.json
}

@test "the totals are the sums of the operations, in JSON and in the table" {
    for stage in score train; do
        plan --stage $stage --rank 4 "$data/good.mp" >plan.json
        jq -e 'def near(a; b): (a - b | fabs) <= 1e-9 * b;
            (.operations | map(.flops) | add) as $flops | (.operations | map(.seconds) | add) as $s |
            near($flops; .total.flops) and near($s; .total.seconds) and .bound_seconds == .total.seconds and
            near(.bound_seconds + .total.launches * 4e-6; .launched_seconds)' plan.json
        lm-plan --config "$model/config.json" --gpu h100 --stage $stage --rank 4 "$data/good.mp" >table
        launches=$(jq .total.launches plan.json)
        grep -E "^ +[0-9]+ +$launches " table
        grep -q "computed from counts, not measured" table
        grep -q "NVIDIA H100 datasheet" table
    done
}

@test "Mistral-7B is planned from its config.json alone, within a second or so" {
    lm-plan --config "$mistral" --gpu a100-80 --synthetic 872,9,430,35 --json >plan.json
    # Weights: 7.25 G parameters in 2 bytes, less the output matrix, of which two rows are held.
    jq -e '.memory.weights / 1e9 | . > 14.2 and . < 14.3' plan.json
    jq -e '.records == 7848 and .computed_tokens == 9 * 430 + 7848 * 35' plan.json
    # Two FLOPs for each weight and token, but for the last layer.
    jq -e '.total.flops / (2 * .weights_in_products * .computed_tokens) | . > 0.96 and . < 1.02' plan.json
    jq -e '.memory.fits' plan.json
    lm-plan --config "$mistral" --gpu a100-40 --synthetic 10,1,0,8000 --stage train --json |
        jq -e '.memory.fits | not'
    lm-plan --config "$mistral" --gpu a100-40 --synthetic 10,1,0,8000 --stage train >table
    grep "DOES NOT FIT; lower --batch" table
}

@test "made-up prompts share what they are said to share" {
    plan --synthetic 3,2,20,5 | jq -e '.records == 6 and .tokens == 150 and .computed_tokens == 70 and
        .prefixes == 2'
    plan --synthetic 200,1,0,2 | jq -e '.computed_tokens <= 400'
}

@test "a machine of one's own takes the place of a GPU, and options change one" {
    lm-plan --config "$model/config.json" --peak-tflops 0.8 --f32-tflops 0.4 --bandwidth 60 --memory 16 \
        --compute f32 "$data/good.mp" >table
    grep "this machine: 0.8 TFLOP/s in bf16 products, 0.4 in f32, 60 GB/s, 16 GB" table
    grep "figures given by options" table
    lm-plan --config "$model/config.json" --gpu h100 --bandwidth 4800 "$data/good.mp" >table
    grep "989 TFLOP/s in bf16 products, 67 in f32, 4800 GB/s" table
    grep "datasheet, changed by options" table
}

@test "wrong options are refused" {
    refuses 64 "--config FILE is needed" lm-plan --gpu h100 "$data/good.mp"
    refuses 64 "--gpu NAME is needed" lm-plan --config "$model/config.json" "$data/good.mp"
    refuses 64 "'v100' is none that --help names" lm-plan --config "$model/config.json" --gpu v100 "$data/good.mp"
    refuses 64 "neither score nor train" plan --stage both "$data/good.mp"
    refuses 64 "neither f32 nor bf16" plan --compute fp8 "$data/good.mp"
    refuses 64 "none of q, k, v" plan --targets x "$data/good.mp"
    refuses 64 "rank 1 or more" plan --stage train --rank 0 "$data/good.mp"
    refuses 64 "takes the place of files" plan --synthetic 1,1,1,1 "$data/good.mp"
    for bad in 1,1,1 0,1,1,1 1,1,1,0 1,1,1,1x 1,1,-1,1 1,1,1,9999999 99999999,9999,1,1 4294967297,1,5,5 \
        2,1,4294967301,5 99999999999999999999,1,1,1 +2,1,5,5 ' 2,1,5,5' '2, 1,5,5' 0x2,1,5,5; do
        refuses 64 "is not texts,prompts,shared,own" plan --synthetic "$bad"
    done
    for option in '--dropout 0' '--batch 2' '--accumulate 2' '--epochs 1' "--validation $data/good.mp"; do
        # shellcheck disable=SC2086
        refuses 64 "go with --stage train" plan $option "$data/good.mp"
    done
    for option in '--batch-tokens 50' --no-share; do
        # shellcheck disable=SC2086
        refuses 64 "go with --stage score" plan --stage train $option "$data/good.mp"
    done
    refuses 64 "a plan is text" plan -z "$data/good.mp"
}

@test "what lm-score cannot score cannot be planned" {
    refuses 66 "nowhere.json" lm-plan --config nowhere.json --gpu h100 "$data/good.mp"
    jq '.architectures = ["GemmaForCausalLM"]' "$model/config.json" >changed.json
    refuses 65 "architecture GemmaForCausalLM is not supported" \
        lm-plan --config changed.json --gpu h100 "$data/good.mp"
    refuses 65 "record 2 (id t1): token 96 is not in the model's vocabulary of 96" \
        plan "$data/token-too-large.mp"
    refuses 65 "class token 96 is not in" plan "$data/class-token-too-large.mp"
    refuses 65 "the input holds no records" plan "$data/empty.mp"
    head -c 2000 "$data/good.mp" >cut.mp
    refuses 65 "cut.mp" plan -o out.json cut.mp
    [ ! -e out.json ]
}

@test "duq-gpu(7) has the rows that tests/gpu/plan.sh computes" {
    root=$BATS_TEST_DIRNAME/../..
    for stage in score train student; do
        "$root/tests/gpu/plan.sh" $stage >rows
        [ "$(wc -l <rows)" -eq 4 ]
        while IFS= read -r row; do
            grep -qxF "$row" "$root/man/duq-gpu.7" || { echo "$stage, not in the page: $row"; false; }
        done <rows
    done
}
