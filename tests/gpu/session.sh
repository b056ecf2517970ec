#!/usr/bin/env bash
# All that a first hour on a GPU is to tell, in two calls of nine minutes each, on a machine that need have nothing but
# the driver, CUDA's libraries and what was brought: make gpu-bundle makes that. Each step has a time of its own, or what
# is left of the nine minutes, and the next one follows whatever became of it; what they said is in at most eight files,
# and in summary.txt a line for each.
# usage: tests/gpu/session.sh PART FOLDER      PART: 1 or 2;  FOLDER: where the files go (made if need be)
#   1: the machine; device tests; comparison with the processor; a random model of Mistral-7B's shape, written to
#      SCRATCH, scored and trained at the lengths of the four data sets' prompts, twice, for the same bytes;
#      compute-sanitizer
#   2: the same model by PyTorch on the same card: logits, and times of scoring and of training; passes of several
#      sizes; where the time goes by operation, and the six kernels that take longest
# BUILD: the programs' folder (build/gpu-bundle, or build)      SCRATCH: for 15 GB (/tmp/duq-gpu); it is kept
# SIZE=toy: the embedded model and few short texts, to try this script; DUQ_CUDA_PLUGIN may name the simulator
# PYTHON: a Python with PyTorch (python3)
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
[[ ${1:-} == [12] && -n ${2:-} ]] || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"; exit 64; }
part=$1
mkdir -p "$2" || exit
out=$(realpath "$2")
build=$(realpath "${BUILD:-$([ -d build/gpu-bundle ] && echo build/gpu-bundle || echo build)}")
scratch=${SCRATCH:-/tmp/duq-gpu} size=${SIZE:-full} python=${PYTHON:-python3}
export PATH=$build/bin:$PATH
mkdir -p "$scratch" || exit
# shellcheck source=tests/gpu/lengths.sh
source tests/gpu/lengths.sh
sets=(SST-2 YouTube Amazon Yahoo)

# cuBLAS comes with nvcc or with PyTorch, in folders that the loader does not know.
find_libraries() {
    local folder nvcc
    # compute-sanitizer and ncu are beside nvcc.
    nvcc=$(command -v nvcc) || { nvcc=/usr/local/cuda/bin/nvcc && PATH=$PATH:/usr/local/cuda/bin; }
    for folder in "$(dirname "$(dirname "$(realpath "$nvcc" 2>/dev/null || echo /)")")"/{lib64,targets/x86_64-linux/lib} \
        "$("$python" -c 'import nvidia, os; print(list(nvidia.__path__)[0])' 2>/dev/null || echo /nowhere)"/{cu13,cublas}/lib; do
        [ ! -d "$folder" ] || export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder
    done
}

gpu_name() {
    nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1
}

# step FILE SECONDS NAME COMMAND...: appends what the command says to FILE, and to summary.txt how it ended.
step() {
    local file=$out/$1 seconds=$2 name=$3 began=$EPOCHREALTIME left=$((540 - SECONDS)) status word=ok
    shift 3
    [ "$left" -gt 5 ] || left=5
    [ "$seconds" -le "$left" ] || seconds=$left
    [ "$size" = full ] || seconds=$((20 * seconds)) # the simulator takes its time
    echo "== $name" >>"$file"
    timeout --kill-after=5 "$seconds" bash -c '"$@"' step "$@" >>"$file" 2>&1 </dev/null
    status=$?
    case $status in
    0) ;;
    69) word='not here' ;;
    124 | 137) word="not done within $seconds s" ;;
    *) word="FAILED ($status)" ;;
    esac
    awk -v name="$name" -v began="$began" -v end="$EPOCHREALTIME" -v word="$word" -v file="${file##*/}" \
        'BEGIN { printf "%-44s %-24s %6.1f s  %s\n", name, word, end - began, file }' | tee -a "$out/summary.txt"
}

# needs COMMAND...: what is not there is said, with status 69.
needs() {
    local one
    for one; do
        command -v "$one" >/dev/null || { echo "$one is not here"; exit 69; }
    done
}

