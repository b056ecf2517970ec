# shellcheck shell=bash
# A shard's command line, here (shard.sh) as on a host, to which this file is sent (on-host.sh).

# run_command FILE: the command line that is in it. Returns the status of the last of its programs that failed; of one
# that was killed if there is one, for what the others say of their input is then no news.
run_command() {
    local command status=0 killed=0 s
    # Of a command that could not begin.
    local -a statuses=(74)
    command=$(cat "$1") || return 74
    eval "$command"$'\nstatuses=("${PIPESTATUS[@]}")'
    for s in "${statuses[@]}"; do
        [ "$s" = 0 ] || status=$s
        # What writes to a program that has ended by itself is killed by that (141), too.
        [ "$s" -le 128 ] || [ "$s" = 141 ] || killed=$s
    done
    [ "$killed" = 0 ] || status=$killed
    return "$status"
}
