# The pipelines as jobs of a real Slurm (slurm.bash): what comes out are the bytes of a run without it, and what fails
# is done again alone.

bats_require_minimum_version 1.5.0
load hosts
load slurm

setup_file() {
    cd "$BATS_FILE_TMPDIR" || exit 1
    local reason
    reason=$(slurm_reason)
    [ -z "$reason" ] || skip "$reason"
    export TOP OMP_NUM_THREADS=1
    TOP=$(realpath "$BATS_TEST_DIRNAME/../..")
    slurm_up || return
    "$TOP/pipelines/run.sh" $(few base) >said 2>&1 || { cat said; false; }
}

teardown_file() {
    slurm_down
}

setup() {
    cd "$BATS_TEST_TMPDIR" || exit 1
    base=$BATS_FILE_TMPDIR/base
}

few() { # OUT
    echo "$TOP/examples/sst2" OUT="$1" --stop-stage teacher N_TRAIN=4 N_TEST=12 VALIDATION=4 SHARD=2 DEVICE=cpu
}

submit() { # [OPTION]...: all jobs, and waits for them
    # shellcheck disable=SC2046 # words
    on_cluster "$TOP/pipelines/slurm/submit.sh" $(few "$PWD/run") --tasks 3 "$@" >jobs
    until_true 90 queue_empty || { on_cluster squeue; tail -n 30 run/log/slurm/*; false; }
}

queue_empty() {
    [ -z "$(on_cluster squeue --noheader)" ]
}

same() {
    local name
    for name in train test; do
        cmp run/scores/$name.mp "$base/scores/$name.mp" && cmp run/teacher/$name.mp "$base/teacher/$name.mp" || return
    done
}

# Programs as they are, but an lm-score that after half a shard does what $1 says, as long as there is a file "bad"; the
# text of which it is to be the shard is $2.
# shellcheck disable=SC2016 # for that shell to expand
programs() { # COMMAND ID
    mkdir programs
    ln -s "$BUILD"/bin/* programs
    rm programs/lm-score
    printf '%s\n' '#!/bin/bash' "case \"\$*\" in *--digest*) exec $BUILD/bin/lm-score \"\$@\" ;; esac" \
        "cat >$PWD/tokens.\$\$" "[ ! -e $PWD/bad ] || ! rec to-json $PWD/tokens.\$\$ | grep -q '\"id\":\"$2\"' || { $1; }" \
        "exec $BUILD/bin/lm-score \"\$@\" <$PWD/tokens.\$\$" >programs/lm-score
    chmod +x programs/lm-score
    : >bad
    export PROGRAMS=$PWD/programs
}

# What the tasks of the teacher's array said, with their numbers left out.
tasks() {
    cat run/log/slurm/teacher.*.log
}

@test "the stages as jobs make what one process makes" {
    submit
    [ "$(cut -f 2 jobs | tr '\n' ' ')" = "before-validation validation before-teacher teacher to-teacher " ]
    same
    # Six and two shards, over three tasks.
    tasks | sort | cmp - <(printf 'shards/scores.%s.mp\n' test.mp/out.{0..5} train.mp/out.{0,1})
    [ "$(grep -l out run/log/slurm/teacher.*.log | wc -l)" = 3 ]
    # Again: all is found done.
    rm run/log/slurm/*
    submit --wait
    [ -z "$(cat run/log/slurm/*)" ]
}

@test "a task that fails is done again alone" {
    id=$(rec to-json "$base/texts/test.mp" | jq -r .id | sed -n 5p)
    programs "rm $PWD/bad; rec head -n 3 $PWD/tokens.\$\$; kill -KILL \$\$" "$id"
    submit
    same
    [ "$(tasks | grep -c 'is tried again')" = 1 ]
    # No shard twice: its task goes on where it failed.
    tasks | grep ^shards | sort | cmp - <(printf 'shards/scores.%s.mp\n' test.mp/out.{0..5} train.mp/out.{0,1})
}

@test "a task that keeps failing ends the jobs after it; the same command goes on when it can be done" {
    id=$(rec to-json "$base/texts/test.mp" | jq -r .id | sed -n 5p)
    programs 'echo out of luck >&2; exit 74' "$id"
    submit TRIES=1
    [ ! -e run/scores/test.mp ]
    [ "$(tasks | grep -c ^shards)" = 7 ]
    grep -qx 'shard 2: out of luck' run/log/slurm/teacher.*.log
    rm bad run/log/slurm/*
    submit
    same
    [ "$(tasks | grep -c ^shards)" = 1 ]
}

@test "bad input is tried once" {
    id=$(rec to-json "$base/texts/train.mp" | jq -r .id | sed -n 1p)
    programs 'exit 65' "$id"
    submit TRIES=5
    [ "$(tasks | grep -c 'is tried again')" = 0 ]
    [ ! -e run/scores/train.mp ]
}

@test "what has no place in a job is refused" {
    for words in HOSTS=file JOBS=2 '--only teacher' '--tasks 0' '--stop-stage never' --tasks; do
        # shellcheck disable=SC2046,SC2086 # words
        run -64 "$TOP/pipelines/slurm/submit.sh" $(few "$PWD/run") $words
    done
    mkdir path
    ln -s /usr/bin/dirname path
    PATH=$PWD/path run -69 /bin/bash "$TOP/pipelines/slurm/submit.sh" sst2
    [[ $output == "submit.sh: sbatch is not on the path"* ]]
}
