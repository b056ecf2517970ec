# lm-score and lora-train on the CUDA device as the simulator runs it (tests/cudasim): against the
# processor's results, which the engine's tests hold against transformers and PyTorch; and what is said
# when memory or the device fails. Nothing here has run on a GPU.

load refuses
load profile

setup() {
    engine=$BATS_TEST_DIRNAME/../data/engine
    streams=$BATS_TEST_DIRNAME/../data/lora/streams
    model=$engine/llama-tied
    embedded=$BATS_TEST_DIRNAME/../../examples/model
    # The simulator's cuBLAS has OpenMP's threads (oneDNN's).
    export DUQ_THREADS=1
    unset DUQ_CUDASIM_FAIL DUQ_CUDASIM_MEMORY DUQ_CUDASIM_DRIVER
    cd "$BATS_TEST_TMPDIR" || exit 1
}

score() { # DEVICE OPTION...
    local device=$1
    shift
    lm-score --device "$device" --model "$model" "$@"
}

# Of the embedded model: a few short prompts.
short_prompts() { # COUNT
    rec from-csv --id idx --text sentence --label label --classes negative,positive \
        "$BATS_TEST_DIRNAME/../../examples/data/sst2.csv" | rec head -n "$1" |
        prompt-expand --task "$BATS_TEST_DIRNAME/../../pipelines/sst2/task.json" --instruction 0 --zero-shot |
        tok --model "$embedded"
}

# The largest absolute difference of a filter's arrays in two streams of the same records.
difference() { # FILTER STREAM STREAM
    for stream in "$2" "$3"; do
        rec to-json "$stream" | jq -c "[.id, .prompt, .label], $1"
    done | jq -s '.[0:length / 2] as $a | .[length / 2:] as $b |
        if ($a | length) == 0 or [$a[range(0; $a | length; 2)]] != [$b[range(0; $b | length; 2)]]
        then error("not the same records") else
        [range(1; $a | length; 2) as $i | [$a[$i], $b[$i]] | transpose[] | .[0] - .[1] | fabs] | max end'
}

at_most() { # NUMBER LIMIT
    echo "difference $1, at most $2"
    jq -en "$1 <= $2" >/dev/null
}

@test "logits are the processor's: f32 to 2e-5, bf16 to 0.1, for every kind of model" {
    for folder in llama-tied llama-bias llama-odd-heads mistral-window qwen2-bias qwen2-window qwen3 \
        gemma2 gemma3 smollm3 phi3 phi4-mini granite olmo2 ministral3; do
        model=$engine/$folder
        score cpu --compute f32 -o cpu.mp "$engine/good.mp"
        score cuda --compute f32 -o f32.mp "$engine/good.mp"
        score cuda --compute bf16 -o bf16.mp "$engine/good.mp"
        echo "$folder"
        at_most "$(difference .logits cpu.mp f32.mp)" 2e-5
        at_most "$(difference .logits cpu.mp bf16.mp)" 0.1
    done
}

@test "logits are those of transformers" {
    score cuda --compute f32 "$engine/good.mp" >scores.mp
    rec to-json scores.mp | jq -s '[.[].logits]' >ours.json
    jq -e --slurpfile ours ours.json '[.["llama-tied"].logits, $ours[0]] | transpose |
        map(transpose[] | .[0] - .[1] | fabs) | max < 1e-4' "$engine/cases.json"
}

@test "batches and sharing change no logit by more than rounding" {
    model=$engine/mistral-window
    score cuda --compute f32 -o a.mp "$engine/good.mp"
    score cuda --compute f32 --no-share --batch-tokens 70 -o b.mp "$engine/good.mp"
    at_most "$(difference .logits a.mp b.mp)" 1e-5
}

@test "auto takes the GPU, and computes a 16-bit model in bf16" {
    short_prompts 4 >prompts.mp
    lm-score -v --model "$embedded" -o cuda.mp prompts.mp 2>log
    grep "stored as BF16, computing in bf16 on cuda:0 (CUDA simulator)" log
    lm-score --device cpu --compute f32 --model "$embedded" -o cpu.mp prompts.mp
    at_most "$(difference .logits cpu.mp cuda.mp)" 0.05
    [ "$(rec to-json --header cuda.mp | head -n 1 | jq -r .compute)" = bf16 ]
}