# Of tools that only a GPU has a use for.
needs_gpu() { # COMMAND
    [[ ${DUQ_CUDA_PLUGIN:-} != *cudasim* ]] || { echo "the simulator is no GPU: $1 has no say"; exit 69; }
    needs "$1"
}

machine() {
    uname -a
    lscpu | grep -E 'Model name|^CPU\(s\)|Flags' | cut -c1-2000
    free -g
    df -h "$scratch"
    lm-score --version
    nvcc --version 2>&1 | tail -n 2
    needs_gpu nvidia-smi
    nvidia-smi
    nvidia-smi -q -d CLOCK,POWER,MEMORY,ECC
    "$python" -c 'import torch; print("PyTorch", torch.__version__, torch.version.cuda)' 2>&1 | tail -n 1
}

device_tests() {
    local test status=0 found=69
    for test in "$build"/tests/test_cuda_*; do
        [ -x "$test" ] || continue
        [ "$size" = full ] || [ "$found" = 69 ] || break # one shows that they would run
        found=0
        echo "-- ${test##*/}"
        DUQ_CUDA_PLUGIN=${DUQ_CUDA_PLUGIN:-$build/lib/duq/duq-cuda.so} \
            LD_LIBRARY_PATH=$build/lib/duq${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} "$test" || status=1
    done
    return $((found > status ? found : status))
}

compare() {
    REPORT=$scratch/check.txt DEVICE=cuda TEXTS=$texts TESTS=no BUILD=$build tests/gpu/check.sh
}

# Short runs, for under the sanitizer all takes a hundred times as long. cuBLAS's kernels are left out where what they
# write need not be known: they are many, large, and not ours to mend.
sanitize() { # TOOL
    local -a tool=(compute-sanitizer --tool "$1" --error-exitcode 9)
    needs_gpu compute-sanitizer
    [ "$1" = initcheck ] || tool+=(--kernel-name-exclude 'regex=gemm|gemv|cutlass|xmma|cublas|nvjet|splitK')
    made_up "$scratch/small.mp" examples/model 2 2 30 10
    "${tool[@]}" lm-score --model examples/model --device cuda -o "$scratch/small.scores" \
        "$scratch/small.mp" || return
    rm -rf "$scratch/small.lora"*
    "${tool[@]}" lora-train --model examples/model --device cuda --loss labels --epochs 1 \
        --batch 4 -o "$scratch/small.lora" "$scratch/small.mp"
}

write_model() {
    [ "$size" = full ] || return 0
    [ -e "$model/config.json" ] || "$python" tests/bench/random-model.py mistral-7b "$model"
}

# A stream of made-up tokens: TEXTS under PROMPTS, each of SHARED tokens that its texts have in common and OWN of their own.
made_up() { # FILE MODEL TEXTS PROMPTS SHARED OWN
    awk -v vocab="$(sed -n 's/.*"vocab_size": *\([0-9]*\).*/\1/p' "$2/config.json")" -v texts="$3" -v prompts="$4" -v shared="$5" -v own="$6" '
        function some(n, line, i) { for (i = 0; i < n; i++) line = line "," 3 + int(rand() * (vocab - 3)); return line }
        BEGIN {
            srand(1)
            print "{\"duq\":1,\"schema\":\"tokens\",\"classes\":[\"a\",\"b\"],\"made\":[],\"class_tokens\":[3,4]}"
            for (p = 0; p < prompts; p++)
                beginning[p] = "1" some(shared - 1)
            for (t = 0; t < texts; t++)
                for (p = 0; p < prompts; p++)
                    printf "{\"id\":\"%d\",\"prompt\":%d,\"tokens\":[%s%s],\"label\":%d}\n", t, p, beginning[p], some(own), t % 2
        }' | rec from-json -o "$1"
}

