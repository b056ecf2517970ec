# The CUDA simulator (tests/cudasim): what it computes and what it reports.

selftest() {
    "$BUILD/cudasim/selftest" "$@"
}

CORRECT="elements shared_memory warp_operations atomics_and_votes three_dimensions launch_errors
    products product_types batched_products interleaved_products streams halves_of_words syncwarp_orders
    launches_follow_each_other large_shared_memory copies_within_the_device conversions"

correct() {
    local name
    for name in $CORRECT; do
        selftest "$name" || { echo "$name failed"; return 1; }
    done
}

# The case NAME ends by a report that holds all of TEXT...
reported() { # NAME TEXT...
    local name=$1 text
    run selftest "$name"
    shift
    for text; do
        [[ $output == *"$text"* ]] || { echo "$name: no \"$text\" in: $output"; return 1; }
    done
    [ "$status" = 134 ] || { echo "$name: status $status"; return 1; } # SIGABRT
}

# Each access to memory is seen; AddressSanitizer, where it is instead, has its own words for bounds
# and none for the rest.
needs_accesses_seen() {
    ! is_sanitized || skip "accesses are not seen under AddressSanitizer"
}

is_sanitized() {
    nm "$BUILD/cudasim/selftest" | grep -q __asan_init
}

# The line of faulty.cu that holds the text.
line() { # TEXT
    grep -nF -- "$1" tests/cudasim/selftest/faulty.cu | cut -d: -f1 | head -n 1
}

F=tests/cudasim/selftest/faulty.cu

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
        "$F:11: a barrier, but thread (0,0,0) waits at that of $F:9"
}

@test "a thread that ends before others meet" {
    reported exit_before_barrier "cudasim: exit: kernel leaves, block (0,0,0), thread (40,0,0), " \
        "$F:$(($(line 'void leaves(') + 4)): thread (0,0,0) waits at the barrier"
    reported exit_before_shuffle "cudasim: exit: kernel leaves_its_warp, block (0,0,0), thread (7,0,0), " \
        "waits for this one, which ended before it"
}

@test "shuffles with lanes missing" {
    reported shuffle_lanes_missing "cudasim: divergence: kernel half_a_warp" \
        "waits for lanes 0xffffffff of its warp, of which 0x0000ffff came"
    reported shuffle_from_outside_the_mask "cudasim: shuffle: kernel reads_an_absent_lane, " \
        "thread (8,0,0), " "reads lane 16, which mask 0x0000ffff does not name"
}

@test "races between the threads of a block" {
    needs_accesses_seen
    reported race_in_shared_memory "cudasim: race: kernel neighbour, block (0,0,0), thread (31,0,0), $F:" \
        "writes 4 bytes, byte 124 of s of 256 bytes, that another thread of the block read at $F:"
    reported race_of_write_after_read "cudasim: race: kernel overwritten, " "byte 252 of dynamic shared memory"
    reported race_in_a_warp "cudasim: race: kernel lanes, " "byte 4 of s of 128 bytes"
    reported race_in_device_memory "cudasim: race: kernel global_neighbour, " "of 256 allocated at "
    reported race_in_half_a_word "cudasim: race: kernel half_of_a_word, " "writes 2 bytes, byte 14 of 32"
    reported race_with_an_atomic "cudasim: race: kernel half_atomic, " "thread (1,0,0), " \
        "that thread (0,0,0) of block (0,0,0) wrote at $F:$(line 'atomicAdd(x, 1)')"
}

@test "races between blocks" {
    needs_accesses_seen
    reported race_of_blocks "cudasim: race: kernel same_place, block (1,0,0), thread (0,0,0), $F:" \
        "that thread (0,0,0) of block (0,0,0) wrote at $F:"
    reported race_of_blocks_that_read "cudasim: race: kernel next_block, block (1,0,0), " \
        "writes 4 bytes, byte 4 of 16 " "that thread (0,0,0) of block (0,0,0) read at $F:"
}

@test "what nobody set" {
    needs_accesses_seen
    reported uninitialised_device_memory "cudasim: uninitialised: kernel sum, block (0,0,0), thread (31,0,0), $F:" \
        "reads 4 bytes, byte 124 of 128 allocated at "
    reported uninitialised_shared_memory "cudasim: uninitialised: kernel half_set, block (1,0,0), thread (0,0,0), " \
        "byte 252 of s of 256 bytes"
    reported uninitialised_copy "cudasim: uninitialised: kernel sum, block (0,0,0), thread (31,0,0), "
    reported uninitialised_download "cudasim: uninitialised: cudaMemcpy's source: nobody set byte 0 of 16"
    reported uninitialised_operand "cudasim: uninitialised: cuBLAS's B: nobody set byte 0 of 16"
    reported uninitialised_result_read "cudasim: uninitialised: cuBLAS's C: nobody set byte 0 of 16"
}

@test "out of bounds" {
    bounds() { # CASE TEXT...
        if is_sanitized; then
            run selftest "$1"
            [[ $output == *"AddressSanitizer: use-after-poison"*"$F:"* ||
                $output == *"$F:"*"out of bounds for type"* ]]
        else
            reported "$@"
        fi
    }
    bounds past_the_end "cudasim: bounds: kernel set_at, block (0,0,0), thread (0,0,0), $F:" \
        "writes 4 bytes, byte 40 of 40 allocated at "
    bounds before_the_start "cudasim: bounds: kernel set_at, " "byte -4 of 40 allocated at "
    bounds use_after_free "cudasim: bounds: kernel set_at, " "where no device memory is allocated"
    bounds past_a_shared_array "cudasim: bounds: kernel past_shared, " "byte 32 of first of 32 bytes"
    bounds past_dynamic_shared_memory "cudasim: bounds: kernel past_dynamic, " \
        "byte 32 of dynamic shared memory of 32 bytes"
}

