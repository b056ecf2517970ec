# lora-train on the CUDA device (tests/run opens the simulated one, or that which DUQ_CUDA_PLUGIN names): against
# PyTorch's losses and the processor's adapters. The streams are made by tests/oracle/lora_streams.py.

setup() {
    load curves
    load adapters
    data=$BATS_TEST_DIRNAME/../data/lora/streams
    model=$BATS_TEST_DIRNAME/../data/engine/llama-tied
    # The simulator's cuBLAS has OpenMP's threads (oneDNN's).
    export DUQ_THREADS=1
    cd "$BATS_TEST_TMPDIR" || exit 1
}

teach=(lora-train --rank 4 --alpha 8)

train() { # OPTION...
    "${teach[@]}" --model "$model" --teacher "$data/teacher.mp" --device cuda "$@" "$data/tokens.mp"
}

curve=(--loss dirichlet --alpha0 learned --lr 3e-3 --dropout 0 --batch 5 --epochs 10 --clip 1 --schedule cosine --warmup 5)

@test "fifty steps in single precision follow PyTorch's" {
    train "${curve[@]}" --compute f32 --log log.tsv -o a.lora
    worst=$(worst_difference log.tsv learned)
    echo "within $worst"
    below "$worst" 1e-5
}

@test "fifty steps in bf16 stay near PyTorch's in single precision" {
    train "${curve[@]}" --compute bf16 --log log.tsv -o a.lora
    worst=$(worst_difference log.tsv learned)
    echo "within $worst"
    below "$worst" 0.03
}

@test "fifty steps with the evidential losses follow PyTorch's" {
    "${teach[@]}" --model "$model" --device cuda --loss edl --edl-annealing 4 --lr 3e-3 --dropout 0 --batch 5 --epochs 10 \
        --clip 1 --schedule cosine --warmup 5 --compute f32 --log log.tsv -o a.lora "$data/tokens.mp"
    worst=$(worst_difference log.tsv edl)
    echo "within $worst"
    below "$worst" 1e-4
    "${teach[@]}" --model "$model" --device cuda --loss labels --class-weights 0.5,2,1.25 --lr 3e-3 --dropout 0 --batch 5 \
        --epochs 10 --clip 1 --schedule cosine --warmup 5 --compute f32 --log log.tsv -o c.lora "$data/tokens.mp"
    worst=$(worst_difference log.tsv weighted)
    echo "within $worst"
    below "$worst" 1e-4
    "${teach[@]}" --model "$model" --device cuda --loss ib-edl --ib-beta 1e-3 --lr 3e-3 --dropout 0 --batch 5 --epochs 10 \
        --clip 1 --schedule cosine --warmup 5 --compute f32 --log log.tsv -o b.lora "$data/tokens-inner.mp"
    worst=$(worst_difference log.tsv ib-edl)
    echo "within $worst"
    below "$worst" 1e-4
}

# Several passes a step, of which the last is smaller, and dropout, whose numbers are the processor's.
few=(--compute f32 --dropout 0.3 --lr 1e-3 --batch 5 --accumulate 2 --epochs 2)

@test "with dropout and accumulated passes the adapter is the processor's" {
    train "${few[@]}" --log cuda.tsv -o cuda.lora
    train "${few[@]}" --device cpu --log cpu.tsv -o cpu.lora
    apart=$(distance cuda.lora cpu.lora)
    echo "$apart apart"
    below "$apart" 1e-5
    paste cuda.tsv cpu.tsv | awk 'NR > 1 { d = $2 / $5 - 1; if (d < -1e-5 || d > 1e-5) exit 1; n++ } END { exit n != 6 }'
    [ "$(jq -r .training.device cuda.lora/duq.json)" = cuda ]
}

