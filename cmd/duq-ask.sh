#!/usr/bin/env bash
# duq-ask: texts to what a student says of them. Everything else is in the adapter's folder: the prompt in duq.json, the
# base model's place in adapter_config.json. See duq-ask(1).
set -euo pipefail
export LC_ALL=C.UTF-8
# COLUMNS is the caller's, whatever the terminal is.
shopt -u checkwinsize
columns=${COLUMNS:-}
unset CDPATH GETOPT_COMPATIBLE POSIXLY_CORRECT

usage='usage: duq-ask [OPTION]... ADAPTER [TEXT]...
Asks the student that lora-train left in the folder ADAPTER about each TEXT, or each line of standard input: its class,
how sure it is, and how much of its doubt the text leaves open (aleatoric) or it does not know (epistemic), in nats.

  duq-ask dirichlet.lora "a film to fall asleep over" "it might have been decent"
  duq-ask --rule rule.mp --json dirichlet.lora <lines.txt | jq -c "select(.decision == \"abstain\")"

  -m, --model DIR       the base model, where it is no longer in the place that the adapter names
  -r, --rule FILE       answer or abstain, by a rule of decide
  -c, --confidence C    answer where the confidence is at least C, otherwise abstain
  -j, --json            a JSON object for each text, with all probabilities, instead of a table
      --device NAME     auto (default), cpu or cuda:N
      --threads N       processor threads (all)
  -o, --output FILE     write here; it appears when it is complete
  -h, --help / --version'

# COMMAND, LETTER, NAME, ARGUMENT and CHOICES of each option, as the other programs list theirs.
options='- m model DIR -
- r rule FILE -
- c confidence C -
- j json - -
- - device NAME auto,cpu,cuda
- - threads N -
- o output FILE -
- h help - -
- - version - -'

fail() { # STATUS MESSAGE
    printf 'duq-ask: %s\n' "$2" >&2
    exit "$1"
}

try_help() {
    echo "Try 'duq-ask --help'." >&2
    exit 64
}

wrong() { # MESSAGE
    printf 'duq-ask: %s\n' "$1" >&2
    try_help
}

no_room() {
    fail 74 "${TMPDIR:-/tmp}: not written; TMPDIR says where there is room for what is read and written on the way"
}

tell() { # TEXT
    printf '%s\n' "$1" 2>/dev/null || fail 74 'standard output: not written'
    exit
}

model='' rule='' confidence='' json='' output=- score=()
read_options() {
    local parsed
    if [ $# -eq 1 ] && [ "$1" = --list-options ]; then
        tell "${options// /$'\t'}"
    fi
    parsed=$(getopt -n duq-ask -o m:r:c:jo:h \
        -l model:,rule:,confidence:,json,device:,threads:,output:,help,version -- "$@") || try_help
    eval "set -- $parsed"
    while [ "$1" != -- ]; do
        case $1 in
        # A variable that is not set would have them left out.
        -[mrc] | --model | --rule | --confidence) [ -n "$2" ] || wrong "$1: it is empty" ;;&
        -m | --model) model=$2 && shift ;;
        -r | --rule) rule=$2 && shift ;;
        -c | --confidence) confidence=$2 && shift ;;
        -o | --output) output=$2 && shift ;;
        --device | --threads) score+=("$1" "$2") && shift ;;
        -j | --json) json=1 ;;
        -h | --help) tell "$usage" ;;
        --version) tell 'duq-ask (duq) @VERSION@' ;;
        esac
        shift
    done
    shift
    [ $# -gt 0 ] || wrong 'whom? the first argument is the folder of an adapter'
    [ -z "$rule" ] || [ -z "$confidence" ] || wrong '--rule and --confidence both say when to abstain: give one'
    [[ -z $confidence || $confidence =~ ^(0?\.[0-9]+|[01](\.0*)?|0\.[0-9]+)$ ]] ||
        wrong "--confidence: '$confidence' is not a number from 0 to 1"
    adapter=$1 texts=("${@:2}")
    # Or the programs would take it for an option.
    [[ $adapter != -* ]] || adapter=./$adapter
}

