# shellcheck shell=bash
# How far the shards of a target are, for a terminal.

# shard_done FOLDER: how many of its shards are done, and how long the others take if they take as long as those did that
# were done since FOLDER/stage was written: since this run came to them.
shard_done() {
    local folder=$1 all now began since left
    [ -t 2 ] && [ -z "${QUIET:-}" ] || return 0
    all=$(find "$folder" -maxdepth 1 -name 'in.*.mp' | wc -l)
    now=$(find "$folder" -maxdepth 1 -name 'out.*.mp' -size +0 | wc -l)
    since=$(find "$folder" -maxdepth 1 -name 'out.*.mp' -size +0 -newer "$folder/stage" | wc -l)
    began=$(stat -c %Y "$folder/stage")
    [ "$since" -gt 0 ] && [ "$now" -lt "$all" ] || return 0
    left=$(((EPOCHSECONDS - began) * (all - now) / since))
    printf '%s: %s: %d of %d shards, %d:%02d:%02d left\n' "$NAME" "$(cat "$folder/stage")" "$now" "$all" \
        $((left / 3600)) $((left / 60 % 60)) $((left % 60)) >&2
}
