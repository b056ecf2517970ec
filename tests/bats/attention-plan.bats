# The CUDA device's plan of attention, as the manual shows it.

@test "duq-gpu(7) has the rows that tests/gpu/attention-plan.cu counts" {
    page=$BATS_TEST_DIRNAME/../../man/duq-gpu.7
    for stage in score student forward backward; do
        "$BUILD/cudasim/attention-plan" $stage >"$BATS_TEST_TMPDIR/rows"
        [ "$(wc -l <"$BATS_TEST_TMPDIR/rows")" -eq 4 ]
        while IFS= read -r row; do
            grep -qxF "$row" "$page" || { echo "$stage, not in the page: $row"; false; }
        done <"$BATS_TEST_TMPDIR/rows"
    done
}
