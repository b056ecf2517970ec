# The pipelines as jobs of a real Slurm (slurm.bash): what comes out are the bytes of a run without it, and what fails
# is done again alone.

bats_require_minimum_version 1.5.0
load hosts
load slurm
load refuses

setup_file() {
    cd "$BATS_FILE_TMPDIR" || exit 1
    export TOP REASON DUQ_THREADS=1
    REASON=$(slurm_reason)
    [ -z "$REASON" ] || return 0
    TOP=$(realpath "$BATS_TEST_DIRNAME/../..")
    slurm_up || return
    "$TOP/pipelines/run.sh" $(whole base) >said 2>&1 || { cat said; false; }
}

teardown_file() {
    [ -n "$REASON" ] || slurm_down
}

setup() {
    [ -z "$REASON" ] || skip "$REASON"
    cd "$BATS_TEST_TMPDIR" || exit 1
    base=$BATS_FILE_TMPDIR/base
}

whole() { # OUT
    echo "$TOP/examples/sst2" OUT="$1" N_TRAIN=4 N_TEST=12 VALIDATION=4 SHARD=2 EPOCHS=1 BOOTSTRAP=20 DEVICE=cpu \
        --ood "$TOP/examples/youtube"
}

teacher() { # [OPTION]...: the jobs up to the teacher's predictions
    submit --stop-stage teacher "$@"
}

