# shellcheck shell=bash disable=SC2153,SC2154
# (settings are in the environment; stage, target and signature are those of run/target.sh)
# Spreading: a stream of texts is cut into shards, each goes through the same command (run-command.sh), and what comes
# out is merged. Scoring takes this way and no other; where shards are computed is decided here alone.
#
# A shard is a folder's pair of files: shards/TARGET/in.I.mp, out.I.mp. The command reads a shard on standard
# input, writes to standard output, and runs in the run's folder (or a copy of what it needs of it); neither
# shards' names nor their number are in what it writes. A shard that is done is kept until all are merged, so a
# run that was interrupted does the others alone. How many shards there are depends on the texts and SHARD, not
# on JOBS, GPUS or hosts: each is computed alone, alike.
#
# shellcheck source=pipelines/spread/hosts.sh
source "$PIPELINES/spread/hosts.sh"
# shellcheck source=pipelines/spread/run-command.sh
source "$PIPELINES/spread/run-command.sh"

# With --cut the shards are left for others to score, and there is nothing to merge: the shell ends with this status.
cut_only=99

# spread TEXTS NEEDED...: writes the merged stream to standard output. The command is the caller's arrays prompts,
# tokens and score; NEEDED are the files and folders that it reads, beside model. $prompts_per_text, 1 if not
# set, is for the progress that a terminal shows.
spread() {
    local texts=$1 folder=shards/${target//\//.} count shards shard
    shift
    # Shards of other inputs, settings or sizes are of no use.
    if [ "$(cat "$folder/inputs" 2>/dev/null)" != "$signature $SHARD" ] || [ ! -e "$folder/programs" ]; then
        rm -rf "$folder"
        mkdir -p "$folder"
        count=$(rec count -q "$texts")
        rec split -n $(((count + SHARD - 1) / SHARD)) -o "$folder/in" "$texts"
        echo "$target" >"$folder/target"
        keep_command >"$folder/programs"
        printf '%s\n' "$@" >"$folder/needed"
        echo "$signature $SHARD" >"$folder/inputs"
    fi
    echo "$stage" >"$folder/stage"
    echo "${prompts_per_text:-1}" >"$folder/prompts-per-text"
    rm -f "$folder"/failed.*
    shards=$(for in in "$folder"/in.*.mp; do
        [ -s "${in/\/in./\/out.}" ] || basename "$in" .mp
    done | sed 's/^in\.//')
    if [ -n "$shards" ] && [ "$CUT" = "$stage" ]; then
        exit "$cut_only"
    elif [ -n "$shards" ] && [ -n "$HOSTS" ]; then
        spread_hosts "$folder" "$shards" "$@" || return
    elif [ -n "$shards" ]; then
        spread_here "$folder" "$shards" || return
    fi
    # Whoever had the shards says that they are done: nothing is merged on a word alone.
    for shard in "$folder"/in.*.mp; do
        shard=${shard##*/in.}
        [ -s "$folder/out.$shard" ] || fail 70 "$folder: shard ${shard%.mp} came to nothing, without a word"
    done
    cat "$folder"/out.*.mp | rec cat
}

# GNU parallel, which hands every command to a shell: bash, not what the user has or a service lacks (with none,
# parallel runs nothing and calls it a success). Nor do options count that the user keeps for other work.
parallel_shards() { # FOLDER OPTION... COMMAND...: for every shard on standard input
    local folder=$1
    shift
    PARALLEL_SHELL=$BASH SHELL=$BASH parallel --plain --will-cite --ungroup --halt now,fail=1 \
        --joblog "+log/jobs.${folder#shards/}.tsv" "$@" >&2
}

# On this machine: JOBS shards at a time, on the GPUs in turn, with the processors divided among them.
spread_here() { # FOLDER SHARDS
    local folder=$1 jobs=$JOBS threads
    local -a gpus
    IFS=, read -ra gpus <<<"$GPUS"
    [ -n "$jobs" ] || jobs=${#gpus[@]}
    [ "$jobs" -gt 0 ] || jobs=1
    threads=$(($(nproc) / jobs))
    if [ "$jobs" -gt 1 ]; then
        export DUQ_THREADS=${DUQ_THREADS:-$((threads > 0 ? threads : 1))}
    fi
    parallel_shards "$folder" --jobs "$jobs" --retries "$TRIES" ${TIMEOUT:+--timeout "$TIMEOUT"} \
        "$(printf %q "$PIPELINES/spread")/shard.sh" "$(printf %q "$folder")" '{}' '{%}' <<<"$2"
}
