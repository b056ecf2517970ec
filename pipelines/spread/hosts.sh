# shellcheck shell=bash disable=SC2030,SC2031,SC2153,SC2154
# Spreading over hosts, by ssh. HOSTS is a file with a host a line,
#     [PLACES/][USER@]HOST[:PORT] [bin=FOLDER] [model=FOLDER] [gpus=N,N,...]
# or ":" for this machine; PLACES is how many shards it has at a time. Hosts need the programs, the model, bash and
# sshd; they share no files. Each place is a slot, which takes shards as it gets free (shards.sh), sends them over its
# connection one after another, and gets the results back over it (host-slot.sh, on-host.sh).
#
# Before the first shard each host gets the files that the command reads, says what its programs, model and
# tokenizer are, and scores one text. A host that does not answer is left out. One that answers differently ends
# the run, for its shards would not be like the others.

quote() { # WORD...: for the shell on the other side, whichever it is
    local word
    for word; do
        printf "'%s' " "${word//\'/\'\\\'\'}"
    done
}

# Becomes the command on the host. A host that says nothing for SILENCE seconds is lost, also where nobody tells us
# that the connection broke: so the connection is our own, not one that a user's ssh keeps for all, which has its own
# patience. After TIMEOUT seconds the command is ended, with status 124.
remote() { # LOGIN COMMAND
    local -a limit=() ssh
    # In our process group, where whoever ends a shard ends this too.
    [ -z "$TIMEOUT" ] || limit=(timeout --foreground --kill-after=5 "$TIMEOUT")
    [ "$1" != : ] || exec "${limit[@]}" bash -c "$2"
    read -ra ssh <<<"$SSH" # it may have options
    exec "${limit[@]}" "${ssh[@]}" -T -o BatchMode=yes -o ConnectTimeout="$SILENCE" -o ServerAliveCountMax=3 \
        -o ServerAliveInterval=$(((SILENCE + 2) / 3)) -o ControlPath=none -o ClearAllForwardings=yes "ssh://$1" "$2"
}

on_host() { # LOGIN ARGUMENT...: becomes on-host.sh, in the folder that was made there
    remote "$1" "exec bash --norc $(quote "$(cat "$folder/hosts/of/$1/folder")/on-host.sh" "${@:2}")"
}

# A shard as on-host.sh takes it.
send() { # SHARD
    stat -c %s "$1" && cat "$1"
}

# One shard there and its result back, to standard output. What is sent to stays open for as long as the result is
# wanted: see serve in scorer.sh.
exchange() { # LOGIN SHARD PLACE PLACES GPUS
    local to status size
    exec {to}> >(on_host "$1" serve "${@:3}")
    { send "$2" && echo; } 1>&"$to" 2>/dev/null
    wait $!
    status=$?
    exec {to}>&-
    return $status
}

# The result alone.
result() { # of an exchange, on standard input
    local status size
    read -r status size && head -c "$size"
}

