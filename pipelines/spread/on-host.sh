#!/usr/bin/env bash
# The part of spreading over hosts that runs on a host. It is sent there by hosts.sh, into a folder of its own, with
# the files that the shards' command reads and the command itself.
# usage: on-host.sh identity BIN MODEL            prints what must be the same on every host
#        on-host.sh serve PLACE PLACES GPUS       scores shards, as long as one comes
#        on-host.sh remove
set -uo pipefail
unset OMP_NUM_THREADS OMP_THREAD_LIMIT # which nproc(1) heeds
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
# shellcheck source=pipelines/spread/scorer.sh
source ./scorer.sh
[ ! -e path ] || PATH=$(cat path)

identity() { # BIN MODEL
    local program file
    PATH=${1:+$1:}$PATH
    printf '%s\n' "$PATH" >path
    for program in prompt-expand tok lm-score; do
        command -v $program >/dev/null || { echo "$program is not on the path there; bin=FOLDER says where it is" >&2; exit 69; }
        printf '%s\t%s\n' $program "$($program --version)"
    done
    [ -e "$2" ] || { echo "there is no folder or file $2 there; model=FOLDER says where the model is" >&2; exit 66; }
    ln -sfn "$2" model
    printf 'model\t'
    lm-score --model model --digest || exit
    for file in tokenizer.json tokenizer.model tokenizer.model.v3 tokenizer_config.json added_tokens.json special_tokens_map.json; do
        [ ! -e "model/$file" ] || printf '%s\t%s\n' $file "$(sha256sum <"model/$file" | cut -d ' ' -f 1)"
    done
    # A GGUF file's tokenizer is within it.
    compgen -G 'model/tokenizer*' >/dev/null || printf 'tokenizer\t%s\n' "$(tok --model model --digest)"
}

# On standard input, for each shard a line with how many bytes it has, and these; an empty line after the last.
take_requests() {
    local bytes
    while read -r bytes; do
        if [ -n "$bytes" ]; then
            head -c "$bytes" >"in.$place.mp"
            printf 'in.%s.mp\tout.%s.mp\n' "$place" "$place"
        else
            echo
        fi
    done
}

# To standard output, for each: a line with the status and how many bytes its scores have, and these.
answer() { # STATUS [SCORES]
    local size=0
    [ "$1" != 0 ] || [ $# = 1 ] || size=$(stat -c %s "$2")
    echo "$1 $size"
    [ "$size" = 0 ] || cat "$2"
}

# What ends with standard input, whether by a broken connection or an interrupted run, is all of the work: see serve in
# scorer.sh.
serve_place() { # PLACE PLACES GPUS
    local place=$1 job status
    use_gpu "$1" "$3"
    share_processors "$2"
    exec 3<&0
    set -m # a process group for the job
    (
        set +m
        exec <&3 3<&-
        serve programs "tokens.$place"
    ) &
    job=$!
    trap : TERM INT HUP # whoever ends this ends the job, too
    exec 3<&-
    wait $job
    status=$?
    kill -KILL -- -$job 2>/dev/null
    return "$status"
}

case $1 in
identity) identity "$2" "$3" ;;
serve) serve_place "${@:2}" ;;
remove) rm -rf "$PWD" ;;
esac
