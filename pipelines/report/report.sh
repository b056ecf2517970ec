#!/usr/bin/env bash
# The report of a run, in a new folder: tables as text, CSV and JSON, figures, and a page with all of them.
# Started by run/target.sh in the run's folder. Nothing in it depends on when, where or how fast the run was, but
# for the model's name.
# usage: report.sh FOLDER [NAME=PREDICTIONS | --ood NAME:OTHER=PREDICTIONS]...
# shellcheck disable=SC2153 # FOLDER and the settings are in the environment
set -euo pipefail
folder=$1
shift
rm -rf "$folder"
mkdir -p "$folder"

curves=()
for student in $STUDENTS; do
    curves+=(--curve "$student=students/$student.tsv")
done
evaluate() {
    dir-eval -q --members --bootstrap "$BOOTSTRAP" "$@"
}
evaluate --json "$@" --figures "$folder/figures" "${curves[@]}" >"$folder/metrics.json"
evaluate --stream "$@" | rec to-csv -q >"$folder/metrics.csv"

# Of sets that were asked both ways, those asked by their own prompts: so is the published figure.
if [ -n "${OTHERS// /}" ]; then
    protocol=own
    [ "$DETECTION" != common ] || protocol=common
    "$PIPELINES/report/decomposition.sh" $protocol >"$folder/figures/decomposition-$protocol.svg"
fi

# Published figures stand beside those of their own profile's steps alone.
published() {
    if [ -e "$FOLDER/published.json" ]; then
        jq --arg profile "$PROFILE" 'if (.profile // $profile) == $profile then . else {elsewhere: .profile} end' "$FOLDER/published.json"
    else
        echo '{}'
    fi
}

