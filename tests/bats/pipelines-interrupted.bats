# A run of pipelines/ that is cut short, by a key, by a signal to one of its processes or by a full disk, and
# then the same command again: what was finished is not made again, and the results are those of a run that
# nothing happened to. Programs stop or die at a given call (wrap), not after a given time.

load pipelines-fixture
bats_require_minimum_version 1.5.0

setup_file() {
    cd "$BATS_FILE_TMPDIR" || exit 1
    few base >base.said 2>&1 || { cat base.said; false; }
}

setup() {
    cd "$BATS_TEST_TMPDIR" || exit 1
    base=$BATS_FILE_TMPDIR/base
}

teardown() {
    touch go # whatever still waits
}

# The same command after a run whose output is in said.1: it makes nothing of what that one finished.
goes_on() { # COMMAND...
    "$@" 2>said.2 || { cat said.2; false; }
    made said.1 >made.1
    made said.2 >made.2
    # The last target that the first run began is the one it did not finish.
    unfinished=$(sed -n 's/^sst2: [a-z]*: \([^ ]*\)$/\1/p' said.1 | tail -n 1)
    [ "$(comm -12 made.1 made.2 | grep -vx "$unfinished" | paste -sd' ')" = "" ] || {
        echo "made again:"; comm -12 made.1 made.2; false; }
    [ -n "${orphans:-}" ] || grep -qx "$unfinished" made.2 || { cat said.1; false; }
}

@test "a program that dies in the middle of its work" {
    # Half of its output, then SIGKILL: what reads it must not take that for the whole. (Of lora-train nothing.)
    local case program at last
    for case in rec:12:weights prompt-expand:2:weights tok:1:weights lm-score:2:weights bpe-fit:2:teacher \
        lora-train:2:dirichlet dir-eval:1:report; do
        IFS=: read -r program at last <<<"$case"
        wrap "$program" "if [ \$call = $at ]; then
            [ $program = lora-train ] || \"\$real\" \"\$@\" | head -c 700
            kill -KILL \$\$
        fi"
        rm -rf run
        if PROGRAMS=$PWD/bin few run TRIES=1 --stop-stage "$last" 2>said.1; then
            echo "$program: nothing happened"
            false
        fi
        [ -z "$(find run -name '*.part')" ]
        goes_on few run --stop-stage "$last"
        same_results run "$base"
    done
}

@test "a shard that dies is tried again, and the others are kept" {
    wrap lm-score 'if [ $call = 3 ]; then kill -KILL $$; fi'
    PROGRAMS=$PWD/bin few run SHARD=6 --stop-stage validation
    cmp run/scores/validation.mp "$base/scores/validation.mp"
    [ "$(grep -c shard.sh run/log/jobs.scores.validation.mp.tsv)" = 3 ]
    [ "$(find calls -mindepth 1 | wc -l)" = 5 ] # the model's digest, three shards, one of them twice
    # Without another try the shards before it are kept, and the next run does the others alone.
    wrap lm-score 'if [ $call = 4 ]; then kill -KILL $$; fi'
    run env PROGRAMS="$PWD/bin" bash -c "$(declare -f few); top=$top; few again SHARD=6 TRIES=1 --stop-stage validation"
    [ "$status" = 2 ]
    [ "$(cd again/shards/scores.validation.mp && echo out.*)" = "out.0.mp out.1.mp" ]
    wrap lm-score ''
    PROGRAMS=$PWD/bin few again SHARD=6 --stop-stage validation
    [ "$(find calls -mindepth 1 | wc -l)" = 2 ] # the digest and the third shard
    cmp again/scores/validation.mp "$base/scores/validation.mp"
    # Shards of other texts, or of another size, are none of this run's.
    wrap lm-score 'if [ $call = 3 ]; then kill -KILL $$; fi'
    run env PROGRAMS="$PWD/bin" bash -c "$(declare -f few); top=$top; few other SHARD=6 TRIES=1 VALIDATION=12 --stop-stage validation"
    [ "$status" = 2 ]
    few other SHARD=5 --stop-stage validation
    cmp other/scores/validation.mp "$base/scores/validation.mp"
}

@test "a shard whose program hangs is ended after TIMEOUT and tried again, also as a host's" {
    echo : >hosts
    local where
    for where in JOBS=2 HOSTS=hosts; do
        # The second text or shard that is scored; it does not heed SIGTERM.
        wrap lm-score 'case "$*" in
        *--digest* | *--version*) ;;
        *)
            if ! mkdir "$folder/scored.1" 2>/dev/null && mkdir "$folder/scored.2" 2>/dev/null; then
                trap "" TERM
                sleep 1000 &
                echo $$ $! >"$folder/hung"
                wait
            fi
            ;;
        esac'
        rm -rf run scored.* hung
        PROGRAMS=$PWD/bin few run "$where" SHARD=6 TIMEOUT=3 --stop-stage validation 2>said
        cmp run/scores/validation.mp "$base/scores/validation.mp"
        [ -s hung ]
        for pid in $(cat hung); do
            soon ended "$pid"
        done
        grep -q 'timed out\|ended after 3 seconds (TIMEOUT)' said
        # That was its last try.
        rm -rf run scored.* hung
        run env PROGRAMS="$PWD/bin" bash -c "$(declare -f few); top=$top; few run $where SHARD=6 TIMEOUT=3 TRIES=1 --stop-stage validation"
        [ "$status" = 2 ]
        [ -n "$(cd run/shards/scores.validation.mp && echo out.*)" ]
    done
}

