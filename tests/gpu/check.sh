#!/usr/bin/env bash
# For whoever has a GPU: compares lm-score and lora-train there with the processor, times them, sets the
# times beside lm-plan's bound, and writes a report to send. Without a GPU it says so: status 69.
# MODEL: a model's folder (the embedded one).    REPORT: the file to write (gpu-report.txt)
# DEVICE: what to check (cuda).   PLAN: lm-plan's options for a GPU that it does not know by name
# TEXTS: how many to score, under nine prompts each, and to train on (64)
# DUQ_CUDA_PLUGIN: the plugin to open; that in a folder named cudasim is the simulator's
set -eu
cd "$(dirname "$0")/../.."
build=$(realpath "${BUILD:-build}")
PATH=$build/bin:$PATH
model=${MODEL:-examples/model} texts=${TEXTS:-64} report=${REPORT:-gpu-report.txt} device=${DEVICE:-cuda}
logit_tolerance=0.05 loss_tolerance=0.02 # bf16 there against f32 here
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() {
    printf '%s\n' "$*" | tee -a "$work/report"
}

gpu=$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null | head -n 1) || gpu=
case $device in
cuda*)
    if [[ ${DUQ_CUDA_PLUGIN:-} == *cudasim* ]]; then
        say "simulator, not a GPU: times say nothing"
        gpu=
    elif [ -n "$gpu" ]; then
        say "GPU: $gpu"
    else
        echo "gpu-check: no GPU here (nvidia-smi finds no driver); nothing was checked" >&2
        exit 69
    fi
    ;;
*) say "device $device, not a GPU" ;;
esac
say "duq $(lm-score --version | head -n 1), model $model, $(date -u +%Y-%m-%dT%H:%MZ)"

# Few-shot prompts to score, zero-shot ones to train on.
columns=(--id idx --text sentence --label label --classes 'negative,positive')
rec from-csv "${columns[@]}" -o "$work/all.mp" examples/data/sst2.csv
rec head -n 45 -o "$work/shots.mp" "$work/all.mp"
rec head --skip 45 -n "$texts" -o "$work/texts.mp" "$work/all.mp"
prompt-expand --task pipelines/sst2/task.json --shots "$work/shots.mp" "$work/texts.mp" |
    tok --model "$model" -o "$work/score.mp"
prompt-expand --task pipelines/sst2/task.json --instruction 0 --zero-shot "$work/texts.mp" |
    tok --model "$model" -o "$work/train.mp"

# The device first: where it is not to be had, its own words and status 69 end this.
lm-score -v --model "$model" --device "$device" --compute bf16 -o "$work/there.mp" "$work/score.mp" \
    2>"$work/score.log" || { status=$? && cat "$work/score.log" >&2 && exit $status; }
train() { # DEVICE COMPUTE NAME
    lora-train -v --model "$model" --device "$1" --compute "$2" --loss labels --lr 1e-4 --epochs 2 \
        --log "$work/$3.tsv" -o "$work/$3.lora" "$work/train.mp" 2>"$work/$3.log" ||
        { status=$? && cat "$work/$3.log" >&2 && exit $status; }
}
train "$device" bf16 there
lm-score --model "$model" --device cpu --compute f32 -o "$work/here.mp" "$work/score.mp"
train cpu f32 here

failed=0
verdict() { # WHAT DIFFERENCE TOLERANCE
    local word=ok
    jq -en "$2 <= $3" >/dev/null || { word=FAILED && failed=1; }
    say "$word: $1 differ by $2 at most from the processor's in f32 (tolerance $3)"
}
for side in here there; do
    rec to-json "$work/$side.mp" | jq -c .logits >"$work/$side.logits"
done
verdict logits "$(jq -s --slurpfile b "$work/here.logits" '[., $b] | transpose |
    map(transpose[] | .[0] - .[1] | fabs) | max' "$work/there.logits")" $logit_tolerance
verdict "training losses" "$(paste "$work/there.tsv" "$work/here.tsv" | awk 'NR > 1 { d = $2 - $5
    d = d < 0 ? -d : d; most = d > most ? d : most } END { print most + 0 }')" $loss_tolerance
# Left to themselves, these take the simulator.
plugin=${DUQ_CUDA_PLUGIN:-$build/lib/duq/duq-cuda.so}
for test in "$build"/tests/test_cuda_*; do
    [[ -x $test && $device == cuda* ]] || continue
    if DUQ_CUDA_PLUGIN=$plugin "$test" >"$work/test.log" 2>&1; then
        say "ok: $(basename "$test")"
    else
        failed=1
        say "FAILED: $(basename "$test")" && tail -n 20 "$work/test.log" | tee -a "$work/report"
    fi
done

say "lm-score: $(sed -nE 's/^lm-score: ([0-9.]+ s: .*)/\1/p' "$work/score.log")"
say "lora-train: $(sed -nE 's/^lora-train: ([0-9]+ steps in .*)/\1/p' "$work/there.log")"
case $gpu in
*A100*40GB*) known="--gpu a100-40" ;;
*A100*80GB*) known="--gpu a100-80" ;;
*H100*) known="--gpu h100" ;;
*) known= ;;
esac
options=${PLAN:-$known}
options+=${options:+ --batch-tokens $(sed -nE 's/.* a pass of ([0-9]+) tokens.*/\1/p' "$work/score.log")}
if [ -n "$options" ]; then
    for stage in score train; do
        # shellcheck disable=SC2086 # options are words
        say "bound, $stage: $(lm-plan --config "$model/config.json" --stage $stage --json $options \
            "$work/$stage.mp" | jq -r '"\(.bound_seconds) s for \(.records) records" +
            (if .epochs then ", an epoch of the 2" else "" end)')"
    done
else
    say "no bound: lm-plan does not know this machine; describe it in PLAN='--peak-tflops ...'"
fi
cp "$work/report" "$report"
echo "written: $report"
exit $failed