submit() { # [OPTION]...: all jobs, and waits for them
    # shellcheck disable=SC2046 # words
    on_cluster "$TOP/pipelines/slurm/submit.sh" $(whole "$PWD/run") --tasks 3 "$@" >jobs
    until_true 90 queue_empty || { on_cluster squeue; tail -n 30 run/log/slurm/*; false; }
}

queue_empty() {
    [ -z "$(on_cluster squeue --noheader)" ]
}

same() { # FILE...
    local file
    for file; do
        cmp "run/$file" "$base/$file" || return
    done
}

# A run that has all but what the teacher says.
begun() {
    cp -a "$base" run
    rm -rf run/{,.made/,.sums/}{scores,teacher}/{train,test}.mp run/log
}

# Programs as they are, but an lm-score that after half a shard does what $1 says, as long as there is a file "bad"; the
# text of which it is to be the shard is $2.
# shellcheck disable=SC2016 # for that shell to expand
programs() { # COMMAND ID
    mkdir programs
    ln -s "$BUILD"/bin/* programs
    rm programs/lm-score
    printf '%s\n' '#!/bin/bash' "case \"\$*\" in *--digest*) exec $BUILD/bin/lm-score \"\$@\" ;; esac" \
        "echo >>$PWD/starts" "while IFS=\$'\\t' read -r tokens scores; do" \
        "cat \"\$tokens\" >$PWD/tokens.\$\$" \
        "[ ! -e $PWD/bad ] || ! rec to-json $PWD/tokens.\$\$ | grep -q '\"id\":\"$2\"' || { $1; }" \
        "printf '$PWD/tokens.%s\t%s\n' \$\$ \"\$scores\" | $BUILD/bin/lm-score \"\$@\" || exit" 'done' >programs/lm-score
    chmod +x programs/lm-score
    : >bad
    export PROGRAMS=$PWD/programs
}

# What the tasks of the teacher's array said, with their numbers left out.
tasks() {
    cat run/log/slurm/teacher.*.log
}

@test "all stages as jobs make what one process makes" {
    submit
    [ "$(cut -f 2 jobs | tr '\n' ' ')" = \
        "before-validation validation before-teacher teacher before-detection detection to-report " ]
    same {scores,teacher}/{train,test}.mp {predictions/{softmax,dirichlet,baseline,edl}.test,evaluation/metrics}.mp \
        detection/{teacher.youtube,dirichlet.youtube,metrics}.mp
    # Six and two shards over three tasks, then six.
    tasks | sort | cmp - <(printf 'shards/scores.%s.mp\n' test.mp/out.{0..5} train.mp/out.{0,1})
    [ "$(grep -l out run/log/slurm/teacher.*.log | wc -l)" = 3 ]
    [ "$(cat run/log/slurm/detection.*.log | grep -c ^shards/detection.scores.youtube.mp/out)" = 6 ]
    # Again: all is found done.
    rm run/log/slurm/*
    teacher --wait
    [ -z "$(cat run/log/slurm/*)" ]
}

@test "a task that fails is done again alone" {
    begun
    id=$(rec to-json "$base/texts/test.mp" | jq -r .id | sed -n 5p)
    programs "rm $PWD/bad; rec head -n 3 $PWD/tokens.\$\$ >\"\$scores\"; kill -KILL \$\$" "$id"
    teacher
    same teacher/{train,test}.mp
    [ "$(tasks | grep -c 'is tried again')" = 1 ]
    # No shard twice: its task goes on where it failed.
    tasks | grep ^shards | sort | cmp - <(printf 'shards/scores.%s.mp\n' test.mp/out.{0..5} train.mp/out.{0,1})
    # Each task has loaded the model once for its two shards of the test texts, and two tasks for one each of those to
    # train on. The task whose scorer died has done so twice more: for its other shard, and when it was queued again.
    [ "$(wc -l <starts)" = 7 ]
}

@test "a program that hangs is ended after TIMEOUT, and its task done again alone" {
    begun
    id=$(rec to-json "$base/texts/test.mp" | jq -r .id | sed -n 5p)
    programs "rm $PWD/bad; exec sleep 1000" "$id"
    teacher TIMEOUT=5
    same teacher/{train,test}.mp
    [ "$(tasks | grep -c 'is tried again')" = 1 ]
}

@test "a task that keeps failing ends the jobs after it; the same command goes on when it can be done" {
    begun
    id=$(rec to-json "$base/texts/test.mp" | jq -r .id | sed -n 5p)
    programs 'echo out of luck >&2; exit 74' "$id"
    teacher TRIES=1
    [ ! -e run/scores/test.mp ]
    [ "$(tasks | grep -c ^shards)" = 7 ]
    grep -qx 'shard 2: out of luck' run/log/slurm/teacher.*.log
    rm bad run/log/slurm/*
    teacher
    same teacher/{train,test}.mp
    [ "$(tasks | grep -c ^shards)" = 1 ]
}

@test "bad input is tried once" {
    begun
    id=$(rec to-json "$base/texts/train.mp" | jq -r .id | sed -n 1p)
    programs 'exit 65' "$id"
    teacher TRIES=5
    [ "$(tasks | grep -c 'is tried again')" = 0 ]
    [ ! -e run/scores/train.mp ]
}

@test "--wait has the status of the last job, and one for a job that never ran" {
    # The texts are too few: the first of all jobs fails; then the only one.
    refuses_waiting() { # STATUS STAGE
        run -"$1" on_cluster "$TOP/pipelines/slurm/submit.sh" "$TOP/examples/sst2" OUT="$PWD/run" N_TRAIN=4 N_TEST=4 \
            VALIDATION=4000 --tasks 2 --stop-stage "$2" --wait
        until_true 90 queue_empty
        [ ! -e run/scores ]
    }
    refuses_waiting 75 teacher
    [[ $output == *'the last job did not run, for one before it failed: see '*/run/log/slurm* ]]
    refuses_waiting 2 split
    [[ $output =~ ^[0-9]+.to-split$ ]]
}

@test "what has no place in a job is refused" {
    for words in HOSTS=file JOBS=2 '--only teacher' '--tasks 0' '--stop-stage never' --tasks --hosts=file --only=teacher \
        --tasks=0 --stop-stage=never --dry-run --settings --stages; do
        # shellcheck disable=SC2046,SC2086 # words
        run -64 "$TOP/pipelines/slurm/submit.sh" $(whole "$PWD/run") $words
    done
    refuses 64 'which model?' "$TOP/pipelines/slurm/submit.sh" sst2 OUT="$PWD/run" DATA="$PWD"
    mkdir path
    ln -s /usr/bin/dirname path
    PATH=$PWD/path run -69 /bin/bash "$TOP/pipelines/slurm/submit.sh" sst2
    [[ $output == "submit.sh: sbatch is not on the path"* ]]
}
