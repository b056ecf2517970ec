# A data set's student (pipelines/) trained by mpirun, as the setting LAUNCH has it.

setup() {
    load adapters
    load mpi
    reason=$(mpi_reason)
    [ -z "$reason" ] || skip "$reason"
    top=$BATS_TEST_DIRNAME/../..
    export DUQ_THREADS=1
    cd "$BATS_TEST_TMPDIR" || exit 1
}

few() { # OUT [OPTION]...
    "$top/pipelines/run.sh" "$top/examples/sst2" OUT="$1" N_TRAIN=24 N_TEST=20 VALIDATION=16 EPOCHS=2 BATCH=5 DEVICE=cpu "${@:2}"
}

@test "with LAUNCH a student is trained in several processes, and is the same within rounding" {
    few one --stop-stage teacher
    cp -a one two
    few one --only softmax
    few two --only softmax LAUNCH="mpirun -n 2"
    apart=$(distance one/students/softmax.lora two/students/softmax.lora)
    echo "$apart apart"
    # Of ten steps of up to 1e-3 each: AdamW divides a gradient by its own size, so that of one that is hardest to tell from
    # none the rounding moves a value by more than itself.
    below "$apart" 1e-4
    run cmp -s one/students/softmax.lora/adapter_model.safetensors two/students/softmax.lora/adapter_model.safetensors
    [ "$status" -eq 1 ] # for it was trained in two
}
