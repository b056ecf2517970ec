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
    # Half of its output, then SIGKILL: what reads it must not take that for the whole. (Of lora-train nothing, and
    # lm-score's is beside the name that it is to have.)
    local case program at last
    for case in rec:12:weights prompt-expand:2:weights tok:1:weights lm-score:2:weights bpe-fit:2:teacher \
        lora-train:2:dirichlet dir-eval:1:report; do
        IFS=: read -r program at last <<<"$case"
        wrap "$program" "if [ \$call = $at ]; then
            if [ $program = lm-score ]; then
                IFS=\$'\\t' read -r tokens scores
                \"\$real\" \"\${@:1:\$# - 2}\" <\"\$tokens\" | head -c 700 >\"\$scores.part.XXXXXX\"
            elif [ $program != lora-train ]; then
                \"\$real\" \"\$@\" | head -c 700
            fi
            kill -KILL \$\$
        fi"
        rm -rf run
        if PROGRAMS=$PWD/bin few run TRIES=1 --stop-stage "$last" 2>said.1; then
            echo "$program: nothing happened"
            false
        fi
        [ -z "$(find run -name '*.part*')" ]
        goes_on few run --stop-stage "$last"
        same_results run "$base"
    done
}

@test "a scorer that dies in the middle of a shard costs that shard, which is tried again by another one" {
    wrap_shards 'if [ $shard = 2 ]; then "$real" "${@:1:$# - 2}" <"$tokens" | head -c 700 >"$scores.part.XXXXXX"; kill -KILL $$; fi'
    PROGRAMS=$PWD/bin few run SHARD=6 --stop-stage validation 2>said
    cmp run/scores/validation.mp "$base/scores/validation.mp"
    tries run scores.validation.mp | diff <(printf ': %s\n' '0 0' '137 1' '0 1' '0 2') -
    grep -qx 'shard 1: a program was ended by signal 9' said
    [ "$(starts) $(shards_given)" = "2 4" ]
    # Without another try the shards before it are kept, and the next run does the others alone.
    wrap_shards 'if [ $shard = 3 ]; then kill -KILL $$; fi'
    run env PROGRAMS="$PWD/bin" bash -c "$(declare -f few); top=$top; few again SHARD=6 TRIES=1 --stop-stage validation"
    [ "$status" = 2 ]
    [ "$(cd again/shards/scores.validation.mp && echo out.*)" = "out.0.mp out.1.mp" ]
    wrap_shards :
    PROGRAMS=$PWD/bin few again SHARD=6 --stop-stage validation
    [ "$(shards_given)" = 1 ]
    cmp again/scores/validation.mp "$base/scores/validation.mp"
    # Shards of other texts, or of another size, are none of this run's.
    wrap_shards 'if [ $shard = 2 ]; then kill -KILL $$; fi'
    run env PROGRAMS="$PWD/bin" bash -c "$(declare -f few); top=$top; few other SHARD=6 TRIES=1 VALIDATION=12 --stop-stage validation"
    [ "$status" = 2 ]
    few other SHARD=5 --stop-stage validation
    cmp other/scores/validation.mp "$base/scores/validation.mp"
}

@test "a scorer that dies between two shards costs the next one a try, and no result" {
    wrap_shards 'if [ $call = 2 ] && [ $shard = 1 ]; then
        printf "%s\t%s\n" "$tokens" "$scores" | "$real" "$@"
        kill -KILL $$
    fi'
    PROGRAMS=$PWD/bin few run SHARD=6 --stop-stage validation
    cmp run/scores/validation.mp "$base/scores/validation.mp"
    tries run scores.validation.mp | diff <(printf ': %s\n' '0 0' '137 1' '0 1' '0 2') -
}

