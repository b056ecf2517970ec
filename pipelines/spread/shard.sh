#!/usr/bin/env bash
# One shard, on this machine, in the run's folder; slot is which of the JOBS this is, from 1.
# usage: shard.sh FOLDER SHARD SLOT
set -uo pipefail
# shellcheck source=pipelines/spread/run-command.sh
source "$(dirname "${BASH_SOURCE[0]}")/run-command.sh"
# shellcheck source=pipelines/spread/progress.sh
source "$(dirname "${BASH_SOURCE[0]}")/progress.sh"
# A function that ends in exit was read as a whole: a script that is replaced while it runs does no harm.
main() {
    local folder=$1 shard=$2 slot=$3 log status=74
    local -a gpus
    local out=$folder/out.$shard.mp part=$folder/part.$shard.mp failed=$folder/failed.$shard said=$folder/said.$shard

    # What bad input, a missing file or a wrong option brings about comes again at every try.
    [ ! -e "$failed" ] || exit "$(cat "$failed")"

    IFS=, read -ra gpus <<<"${GPUS:-}"
    [ ${#gpus[@]} = 0 ] || export CUDA_VISIBLE_DEVICES=${gpus[(slot - 1) % ${#gpus[@]}]}

    # A terminal shows the programs' own progress where there is one shard at a time. Not by its name, which a user who
    # came by su may not open.
    if [ "${JOBS:-1}" = 1 ] && [ -t 2 ]; then
        exec {log}>&2
        DUQ_RECORDS=$(($(rec count -q "$folder/in.$shard.mp") * $(cat "$folder/prompts-per-text")))
        export DUQ_RECORDS
    else
        exec {log}>"$said" || exit 74
    fi
    { run_command "$folder/programs"; status=$?; } <"$folder/in.$shard.mp" >"$part" 2>&"$log"
    if [ "$status" = 0 ]; then
        mv -f "$part" "$out"
        shard_done "$folder"
        exit
    fi
    rm -f "$part"
    [ ! -f "$said" ] || sed "s/^/shard $shard: /" "$said" >&2
    case $status in
    64 | 65 | 66 | 69 | 70 | 73 | 77) echo "$status" >"$failed" ;;
    esac
    exit "$status"
}

main "$@"
