# shellcheck shell=bash disable=SC2034,SC2154 # the caller's arrays, by their names
# A shard's command, here (shard.sh) as on a host, to which this file is sent (on-host.sh): three programs in a pipe,
# whose words are the arrays prompts, tokens and score. They are kept as words, too: no shell reads what settings say.

# keep_command: the caller's arrays to standard output: of each how many words it has, then these, a NUL behind each.
keep_command() {
    printf '%s\0' ${#prompts[@]} "${prompts[@]}" ${#tokens[@]} "${tokens[@]}" ${#score[@]} "${score[@]}"
}

# The first program of the caller's words, into an array.
take_program() { # ARRAY
    local -n program=$1
    local number=${words[0]:-}
    [[ $number =~ ^[1-9][0-9]{0,3}$ && ${#words[@]} -gt $number ]] || return 74
    program=("${words[@]:1:number}")
    words=("${words[@]:number + 1}")
}

# run_command FILE: the command that is kept in it. Returns the status of the last of its programs that failed; of one
# that was killed if there is one, for what the others say of their input is then no news.
run_command() {
    local status=0 killed=0 s
    local -a words prompts tokens score statuses
    mapfile -t -d '' words <"$1" || return 74
    take_program prompts && take_program tokens && take_program score || return 74
    "${prompts[@]}" | "${tokens[@]}" | "${score[@]}"
    statuses=("${PIPESTATUS[@]}")
    for s in "${statuses[@]}"; do
        [ "$s" = 0 ] || status=$s
        # What writes to a program that has ended by itself is killed by that (141), too.
        [ "$s" -le 128 ] || [ "$s" = 141 ] || killed=$s
    done
    [ "$killed" = 0 ] || status=$killed
    return "$status"
}
