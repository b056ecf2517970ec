# shellcheck shell=bash disable=SC2034,SC2154 # the settings and the like are run.sh's, and so are task and digest
# What a run needs: programs, settings, a model, a folder that no other run is at work in.

need_programs() {
    local programs=${PROGRAMS:-${BUILD:-$pipelines/../build}/bin} program figures=()
    [ ! -d "$programs" ] || PATH=$(cd "$programs" && pwd):$PATH
    [[ " ${stages[*]:first:last - first + 1} " != *" report "* ]] || figures=(gnuplot)
    for program in rec prompt-expand tok lm-score bpe-fit lora-train dir-eval jq parallel "${figures[@]}"; do
        command -v "$program" >/dev/null ||
            die 69 "$program is not on the path: run make (and make deps), or make install"
    done
}

can_read() { # FILE, of any kind
    [ -r "$1" ] && [ ! -d "$1" ]
}

need_settings() {
    local key
    if [ -n "${value[HOSTS]}" ]; then
        can_read "${value[HOSTS]}" || die 66 "${value[HOSTS]}: cannot be read (HOSTS=)"
        [ -z "${value[JOBS]}${value[GPUS]}" ] ||
            die 64 'JOBS= and GPUS= are for this machine alone; a file of hosts has places and gpus= of its own'
    fi
    [[ ${value[GPUS]} =~ ^([A-Za-z0-9/-]+(,[A-Za-z0-9/-]+)*)?$ ]] ||
        die 64 "GPUS are numbers of GPUs with commas between, not '${value[GPUS]}'"
    for key in SWEEP_ALPHAS SWEEP_SEEDS; do
        [ -z "$(tr -s ' \t' '\n' <<<"${value[$key]}" | sort | uniq -d)" ] || die 64 "$key: the same number twice is no other student"
    done
    [ "${value[KEEP]}" != all ] || [ -z "${value[PATIENCE]}" ] ||
        die 64 'KEEP=all measures every epoch: PATIENCE= would leave some out'
    need_options
    for key in TRAIN_FILES TEXT LABEL TRAIN SHOTS VALIDATION TEST; do
        [ -n "${value[$key]}" ] || die 65 "there is no $key, neither here nor in $folder/settings (see $pipelines/settings)"
    done
}

# Options of lora-train in settings, which may be somebody else's: how it trains, in full, and no names of files, for
# those are the run's.
need_options() {
    local key short long argument
    local -A takes=() # of each option what it takes, - for nothing
    for key in "${keys[@]}"; do
        [ "${kind[$key]}" = options ] || continue
        [ -n "${value[$key]}" ] || continue
        [ ${#takes[@]} -gt 0 ] || while IFS=$'\t' read -r _ short long argument _; do
            takes[--$long]=$argument
            [ "$short" = - ] || takes[-$short]=$argument
        done < <(lora-train --list-options)
        need_known_options "$key"
    done
}

need_known_options() { # KEY; of those that $takes has
    local -a words
    local i option argument
    read -ra words <<<"${value[$1]}"
    for ((i = 0; i < ${#words[@]}; i++)); do
        option=${words[i]%%=*} argument=''
        [[ $option != -* ]] || argument=${takes[$option]-}
        case "${value[KEEP]} $option" in
        'all --validate-every' | 'all --patience') die 64 "KEEP=all measures every epoch, and $option in $1 would leave some out" ;;
        esac
        case $argument in
        '') die 64 "$1: '${words[i]}' is not an option of lora-train, spelt in full" ;;
        FILE | DIR) die 64 "$1: $option names a file, and a run's files are its own" ;;
        -) [ "$option" = "${words[i]}" ] || die 64 "$1: $option takes no value" ;;
        *) # behind a =, or the word after it
            [ "$option" != "${words[i]}" ] || [ $((i += 1)) -lt ${#words[@]} ] || die 64 "$1: $option is without its value" ;;
        esac
    done
}

# The task file, into $task: one that prompt-expand takes. A chat is the model's to write: where there is no model yet,
# it is not tried.
need_task() {
    local -a model=()
    task=${value[TASK]:-$folder/task.json}
    [ -r "$task" ] || die 66 "$task: cannot be read (TASK=)"
    [ -z "${value[MODEL]}" ] || model=(--model "${value[MODEL]}")
    need_own_labels
    [ -n "${value[MODEL]}" ] || ! jq -e '.layout == "chat"' "$task" >/dev/null 2>&1 || return 0
    rec from-jsonl --id id --text text <<<'{"id": "any", "text": "any"}' |
        prompt-expand -q --task "$task" "${model[@]}" --student >/dev/null || exit $?
}

# What stands for a class in the table is not another class's name, unless it is the classes' numbers.
need_own_labels() {
    local swapped
    # As rec(1) reads a list: a backslash keeps a comma or another one.
    swapped=$(jq -r --arg labels "${value[LABELS]}" '.classes as $classes | $labels | split("|")[]
        | select(gsub(" "; "") != ([range($classes | length) | tostring] | join(",")))
        | [match("(\\\\.|[^,\\\\])+"; "g").string] | to_entries[] | .key as $class
        | (.value | sub("^ +"; "") | sub(" +$"; "") | gsub("\\\\(?<kept>.)"; .kept)) as $word | ($classes | index($word)) as $named
        | select($named != null and $named != $class) | "\($word) stands for class \($class), and is the name of class \($named)"' \
        "$task" 2>/dev/null | head -n 1) || true # a task that is none is refused by prompt-expand
    [ -z "$swapped" ] || die 64 "LABELS: $swapped in $task"
}

# Each instruction has shots of its own. Other data sets' texts are asked by this one's.
need_shots() {
    local needed
    needed=$(jq --argjson have "${value[SHOTS]}" '.shots * (.instructions | length) | select(. > $have)' "$task")
    [ -z "$needed" ] ||
        die 64 "SHOTS=${value[SHOTS]} is too few: the prompts of all instructions of $task show $needed texts"
}

# Whether one of the stages from the first to the last one needs it.
uses_model() {
    local i
    for ((i = first; i <= last; i++)); do
        [[ " ${without_model[*]} " == *" ${stages[i]} "* ]] || return 0
    done
    return 1
}

# The digest of the model, into $digest.
need_model() {
    [ -n "${value[MODEL]}" ] || die 64 'which model? give MODEL=DIR (or --model DIR) behind the name of the data set: a Hugging Face folder or a GGUF file'
    digest=$(lm-score --model "${value[MODEL]}" --digest) || exit $?
}

# The lock is held by all that the run starts.
lock_folder() {
    mkdir -p "$out/.settings" || die 73 "$out: cannot be made (OUT=)"
    exec 9>"$out/.lock"
    # What is left of a run that was ended goes within seconds.
    flock -w 10 9 || die 75 "$out: another run, or what is left of one, is at work there: wait for it, or end it"
}
