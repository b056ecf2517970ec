# shellcheck shell=bash disable=SC2034,SC2154 # the caller's arrays, by their names
# A slot's command, here (slot.sh) as on a host, to which this file is sent (on-host.sh): three programs in a pipe, whose
# words are the arrays prompts, tokens and score. The last one has the model. It is started once, with --list -, and
# scores the slot's shards one after another; the others are started for each shard. They are kept as words, too: no shell
# reads what settings say.

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

# The GPU of a machine's place NUMBER, from 1: of GPUS, with commas between, in turn; none where there are none.
use_gpu() { # NUMBER GPUS
    local -a numbers
    IFS=, read -ra numbers <<<"$2"
    [ ${#numbers[@]} = 0 ] || export CUDA_VISIBLE_DEVICES=${numbers[($1 - 1) % ${#numbers[@]}]}
}

# The part of a machine's processors that each of PLACES has.
share_processors() { # PLACES
    local threads=$(($(nproc) / $1))
    [ "$1" = 1 ] || export DUQ_THREADS=${DUQ_THREADS:-$((threads > 0 ? threads : 1))}
}

# The status of the last of a pipe's programs that failed; of one that was killed if there is one, for what the others say
# of their input is then no news.
judge_programs() { # STATUS...
    local s status=0 killed=0
    for s; do
        [ "$s" = 0 ] || status=$s
        # What writes to a program that has ended by itself is killed by that (141), too.
        [ "$s" -le 128 ] || [ "$s" = 141 ] || killed=$s
    done
    [ "$killed" = 0 ] || status=$killed
    return "$status"
}

# A pipe with both of its ends here, in reader and writer. It begins as a file, but not in the run's folder, whose file
# system may know none of this kind.
new_pipe() {
    local folder both
    # shellcheck disable=SC2094 # as it is meant
    folder=$(mktemp -d "${TMPDIR:-/tmp}/duq.XXXXXX") && mkfifo "$folder/pipe" &&
        exec {both}<>"$folder/pipe" {reader}<"$folder/pipe" {writer}>"$folder/pipe" && exec {both}>&- && rm -r "$folder"
}

feed() { # TEXTS: their tokens to standard output
    "${prompts[@]}" <"$1" | "${tokens[@]}"
    judge_programs "${PIPESTATUS[@]}"
}

# serve FILE LINK: scores shards by the command that is kept in FILE; for a process group of its own, which it ends with
# SIGKILL, whatever its programs are at, when standard input ends: the other side is gone.
# What the caller's take_requests makes of standard input are lines TEXTS, a tab and SCORES, each a shard. When one is
# done or has failed, the caller's answer gets the status and SCORES. After one that failed, or an empty line, the scorer
# is ended; the latter is answered with its status. LINK stands for a shard's tokens, also in what the scorer says of them.
serve() {
    local texts scores status scorer feeder requests stream name reader writer list work answers said
    local -a words prompts tokens score
    mapfile -t -d '' words <"$1" || return 74
    take_program prompts && take_program tokens && take_program score || return 74
    exec {requests}< <(take_requests; kill -KILL 0)
    new_pipe || return 74
    list=$reader work=$writer
    new_pipe || return 74
    answers=$reader said=$writer
    # Each end of a pipe is in one process alone, so that the other one notices when that is gone.
    "${score[@]}" --list - <&"$list" >&"$said" {list}<&- {work}>&- {answers}<&- {said}>&- {requests}<&- &
    scorer=$!
    exec {list}<&- {said}>&-
    trap : PIPE
    while IFS=$'\t' read -r -u "$requests" texts scores && [ -n "$texts" ]; do
        # Not a FIFO, which whoever opens it waits for the other side to open, too, even if that is no more.
        exec {stream}< <(exec {work}>&- {answers}<&- {requests}<&-; feed "$texts")
        feeder=$!
        ln -sfn "/proc/$BASHPID/fd/$stream" "$2"
        printf '%s\t%s\n' "$2" "$scores" 1>&"$work" 2>/dev/null
        status=0
        if ! read -r -u "$answers" name; then
            wait "$scorer"
            status=$?
            [ "$status" != 0 ] || status=70 # it had more to do
        fi
        exec {stream}<&-
        wait "$feeder"
        judge_programs $? "$status"
        status=$?
        answer "$status" "$scores"
        [ "$status" = 0 ] || return "$status"
    done
    exec {work}>&-
    wait "$scorer"
    status=$?
    answer "$status"
    return "$status"
}
