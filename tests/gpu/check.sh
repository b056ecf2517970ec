#!/usr/bin/env bash
# For whoever has a GPU: compares lm-score and lora-train there with the processor, in f32, where only the order
# of sums differs, and in bf16; runs them again, which must give the same bytes; times them, sets the times beside
# lm-plan's bound, and writes a report to send. Without a GPU it says so: status 69.
# MODEL: a model's folder (the embedded one).    REPORT: the file to write (gpu-report.txt)
# DEVICE: what to check (cuda).   PLAN: lm-plan's options for a GPU that it does not know by name
# TEXTS: how many to score, under nine prompts each, and to train on (64)      TESTS=no: without the tests of device code
# DUQ_CUDA_PLUGIN: the plugin to open; that in a folder named cudasim is the simulator's
set -eu
cd "$(dirname "$0")/../.."
build=$(realpath "${BUILD:-build}")
PATH=$build/bin:$PATH
model=${MODEL:-examples/model} texts=${TEXTS:-64} report=${REPORT:-gpu-report.txt} device=${DEVICE:-cuda}
# Of the largest logit or loss: f32 there against f32 here, and bf16 there.
declare -A logit_tolerance=([f32]=1e-4 [bf16]=0.01) loss_tolerance=([f32]=1e-4 [bf16]=0.03)
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

# Each ends this with its own words and status where it cannot be done.
or_end() { # LOG COMMAND...
    local log=$1
    shift
    "$@" 2>"$log" || { status=$? && cat "$log" >&2 && exit $status; }
}
score() { # DEVICE COMPUTE NAME [STREAM]
    lm-score -v --model "$model" --device "$1" --compute "$2" -o "$work/$3.mp" "${4:-$work/score.mp}" || return
    rec to-json "$work/$3.mp" | sed 's/.*"logits":\[\([^]]*\)\].*/\1/' >"$work/$3.logits"
}
train() { # DEVICE COMPUTE NAME
    lora-train -v --model "$model" --device "$1" --compute "$2" --loss labels --lr 1e-4 --epochs 2 \
        --log "$work/$3.tsv" -o "$work/$3.lora" "$work/train.mp" || return
    tail -n +2 "$work/$3.tsv" | cut -f 2 >"$work/$3.losses"
}
# The device first: where it is not to be had, that is said, with status 69.
or_end "$work/score.log" score "$device" bf16 bf16
or_end "$work/train.log" train "$device" bf16 bf16
or_end "$work/log" score cpu f32 here
or_end "$work/log" train cpu f32 here

# Of two files with as many numbers, after commas or tabs: the largest difference by the largest of the second.
difference() { # FILE FILE
    paste "$1" "$2" | awk -F '[,\t]' '
        function size(x) { return x < 0 ? -x : x }
        NF % 2 { other = 1 }
        { for (i = 1; i <= NF; i++) if ($i !~ /^-?[0-9.]+(e[-+]?[0-9]+)?$/) other = 1
          for (i = 1; i <= NF / 2; i++) {
            d = size($i - $(i + NF / 2)); most = d > most ? d : most
            l = size($(i + NF / 2)); large = l > large ? l : large } }
        END { if (other || !large) print "nan"; else print most / large }'
}

failed=0
verdict() { # WHAT COMPUTE DIFFERENCE TOLERANCE
    local word=ok
    awk -v d="$3" -v most="$4" 'BEGIN { exit !(d ~ /^[0-9]/ && d + 0 <= most + 0) }' || { word=FAILED && failed=1; }
    say "$word: $1 in $2 differ by $3 of the largest at most from the processor's in f32 (tolerance $4)"
}
compare() { # COMPUTE
    verdict logits "$1" "$(difference "$work/$1.logits" "$work/here.logits")" "${logit_tolerance[$1]}"
    verdict "training losses" "$1" "$(difference "$work/$1.losses" "$work/here.losses")" "${loss_tolerance[$1]}"
}
# f32 takes twice the memory.
if score "$device" f32 f32 2>"$work/log" && train "$device" f32 f32 2>"$work/log"; then
    compare f32
else
    status=$?
    say "not checked in f32: $(tail -n 1 "$work/log")"
    [ $status -eq 71 ] || failed=1
fi
compare bf16
or_end "$work/log" score "$device" bf16 again
or_end "$work/log" train "$device" bf16 again
for files in bf16.logits:again.logits bf16.lora/adapter_model.safetensors:again.lora/adapter_model.safetensors; do
    word=ok
    cmp -s "$work/${files%:*}" "$work/${files#*:}" || { word=FAILED && failed=1; }
    say "$word: run again, $(basename "${files%:*}") has the same bytes"
done
# Left to themselves, these take the simulator.
plugin=${DUQ_CUDA_PLUGIN:-$build/lib/duq/duq-cuda.so}
for test in "$build"/tests/test_cuda_*; do
    [[ -x $test && $device == cuda* && ${TESTS:-yes} = yes ]] || continue
    if DUQ_CUDA_PLUGIN=$plugin "$test" >"$work/test.log" 2>&1; then
        say "ok: $(basename "$test")"
    else
        failed=1
        say "FAILED: $(basename "$test")" && tail -n 20 "$work/test.log" | tee -a "$work/report"
    fi
done

say "lm-score: $(sed -nE 's/^lm-score: ([0-9.]+ s: .*)/\1/p' "$work/score.log")"
# What the first pass alone takes (cuBLAS's kernels are loaded, memory is reserved) is in both of these.
rec head -n "$(((texts * 9 + 3) / 4))" -o "$work/quarter.mp" "$work/score.mp"
or_end "$work/part.log" score "$device" bf16 part "$work/quarter.mp"
say "lm-score on a quarter: $(sed -nE 's/^lm-score: ([0-9.]+ s: .*)/\1/p' "$work/part.log")"
say "lm-score: $(grep -o 'memory: .*' "$work/score.log")"
say "lora-train: $(sed -nE 's/^lora-train: ([0-9]+ steps in .*)/\1/p' "$work/train.log")"
say "lora-train: $(grep -o 'memory: .*' "$work/train.log")"
# By its name, or as PLAN describes it.
plan=(--config "$model/config.json")
if [ -n "${PLAN:-}" ]; then
    read -ra described <<<"$PLAN"
    plan+=("${described[@]}")
else
    plan+=(--gpu "${gpu%%,*}")
fi
if lm-plan "${plan[@]}" --synthetic 1,1,1,1 >/dev/null 2>&1; then
    bound() { # STAGE [OPTION...]
        lm-plan "${plan[@]}" --stage "$1" "${@:2}" --json "$work/$1.mp" | tr -d '\n' |
            sed -E 's/.*"records": *([0-9]+).*"bound_seconds": *([0-9.e+-]+).*/\2 s for \1 records/'
    }
    say "bound, score: $(bound score --batch-tokens "$(sed -nE 's/.* a pass of ([0-9]+) tokens.*/\1/p' "$work/score.log")")"
    say "bound, train: $(bound train), an epoch of the 2"
else
    say "no bound: lm-plan does not know this machine; describe it in PLAN='--peak-tflops ...'"
fi
cp "$work/report" "$report"
echo "written: $report"
exit $failed
