# tests/gpu/check.sh (make gpu-check): what it says without a GPU, and its flow with the processor in
# the GPU's place. That says nothing of a GPU.

setup() {
    root=$BATS_TEST_DIRNAME/../..
    export DUQ_THREADS=1 REPORT=$BATS_TEST_TMPDIR/report.txt
    unset DUQ_CUDA_PLUGIN DEVICE PLAN MODEL
}

@test "without a GPU gpu-check says so, with status 69 and no report" {
    mkdir "$BATS_TEST_TMPDIR/bin"
    printf '#!/bin/sh\nexit 9\n' >"$BATS_TEST_TMPDIR/bin/nvidia-smi"
    chmod +x "$BATS_TEST_TMPDIR/bin/nvidia-smi"
    PATH=$BATS_TEST_TMPDIR/bin:$PATH run "$root/tests/gpu/check.sh"
    echo "status $status: $output"
    [ "$status" -eq 69 ]
    [[ $output == *"no GPU here"* ]]
    [ ! -e "$REPORT" ]
}

@test "gpu-check's report has the comparison, the times and the bounds, and says what was checked" {
    DEVICE=cpu PLAN='--peak-tflops 0.4 --f32-tflops 0.2 --bandwidth 30 --memory 8' \
        run "$root/tests/gpu/check.sh"
    echo "status $status: $output"
    [ "$status" -eq 0 ]
    grep -q "device cpu, not a GPU" "$REPORT"
    for compute in f32 bf16; do
        grep -q "^ok: logits in $compute differ by" "$REPORT"
        grep -q "^ok: training losses in $compute differ by" "$REPORT"
    done
    [ "$(grep -c "^ok: run again" "$REPORT")" -eq 2 ]
    grep -Eq "^lm-score: [0-9.]+ s: " "$REPORT"
    grep -Eq "^lora-train: 8 steps in " "$REPORT"
    grep -Eq "^bound, score: [0-9.e-]+ s for 576 records" "$REPORT"
    grep -Eq "^bound, train: [0-9.e-]+ s for 64 records" "$REPORT"
}
