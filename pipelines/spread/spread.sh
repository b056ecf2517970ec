# shellcheck shell=bash disable=SC2153,SC2154
# (settings are in the environment; stage, target and signature are those of run/target.sh)
# Spreading: a stream of texts is cut into shards, each goes through the same command (scorer.sh), and what comes
# out is merged. Scoring takes this way and no other; where shards are computed is decided here alone.
#
# A shard is a folder's pair of files: shards/TARGET/in.I.mp, out.I.mp. Slots (slot.sh) take shards as they get free, and
# each has its scorer, which loads the model once. The command runs in the run's folder (or a copy of what it needs of
# it); neither shards' names nor their number are in what it writes. A shard that is done is kept until all are merged, so
# a run that was interrupted does the others alone. How many shards there are depends on the texts and SHARD, not on JOBS,
# GPUS or hosts: each is computed alone, alike.
#
# shellcheck source=pipelines/spread/hosts.sh
source "$PIPELINES/spread/hosts.sh"
# shellcheck source=pipelines/spread/scorer.sh
source "$PIPELINES/spread/scorer.sh"

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
    rm -f "$folder"/{failed,tries}.*
    shards=$(for in in "$folder"/in.*.mp; do
        [ -s "${in/\/in./\/out.}" ] || basename "$in" .mp
    done | sed 's/^in\.//')
    if [ -n "$shards" ] && [ "$CUT" = "$stage" ]; then
        exit "$cut_only"
    elif [ -n "$shards" ] && [ -n "$HOSTS" ]; then
        spread_hosts "$folder" "$@" || return
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
# A slot whose own shell dies is started again; when parallel dies, they end.
parallel_slots() { # SLOTS COMMAND...: for every line of standard input
    local slots=$1
    shift
    PARALLEL_SHELL=$BASH SHELL=$BASH parallel --plain --will-cite --ungroup --jobs "$slots" --halt now,fail=1 \
        --retries "$TRIES" --colsep ' ' setpriv --pdeathsig TERM "$@" >&2
}

# On this machine: JOBS slots, on the GPUs in turn, with the processors divided among them.
spread_here() { # FOLDER SHARDS
    local folder=$1 slots=$JOBS shards
    local -a gpus
    IFS=, read -ra gpus <<<"$GPUS"
    [ -n "$slots" ] || slots=${#gpus[@]}
    [ "$slots" -gt 0 ] || slots=1
    share_processors "$slots"
    shards=$(wc -l <<<"$2")
    parallel_slots "$slots" "$(printf %q "$PIPELINES/spread")/slot.sh" "$(printf %q "$folder")" '{1}' \
        < <(seq $((slots < shards ? slots : shards)))
}