# Streams of a data set's lengths: set_score.mp, few-shot prompts of the texts to test, and set_train.mp, zero-shot ones
# to train on. Sets own, prompts ...; of large sets some of the texts.
streams_of() { # SET
    local shots own zero zero_own test train batch prompts=9
    read -r shots own zero zero_own test train batch <<<"$(lengths "$1")"
    if [ "$size" = toy ]; then prompts=2 shots=12 own=3 zero=6 zero_own=3 batch=2 test=2 train=4; fi
    [ "$test" -le 900 ] || test=500
    [ "$train" -le 640 ] || train=640
    [ "$batch" -gt 1 ] || train=$((train / 4))
    echo "$batch" >"$scratch/$1.batch"
    [ -s "$scratch/$1.score.mp" ] || made_up "$scratch/$1.score.mp" "$model" "$test" "$prompts" "$shots" "$own"
    [ -s "$scratch/$1.train.mp" ] || made_up "$scratch/$1.train.mp" "$model" "$train" 1 "$zero" "$zero_own"
}

# The plan's least time for a stage, beside the seconds that the log of a run has.
beside_bound() { # STAGE STREAM SECONDS OPTION...
    local gpu bound
    gpu=$(gpu_name)
    bound=$(lm-plan --config "$model/config.json" --stage "$1" --gpu "$gpu" --json "${@:4}" "$2" 2>/dev/null |
        sed -n 's/.*"bound_seconds": *\([0-9.e+-]*\).*/\1/p')
    if [ -n "$bound" ]; then
        awk -v s="$3" -v b="$bound" -v stage="$1" 'BEGIN { printf "%s: %.2f s, bound %.2f s, %.2f times the bound\n", stage, s, b, s / b }'
    else
        echo "$1: $3 s; no bound, for lm-plan does not know this GPU: ${gpu:-none}"
    fi
}

same_bytes() { # WHAT FILE FILE
    if cmp -s "$2" "$3"; then echo "$1: the same bytes when run again"; else echo "$1: OTHER BYTES when run again" && return 1; fi
}

score_set() { # SET
    local log=$scratch/score.log run status=0
    streams_of "$1"
    for run in first again; do
        lm-score -v --model "$model" --device cuda -o "$scratch/$run.scores" "$scratch/$1.score.mp" 2>"$log" || { status=$?; cat "$log"; return $status; }
        cat "$log"
    done
    # The command's file name is in the header, the same for both.
    same_bytes scores <(rec to-json "$scratch/first.scores") <(rec to-json "$scratch/again.scores") || status=1
    beside_bound score "$scratch/$1.score.mp" "$(sed -nE 's/^lm-score: ([0-9.]+) s: .*/\1/p' "$log")" \
        --batch-tokens "$(sed -nE 's/.* a pass of ([0-9]+) tokens.*/\1/p' "$log")"
    return $status
}

train_set() { # SET
    local log=$scratch/train.log run batch status=0
    streams_of "$1"
    batch=$(cat "$scratch/$1.batch")
    for run in first again; do
        rm -rf "$scratch/$run.lora" "$scratch/$run.lora.checkpoint"
        lora-train -v --model "$model" --device cuda --loss labels --epochs 1 --batch "$batch" --lr 1e-4 \
            -o "$scratch/$run.lora" "$scratch/$1.train.mp" 2>"$log" || { status=$?; cat "$log"; return $status; }
        cat "$log"
    done
    same_bytes adapters "$scratch"/{first,again}.lora/adapter_model.safetensors || status=1
    beside_bound train "$scratch/$1.train.mp" "$(sed -nE 's/^lora-train: [0-9]+ steps in ([0-9.]+) s.*/\1/p' "$log")" \
        --batch "$batch" --epochs 1
    return $status
}

peer() { # SET
    "$python" -c 'import torch' 2>/dev/null || { echo 'PyTorch is not here'; exit 69; }
    streams_of "$1"
    lm-score --model "$model" --device cuda -o "$scratch/ours.scores" "$scratch/$1.score.mp" || return
    "$python" tests/gpu/torch_peer.py "$model" <(rec to-json "$scratch/$1.score.mp") <(rec to-json "$scratch/ours.scores") \
        <(rec to-json "$scratch/$1.train.mp") "$(cat "$scratch/$1.batch")"
}

