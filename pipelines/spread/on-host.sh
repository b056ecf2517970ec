#!/usr/bin/env bash
# The part of spreading over hosts that runs on a host. It is sent there by hosts.sh, into a folder of its own, with
# the files that the shards' command reads and the command itself.
# usage: on-host.sh identity BIN MODEL            prints what must be the same on every host
#        on-host.sh shard BYTES SLOT SLOTS GPUS   one shard, from standard input to standard output
#        on-host.sh remove
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
# shellcheck source=pipelines/spread/run-command.sh
source ./run-command.sh
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

# The command on a shard. What is read from standard input after the shard's bytes is nothing but the sign that the
# other side is still there: when it ends, whether by a broken connection or an interrupted run, so does the work.
shard() { # BYTES SLOT SLOTS GPUS
    local bytes=$1 job status threads
    local -a gpus
    IFS=, read -ra gpus <<<"$4"
    [ ${#gpus[@]} = 0 ] || export CUDA_VISIBLE_DEVICES=${gpus[($2 - 1) % ${#gpus[@]}]}
    if [ "$3" -gt 1 ]; then
        threads=$(($(nproc) / $3))
        export DUQ_THREADS=${DUQ_THREADS:-$((threads > 0 ? threads : 1))}
    fi
    exec 3<&0
    set -m # a process group for the job
    (
        set +m
        run_command programs < <(
            head -c "$bytes" <&3
            exec >&-
            cat <&3 >/dev/null
            kill -TERM 0
        )
    ) &
    job=$!
    trap : TERM INT HUP # whoever ends this ends the job, too
    wait $job
    status=$?
    kill -KILL -- -$job 2>/dev/null
    return "$status"
}

case $1 in
identity) identity "$2" "$3" ;;
shard) shard "${@:2}" ;;
remove) rm -rf "$PWD" ;;
esac