# Makes $folder/hosts/of/LOGIN, with what HOSTS says of it, and $folder/hosts/list, the logins.
read_hosts() {
    local line word login number=0
    local -a words
    local -A of
    rm -rf "$folder/hosts"
    mkdir -p "$folder/hosts/of"
    while IFS= read -r line || [ -n "$line" ]; do
        number=$((number + 1))
        line=${line%$'\r'}
        read -ra words <<<"${line%%#*}"
        [ ${#words[@]} -gt 0 ] || continue
        [[ ${words[0]} =~ ^(([1-9][0-9]*)/)?(:|([A-Za-z0-9._-]+@)?[A-Za-z0-9._-]+(:[0-9]+)?)$ ]] ||
            fail 65 "$HOSTS:$number: not a host as in 4/user@host:22 -- ${words[0]}"
        login=${BASH_REMATCH[3]}
        of=([places]=${BASH_REMATCH[2]} [bin]='' [model]='' [gpus]='')
        [ ! -e "$folder/hosts/of/$login" ] || fail 65 "$HOSTS:$number: $login comes a second time"
        for word in "${words[@]:1}"; do
            case $word in
            bin=* | model=*) of[${word%%=*}]=${word#*=} ;;
            gpus=*)
                of[gpus]=${word#*=}
                [[ ${of[gpus]} =~ ^[A-Za-z0-9/-]+(,[A-Za-z0-9/-]+)*$ ]] ||
                    fail 65 "$HOSTS:$number: not GPUs as in gpus=0,1 -- $word"
                ;;
            *) fail 65 "$HOSTS:$number: neither bin=, model= nor gpus= -- $word" ;;
            esac
        done
        [ -n "${of[places]}" ] || of[places]=$(tr ',' '\n' <<<"${of[gpus]}" | wc -l)
        mkdir "$folder/hosts/of/$login"
        printf '%s\t%s\n' "${of[places]}" "${of[gpus]}" >"$folder/hosts/of/$login/places"
        echo "${of[bin]}" >"$folder/hosts/of/$login/bin"
        echo "${of[model]:-$(realpath model)}" >"$folder/hosts/of/$login/model"
        echo "$login" >>"$folder/hosts/list"
    done <"$HOSTS"
    [ -s "$folder/hosts/list" ] || fail 65 "$HOSTS: names no host"
}

# Makes ready a host: its folder, identity, a first result (probe.mp), and as status what this ended with: a number,
# or "other" for one whose identity is not this machine's.
make_ready() { # LOGIN
    local host=$folder/hosts/of/$1
    local quiet="a shell there (~/.bashrc and the like) must not write to standard output by itself, as it does"
    {
        # On one line, for csh has no words of several.
        # shellcheck disable=SC2016 # for the other side
        (remote "$1" "exec bash --norc -c $(quote \
            'umask 077; unset TAR_OPTIONS; d=$(mktemp -d "${TMPDIR:-/tmp}/duq.XXXXXX") && tar -x -C "$d" && echo "$d"')") \
            <"$folder/sent.tar" >"$host/answer" &&
            tail -n 1 "$host/answer" >"$host/folder" &&
            { [ "$(wc -l <"$host/answer")" = 1 ] || { echo "$quiet: $(head -n 1 "$host/answer")" >&2 && false; }; } &&
            (on_host "$1" identity "$(cat "$host/bin")" "$(cat "$host/model")") </dev/null >"$host/identity" &&
            { cmp -s "$folder/hosts/here" "$host/identity" || { echo other >"$host/status" && return; }; } &&
            exchange "$1" "$folder/probe.mp" 1 1 "$(cut -f 2 "$host/places")" >"$host/answer" &&
            result <"$host/answer" >"$host/probe.mp"
        echo $? >"$host/status"
    } 2>"$host/said"
}

header() { # STREAM
    rec to-json --header "$1" | head -n 1
}

# The line of an identity with the same name as this one, in words.
on_line() { # IDENTITY LINE
    grep "^${2%%$'\t'*}"$'\t' "$1" | tr '\t' ' ' || echo "no ${2%%$'\t'*}"
}

# Leaves the hosts that can be used in $folder/hosts/list, or fails.
judge() {
    local login host first='' here=$folder/hosts/here there
    local -a usable=()
    while IFS= read -r login; do
        host=$folder/hosts/of/$login
        case $(cat "$host/status") in
        0) ;;
        255)
            say "$login does not answer and is left out: $(tail -n 1 "$host/said")"
            continue
            ;;
        124)
            say "$login does not score one text within $TIMEOUT seconds (TIMEOUT) and is left out"
            (on_host "$login" remove) </dev/null >&2 || true
            continue
            ;;
        other)
            there=$(diff "$here" "$host/identity" | sed -n 's/^[<>] //p' | head -n 1)
            fail 65 "$login is not like this machine (HOSTS). There $(on_line "$host/identity" "$there"), here $(on_line "$here" "$there")"
            ;;
        *) fail 69 "$login cannot be used (HOSTS): $(cat "$host/said")" ;;
        esac
        [ -n "$first" ] || first=$login
        there=$(jq -rn --argjson a "$(header "$folder/hosts/of/$first/probe.mp")" --argjson b "$(header "$host/probe.mp")" \
            'first($b | to_entries[] | select(.value != $a[.key])) | "\(.key) is \(.value), and \($a[.key]) on"')
        [ -z "$there" ] || fail 65 "$login is not like the others (HOSTS): $there $first"
        cmp -s "$folder/hosts/of/$first/probe.mp" "$host/probe.mp" ||
            say "$login and $first differ in a score's last digits: results depend on which of them has a shard"
        usable+=("$login")
    done <"$folder/hosts/list"
    [ ${#usable[@]} -gt 0 ] || fail 75 "no host of $HOSTS answers: the same command goes on from here"
    printf '%s\n' "${usable[@]}" >"$folder/hosts/list"
}

# Lines SLOT LOGIN PLACE, the hosts' first places before their second ones.
slots() {
    local login places place more=1 slot=0
    for ((place = 1; more; place++)); do
        more=0
        while IFS= read -r login; do
            IFS=$'\t' read -r places _ <"$folder/hosts/of/$login/places"
            [ "$place" -le "$places" ] || continue
            echo "$((slot += 1)) $login $place"
            more=1
        done <"$folder/hosts/list"
    done
}

# Work on the shards left, by all hosts. What was begun on one that is lost is done by another.
# A shell of its own, so that it leaves the hosts however it ends.
spread_hosts() ( # FOLDER NEEDED...
    folder=$1 status=0
    shift
    read_hosts
    rec head -q -n 1 -o "$folder/probe.mp" "$(printf '%s\n' "$folder"/in.*.mp | head -n 1)" || return
    tar -c -h -f "$folder/sent.tar" "$@" -C "$folder" programs -C "$PIPELINES/spread" on-host.sh scorer.sh || return
    mkdir "$folder/hosts/here.d" && tar -x -C "$folder/hosts/here.d" -f "$folder/sent.tar" || return
    bash "$folder/hosts/here.d/on-host.sh" identity '' "$(realpath model)" >"$folder/hosts/here" || return
    trap 'exit 143' TERM
    trap leave_hosts EXIT
    while IFS= read -r login; do
        make_ready "$login" &
    done <"$folder/hosts/list"
    wait
    judge
    slots >"$folder/hosts/slots"
    parallel_slots "$(wc -l <"$folder/hosts/slots")" "$(printf %q "$PIPELINES/spread")/host-slot.sh" \
        "$(printf %q "$folder")" '{1} {2} {3}' <"$folder/hosts/slots" || status=$?
    finished=$(find "$folder" -name 'out.*.mp' | wc -l) all=$(find "$folder" -name 'in.*.mp' | wc -l)
    if [ $status != 0 ]; then
        say "$finished of $all shards are done and kept"
    elif [ "$finished" -lt "$all" ]; then
        fail 75 "every host is lost; $finished of $all shards are done and kept"
    fi
    return $status
)

# Removes what was sent; a host that does not answer keeps a folder duq.* among its temporary files.
leave_hosts() {
    local login
    trap '' TERM INT HUP # whoever ends the run may say so more than once
    while IFS= read -r login; do
        [ ! -s "$folder/hosts/of/$login/folder" ] || [ -e "$folder/hosts/of/$login/lost" ] || (on_host "$login" remove) </dev/null >&2 &
    done <"$folder/hosts/list"
    wait
}