@test "a slot loads the model once, and an error in one shard's input ends the run with the program's words" {
    wrap_together ''
    local jobs
    for jobs in 1 2; do
        rm -rf run calls/*
        echo $jobs >slots
        PROGRAMS=$PWD/bin few run SHARD=2 JOBS=$jobs --stop-stage validation
        cmp run/scores/validation.mp "$base/scores/validation.mp"
        [ "$(tries run scores.validation.mp | grep -c ': 0 ')" = 8 ]
        [ "$(starts)" = $jobs ]
    done
    # A target with fewer shards than there are jobs.
    rm -rf run calls/*
    echo 3 >slots
    PROGRAMS=$PWD/bin few run SHARD=6 JOBS=5 --stop-stage validation
    [ "$(starts)" = 3 ]
    # The third shard is no stream.
    wrap prompt-expand "if [ \$call = 4 ]; then head -c 100; cat >/dev/null; exit; fi"
    rm -rf run
    run env PROGRAMS="$PWD/bin" bash -c "$(declare -f few); top=$top; few run SHARD=2 --stop-stage validation"
    [ "$status" = 2 ]
    [[ $output == *"shard 2: tok: "* && $output != *"shard 3"* ]]
    [ "$(cat run/shards/scores.validation.mp/failed.2)" = 65 ]
    [ "$(cd run/shards/scores.validation.mp && echo out.* part.*)" = "out.0.mp out.1.mp part.*" ]
    tries run scores.validation.mp | diff <(printf ': %s\n' '0 0' '0 1' '65 2') -
    few run SHARD=2 --stop-stage validation
    cmp run/scores/validation.mp "$base/scores/validation.mp"
}

@test "a scorer that hangs in the middle of its shards is ended with all that it started, and another one goes on" {
    wrap_shards 'if [ $shard = 2 ]; then
        trap "" TERM
        sleep 1000 &
        echo $$ $! >"$folder/hung"
        wait
    fi'
    PROGRAMS=$PWD/bin few run SHARD=6 TIMEOUT=5 --stop-stage validation 2>said
    cmp run/scores/validation.mp "$base/scores/validation.mp"
    for pid in $(cat hung); do
        soon ended "$pid"
    done
    grep -qx 'shard 1: ended after 5 seconds (TIMEOUT)' said
    [ "$(tries run scores.validation.mp | cut -d' ' -f2,3 | paste -sd,)" = "0 0,124 1,0 1,0 2" ]
    [ "$(starts)" = 2 ]
    # So is what hangs before the scorer.
    wrap tok 'if [ $call = 3 ]; then
        sleep 1000 &
        echo $$ $! >"$folder/hung"
        wait
    fi'
    rm -rf run hung
    PROGRAMS=$PWD/bin few run SHARD=6 TIMEOUT=5 --stop-stage validation 2>said
    cmp run/scores/validation.mp "$base/scores/validation.mp"
    for pid in $(cat hung); do
        soon ended "$pid"
    done
}

@test "a scorer that fails after its last shard is named, and its results are taken" {
    wrap_shards 'printf "%s\t%s\n" "$tokens" "$scores" | "$real" "$@"; [ $shard = 1 ] || exit 71; continue'
    PROGRAMS=$PWD/bin few run SHARD=8 --stop-stage validation 2>said
    grep -qx 'slot 1: its scorer ended with status 71 after the last shard' said
    cmp run/scores/validation.mp "$base/scores/validation.mp"
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
    mkdir -p shards/said.1
    echo text >shards/in.0.mp
    printf '%s\0' 1 cat 1 cat 1 cat >shards/programs
    run "$top/pipelines/spread/slot.sh" shards 1
    [ "$status" = 74 ]
    rm -r shards/said.1 shards/programs
    run "$top/pipelines/spread/slot.sh" shards 1
    [ "$status" = 74 ]
    for words in '' '1 cat' '1 cat 1 cat 2 cat' 'x cat 1 cat 1 cat' 'a[$(touch${IFS}harm)] cat 1 cat 1 cat'; do
        # shellcheck disable=SC2086 # words
        printf '%s\0' $words >shards/programs
        run "$top/pipelines/spread/slot.sh" shards 1
        [ "$status" = 74 ]
    done
    [ ! -e shards/out.0.mp ]
    [ ! -e harm ]
}

@test "a program that refuses its input ends a shard for good, whoever still writes to it" {
    mkdir shards
    echo text >shards/in.0.mp
    printf '%s\0' 1 yes 1 cat 3 bash -c 'read -r; exit 65' >shards/programs
    run "$top/pipelines/spread/slot.sh" shards 1
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
    mkdir shards
    echo text >shards/in.0.mp
    local done='IFS=$'"'\\t'"' read -r tokens scores; cat "$tokens" >"$scores"; echo "$scores"; read -r'
    local refuses='IFS=$'"'\\t'"' read -r tokens scores; cat "$tokens" >"$scores"; exit 65'
    for case in "kill -KILL \$\$|cat >/dev/null && exit 65|$refuses:137" "exit 66|exit 65|$done:65" "yes|exit 65|$refuses:65" \
        "true|echo tokens|$done; exit:0" "true|true|$done:70" 'true|true|read -r:70' 'true|true|true >/missing/folder:1' \
        'true|true|kill -TERM $$:143'; do
        IFS='|' read -ra programs <<<"${case%:*}"
        printf '3\0bash\0-c\0%s\0' "${programs[@]}" >shards/programs
        rm -f shards/{failed,tries,out}.*
        run "$top/pipelines/spread/slot.sh" shards 1
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
    # lm-score's wrapper, its slot's two shells, parallel, the stage's two shells, make
    start 3
    [ "$(cut -d' ' -f2 ancestors | paste -sd' ')" = "bash bash bash parallel bash bash make" ] || { cat ancestors; false; }
    touch go
    wait "$job"
    for i in 1 2 3 4 5 6; do
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
        orphans=$([ $i -lt 5 ] || echo yes) goes_on few run --stop-stage teacher
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
            soon ended "$pid" || { echo "left: $name"; false; }
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