# What the adapter's folder says of how to ask: sets model, instruction and how, and writes the task.
read_adapter() {
    local facts=$adapter/duq.json config=$adapter/adapter_config.json file base
    [ -d "$adapter" ] || fail 66 "$adapter: no such folder; lora-train -o makes one"
    for file in "$facts" "$config"; do
        [ -r "$file" ] || fail 66 "$file: cannot be read: duq-ask takes adapters that lora-train wrote"
        jq -e -s 'length == 1 and (.[0] | type == "object")' "$file" >/dev/null 2>&1 || fail 65 "$file: no JSON object"
    done
    jq -e '.asked.task | objects' "$facts" >"$work/task.json" || {
        [ $? != 2 ] || no_room
        fail 65 "$facts: does not say by which prompt to ask (prompts made by hand, or by an older duq): ask with prompt-expand, tok and lm-score"
    }
    jq -e '.asked.task.shots == 0' "$facts" >/dev/null ||
        fail 65 "$facts: the adapter was trained on prompts with worked examples, which its folder does not hold: ask with prompt-expand --shots, tok and lm-score"
    jq -e '.head | . == "softmax" or . == "dirichlet"' "$facts" >/dev/null || fail 65 "$facts: the adapter gives no probabilities"
    instruction=$(jq -r '.asked.instructions[0] // 0' "$facts")
    mapfile -t how < <(jq -r '.asked.date // empty | "--date", .' "$facts")
    base=$(jq -r '.base_model_name_or_path | strings' "$config")
    model=${model:-$base}
    [ -n "$model" ] || fail 65 "$config: names no base model; say with --model where it is"
    [ -e "$model" ] || fail 66 "$model: the base model is not there; say with --model where it is"
}