@test "a shard whose command cannot begin has failed" {
    mkdir -p shards/said.0
    echo text >shards/in.0.mp
    printf '%s\0' 1 cat 1 cat 1 cat >shards/programs
    run "$top/pipelines/spread/shard.sh" shards 0 1
    [ "$status" = 74 ]
    rm -r shards/said.0 shards/programs
    run "$top/pipelines/spread/shard.sh" shards 0 1
    [ "$status" = 74 ]
    for words in '' '1 cat' '1 cat 1 cat 2 cat' 'x cat 1 cat 1 cat' 'a[$(touch${IFS}harm)] cat 1 cat 1 cat'; do
        # shellcheck disable=SC2086 # words
        printf '%s\0' $words >shards/programs
        run "$top/pipelines/spread/shard.sh" shards 0 1
        [ "$status" = 74 ]
    done
    [ ! -e shards/out.0.mp ] && [ ! -e harm ]
}

@test "a program that refuses its input ends a shard for good, whoever still writes to it" {
    mkdir shards
    echo text >shards/in.0.mp
    printf '%s\0' 1 yes 1 cat 3 bash -c 'read -r; exit 65' >shards/programs
    run "$top/pipelines/spread/shard.sh" shards 0 1
    [ "$status" = 65 ]
    [ "$(cat shards/failed.0)" = 65 ]
}

@test "a user who came by su may not open the terminal, and needs not" {
    [ "$(id -u)" = 0 ] || skip "only root can give a terminal away"
    # Root that keeps to permissions.
    script -qec "chown 65534 \$(tty); exec setpriv --bounding-set=-dac_override,-dac_read_search $(command -v bash) -c '
        (: >/dev/stderr) && exit 9
        $(declare -f few); top=$top; few run --stop-stage weights'" /dev/null </dev/null >said || { cat said; false; }
    cmp run/weights.mp "$base/weights.mp"
}

ended() { # PID: whether or not its parent has asked
    ! grep -q '^State:.[^ZX]' "/proc/$1/status" 2>/dev/null
}

@test "a program that asks a terminal has no answer, and does not wait for one" {
    wrap lora-train 'head -n 1'
    PROGRAMS=$PWD/bin timeout 60 script -qec "bash -c '$(declare -f few); top=$top; few run --stop-stage softmax'" \
        /dev/null </dev/null >said || { cat said; false; }
    cmp run/predictions/softmax.test.mp "$base/predictions/softmax.test.mp"
}

@test "a shard that came to nothing, and nobody said so" {
    wrap lm-score ''
    printf '#!/bin/sh\nexit 0\n' >bin/parallel
    chmod +x bin/parallel
    run env PROGRAMS="$PWD/bin" bash -c "$(declare -f few); top=$top; few run SHARD=6 --stop-stage validation"
    [ "$status" = 2 ]
    [[ $output == *"sst2: shards/scores.validation.mp: shard 0 came to nothing, without a word"* ]]
    [ ! -e run/scores/validation.mp ]
}

@test "a program that was killed counts for more than what others say of its output" {
    # Here, and on a host: both have this function.
    for case in 'kill -KILL $$|cat >/dev/null && exit 65|cat:137' 'exit 66|exit 65|true:65' 'yes|exit 65|cat:65' \
        'true|true|true:0' 'true|true|true >/missing/folder:1'; do
        IFS='|' read -ra programs <<<"${case%:*}"
        printf '3\0bash\0-c\0%s\0' "${programs[@]}" >command
        run bash -c 'set -uo pipefail; source "$1/pipelines/spread/run-command.sh"; run_command command' - "$top"
        [ "$status" = "${case##*:}" ] || { echo "$case: $status"; false; }
    done
}