# Everything that the page and the tables show, as one JSON object.
settings() { # KEY = value lines of what shapes results
    local key value
    for key in $SHAPING; do
        value=${!key}
        # The names of sets, wherever they are.
        # shellcheck disable=SC2001
        [ "$key" != OOD ] || value=$(sed 's|[^ ]*/||g' <<<"$value")
        printf '%s\t%s\n' "$key" "$value"
    done
}
split() {
    local part file first number
    for part in $PARTS; do
        read -r file first number <"texts/$part.plan"
        printf '%s\t%s\t%s\t%s\n' "$part" "$file" "$first" "$number"
    done
}
labels() { # counts of test labels by class
    rec count texts/test.mp | tail -n +2 | { grep -v ^nil || [ $? = 1 ]; }
}
# Which step's each student is, and its figures on the validation texts.
students() {
    local student
    for student in $STUDENTS; do
        jq -c --arg name "$student" '{name: $name, step, epoch, keep: .training.keep, validation}' "students/$student.lora/duq.json"
    done | jq -s .
}
# How many validation texts they were measured on.
held_out() {
    [ -z "${STUDENTS// /}" ] || rec count -q students/validation.tokens.mp
}
model_type() {
    [ -e model/config.json ] && jq -r .model_type model/config.json || echo GGUF
}
# The other sets: their classes and, where they were asked by their own prompts, the students' instruction.
others() {
    local other own
    for other in $OTHERS; do
        own=detection/own/weights.$other.mp
        [ "$DETECTION" != common ] || own=/dev/null
        jq -n --arg name "$other" --slurpfile task "others/$other/task.json" \
            --slurpfile weights <([ "$own" = /dev/null ] || rec to-json "$own") '
            ($weights | map(.weight) | max) as $most
            | {name: $name, classes: $task[0].classes,
                own: (first($weights[] | select(.weight == $most) | $task[0].instructions[.prompt]) // null)}'
    done | jq -s .
}
# How often each class of the texts got each answer, by each set of predictions.
confusions() { # NAME=PREDICTIONS | --ood NAME:OTHER=PREDICTIONS ...
    while [ $# -gt 0 ]; do
        case $1 in
        --ood) shift ;;
        *)
            rec to-json "${1#*=}" | jq -nc --arg name "${1%%=*}" '
                reduce (inputs | select(.label != null)) as $p ({}; .["\($p | .label) \($p.probs | index(max))"] += 1)
                | {name: $name, counts: (to_entries | map((.key | split(" ") | map(tonumber)) as [$class, $answer]
                    | {class: $class, answer: $answer, number: .value}))}'
            ;;
        esac
        shift
    done | jq -s .
}
# The texts that a Dirichlet student, or without one the teacher, was least sure of.
uncertain() {
    local of=teacher predictions=teacher/test.mp
    [[ " $STUDENTS " != *' dirichlet '* ]] || of=dirichlet predictions=predictions/dirichlet.test.mp
    rec join "$predictions" texts/test.mp | rec to-json | jq -n --arg of "$of" '{of: $of, texts: [inputs
        | {id, text: (if (.text | length) > 280 then .text[:280] + "\u2026" else .text end), class: .label,
            answer: (.probs | index(max)), confidence: (.probs | max), total, aleatoric, epistemic}]
        | sort_by(-.total) | .[:10]}'
}
# What grows with the texts and classes comes by files: an argument has at most 128 KiB.
jq -n --slurpfile confusions <(confusions "$@") --slurpfile uncertain <(uncertain) \
    --arg name "$NAME" --arg profile "$PROFILE" --slurpfile others <(others) --arg ood "$OOD" --arg version "$(cat .settings/version)" \
    --arg model "$(basename "$(readlink -f model)")" --arg digest "$(head -n 1 .settings/model)" \
    --arg settings "$(settings)" --arg split "$(split)" --arg data "$(cat data/files)" --arg labels "$(labels)" \
    --slurpfile published <(published) --slurpfile students <(students) --arg held_out "$(held_out)" --slurpfile task task.json --arg type "$(model_type)" \
    --arg changed "$(cat .settings/changed)" --slurpfile weights <(rec to-json weights.mp) --slurpfile metrics "$folder/metrics.json" \
    --slurpfile seeds <([ "$SEEDS" = 1 ] || cat seeds/table.json) \
    --slurpfile sweep <([ "$SWEEP" = no ] || cat sweep/table.json) \
    --slurpfile epochs <([ "$KEEP" != all ] || cat epochs/table.json) \
    --slurpfile header <(rec to-json --header teacher/test.mp | head -n 1) \
    --arg figures "$(cd "$folder/figures" && ls -1 ./*.svg)" '
    def lines: split("\n") | map(select(. != ""));
    # What a file holds, or an error: what did not come is not taken for nothing.
    def whole: if length == 1 then .[0] else error("a part of the report was not made") end;
    ($others | whole) as $others
    | {
        name: $name,
        profile: $profile,
        version: $version,
        model: {name: $model, digest: $digest, type: $type, compute: $header[0].compute},
        task: $task[0],
        settings: ($settings | lines | map(split("\t") | {key: .[0], value: .[1]})),
        changed: ($changed | lines | map(split("\t") | {key: .[0], value: .[1], profile: .[2]})),
        split: ($split | lines | map(split("\t") | {part: .[0], file: .[1], first: (.[2] | tonumber), number: (.[3] | tonumber)})),
        labels: ($labels | lines | map(split("\t") | {class: (.[0] | tonumber), number: (.[2] | tonumber)})),
        data: ($data | lines),
        weights: ($weights | map(.weight)),
        others: $others,
        missing: (($ood | split(" ") | map(select(. != "") | sub(".*/"; ""))) - ($others | map(.name))),
        published: ($published | whole),
        students: ($students | whole),
        held_out: (if $held_out == "" then null else $held_out | tonumber end),
        epochs: ($epochs[0] // []),
        seeds: ($seeds[0] // []),
        sweep: ($sweep[0] // []),
        confusions: ($confusions | whole),
        uncertain: ($uncertain | whole),
        figures: ($figures | lines | map(ltrimstr("./") | rtrimstr(".svg"))),
        metrics: $metrics[0]
    }' >"$folder/report.json"

{
    evaluate "$@"
    jq -r -L "$PIPELINES/report" -f "$PIPELINES/report/published.jq" "$folder/report.json"
} >"$folder/tables.txt"
jq -r -L "$PIPELINES/report" -f "$PIPELINES/report/report.jq" "$folder/report.json" >"$folder/index.html"