@test "more shared memory than there is" {
    reported too_much_shared_memory "cudasim: shared: kernel large_shared, " \
        "second: 180000 bytes of shared memory, 166912 are the limit"
}

@test "a vector that is not aligned" {
    if is_sanitized; then
        run selftest misaligned_vector
        [[ $output == *"faulty.cu:"*"misaligned address"* ]]
    else
        reported misaligned_vector "cudasim: align: kernel vector_at, block (0,0,0), thread (0,0,0), $F:"
    fi
}

@test "a thread's stack overflows" {
    reported stack_overflow "cudasim: stack: kernel deep, "
}

@test "host memory where the device's is due" {
    reported host_pointer_to_kernel "cudasim: pointer: argument 1 of kernel set: " "is the host's memory"
    reported product_of_host_memory "cudasim: pointer: cuBLAS's A: " "is the host's memory"
    reported copy_from_the_wrong_side "cudasim: pointer: cudaMemcpy's target: " "is the host's memory"
}

@test "host memory that a kernel reaches by a pointer in a structure" {
    needs_accesses_seen
    reported host_memory_in_a_kernel "cudasim: host: kernel through, " "reads 4 bytes of the host's memory"
}

@test "device memory where the host's is due" {
    reported host_reads_device "cudasim: host: the host reads or writes device memory"
    reported host_writes_device "cudasim: host: the host reads or writes device memory"
    reported copy_to_the_wrong_side "cudasim: pointer: cudaMemcpy's target: " "is the device's memory"
    reported alpha_on_the_device "cudasim: pointer: cuBLAS's alpha: " "is the device's memory"
}

@test "copies and products out of bounds" {
    reported copy_past_the_end "cudasim: bounds: cudaMemcpy's source: 32 bytes, byte 0 of 16 allocated at "
    reported workspace_freed "cudasim: bounds: cuBLAS's workspace: 1024 bytes, where no device memory is allocated"
    reported product_out_of_bounds "cudasim: bounds: cuBLAS's A: 16 bytes, byte 0 of 12 allocated at "
}

@test "products that overlap" {
    needs_accesses_seen
    reported product_in_place "cudasim: race: cuBLAS's product 0 of a call: its C overlaps "
    reported overlapping_products "cudasim: race: cuBLAS's product 1 of a call: its C overlaps "
}

@test "a batch that is not aligned" {
    reported misaligned_batch "cudasim: align: cuBLAS's A: with k = 8, " "must be a multiple of 16 bytes"
}

@test "memory freed wrongly, or not" {
    reported freed_twice "cudasim: free: $F:$(($(line 'CASE(freed_twice)') + 4)): cudaFree("
    reported freed_in_the_middle "cudasim: free: " "no allocation starts there"
    reported leak "cudasim: leak: 1 allocations of device memory" "of 16 allocated at "
    reported stream_leak "cudasim: leak: 1 streams and events"
    reported pinned_leak "cudasim: leak: 1 allocations of pinned memory"
}

@test "a stream that was destroyed" {
    reported destroyed_stream "cudasim: stream: " "is no stream, or one that was destroyed"
}

@test "a second thread" {
    reported second_thread "cudasim: thread: a second thread of the program uses the device"
}

@test "streams that are not waited for" {
    export DUQ_CUDASIM_STREAMS=deferred:1
    reported staging_reused "cudasim: stream: the host uses pinned memory" "has yet to read"
    reported small_staging_reused "cudasim: stream: pinned memory at " "changed before the queued copy"
    reported result_not_waited_for "cudasim: stream: the host uses pinned memory" "has yet to write"
}

@test "a stream that does not wait for another" {
    needs_accesses_seen
    DUQ_CUDASIM_STREAMS=deferred:1 reported event_forgotten "cudasim: uninitialised: kernel sum, "
}

@test "the call that is to fail, and no other, does" {
    DUQ_CUDASIM_FAIL=malloc:2 selftest second_allocation_fails
    DUQ_CUDASIM_FAIL=memory:2 selftest only_the_first_allocation_does
    DUQ_CUDASIM_FAIL=memcpy:2 selftest second_copy_fails
    DUQ_CUDASIM_FAIL=launch:2 selftest second_launch_fails
    DUQ_CUDASIM_FAIL=kernel:2 selftest second_kernel_faults
    DUQ_CUDASIM_FAIL=kernel:2 DUQ_CUDASIM_STREAMS=deferred:1 selftest second_kernel_faults
    DUQ_CUDASIM_FAIL=cublas:2 selftest second_product_fails
}

@test "memory is as large as it is set to be, and the pool's until it is trimmed" {
    DUQ_CUDASIM_MEMORY=1000000 selftest a_million_bytes
    DUQ_CUDASIM_MEMORY=1000000 selftest a_pool_of_a_million_bytes
}

@test "nvcc compiles the same cases" {
    command -v nvcc >/dev/null || skip "nvcc is not on the PATH"
    local file
    for file in tests/cudasim/selftest/*.cu; do
        nvcc -std=c++17 -I. -arch=sm_80 -Werror all-warnings -Xcompiler -Wall,-Wextra -c \
            -o "$BATS_TEST_TMPDIR/case.o" "$file"
    done
}

@test "settings that are not understood" {
    local setting
    for setting in ORDER=sideways ORDER=shuffle: FAIL=malloc FAIL=free:1 MEMORY=1G STREAMS=deferred; do
        run env "DUQ_CUDASIM_$setting" "$BUILD/cudasim/selftest" elements
        [ "$status" = 64 ]
        [[ $output == *"cudasim: DUQ_CUDASIM_$setting is not understood"* ]]
    done
}