@test "killed and resumed, the adapter has the same bytes" {
    long=(--loss dirichlet --alpha0 learned --batch 8 --epochs 8 --shuffle --checkpoint-every 2)
    train "${long[@]}" --log whole.tsv -o whole.lora
    for i in {1..20}; do
        rm -rf cut.lora cut.lora.checkpoint
        "${teach[@]}" --model "$model" --teacher "$data/teacher.mp" --device cuda "${long[@]}" --log cut.tsv -o cut.lora \
            "$data/tokens.mp" &
        pid=$!
        while [ ! -e cut.lora.checkpoint ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
        kill -9 $pid 2>/dev/null || true
        wait $pid || true
        [ ! -e cut.lora.checkpoint ] || break
    done
    [ -e cut.lora.checkpoint ]
    train "${long[@]}" --log cut.tsv --resume -o cut.lora
    for file in adapter_model.safetensors adapter_config.json duq.json; do
        cmp whole.lora/$file cut.lora/$file
    done
    cmp whole.tsv cut.tsv
}

@test "validation has the processor's figures, changes no bit of the training, and keeps the best student" {
    plain=(--loss dirichlet --compute f32 --dropout 0.3 --lr 2e-2 --batch 5 --epochs 6)
    options=("${plain[@]}" --validation "$data/tokens-held-out.mp" --validation-teacher "$data/teacher-held-out.mp")
    train "${plain[@]}" -o plain.lora
    train "${options[@]}" --keep all --log cuda.tsv -o cuda.lora
    cmp plain.lora/adapter_model.safetensors cuda.lora/adapter_model.safetensors
    train "${options[@]}" --device cpu --log cpu.tsv -o cpu.lora
    paste cuda.tsv cpu.tsv | awk -F '\t' 'function off(a, b) { return a == b ? 0 : (a / b - 1) ^ 2 }
        NR > 1 && $4 != "" { for (i = 4; i < 8; i++) if (off($i, $(i + 7)) > 1e-8) exit 1; n++ } END { exit n != 6 }'
    train "${options[@]}" --keep best -o best.lora
    cmp best.lora/adapter_model.safetensors "cuda.lora.epochs/$(jq .epoch best.lora/duq.json | sed 's/\.0$//')/adapter_model.safetensors"
}

@test "a checkpoint of the processor's is not gone on with on the GPU" {
    run train --device cpu --checkpoint-every 1 --epochs 50 --lr 1000 -o cut.lora
    [ "$status" -eq 65 ]
    [ -e cut.lora.checkpoint ]
    run train --checkpoint-every 1 --epochs 50 --lr 1000 --compute f32 --resume -o cut.lora
    [ "$status" -eq 65 ]
    [[ $output == *'made with device = "cpu", which is now "cuda"'* ]]
}

@test "a loss that is not finite ends the training and keeps the checkpoint" {
    run train --lr 1000 --epochs 50 --checkpoint-every 1 -o a.lora
    [ "$status" -eq 65 ]
    [[ $output == *"is not a finite number; try a lower --lr"* ]]
    [ -e a.lora.checkpoint ]
}

@test "however late the GPU's streams run, the adapter is the same" {
    [[ $DUQ_CUDA_PLUGIN == */cudasim/* ]] || skip "in the simulator only"
    train "${few[@]}" -o now.lora
    for seed in 1 2 3; do
        DUQ_CUDASIM_STREAMS=deferred:$seed train "${few[@]}" -o late.lora
        cmp now.lora/adapter_model.safetensors late.lora/adapter_model.safetensors
    done
}

@test "two ranks train what one does" {
    load mpi
    reason=$(mpi_reason)
    [ -z "$reason" ] || skip "$reason"
    train "${few[@]}" -o 1.lora
    # They share one: the simulator has no more.
    together 2 "${teach[@]}" --model "$model" --teacher "$data/teacher.mp" --device cuda:0 "${few[@]}" -o 2.lora "$data/tokens.mp"
    apart=$(distance 1.lora 2.lora)
    echo "$apart apart"
    below "$apart" 1e-5
}
