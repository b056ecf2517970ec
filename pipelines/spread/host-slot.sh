#!/usr/bin/env bash
# A slot on a host, one of its places: sends it shards one after another, over one connection, takes what comes back, and
# checks that it is whole. It ends when none is left, or the host is lost.
# usage: host-slot.sh FOLDER SLOT LOGIN PLACE      in the run's folder; SLOT is which of all slots this is, PLACE which
#                                                  of the host's, from 1
# shellcheck disable=SC2031 # what hosts.sh has in subshells is another folder
set -uo pipefail
# shellcheck source=pipelines/spread/scorer.sh
source "$PIPELINES/spread/scorer.sh"
# shellcheck source=pipelines/spread/shards.sh
source "$PIPELINES/spread/shards.sh"
# shellcheck source=pipelines/spread/hosts.sh
source "$PIPELINES/spread/hosts.sh"

# The connection lasts for many shards, each of which has TIMEOUT seconds (hear).
work() {
    TIMEOUT=
    on_host "$host" serve "$place" "$places" "$gpus"
}

ask() {
    # What a host that hangs does not read must not keep us from noticing.
    { send "$folder/in.$shard.mp" >&"$to"; } 2>/dev/null &
    hear || return
    head -c "$size" <&"$from" >"$part" 2>>"$said"
    rec check "$part" 2>>"$said" || return 75
}

# A shard that fails on a host goes to one that it has failed on less often.
may_take() {
    local login mine other
    mine=$(failures "$host")
    while [ "$mine" -gt 0 ] && IFS= read -r login; do
        [ ! -e "$folder/hosts/of/$login/lost" ] || continue
        other=$(failures "$login")
        [ "$other" -ge "$mine" ] || return 1
    done <"$folder/hosts/list"
}

failures() { # LOGIN: of $shard
    [ -e "$folder/tries.$shard" ] || { echo 0; return; }
    cut -f 2 "$folder/tries.$shard" | grep -cFx -- "$1"
}

# ssh failed, or lost the host, where the status is 255. A host that answers again gets other shards.
failed_here() { # STATUS
    [ "$1" = 255 ] || return 0
    if [ ! -e "$folder/hosts/of/$host/lost" ] && (remote "$host" true) </dev/null 2>/dev/null; then
        echo "shard $shard on $host: the connection broke; the shard is tried again" >&2
        return
    fi
    if (set -o noclobber && : >"$folder/hosts/of/$host/lost") 2>/dev/null; then
        echo "$host is lost, at shard $shard; what it had goes to the others" >&2
    fi
    exit 0
}

# A function that ends in exit was read as a whole: a script that is replaced while it runs does no harm.
main() {
    local folder=$1 slot=$2 host=$3 place=$4 on_host_words=" on $3" said=$1/said.$2 to_terminal='' log places gpus status=0
    IFS=$'\t' read -r places gpus <"$folder/hosts/of/$host/places"
    exec {log}>>"$said" || exit 74
    trap 'end_server; exit 143' TERM INT HUP
    trap : PIPE # whoever is written to may be gone: the answer tells
    do_shards || status=$?
    dismiss_server
    exit "$status"
}

main "$@"
