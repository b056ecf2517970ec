# tests/gpu/session.sh at toy size, with the simulator in the GPU's place and without what only a GPU's machine has.

setup() {
    root=$BATS_TEST_DIRNAME/../..
    export DUQ_THREADS=1 SIZE=toy SCRATCH=$BATS_TEST_TMPDIR/scratch OUT=$BATS_TEST_TMPDIR/out
    export DUQ_CUDA_PLUGIN=$BUILD/cudasim/duq-cuda.so PYTHON=$BATS_TEST_TMPDIR/bin/python
    # No PyTorch, whatever python3 has.
    mkdir "$BATS_TEST_TMPDIR/bin"
    printf '#!/bin/sh\nexit 1\n' >"$PYTHON"
    # Nor jq.
    cp "$PYTHON" "$BATS_TEST_TMPDIR/bin/jq"
    chmod +x "$BATS_TEST_TMPDIR"/bin/*
    export PATH=$BATS_TEST_TMPDIR/bin:$PATH
    cd "$BATS_TEST_TMPDIR" || exit 1
}

# The summary's line of a step says so.
ended() { # STEP WORD
    grep -Eq "^$1 +$2 +[0-9.]+ s  [a-z]+\.txt$" "$OUT/summary.txt" || { cat "$OUT"/*.txt; return 1; }
}

@test "the first part runs whole, says what is not here, and the same bytes come out twice" {
    run "$root/tests/gpu/session.sh" 1 "$OUT"
    echo "status $status: $output"
    ended 'device tests' ok
    ended 'comparison with the processor' ok
    ended 'a random model of 7B shape' ok
    ended 'compute-sanitizer memcheck' 'not here'
    for set in SST-2 YouTube Amazon Yahoo; do
        ended "scoring, $set" ok
    done
    ended 'training, SST-2' ok
    [ "$(grep -c '^scores: the same bytes when run again' "$OUT/speed.txt")" -eq 4 ]
    [ "$(grep -c '^adapters: the same bytes when run again' "$OUT/speed.txt")" -eq 1 ]
    [ "$(ls "$OUT" | wc -l)" -le 8 ]
}

@test "the second part runs whole" {
    run "$root/tests/gpu/session.sh" 2 "$OUT"
    echo "status $status: $output"
    for set in YouTube Amazon Yahoo; do
        ended "training, $set" ok
    done
    ended 'PyTorch, SST-2' 'not here'
    ended 'passes of several sizes' ok
    [ "$(grep -c 'records/s' "$OUT/sweep.txt")" -eq 6 ]
    ended 'operations, Amazon' ok
    grep -q '^matmul ' "$OUT/kernels.txt"
    ended 'the kernels that take longest, SST-2' 'not here'
    [ "$status" -eq 0 ]
    [ "$(ls "$OUT" | wc -l)" -le 8 ]
}

@test "the heaviest kernels of ncu's table" {
    printf '%s\n' 'a line of the program' '"ID","Kernel Name","dram__throughput.avg.pct","gpu__time_duration.sum","sm__throughput.avg.pct"' \
        '"","","%","ns","%"' '"0","gemm(int, float)","50.0","3,000","90.0"' '"1","rope(int)","80.0","1000","10.0"' \
        '"2","gemm(int, float)","10.0","1000","50.0"' '"3","small(int)","1","10","1"' >table.csv
    run python3 "$root/tests/gpu/heaviest.py" table.csv 2
    echo "$output"
    [ "$status" -eq 0 ]
    [ "${lines[0]%%;*}" = '4 launches, 0.005 ms' ]
    [ "$(tr -s ' ' <<<"${lines[1]}")" = ' 2 0.004 79.8 % 80.0 40.0 gemm' ]
    [ "$(tr -s ' ' <<<"${lines[2]}")" = ' 1 0.001 20.0 % 10.0 80.0 rope' ]
    [ "${#lines[@]}" -eq 3 ]
}

@test "wrong uses are refused" {
    run "$root/tests/gpu/session.sh" 3 "$OUT"
    [ "$status" -eq 64 ]
    [[ $output == *'usage: tests/gpu/session.sh PART FOLDER'* ]]
}
