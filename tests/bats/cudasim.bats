# The CUDA simulator (tests/cudasim): what it computes and what it reports.

selftest() {
    "$BUILD/cudasim/selftest" "$@"
}

CORRECT="elements shared_memory warp_operations atomics_and_votes three_dimensions launch_errors
    products batched_products streams"

correct() {
    local name
    for name in $CORRECT; do
        selftest "$name"
    done
}

# The case NAME ends by a report that holds all of TEXT...
reported() { # NAME TEXT...
    local text
    run selftest "$1"
    shift
    [ "$status" = 134 ] # SIGABRT
    for text; do
        [[ $output == *"$text"* ]] || { echo "no \"$text\" in: $output"; return 1; }
    done
}

@test "correct kernels give what a GPU gives" {
    correct
}

@test "whatever order threads start in" {
    DUQ_CUDASIM_ORDER=reverse correct
    DUQ_CUDASIM_ORDER=shuffle:1 correct
    DUQ_CUDASIM_ORDER=shuffle:2 correct
}

@test "whatever legal order deferred streams run in" {
    local seed
    for seed in 1 2 3 4 5; do
        DUQ_CUDASIM_STREAMS=deferred:$seed correct
    done
}

@test "barriers in two branches" {
    reported divergent_barriers "cudasim: divergence: kernel two_barriers, block (0,0,0), thread (32,0,0), " \
        "tests/cudasim/selftest/faulty.cu:9: a barrier, but thread (0,0,0) waits at that of tests/cudasim/selftest/faulty.cu:7"
}

@test "a thread that ends before a barrier" {
    reported exit_before_barrier "cudasim: exit: kernel leaves, block (0,0,0), thread (40,0,0), " \
        "faulty.cu:22: thread (0,0,0) waits at the barrier"
}

@test "a shuffle with lanes missing" {
    reported shuffle_lanes_missing "cudasim: divergence: kernel half_a_warp" \
        "waits for lanes 0xffffffff of its warp, of which 0x0000ffff came"
}

@test "the host's memory passed to a kernel" {
    reported host_pointer_to_kernel "cudasim: pointer: argument 1 of kernel set: " "is the host's memory"
}

@test "device memory read by the host" {
    reported host_reads_device "cudasim: host: the host reads or writes device memory"
}