@test "without a driver, with one too old, without a GPU or that GPU: said by cuda, passed over by auto" {
    while read -r driver text; do
        export DUQ_CUDASIM_DRIVER=$driver
        refuses 69 "$text" score cuda "$engine/good.mp"
        refuses 0 "computing on the processor" score auto -v -o scores.mp "$engine/good.mp"
    done <<'END'
none no NVIDIA driver is installed
old driver is too old
no-gpu finds no GPU
END
    unset DUQ_CUDASIM_DRIVER
    refuses 69 "there is no GPU 7" score cuda:7 -o none.mp "$engine/good.mp"
    [ ! -e none.mp ]
}

@test "training follows the processor's: losses in f32 to 1e-5, in bf16 to 0.02" {
    model=$engine/mistral-window
    train() { # NAME DEVICE COMPUTE
        lora-train --model "$model" --teacher "$streams/teacher.mp" --loss dirichlet --rank 4 --alpha 8 --lr 3e-3 \
            --batch 8 --epochs 2 --clip 1 --device "$2" --compute "$3" --log "$1.tsv" -o "$1.lora" "$streams/tokens.mp"
    }
    train cpu cpu f32
    train f32 cuda f32
    train bf16 cuda bf16
    worst() { # NAME
        paste cpu.tsv "$1.tsv" | awk 'NR > 1 { d = ($5 - $2) / $2; d = d < 0 ? -d : d; if (d > worst) worst = d; steps++ }
            END { print steps == 6 ? worst + 0 : "\"not 6 steps\"" }'
    }
    at_most "$(worst f32)" 1e-5
    at_most "$(worst bf16)" 0.02
    # The students, and the processor's student on the GPU, with dropout's numbers the same.
    for name in cpu f32 bf16; do
        score cpu --compute f32 --adapter $name.lora -o $name.mp "$streams/tokens.mp"
    done
    at_most "$(difference .probs cpu.mp f32.mp)" 1e-4
    at_most "$(difference .probs cpu.mp bf16.mp)" 0.05
    score cuda --compute f32 --adapter cpu.lora -o there.mp "$streams/tokens.mp"
    for filter in .alpha .probs '[.total, .aleatoric, .epistemic]'; do
        at_most "$(difference "$filter" cpu.mp there.mp)" 1e-4
    done
    score cuda --compute f32 --adapter cpu.lora --merge -o merged.mp "$streams/tokens.mp"
    at_most "$(difference .alpha cpu.mp merged.mp)" 0.05 # the model is stored in F32 or F16
}

@test "training of every family follows the processor's: losses and students in f32 to 1e-4" {
    # AdamW makes whole steps of gradients that are rounding alone.
    rec head -n 8 "$streams/tokens.mp" >few.mp
    train() { # DEVICE
        lora-train --model "$model" --teacher "$streams/teacher.mp" --loss dirichlet --rank 4 --alpha 8 --lr 3e-3 \
            --batch 4 --epochs 2 --targets all-linear --device "$1" --compute f32 --log "$1.tsv" -o "$1.lora" few.mp
    }
    for folder in llama-bias qwen2-bias qwen3 gemma2 gemma3 smollm3 phi4-mini granite olmo2 ministral3; do
        model=$engine/$folder
        train cpu
        train cuda
        echo "$folder"
        at_most "$(paste cpu.tsv cuda.tsv | awk 'NR > 1 { d = ($5 - $2) / $2; d = d < 0 ? -d : d
            if (d > worst) worst = d; steps++ } END { print steps == 4 ? worst + 0 : "\"not 4 steps\"" }')" 1e-4
        for name in cpu cuda; do
            score cpu --compute f32 --adapter $name.lora -o $name.mp few.mp
        done
        at_most "$(difference .probs cpu.mp cuda.mp)" 1e-4
        rm -r cpu.lora cuda.lora
    done
}

@test "--profile waits for each operation, says so, and changes no score" {
    score cuda "$engine/good.mp" | rec to-json >a.json
    score cuda --profile "$engine/good.mp" 2>log | rec to-json | cmp - a.json
    is_profile log weights matmul glu attention rmsnorm
    head -n 1 log | grep -F "on cuda:0 (CUDA simulator); each was waited for, which slows it"
}

@test "two processes share a GPU" {
    score cuda --compute f32 -o alone.mp "$engine/good.mp"
    score cuda:0 --compute f32 -o one.mp "$engine/good.mp" &
    score cuda:0 --compute f32 -o two.mp "$engine/good.mp"
    wait $!
    cmp <(rec to-json one.mp) <(rec to-json alone.mp)
    cmp <(rec to-json two.mp) <(rec to-json alone.mp)
}