sweep() {
    local tokens
    streams_of SST-2
    for tokens in 2048 4096 8192 16384 32768 65536; do
        echo "-- --batch-tokens $tokens"
        lm-score -v --model "$model" --device cuda --batch-tokens $tokens -o "$scratch/swept" "$scratch/SST-2.score.mp" 2>&1 |
            grep -E 'records/s|memory:|out of memory' || return
    done
}

operations() { # SET
    streams_of "$1"
    lm-score --profile --model "$model" --device cuda -o "$scratch/profiled" "$scratch/$1.score.mp" || return
    rm -rf "$scratch/profiled.lora"*
    lora-train --profile --model "$model" --device cuda --loss labels --epochs 1 --batch "$(cat "$scratch/$1.batch")" \
        -o "$scratch/profiled.lora" "$scratch/$1.train.mp"
}

# Of 300 launches in the midst of scoring, or training, some ten layers: time by kernel, the six that take longest. ncu
# runs each several times, and ends the program after the last, with a status of its own.
kernels() { # COMMAND...
    needs_gpu ncu
    ncu --csv --page raw --launch-skip 500 --launch-count 300 --kill yes --clock-control none --cache-control none --metrics \
        gpu__time_duration.sum,sm__throughput.avg.pct_of_peak_sustained_elapsed,dram__throughput.avg.pct_of_peak_sustained_elapsed \
        "$@" >"$scratch/ncu.csv"
    "$python" tests/gpu/heaviest.py "$scratch/ncu.csv" 6 || { tail -n 5 "$scratch/ncu.csv"; return 1; }
}

kernels_of() { # SET
    streams_of "$1"
    kernels lm-score --model "$model" --device cuda -o "$scratch/counted" "$scratch/$1.score.mp" || return
    rm -rf "$scratch/counted.lora"*
    kernels lora-train --model "$model" --device cuda --loss labels --epochs 1 --batch "$(cat "$scratch/$1.batch")" \
        -o "$scratch/counted.lora" "$scratch/$1.train.mp"
}

if [ "$size" = toy ]; then model=examples/model texts=2; else model=$scratch/mistral-7b texts=64; fi
find_libraries
export model texts build scratch size python
export -f needs needs_gpu machine device_tests compare sanitize write_model made_up streams_of lengths beside_bound gpu_name same_bytes \
    score_set train_set peer sweep operations kernels kernels_of

echo "part $part, $(date -u +%Y-%m-%dT%H:%MZ), ${SIZE:-full} size, $(gpu_name || true)" | tee -a "$out/summary.txt"
if [ "$part" = 1 ]; then
    step machine.txt 30 'the machine' machine
    step tests.txt 100 'device tests' device_tests
    step tests.txt 60 'comparison with the processor' compare
    step speed.txt 100 'a random model of 7B shape' write_model
    for set in "${sets[@]}"; do
        step speed.txt 90 "scoring, $set" score_set "$set"
        [ "$set" != SST-2 ] || step speed.txt 60 "training, $set" train_set "$set"
    done
    for tool in memcheck racecheck initcheck synccheck; do
        step sanitizer.txt 60 "compute-sanitizer $tool" sanitize $tool
    done
else
    step speed.txt 100 'a random model of 7B shape' write_model
    for set in YouTube Amazon Yahoo; do
        step speed.txt 40 "training, $set" train_set "$set"
    done
    for set in SST-2 Amazon; do
        step peer.txt 70 "PyTorch, $set" peer "$set"
    done
    step sweep.txt 90 'passes of several sizes' sweep
    step kernels.txt 60 'operations, Amazon' operations Amazon
    step kernels.txt 90 'the kernels that take longest, SST-2' kernels_of SST-2
fi
! grep -q 'FAILED\|not done' "$out/summary.txt"