@test "training goes on after its last checkpoint" {
    options=(EPOCHS=6 CHECKPOINT_EVERY=2)
    few whole "${options[@]}" --stop-stage softmax
    wrap lora-train 'if [ $call = 1 ]; then
        "$real" "$@" &
        until [ -e students/softmax.lora.checkpoint ]; do sleep 0.002; done
        kill -KILL $! $$
    fi
    echo "$@" >"$folder/arguments"'
    run env PROGRAMS="$PWD/bin" bash -c "$(declare -f few); top=$top; few run EPOCHS=6 CHECKPOINT_EVERY=2 --stop-stage softmax"
    [ "$status" = 2 ]
    [ -e run/students/softmax.lora.checkpoint ]
    cp -a run other
    PROGRAMS=$PWD/bin few run "${options[@]}" --stop-stage softmax
    grep -q -- --resume arguments
    cmp run/students/softmax.lora/adapter_model.safetensors whole/students/softmax.lora/adapter_model.safetensors
    cmp run/students/softmax.tsv whole/students/softmax.tsv
    [ ! -e run/students/softmax.lora.checkpoint ]
    # A checkpoint of other settings is not gone on with, nor in the way.
    few other "${options[@]}" LR=2e-3 --stop-stage softmax
    few third "${options[@]}" LR=2e-3 --stop-stage softmax
    cmp other/students/softmax.lora/adapter_model.safetensors third/students/softmax.lora/adapter_model.safetensors
}

# Starts a run whose lm-score waits in its call for a file go; in ancestors, its processes, the wrapper first.
start() { # CALL
    wrap lm-score "if [ \$call = $1 ]; then
        for ((pid = \$\$; pid > 1; pid = \$(cut -d' ' -f4 </proc/\$pid/stat))); do
            echo \"\$pid \$(cat /proc/\$pid/comm)\"
            [ \"\$(cat /proc/\$pid/comm)\" != make ] || break
        done >\"\$folder/ancestors.new\"
        mv \"\$folder/ancestors.new\" \"\$folder/ancestors\"
        for ((i = 0; i < 600; i++)); do
            [ ! -e \"\$folder/go\" ] || break
            sleep 0.05
        done
    fi"
    rm -rf run go ancestors
    # In a process group of its own, as a shell's job has.
    set -m
    (PROGRAMS=$PWD/bin few run TRIES=1 --stop-stage teacher) >/dev/null 2>said.1 3>&- &
    job=$!
    set +m
    soon test -e ancestors
}

idle() { # RUN: nothing is at work there
    flock -n "$1/.lock" true
}

@test "SIGKILL of any process of a run" {
    # lm-score's wrapper, the shard's shell, parallel, the stage's two shells, make
    start 3
    [ "$(cut -d' ' -f2 ancestors | paste -sd' ')" = "bash bash parallel bash bash make" ] || { cat ancestors; false; }
    touch go
    wait "$job"
    for i in 1 2 3 4 5; do
        start 3
        read -r pid name <<<"$(sed -n "$((i + 1))p" ancestors)"
        kill -KILL "$pid"
        if [ "$name" = make ]; then # what is left of the run keeps others out
            run few run
            [ "$status" = 75 ]
            [[ $output == *"is at work there"* ]]
        fi
        touch go
        run wait "$job"
        soon idle run
        # Without the stage's own shell, or make, what is under them finishes the target.
        orphans=$([ $i -lt 4 ] || echo yes) goes_on few run --stop-stage teacher
        same_results run "$base"
    done
}

@test "SIGINT from the terminal and SIGTERM to make end all of a run" {
    for signal in INT TERM; do
        start 3
        if [ $signal = INT ]; then
            kill -INT -- -"$job"
        else
            kill -TERM "$(tail -n 1 ancestors | cut -d' ' -f1)"
        fi
        soon idle run # without go: the waiting lm-score was ended too
        run wait "$job"
        [ "$status" != 0 ]
        [ -z "$(find run -name '*.part')" ]
        while read -r pid name; do
            [ ! -e "/proc/$pid" ] || { echo "left: $name"; false; }
        done <ancestors
        goes_on few run --stop-stage teacher
        same_results run "$base"
    done
}

@test "what ends at once when it is told to leaves nothing behind either" {
    wrap lm-score ''
    printf '#!/bin/sh\ntouch %s\nexec sleep 60\n' "$PWD/begun" >bin/parallel
    chmod +x bin/parallel
    set -m
    (PROGRAMS=$PWD/bin few run --stop-stage validation) >said.1 2>&1 3>&- &
    job=$!
    set +m
    soon test -e begun
    kill -INT -- -"$job"
    soon idle run
    run wait "$job"
    [ "$status" != 0 ]
    [ -z "$(find run -name '*.part')" ]
    [ -d run/shards/scores.validation.mp ]
}

@test "a disk that is full, until there is room" {
    unshare -rm true 2>/dev/null || skip "no user namespaces"
    mkdir disk
    cat >script <<END
        set -euo pipefail
        $(declare -f few same_results)
        top=$top size=0 full=0
        mount -t tmpfs -o size=64k none disk
        for size in 64 128 192 256 384 512 640 768 1024 1536 2048 65536; do
            mount -o remount,size=\${size}k disk
            few disk/run TRIES=1 2>said && break
            grep -q 'No space left on device' said || { cat said; exit 1; }
            full=\$((full + 1))
            cat said >>all
        done
        [ \$full -ge 4 ]
        same_results disk/run "$base"
END
    unshare -rm bash script
    # What was finished on the small disk was not made again on the larger one.
    [ "$(grep -c '^sst2: split: texts/rows.mp$' all)" -le 2 ]
}