@test "calls that fail end in one clear line, status 71 and no output" {
    for fault in memory:1 memory:60 memcpy:1 memcpy:45 launch:1 launch:30 cublas:1 cublas:40; do
        export DUQ_CUDASIM_FAIL=$fault
        echo "$fault"
        refuses 71 "lm-score: " score cuda -o scores.mp "$engine/good.mp"
        [ "$(wc -l <<<"$output")" -eq 1 ]
        refuses 71 "lora-train: " lora-train --device cuda --model "$model" --rank 2 --loss labels --epochs 1 \
            -o a.lora "$streams/tokens.mp"
        [ "$(wc -l <<<"$output")" -eq 1 ]
    done
    [ -z "$(find . -mindepth 1)" ]
}

@test "a training that fails on the GPU amid its steps leaves its checkpoint and no adapter" {
    long=(lora-train --device cuda --model "$model" --rank 2 --loss labels --batch 8 --epochs 4 --checkpoint-every 2)
    "${long[@]}" -o whole.lora "$streams/tokens.mp"
    DUQ_CUDASIM_FAIL=kernel:700 refuses 71 "lora-train: " "${long[@]}" -o cut.lora "$streams/tokens.mp"
    [ ! -e cut.lora ]
    [ -e cut.lora.checkpoint ]
    DUQ_CUDASIM_FAIL=kernel:100 refuses 71 "lora-train: " "${long[@]}" --resume -o cut.lora "$streams/tokens.mp"
    [ ! -e cut.lora ]
    [ -e cut.lora.checkpoint ]
    "${long[@]}" --resume -o cut.lora "$streams/tokens.mp"
    cmp whole.lora/adapter_model.safetensors cut.lora/adapter_model.safetensors
    # An adapter that is there stays as it is.
    DUQ_CUDASIM_FAIL=kernel:700 refuses 71 "lora-train: " "${long[@]}" --lr 0.01 -o whole.lora "$streams/tokens.mp"
    cmp whole.lora/adapter_model.safetensors cut.lora/adapter_model.safetensors
}

@test "a small memory makes passes smaller, and too small a one is said to be" {
    score cuda --compute f32 -o large.mp "$engine/good.mp"
    # Of these 4.27 MB are the device's own (cuBLAS's) and the model's.
    while read -r memory tokens; do
        DUQ_CUDASIM_MEMORY=$memory score cuda -v --compute f32 -o small.mp "$engine/good.mp" 2>log
        grep "a pass of $tokens tokens" log
        [ "$(grep -c "may take" log)" -eq 0 ]
        at_most "$(difference .logits large.mp small.mp)" 1e-5
    done <<'END'
10000000 256
6000000 128
4900000 64
END
    DUQ_CUDASIM_MEMORY=4800000 refuses 71 "a pass of 64 tokens may take 0.00053 GB where 0.000529 GB are free" \
        score cuda --compute f32 -o none.mp "$engine/good.mp"
    export DUQ_CUDASIM_MEMORY=4300000
    refuses 71 "this is too little for the model" score cuda --compute f32 -o none.mp "$engine/good.mp"
    refuses 71 "lower --batch-tokens (it is 1024" score cuda --compute f32 --batch-tokens 1024 -o none.mp "$engine/good.mp"
    refuses 71 "lower --batch (it is 16)" lora-train --device cuda --model "$model" --compute f32 --rank 2 \
        --loss labels --epochs 1 -o none.lora "$streams/tokens.mp"
    [[ $output == *"the 16 longest texts, should they come in one pass, take"*"lower --batch"* ]]
    short_prompts 1 >prompts.mp
    refuses 71 "the weights do not fit" lm-score --device cuda --model "$embedded" -o none.mp prompts.mp
    [ -z "$(find . -name 'none*')" ]
}

# The adapter's and a pass's bytes by the plan that -v tells in GB.
planned() { # LOG
    local adapter pass
    read -r adapter pass <<<"$(sed -nE 's/.*averages (.*) GB, a pass of the 24 longest texts at most (.*) GB, .*/\1 \2/p' "$1")"
    jq -n "(($adapter + $pass) * 1e9 | ceil)"
}