# The texts as a stream. Those of the command line go through a table, which keeps line breaks, and whose name is what a
# message calls them.
stream() {
    if [ ${#texts[@]} -gt 0 ]; then
        printf '"%s"\n' "${texts[@]//\"/\"\"}" >"$work/arguments" || no_room
        (cd "$work" && rec from-csv --no-header --text 1 arguments)
    else
        rec from-lines
    fi
}

# Predictions with the texts and, by a rule, the decisions.
ask() {
    stream >"$work/texts.mp"
    prompt-expand --task "$work/task.json" --model "$model" --instruction "$instruction" "${how[@]}" "$work/texts.mp" |
        tok --model "$model" | lm-score --model "$model" --adapter "$adapter" "${score[@]}" >"$work/predictions.mp"
    rec join "$work/predictions.mp" "$work/texts.mp" >"$work/answers.mp"
    if [ -n "$rule" ]; then
        decide --apply "$rule" "$work/predictions.mp" >"$work/decisions.mp"
        rec join "$work/answers.mp" "$work/decisions.mp"
    elif [ -n "$confidence" ]; then
        rec to-json --header "$work/answers.mp" | jq -c --argjson least "$confidence" \
            'if .duq then . else .decision = if (.probs | max) >= $least then "answer" else "abstain" end end' |
            rec from-json
    else
        cat "$work/answers.mp"
    fi
}

as_json() {
    rec to-json --header "$work/all.mp" | jq -nc 'input.classes as $classes | inputs | .probs as $p
        | {text, class: $classes[$p | index(max)], confidence: ($p | max), total, aleatoric, epistemic}
        + if .decision then {decision} else {} end
        + if .reason then {answer: (if .answer then $classes[.answer] else null end), score, reason} else {} end
        + if .set then {set: [$classes[.set[]]]} else {} end
        + {probs: ([$classes, $p] | transpose | map({(.[0]): .[1]}) | add)}' || not_written $?
}

not_written() { # STATUS
    [ "$1" -eq 2 ] || exit "$1" # jq's, where it cannot write
    fail 74 "$output: not written"
}

# Without what only repeats the decision in other words. Where there is neither a terminal nor a width that is asked
# for, lines are as long as it takes.
as_table() {
    local full=()
    [ -t 1 ] || [ -n "$columns" ] || full=(--full)
    rec to-json --header "$work/all.mp" | jq -c 'del(.answer, .score, .reason)' | rec from-json |
        rec show --table "${full[@]}" -n 2147483647
}

cannot_create() { # WHAT-A-PROGRAM-SAYS-OF-IT
    fail 73 "$output: cannot be created: ${1##*: }"
}

# Where the output goes, as the other programs have it: to a descriptor; or to $part, which becomes $place once it is
# complete; or, where that is no regular file, to $place itself.
descriptor=1 place='' part=''
find_place() {
    local links folder target made
    if [ "$output" = - ]; then
        output='standard output'
        refuse_input /dev/stdout
        return
    fi
    place=$output
    for ((links = 0; links <= 40; links++)); do
        [[ $place == */* ]] || place=./$place
        folder=$(realpath -- "${place%/*}/." 2>&1) || cannot_create "$folder"
        if [[ $folder =~ ^/proc/[0-9]+/fd$ && ${place##*/} =~ ^[0-9]+$ ]]; then
            descriptor=${place##*/} place=''
            refuse_input "/dev/fd/$descriptor"
            return
        fi
        [ -L "$place" ] || break
        target=$(readlink -- "$place")
        [[ $target == /* ]] || target=${place%/*}/$target
        place=$target
    done
    [ ! -L "$place" ] || cannot_create 'symbolic links that lead in a circle'
    [ ! -d "$place" ] || cannot_create 'Is a directory'
    [ -f "$place" ] || [ ! -e "$place" ] || return 0
    refuse_input "$place"
    made=$(mktemp -- "$place.part.XXXXXX" 2>&1) || cannot_create "$made"
    part=$made
    chmod '=rw' -- "$part"
}

refuse_input() { # OUTPUT
    [ -f "$1" ] || return 0
    local input inputs=("$rule" "$model" "$model"/*.{json,safetensors,jinja,model} "$adapter"/*.{json,safetensors})
    [ ${#texts[@]} -gt 0 ] || inputs+=(/dev/stdin)
    for input in "${inputs[@]}"; do
        [ ! "$1" -ef "$input" ] || fail 73 "$output: would be read and written; an output needs a file of its own"
    done
}

open_output() {
    if [ -n "$place" ]; then
        exec >"${part:-$place}"
    else
        exec >&"$descriptor"
    fi
}

answer() {
    { open_output; } 2>"$work/said" || cannot_create "$(<"$work/said")"
    ask >"$work/all.mp"
    if [ -n "$json" ]; then
        as_json
    else
        as_table
    fi
}

# TERM again and again, for who was about to start another.
end_job() {
    local i
    for ((i = 0; i < 50; i++)); do
        kill -TERM -- "-$job" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL -- "-$job" 2>/dev/null || true
}

# Nothing outlives this script.
work='' job='' reader=''
clean_up() {
    trap '' HUP INT QUIT TERM
    [ -z "$reader" ] || kill "$reader" 2>/dev/null || true
    [ -z "$job" ] || end_job
    rm -rf -- "$part" "$work"
}

read_options "$@"
for program in jq rec prompt-expand tok lm-score decide; do
    type -P "$program" >/dev/null || fail 69 "$program is not on the path: make install puts duq's programs there; jq is a package"
done
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 131' QUIT
trap 'exit 143' TERM
work=$(mktemp -d) || no_room
read_adapter
find_place
# A signal is heard while this script waits, not while a program runs that it waits for. What it waits for is a process
# group of its own, to be ended at once; that may write to a terminal, but not read from it.
if [ -t 0 ] && [ ${#texts[@]} -eq 0 ]; then
    exec < <(exec cat)
    reader=$!
fi
set -m
(
    set +m
    trap '' TTOU
    answer
) &
job=$!
set +m
status=0
wait "$job" || status=$?
job=''
[ $status -eq 0 ] || exit $status
if [ -n "$part" ]; then
    mv -fT -- "$part" "$place" || fail 74 "$output: not put in place"
    part=''
fi
