# Scoring spread over hosts (HOSTS=): two hosts with a real sshd each, that share nothing (hosts.bash). However they
# fail, what comes out are the bytes of a run on this machine alone, and what was done is not done again.

bats_require_minimum_version 1.5.0
load hosts

setup_file() {
    cd "$BATS_FILE_TMPDIR" || exit 1
    export TOP REASON DUQ_THREADS=1
    REASON=$(hosts_reason)
    [ -z "$REASON" ] || return 0
    TOP=$(realpath "$BATS_TEST_DIRNAME/../..")
    alone base >said 2>&1 || { cat said; false; }
    hosts_up 2 || return
    # With a carriage return, as some editors leave it.
    printf '1/host1 bin=/root/bin model=/root/model\r\n1/host2 bin=/root/bin model=/root/model\n' >hosts
}

teardown_file() {
    [ -n "$REASON" ] || hosts_down
}

setup() {
    [ -z "$REASON" ] || skip "$REASON"
    cd "$BATS_TEST_TMPDIR" || exit 1
    base=$BATS_FILE_TMPDIR/base
    # What the teacher says of the test texts is to be worked out again, in six shards.
    cp -a "$base" run
    rm -rf run/{scores,teacher}/test.mp run/.made/{scores,teacher}/test.mp run/.sums/{scores,teacher}/test.mp run/log
    local i
    for i in 1 2; do
        [ -n "$(pgrep -P "$(cat "$LAN/host$i/unshare")")" ] || host_start "$i"
        host_mend "$i"
        rm -rf "$LAN/host$i"/tmp/* # hosts that were lost kept something
        equip "$i"
    done
}

teardown() {
    [ -z "${running:-}" ] || kill -KILL -- "-$running" 2>/dev/null || true
}

# few OUT [SETTING]...: up to the teacher's predictions.
few() {
    local out=$1
    shift
    "$TOP/pipelines/run.sh" "$TOP/examples/sst2" OUT="$out" --stop-stage teacher N_TRAIN=2 N_TEST=12 VALIDATION=4 \
        SHARD=2 DEVICE=cpu "$@"
}

alone() {
    few "$1" SHARD=12 "${@:2}"
}

spread() { # [SETTING]...: run, on the hosts
    on_lan "$TOP/pipelines/run.sh" "$TOP/examples/sst2" OUT=run --stop-stage teacher N_TRAIN=2 N_TEST=12 VALIDATION=4 \
        SHARD=2 DEVICE=cpu HOSTS="$BATS_FILE_TMPDIR/hosts" SSH="ssh -F $LAN/hosts.conf" SILENCE=20 "$@"
}

# With little patience, for what is to be lost.
spread_in_background() { # [SETTING]...
    set -m
    spread SILENCE=3 "$@" >said 2>&1 3>&- 4>&- &
    running=$!
    set +m
}

# The run that is under way ends: with this status.
ends() { # STATUS
    local status=0
    wait "$running" || status=$?
    running=
    [ $status = "$1" ] || { echo "status $status"; cat said; false; }
}

same() {
    cmp run/scores/test.mp "$base/scores/test.mp"
    cmp run/teacher/test.mp "$base/teacher/test.mp"
}

# Programs and a model of its own for a host. Its lm-score does as home/mode says from the home/after-th text or shard
# on (the first is the text that every host is tried with): "stall" half way, "cut" its output short. It notes each of
# its starts in home/gpus.
# shellcheck disable=SC2016 # for the host to expand
equip() { # I
    local home=$LAN/host$1/home
    rm -rf "$home"/{bin,model,calls,mode,midway,gpus}
    mkdir -p "$home/bin/real"
    cp "$BUILD"/bin/{prompt-expand,tok} "$home/bin"
    cp "$BUILD"/bin/lm-score "$home/bin/real"
    cp -r "$TOP/examples/model" "$home/model"
    printf '%s\n' '#!/bin/bash' 'real=/root/bin/real/lm-score' \
        'case "$*" in *--digest* | *--version*) exec $real "$@" ;; esac' \
        'echo "${CUDA_VISIBLE_DEVICES-none}" >>/root/gpus' \
        'while IFS=$'"'\\t'"' read -r tokens scores; do' \
        '  calls=$(cat /root/calls 2>/dev/null || echo 0) mode=; echo $((calls + 1)) >/root/calls' \
        '  [ "$calls" -lt "$(cat /root/after)" ] || mode=$(cat /root/mode 2>/dev/null)' \
        '  case $mode in' \
        '  stall) $real "${@:1:$# - 2}" <"$tokens" | head -c 300 >"$scores"; : >/root/midway; exec sleep infinity ;;' \
        '  cut) $real "${@:1:$# - 2}" <"$tokens" | head -c 300 >"$scores"; echo "$scores" ;;' \
        '  head) $real "${@:1:$# - 2}" --head softmax <"$tokens" >"$scores"; echo "$scores" ;;' \
        '  *) printf "%s\t%s\n" "$tokens" "$scores" | $real "$@" ;;' '  esac' 'done' >"$home/bin/lm-score"
    chmod +x "$home/bin/lm-score"
    echo 1 >"$home/after"
}

mode() { # I MODE [AFTER]
    echo "$2" >"$LAN/host$1/home/mode"
    echo "${3:-1}" >"$LAN/host$1/home/after"
}

midway() { # I
    [ -e "$LAN/host$1/home/midway" ]
}

# Shards in the order they ended, with host and exit status.
jobs() {
    awk -F '\t' 'NR > 1 { print $2, $5, $1 }' run/log/shards.scores.test.mp.tsv
}

@test "two hosts, and this machine, make what one process makes" {
    cat >hosts <<END
# one with two GPUs, called as a file of the pipeline's own, one of two places, and this machine

2/list model=/root/model bin=/root/bin gpus=3,5
2/root@host2:22 bin=/root/bin model=/root/model  # user and port
:
END
    { cat "$LAN/hosts.conf" && printf '%s\n' 'Host list' 'HostName 10.0.0.1'; } >conf
    spread HOSTS=hosts SSH="ssh -F $PWD/conf"
    same
    [ "$(jobs | cut -d ' ' -f 2,3 | sort)" = "$(printf '0 %s\n' 0 1 2 3 4 5)" ]
    clean
    [ ! -e run/shards/scores.test.mp ]
    # A GPU is its shard's alone; the text that a host is tried with goes to the first.
    [ "$(sort "$LAN/host1/home/gpus" | uniq | tr '\n' ' ')" = "3 5 " ]
    [ "$(sort -u "$LAN/host2/home/gpus")" = none ]
    # Each of a host's places loads the model once at the most, and so did the trial.
    [ "$(wc -l <"$LAN/host1/home/gpus")" -le 3 ]
    [ "$(wc -l <"$LAN/host2/home/gpus")" -le 3 ]
}

@test "a host that is killed in the middle of a shard costs that shard's time alone" {
    mode 1 stall
    spread_in_background
    until_true 30 midway 1
    host_kill 1
    ends 0
    same
    grep -q '^host1 is lost, at shard [0-5]; ' said
    [ "$(jobs | awk '$1 == "host2" && $2 == 0' | wc -l)" = 6 ]
}

@test "a host that is cut off in the middle of a shard, without a word, costs that shard's time alone" {
    mode 2 stall 2
    spread_in_background
    until_true 30 midway 2
    host_cut 2
    ends 0
    same
    grep -q '^host2 is lost, at shard [0-5]; ' said
    [ "$(jobs | awk '$1 == "host2" && $2 == 0' | wc -l)" = 1 ]
    # When the cable is back the host finds that nobody waits, and stops.
    host_mend 2
    until_true 20 idle 2
}

idle() { # I: no scoring there
    [ -z "$(pgrep --ns "$(cat "$LAN/host$1/pid")" --nslist pid -f 'lm-score|sleep')" ]
}

@test "when every host is lost the run says so, keeps what was done, and goes on from there" {
    mode 1 stall 2
    mode 2 stall 3
    spread_in_background
    until_true 30 midway 1
    until_true 30 midway 2
    host_kill 1
    host_kill 2
    ends 2
    grep -q 'every host is lost; 3 of 6 shards are done and kept' said
    [ ! -e run/teacher/test.mp ]
    ls -l --time-style=full-iso run/shards/scores.test.mp/out.*.mp >kept
    run -2 spread SILENCE=3
    [[ $output == *"host1 does not answer and is left out: "*"no host of "*" answers"* ]]
    host_start 1
    host_start 2
    rm "$LAN"/host?/home/mode
    spread
    same
    [ "$(wc -l <kept)" = 3 ]
    [ "$(jobs | awk '$2 == 0' | wc -l)" = 6 ]
}

@test "a result that was cut short is not taken" {
    mode 1 cut
    spread 2>said
    same
    grep -q '^shard [0-5] on host1: rec: ' said
    [ "$(jobs | awk '$2 == 0 { print $1 }' | sort -u)" = host2 ]
}

@test "a program that hangs on a host is ended there, and its shard done by another" {
    mode 1 stall
    spread TIMEOUT=5 2>said || { cat said; false; }
    same
    grep -q '^shard [0-5] on host1: ended after 5 seconds (TIMEOUT)$' said
    [ "$(jobs | awk '$2 == 0 { print $1 }' | sort -u)" = host2 ]
    until_true 20 idle 1
    clean
    # With the first text, too.
    rm -rf run/.made/scores/test.mp run/scores/test.mp
    mode 1 stall 0
    spread TIMEOUT=5 2>said || { cat said; false; }
    same
    grep -q 'host1 does not score one text within 5 seconds (TIMEOUT) and is left out' said
    until_true 20 idle 1
    clean
}

@test "a host is found lost by its own connection, whatever connection the user's ssh keeps to it" {
    printf '%s\n' 'Host *' 'ControlMaster auto' "ControlPath $LAN/kept-%h" 'ControlPersist 60' |
        cat - "$LAN/hosts.conf" >kept.conf
    on_lan ssh -F kept.conf host1 true 3>&- 4>&-
    mode 1 stall
    spread_in_background SSH="ssh -F $PWD/kept.conf"
    until_true 30 midway 1
    host_cut 1
    until_true 60 grep -q '^host1 is lost, at shard [0-5]; ' said
    ends 0
    on_lan ssh -F kept.conf -O exit host1
    same
}

@test "a host whose shell says something by itself is refused with what it says" {
    echo 'echo Welcome to host1' >bashrc
    sed 's|/bin/sh$|/bin/bash|' "$LAN/host1/etc/passwd" >passwd
    cp "$LAN/host1/etc/passwd" passwd.before
    cat passwd >"$LAN/host1/etc/passwd" # the same file: it is mounted there
    cp bashrc "$LAN/host1/home/.bashrc"
    run -2 spread
    cat passwd.before >"$LAN/host1/etc/passwd"
    [[ $output == *"host1 cannot be used (HOSTS): a shell there (~/.bashrc and the like) must not write to standard output"* ]]
    [[ $output == *"as it does: Welcome to host1"* ]]
    clean
    # With another shell its bash says nothing.
    spread
    rm "$LAN/host1/home/.bashrc"
    same
}

@test "a host that does not answer at first is left out" {
    host_cut 1
    spread SILENCE=3 2>said
    same
    grep -q 'host1 does not answer and is left out: ' said
    # The other one has loaded the model for its trial, and once for all six shards.
    [ "$(wc -l <"$LAN/host2/home/gpus")" = 2 ]
}

@test "a user's shell and options of GNU parallel, or none, change nothing" {
    SHELL=/bin/false PARALLEL=--dry-run spread
    same
    rm -rf run/.made/scores/test.mp run/scores/test.mp
    (unset SHELL && spread)
    same
    [ "$(jobs | awk '$2 == 0' | wc -l)" = 12 ]
}

@test "a host with another model, tokenizer or version is refused by name before the first shard" {
    home=$LAN/host2/home
    local gpus
    for gpus in '' '0;1'; do
        echo "host1 gpus=$gpus" >hosts
        run -2 spread HOSTS=hosts
        [[ $output == *"hosts:1: not GPUs as in gpus=0,1 -- gpus=$gpus"* ]]
    done
    cp -r "$home/model" model
    jq '.rope_theta = 9000' model/config.json >"$home/model/config.json"
    run -2 spread
    [[ $output == *"host2 is not like this machine (HOSTS). There model xxh64:"*", here model xxh64:"* ]]
    mv "$home/model/tokenizer.json" .
    run -2 spread
    [[ $output == *"host2 is not like this machine (HOSTS). There model xxh64:"*", here model xxh64:"* ]]
    mv tokenizer.json "$home/model"
    cp model/config.json "$home/model"
    jq -c . model/tokenizer.json >"$home/model/tokenizer.json"
    run -2 spread
    [[ $output == *"host2 is not like this machine (HOSTS). There tokenizer.json "*", here tokenizer.json "* ]]
    cp model/tokenizer.json "$home/model"
    printf '#!/bin/sh\necho "tok (duq) 0.0.7"\n' >"$home/bin/tok"
    chmod +x "$home/bin/tok"
    run -2 spread
    [[ $output == *"host2 is not like this machine (HOSTS). There tok tok (duq) 0.0.7, here tok tok (duq) 0."* ]]
    rm "$home/bin/tok"
    run -2 spread
    [[ $output == *"host2 cannot be used (HOSTS): tok is not on the path there; bin="* ]]
    cp "$BUILD/bin/tok" "$home/bin"
    mode 2 head 0
    run -2 spread
    [[ $output == *"host2 is not like the others (HOSTS): schema is "*", and "*" on host1"* ]]
    [ ! -e run/log/shards.scores.test.mp.tsv ]
    clean
}

# Processes of the run: those that hold its lock.
holders() { # [NAME]: with this name
    local process
    for process in /proc/[0-9]*; do
        [ "$(readlink "$process/fd/9")" = "$(realpath run/.lock)" ] || continue
        [ -n "${1:-}" ] && [ "$(cat "$process/comm")" != "$1" ] || echo "${process#/proc/}"
    done 2>/dev/null
}

@test "when GNU parallel or all of the run is killed, nothing goes on on the hosts" {
    local name
    for name in parallel ''; do
        rm -f "$LAN"/host?/home/{midway,calls}
        mode 1 stall
        mode 2 stall
        spread_in_background
        until_true 30 midway 1
        until_true 30 midway 2
        # shellcheck disable=SC2046 # numbers
        kill -KILL $(holders $name)
        until_true 30 idle 1
        until_true 30 idle 2
        until_true 30 flock -n run/.lock true
        wait "$running" || true
        rm -rf run/shards
    done
}

@test "when the run is told to stop, nothing is left on the hosts" {
    local after
    for after in 0 1; do # while hosts are tried, and with shards
        rm -f "$LAN"/host?/home/{midway,calls}
        mode 1 stall $after
        mode 2 stall $after
        spread_in_background
        until_true 30 midway 1
        until_true 30 midway 2
        kill -INT -- "-$running"
        until_true 30 idle 1
        until_true 30 idle 2
        until_true 30 clean
        until_true 30 flock -n run/.lock true
    done
}

clean() { # nothing that was sent is left on a host
    [ -z "$(find "$LAN"/host?/tmp -mindepth 1)" ]
}

@test "a file of hosts that cannot be understood is refused, with the line" {
    read_file() { # LINE...
        printf '%s\n' "$@" >hosts
        run -65 bash -c 'fail() { echo "$2"; exit "$1"; }; source "$TOP/pipelines/spread/hosts.sh"
            HOSTS=../hosts folder=.; cd run && read_hosts'
    }
    for line in 'user@' '0/host1' 'host1 bin' 'host1 cpu=3' 'host1;true' 'host2 bin=/root/bin'; do
        read_file host2 "$line"
        [[ $output == *"hosts:2: "* ]] || { echo "$line: $output"; false; }
    done
    read_file '# none'
    [[ $output == *"hosts: names no host"* ]]
    run -66 spread HOSTS=missing
    run -64 spread JOBS=2
}
