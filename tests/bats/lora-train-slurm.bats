# lora-train in Slurm's steps: a real slurmctld and slurmd (slurm.bash) start its ranks through PMIx.

load hosts
load slurm
load adapters
load mpi

setup_file() {
    export REASON
    REASON=$(mpi_reason)
    [ -n "$REASON" ] || REASON=$(slurm_reason)
    [ -n "$REASON" ] || compgen -G '/usr/lib/*/slurm*/mpi_pmix.so' >/dev/null || REASON="Slurm has no PMIx"
    [ -z "$REASON" ] || return 0
    slurm_up
}

teardown_file() {
    [ -n "$REASON" ] || slurm_down
}

setup() {
    [ -z "$REASON" ] || skip "$REASON"
    data=$BATS_TEST_DIRNAME/../data/lora/streams
    model=$BATS_TEST_DIRNAME/../data/engine/llama-tied
    teach=(lora-train --model "$model" --rank 4 --alpha 8 --lr 1e-3 --loss labels --batch 5)
    export DUQ_THREADS=1
    cd "$BATS_TEST_TMPDIR" || exit 1
}

step() { # OPTION...
    on_cluster timeout 120 srun --mpi=pmix -n 2 --overcommit "${teach[@]}" "$@" "$data/tokens.mp"
}

@test "srun --mpi=pmix starts one training" {
    "${teach[@]}" --epochs 4 -o one.lora "$data/tokens.mp"
    step -v --epochs 4 -o two.lora 2>said
    grep "one of 2 processes, 2 of them on this host" said
    apart=$(distance one.lora two.lora)
    echo "$apart apart"
    below "$apart" 1e-6
}

@test "what ends one rank ends the step, with its status" {
    run step --epochs 50 --lr 1000 --checkpoint-every 1 -o bad.lora
    echo "$output"
    [ "$status" -eq 65 ]
    [ "$(grep -c "is not a finite number" <<<"$output")" -eq 1 ]
    [ -e bad.lora.checkpoint ]
}

@test "a step without PMIx trains in each task alone, and says so" {
    # shellcheck disable=SC2016
    on_cluster timeout 120 srun --mpi=none -n 2 --overcommit sh -c 'exec "$@" -o alone.$SLURM_PROCID' - "${teach[@]}" \
        --epochs 1 "$data/tokens.mp" 2>said
    [ "$(grep -c "without MPI: each trains alone" said)" -eq 2 ]
    cmp alone.0/adapter_model.safetensors alone.1/adapter_model.safetensors
}
