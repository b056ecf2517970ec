# The CUDA device's own tests again in the simulator, with its threads started in other orders and
# with its streams as late as they may be.

again() { # VARIABLE VALUE
    local test
    for test in "$BUILD"/tests/test_cuda_*; do
        [[ $test != *.* ]] || continue
        env -u DUQ_CUDA_PLUGIN "$1=$2" "$test" >"$BATS_TEST_TMPDIR/log" 2>&1 ||
            { echo "$test, $1=$2:" && tail -n 20 "$BATS_TEST_TMPDIR/log" && return 1; }
    done
}

@test "the CUDA device's results do not depend on the order threads start in" {
    again DUQ_CUDASIM_ORDER reverse
    again DUQ_CUDASIM_ORDER shuffle:1
}

@test "the CUDA device's work and copies wait for what they need" {
    again DUQ_CUDASIM_STREAMS deferred:1
    again DUQ_CUDASIM_STREAMS deferred:2
}
