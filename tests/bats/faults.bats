# Calls that fail and processes that are killed, a choice of each: `make faults` tries them all.

bats_require_minimum_version 1.5.0

setup() {
    top=$BATS_TEST_DIRNAME/../..
    cd "$BATS_TEST_TMPDIR" || exit 1
    # A sanitizer stands where the shim would.
    ! ldd "$BUILD/bin/rec" | grep -Eq 'lib[at]san' || skip 'built with a sanitizer'
}

@test "each program with calls that fail: the right result, or an error and nothing written" {
    FAULT_MOST=8 run "$top/tests/faults/run.sh"
    echo "$output"
    [ "$status" -eq 0 ]
    # As many as are asked for, of each kind of call.
    [[ ${lines[-1]} =~ ^([0-9]+)' calls failed, 0 findings'$ ]]
    [ "${BASH_REMATCH[1]}" -gt 1000 ]
}

@test "where any look at a path fails, lora-train does not name the model by another" {
    FAULT_KIND=look run "$top/tests/faults/run.sh" lora-train
    echo "$output"
    [ "$status" -eq 0 ]
    [[ ${lines[-1]} =~ ^([0-9]+)' calls failed, 0 findings'$ ]]
    [ "${BASH_REMATCH[1]}" -gt 100 ]
}

@test "where any allocation fails, nothing of gnuplot's is on standard output" {
    FAULT_KIND=memory run "$top/tests/faults/run.sh" dir-eval-curves
    echo "$output"
    [ "$status" -eq 0 ]
}

@test "a kind of call or a case that there is not is no success" {
    FAULT_KIND=nonsense run "$top/tests/faults/run.sh" help
    [ "$status" -eq 2 ]
    run "$top/tests/faults/run.sh" nonsense
    [ "$status" -eq 2 ]
}

@test "a finding is one: a program that does not look at what a call says" {
    mkdir -p build/bin build/faults
    ln -s "$BUILD"/bin/* build/bin
    ln -s "$BUILD"/faults/shim.so build/faults
    # Whatever becomes of it, it has worked.
    rm build/bin/rec
    printf '#!/bin/sh\nLD_PRELOAD=%s/faults/shim.so "%s/bin/rec" "$@"\nexit 0\n' "$BUILD" "$BUILD" >build/bin/rec
    chmod +x build/bin/rec
    BUILD=$PWD/build FAULT_MOST=4 run "$top/tests/faults/run.sh" count
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *'count: '*'status 0, files differ'* ]]
}

@test "a pipeline of which processes are killed: the right result, or an error and nothing written" {
    KILLS=12 RUN_KILLS=0 run "$top/tests/faults/kills.sh"
    echo "$output"
    [ "$status" -eq 0 ]
}