@test "training fits where the plan says that it does" {
    fit=(lora-train --device cuda --model "$model" --compute f32 --rank 2 --loss labels --batch 24 --epochs 2 -v)
    own=4271100 # bytes that are the device's (cuBLAS's) and the model's
    for mode in recompute keep; do
        "${fit[@]}" --activations $mode -o $mode.lora "$streams/tokens.mp" 2>$mode.log
        need=$(planned $mode.log)
        DUQ_CUDASIM_MEMORY=$((own + need * 102 / 100)) "${fit[@]}" --activations $mode -o tight.lora \
            "$streams/tokens.mp" 2>log
        [ "$(grep -c "should they come in one pass" log)" -eq 0 ]
        cmp $mode.lora/adapter_model.safetensors tight.lora/adapter_model.safetensors
        rm -r tight.lora
        DUQ_CUDASIM_MEMORY=$((own + need * 90 / 100)) refuses 71 "should they come in one pass" \
            "${fit[@]}" --activations $mode -o none.lora "$streams/tokens.mp"
        [[ $output == *"out of memory"* ]]
    done
    [[ $output == *"give --activations recompute, lower --batch"* ]]
    cmp recompute.lora/adapter_model.safetensors keep.lora/adapter_model.safetensors
}

@test "activations are kept where memory is free for them" {
    fit=(lora-train --device cuda --model "$model" --compute f32 --rank 2 --loss labels --batch 24 --epochs 1 -v)
    "${fit[@]}" -o whole.lora "$streams/tokens.mp" 2>log
    grep "GB, 2 of 2 layers keeping their activations" log
    "${fit[@]}" --activations recompute -o least.lora "$streams/tokens.mp" 2>log
    DUQ_CUDASIM_MEMORY=$((4271100 + $(planned log) * 112 / 100)) "${fit[@]}" -o auto.lora "$streams/tokens.mp" 2>log
    grep "GB, 1 of 2 layers keeping their activations" log
    cmp whole.lora/adapter_model.safetensors auto.lora/adapter_model.safetensors
}

@test "what a bad record leaves is nothing, on the GPU as well" {
    refuses 65 "record 2 (id t1): token 96 is not in" score cuda -o none.mp "$engine/token-too-large.mp"
    refuses 65 "the input holds no records" score cuda -o empty.mp "$engine/empty.mp"
    [ ! -e none.mp ]
}

@test "gpu-check's report is whole, and says that the simulator is no GPU" {
    export REPORT=$PWD/report.txt TEXTS=2 PLAN='--peak-tflops 0.4 --f32-tflops 0.2 --bandwidth 30 --memory 8'
    unset DEVICE MODEL
    run "$BATS_TEST_DIRNAME/../gpu/check.sh"
    echo "status $status: $output"
    [ "$status" -eq 0 ]
    grep "^simulator, not a GPU: times say nothing" report.txt
    for compute in f32 bf16; do
        grep "^ok: logits in $compute differ by [0-9.e-]* of the largest at most" report.txt
        grep "^ok: training losses in $compute differ by" report.txt
    done
    [ "$(grep -c "^ok: run again, .* has the same bytes" report.txt)" -eq 2 ]
    [ "$(grep -cE "^(lm-score|lora-train): memory: " report.txt)" -eq 2 ]
    [ "$(grep -c "^ok: test_cuda_" report.txt)" -eq "$(find "$BUILD/tests" -name 'test_cuda_*' | wc -l)" ]
    grep -E "^lm-score: [0-9.]+ s: " report.txt
    grep -E "^lm-score on a quarter: [0-9.]+ s: " report.txt
    grep -E "^lora-train: 2 steps in " report.txt
    grep -E "^bound, score: [0-9.e-]+ s for 18 records" report.txt
    grep -E "^bound, train: [0-9.e-]+ s for 2 records" report.txt
    # A device whose memory does not hold f32 is checked in bf16.
    wrapped=$(command -v lm-score)
    mkdir bin
    printf '#!/bin/sh\ncase "$*" in *cuda*f32*) export DUQ_CUDASIM_MEMORY=5000000 ;; esac\nexec %s "$@"\n' "$wrapped" >bin/lm-score
    chmod +x bin/lm-score
    cp -rs "$BUILD" build
    mv bin/lm-score build/bin/lm-score
    BUILD=$PWD/build run "$BATS_TEST_DIRNAME/../gpu/check.sh"
    [ "$status" -eq 0 ]
    grep "^not checked in f32: lm-score: out of memory on GPU 0" report.txt
}
