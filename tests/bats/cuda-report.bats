# tests/gpu/kernels.sh (make cuda-report): the table of what ptxas says, and its verdict on spills.

setup() {
    root=$BATS_TEST_DIRNAME/../..
    cat >"$BATS_TEST_TMPDIR/rows.ptxas" <<'END'
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z11swiglu_rowsILi4E13__nv_bfloat16EvPKfS2_mPT0_' for 'sm_80'
ptxas info    : Function properties for _Z11swiglu_rowsILi4E13__nv_bfloat16EvPKfS2_mPT0_
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 24 registers, used 1 barriers, 128 bytes smem, 384 bytes cmem[0]
ptxas info    : Compile time = 12.841 ms
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z11swiglu_rowsILi4E13__nv_bfloat16EvPKfS2_mPT0_' for 'sm_90'
ptxas info    : Function properties for _Z11swiglu_rowsILi4E13__nv_bfloat16EvPKfS2_mPT0_
    16 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 26 registers, used 1 barriers, 16 bytes cumulative stack size, 128 bytes smem
END
}

@test "cuda-report has a line for each kernel, in the words of its source" {
    run "$root/tests/gpu/kernels.sh" "$BATS_TEST_TMPDIR/rows.ptxas"
    echo "status $status: $output"
    [ "$status" -eq 0 ]
    [ "$(tr -s ' ' <<<"${lines[1]}")" = \
        "rows.cu swiglu_rows<4,bf16> sm_80: 24 128 0 0 sm_90: 26 128 16 0" ]
    [ "${lines[2]}" = "1 kernels; none spills" ]
}

@test "cuda-report fails where registers spill, and where there is no kernel" {
    sed -i '0,/0 bytes spill stores, 0 bytes/s//8 bytes spill stores, 4 bytes/' "$BATS_TEST_TMPDIR/rows.ptxas"
    run "$root/tests/gpu/kernels.sh" "$BATS_TEST_TMPDIR/rows.ptxas"
    echo "status $status: $output"
    [ "$status" -eq 1 ]
    [[ ${lines[1]} == *"sm_80:  24    128    0  12"* ]]
    [[ $output == *"FAILED: registers spill to memory" ]]
    run "$root/tests/gpu/kernels.sh" /dev/null
    [ "$status" -eq 1 ]
    [[ $output == *"there are no kernels" ]]
}

@test "without nvcc make says that CUDA is left out" {
    for goal in cuda cuda-report; do
        run make -s -C "$root" NVCC=no-such-nvcc BUILD="$BATS_TEST_TMPDIR/build" $goal
        echo "status $status: $output"
        [ "$status" -eq 0 ]
        [[ $output == *"CUDA is left out: no-such-nvcc is not on the PATH"* ]]
    done
}
