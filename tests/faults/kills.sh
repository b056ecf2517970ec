#!/usr/bin/env bash
# Kills one process of a pipeline, by SIGKILL or SIGTERM, at a random moment, again and again: a pipeline typed by hand
# (rec | prompt-expand | tok | lm-score | bpe-fit -o), and a data set's run (pipelines/run.sh). Each must end in the
# right result, or in a status that is not zero, with nothing half written under a final name; the same command after
# it must give the right result.
# usage: tests/faults/kills.sh
#        KILLS=N RUN_KILLS=N   how many of the one and of the other (500, 20)
#        FAULT_SEED=N          of what is drawn (1)
# Says what was killed when, and the findings; the status is 1 where there are any.
set -u
shopt -s nullglob
cd "$(dirname "$0")/../.." || exit 1
root=$PWD build=$(realpath "${BUILD:-build}")
export BUILD=$build PATH=$build/bin:$PATH LC_ALL=C.UTF-8 DUQ_THREADS=1 DUQ_CUDA_PLUGIN=/nonexistent
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
RANDOM=${FAULT_SEED:-1}
findings=0

finding() { # TEXT
    echo "FINDING: $1"
    findings=$((findings + 1))
}

now() {
    local t=${EPOCHREALTIME//[.,]/}
    echo "$t"
}

# Into signal and moment: one of the two, and a part of so many microseconds, in seconds.
draw() { # MICROSECONDS
    local signals=(KILL TERM) t=$(((RANDOM * 32768 + RANDOM) % $1))
    signal=${signals[RANDOM % 2]}
    printf -v moment '%d.%06d' $((t / 1000000)) $((t % 1000000))
}

# ---- by hand ----

stages=(rec prompt-expand tok lm-score bpe-fit)

# Runs as this process, which says its number first.
stage() { # NUMBER COMMAND...
    echo $BASHPID >"pid.$1"
    exec "${@:2}" 2>"said.$1"
}

# The texts, slowly: so that no stage is done long before the last.
feed() {
    local line
    while IFS= read -r line; do
        sleep 0.05
        echo "$line"
    done <texts.csv
}

by_hand() {
    set -o pipefail
    feed 2>/dev/null |
        stage 0 rec from-csv --id idx --text sentence --label label |
        stage 1 prompt-expand --task "$root/examples/sst2/task.json" --zero-shot |
        stage 2 tok --model "$root/examples/model" |
        stage 3 lm-score --model "$root/examples/model" |
        stage 4 bpe-fit -o weights.mp
}

# Whether what was said is enough for a status: a process that a signal ended says nothing, its status does.
is_told() { # STATUS
    [ "$1" -gt 128 ] || [ -n "$(cat said.*)" ]
}

# One of those that have begun and are not done; into victim.
choose_victim() {
    local i file there=()
    for file in pid.*; do
        i=${file#pid.}
        [ -s "$file" ] && kill -0 "$(<"$file")" 2>/dev/null && there+=("$i")
    done
    [ ${#there[@]} -gt 0 ] || return
    i=${there[RANDOM % ${#there[@]}]}
    if kill -s "$signal" "$(<"pid.$i")" 2>/dev/null; then
        victim=${stages[i]}
        killed[i]=$((killed[i] + 1))
    fi
}

kill_by_hand() { # NUMBER MICROSECONDS
    local victim='' signal moment status=0 job what left
    draw "$2"
    rm -f pid.* said.* weights.mp
    (by_hand) 2>/dev/null &
    job=$!
    sleep "$moment"
    choose_victim
    wait $job || status=$?
    what="$1: ${victim:-nothing}, SIG$signal after $moment s: status $status"
    [ $status = 0 ] && [ ! -e weights.mp ] && finding "$what, but no result"
    [ ! -e weights.mp ] || cmp -s weights.mp expected.mp || finding "$what: another result under the final name"
    [ $status = 0 ] || failures=$((failures + 1))
    [ $status -le 128 ] || [ $status = 137 ] || [ $status = 143 ] || [ $status = 141 ] || finding "$what"
    [ $status = 0 ] || is_told $status || finding "$what without a message"
    left=(weights.mp.part.*)
    [ ${#left[@]} = 0 ] || [ "$victim $signal" = 'bpe-fit KILL' ] || finding "$what: a temporary file is left"
    [ $status = 0 ] && return
    (by_hand) 2>/dev/null || finding "$what: the same command fails after it: $(cat said.*)"
    cmp -s weights.mp expected.mp || finding "$what: the same command gives another result after it"
    rm -f weights.mp.part.*
}

kill_all_by_hand() { # TIMES
    local i began duration killed=(0 0 0 0 0) failures=0
    mkdir "$work/by-hand" && cd "$work/by-hand" || exit 1
    head -n 13 "$root/examples/data/sst2.csv" >texts.csv
    (by_hand) || { cat said.*; exit 2; }
    mv weights.mp expected.mp
    began=$(now)
    (by_hand) || exit 2
    duration=$(($(now) - began))
    for ((i = 1; i <= $1; i++)); do
        kill_by_hand $i $duration
    done
    for i in "${!stages[@]}"; do
        echo "by hand: ${stages[i]} killed ${killed[i]} times"
    done
    echo "by hand: $1 pipelines, $failures failed, $findings findings"
}

# ---- a data set's run ----

a_run() { # OUT
    "$root/pipelines/run.sh" "$root/examples/sst2" OUT="$1" N_TRAIN=12 N_TEST=10 VALIDATION=8 EPOCHS=1 BOOTSTRAP=20 DEVICE=cpu
}

# The processes of a session, but its first.
members() { # SESSION
    pgrep -s "$1" | grep -vxF "$1"
}

# The run's results in words that do not depend on when it was.
results() { # OUT
    (cd "$1" && find texts scores weights.mp teacher students predictions -name '*.mp' -print0 | sort -z | xargs -0 sha256sum &&
        find students -name '*.safetensors' -print0 | sort -z | xargs -0 sha256sum)
}

kill_in_run() { # NUMBER MICROSECONDS
    local signal moment status=0 job pids pid what deadline
    draw "$2"
    rm -rf run
    setsid bash -c 'exec "$@"' - "$root/tests/faults/kills.sh" --a-run run >said.run 2>&1 &
    job=$!
    sleep "$moment"
    mapfile -t pids < <(members $job)
    if [ ${#pids[@]} -gt 0 ]; then
        pid=$((pids[RANDOM % ${#pids[@]}]))
        what=$(ps -o comm= -p $pid)
        kill -s "$signal" $pid 2>/dev/null && hits=$((hits + 1))
    fi
    wait $job || status=$?
    # What a killed shell has left running.
    deadline=$((SECONDS + 300))
    while [ -n "$(members $job)" ] && [ $SECONDS -lt $deadline ]; do sleep 0.2; done
    what="run $1: ${what:-nothing}, SIG$signal after $moment s: status $status"
    [ -z "$(members $job)" ] || finding "$what: processes are left"
    echo "$what"
    if [ $status != 0 ]; then
        failures=$((failures + 1))
        [ -s said.run ] || finding "$what without a message"
        a_run run >said.again 2>&1 || finding "$what: the same command fails after it: $(tail -n 3 said.again)"
    fi
    results run | cmp -s - expected || finding "$what: other results"
}

kill_all_in_run() { # TIMES
    local i began duration hits=0 failures=0 before=$findings
    mkdir "$work/run" && cd "$work/run" || exit 1
    began=$(now)
    a_run base >said.base 2>&1 || { tail -n 5 said.base; exit 2; }
    duration=$(($(now) - began))
    results base >expected
    for ((i = 1; i <= $1; i++)); do
        kill_in_run $i $duration
    done
    echo "a data set's run: $1 runs, $hits processes killed, $failures runs failed, $((findings - before)) findings"
}

if [ "${1-}" = --a-run ]; then
    cd "$OLDPWD" || exit 1
    a_run "$2"
    exit
fi
kill_all_by_hand "${KILLS:-500}"
[ "${RUN_KILLS:-20}" = 0 ] || kill_all_in_run "${RUN_KILLS:-20}"
[ $findings = 0 ]
