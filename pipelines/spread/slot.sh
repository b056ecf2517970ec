#!/usr/bin/env bash
# A slot on this machine, in the run's folder: scores shards one after another, with the model loaded once.
# usage: slot.sh FOLDER SLOT               those that lack and that no other slot has, until there are none; SLOT is which
#                                          of the JOBS this is, from 1
#        slot.sh FOLDER SLOT SHARD...      these, each once
set -uo pipefail
PIPELINES=$(dirname "$(dirname "${BASH_SOURCE[0]}")")
# shellcheck source=pipelines/spread/scorer.sh
source "$PIPELINES/spread/scorer.sh"
# shellcheck source=pipelines/spread/shards.sh
source "$PIPELINES/spread/shards.sh"
host=: on_host_words=''

take_requests() {
    cat
}

answer() { # STATUS [SCORES]
    echo "$1"
}

work() {
    serve "$folder/programs" "$folder/tokens.$slot"
}

ask() {
    printf '%s\t%s\n' "$folder/in.$shard.mp" "$part" 1>&"$to" 2>/dev/null
    hear
}

may_take() {
    :
}

failed_here() {
    :
}

do_these() { # SHARD...
    local status=0
    exec {claim}</dev/null # nobody else has them
    for shard; do
        do_shard || status=$?
    done
    return "$status"
}

prepare() {
    use_gpu "$slot" "${GPUS:-}"
    # A terminal shows the programs' own progress where there is one slot. Not by its name, which a user who came by su
    # may not open.
    if [ "${JOBS:-1}" = 1 ] && [ -t 2 ]; then
        to_terminal=1
        exec {log}>&2
        # The last shard has the most.
        DUQ_RECORDS=$(($(rec count -q "$(printf '%s\n' "$folder"/in.*.mp | tail -n 1)") * $(cat "$folder/prompts-per-text")))
        export DUQ_RECORDS
    else
        exec {log}>>"$said"
    fi
}

# A function that ends in exit was read as a whole: a script that is replaced while it runs does no harm.
main() {
    local folder=$1 slot=$2 said=$1/said.$2 to_terminal='' log status=0
    shift 2
    prepare || exit 74
    trap 'end_server; exit 143' TERM INT HUP
    trap : PIPE # whoever is written to may be gone: the answer tells
    if [ $# -gt 0 ]; then do_these "$@"; else do_shards; fi || status=$?
    dismiss_server
    exit "$status"
}

main "$@"
