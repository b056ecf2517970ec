# shellcheck shell=bash disable=SC2034,SC2154 # settings are in the environment; folder, slot and said are the slot's
# What a slot does, here (slot.sh) or on a host (host-slot.sh): it takes shards of a folder, one after another, has them
# scored by a process that has the model loaded, its server, and says what becomes of them. A shard that has failed is
# tried again, by whichever slot is free, TRIES times in all; one that takes longer than TIMEOUT is ended, with the server.
# The next shard starts another one.
#
# The slot's script has
#     host           where it scores: a name in HOSTS, or : for this machine
#     on_host_words  that in words, " on HOST" or nothing
#     log            a descriptor for what the programs say: of the file $said, if it is not a terminal's (then $to_terminal)
#     work           becomes the server: answers each request with a line that begins with a status (serve, scorer.sh)
#     ask            has $shard scored by it, into the file $part; returns the status
#     may_take       whether $shard may be this slot's
#     failed_here    whether a shard's try counts that ended with this status, and what else is to be said of it
# shellcheck source=pipelines/spread/progress.sh
source "$PIPELINES/spread/progress.sh"

# ---- the server: a process group, as long as all goes well ----

server='' # its number; requests go to $to, answers come from $from
size=''   # of what came with its last answer
shard='' part='' claim=''

start_server() {
    local reader writer requests answers
    [ -z "$server" ] || return 0
    new_pipe || return 74
    requests=$reader to=$writer
    new_pipe || return 74
    from=$reader answers=$writer
    set -m
    (
        set +m
        work
    ) <&"$requests" >&"$answers" 2>&"$log" {requests}<&- {answers}>&- {to}>&- {from}<&- {claim}>&- &
    server=$!
    set +m
    exec {requests}<&- {answers}>&-
}

end_server() {
    [ -n "$server" ] || return 0
    exec {to}>&-
    kill -KILL -- "-$server" 2>/dev/null
    wait "$server" 2>/dev/null
    exec {from}<&-
    server=
    rm -f "$part"*
}

# The server's next answer: its status, and $size where it says one. One that says nothing for TIMEOUT seconds is not
# waited for: 124.
hear() {
    local status
    read -r ${TIMEOUT:+-t "$TIMEOUT"} -u "$from" status size && return "$status"
    [ $? -le 128 ] || return 124
    wait "$server" 2>/dev/null
    status=$?
    return $((status > 0 ? status : 70))
}

# The last shard is done: the server's programs end by themselves, and may have something to say.
dismiss_server() {
    local status=0
    [ -n "$server" ] || return 0
    echo 1>&"$to" 2>/dev/null
    hear || status=$?
    [ "$status" = 0 ] || echo "slot $slot$on_host_words: its scorer ended with status $status after the last shard" >&2
    end_server
}

# ---- a shard ----

note_try() { # BEGAN STATUS
    local file=log/shards.${folder#shards/}.tsv
    mkdir -p log
    [ -e "$file" ] || printf 'shard\thost\tbegan\tseconds\tstatus\n' >"$file"
    printf '%s\t%s\t%s\t%s\t%s\n' "$shard" "$host" "$(date -u -d "@$1" +%FT%TZ)" "$((EPOCHSECONDS - $1))" "$2" >>"$file"
}

# What a shard that failed leaves behind: failed.SHARD where it would fail again, whoever tried, and otherwise a line in
# tries.SHARD.
note_failure() { # STATUS
    [ -n "$to_terminal" ] || sed "s/^/shard $shard$on_host_words: /" "$said" >&2
    case $1 in
    64 | 65 | 66 | 69 | 70 | 73 | 77)
        # Others see it whole.
        echo "$1" >"$folder/.failed.$shard" && mv "$folder/.failed.$shard" "$folder/failed.$shard"
        ;;
    124) echo "shard $shard$on_host_words: ended after $TIMEOUT seconds (TIMEOUT)" >&2 ;;
    129 | 1[3-9]?) echo "shard $shard$on_host_words: a program was ended by signal $(($1 - 128))" >&2 ;;
    esac
    failed_here "$1" || return 0
    printf '%s\t%s\n' "$1" "$host" >>"$folder/tries.$shard"
}

do_shard() {
    local status=0 began=$EPOCHSECONDS
    part=$folder/part.$shard.mp
    [ -n "$to_terminal" ] || : >"$said"
    start_server && ask || status=$?
    [ "$status" != 0 ] || [ -s "$part" ] || status=70
    note_try "$began" "$status"
    if [ "$status" = 0 ]; then
        mv -f "$part" "$folder/out.$shard.mp"
        shard_done "$folder"
        return
    fi
    end_server
    note_failure "$status"
    return "$status"
}

# ---- which shard ----

# Whether there is one that is not to be tried again: with its status.
check_hopeless() {
    local file
    for file in "$folder"/failed.*; do
        [ ! -e "$file" ] || return "$(cat "$file")"
    done
    for file in "$folder"/tries.*; do
        [ ! -e "$file" ] || [ "$(wc -l <"$file")" -lt "${TRIES:-1}" ] || return "$(tail -n 1 "$file" | cut -f 1)"
    done
}

lacks() {
    [ ! -s "$folder/out.$shard.mp" ]
}

# The first shard that lacks and that no other slot has, or with --wait, which waits until that one is done or dead, that
# any has; claim is held as long as it is this slot's. Status 1 where there is none for it, 2 where there is none at all, 74
# where one cannot be had.
take_shard() { # [--wait]
    local in none=2
    local -a patience=(--nonblock)
    [ $# = 0 ] || patience=()
    for in in "$folder"/in.*.mp; do
        shard=${in#"$folder"/in.} shard=${shard%.mp}
        lacks || continue
        none=1
        may_take || continue
        exec {claim}<>"$in" || return 74
        ! flock "${patience[@]}" "$claim" || ! lacks || return 0
        exec {claim}>&-
    done
    return $none
}

# One after another, until none is left.
do_shards() {
    local status
    check_hopeless || return
    while :; do
        status=0
        take_shard || take_shard --wait || status=$?
        case $status in
        0)
            check_hopeless || return
            do_shard || check_hopeless || return
            exec {claim}>&-
            ;;
        1) sleep 1 ;; # those are for others, as long as there are others
        2) return 0 ;;
        *) return $status ;;
        esac
    done
}
