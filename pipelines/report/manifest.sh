#!/usr/bin/env bash
# The manifest of a run: what it was made of, how, when and how fast, and the command that makes it again.
# Started by run/target.sh in the run's folder; writes JSON to standard output.
set -euo pipefail

settings() {
    local file
    for file in .settings/[A-Z]*; do
        printf '%s\t%s\n' "${file##*/}" "$(cat "$file")"
    done
    [ ! -e model ] || printf 'MODEL\t%s\n' "$(readlink model)"
}
# The streams and adapters with their digests; report.sh's files too.
outputs() {
    find texts scores weights.mp teacher calibrated students predictions evaluation epochs seeds sweep detection report -type f \
        ! -name '*.part' ! -name '*.part.??????' ! -name '*.plan' ! -name '*.inputs' ! -path '*.checkpoint*' -size +0 2>/dev/null |
        sort | xargs -r sha256sum
}
# The command lines that led to each prediction, from its header.
commands() {
    local file
    for file in weights.mp teacher/*.mp calibrated/*.mp predictions/*.mp detection/*.mp detection/own/*.mp predictions/{seeds,sweep}/*.mp; do
        case $file in */metrics.mp | */texts.*) continue ;; esac
        [ -e "$file" ] || continue
        # The records after the header are left unread.
        { rec to-json --header "$file" || [ $? = 141 ]; } | head -n 1 |
            jq -c --arg file "$file" '{key: $file, value: (.made | map(.program + " " + (.arguments // "")))}'
    done
}
processor() {
    sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1
}
gpus() {
    ! command -v nvidia-smi >/dev/null || nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || true
}

jq -n --arg name "$NAME" --arg dataset "$DATASET" --arg out "$OUT" --arg settings "$(settings)" \
    --arg version "$(cat .settings/version)" --arg model "$(cat .settings/model 2>/dev/null || true)" \
    --arg data "$(cat data/files 2>/dev/null || true)" --arg task "$(sha256sum <task.json | cut -d' ' -f1)" \
    --arg others "$OTHERS" --rawfile outputs <(outputs) --rawfile times <(cat log/times.tsv 2>/dev/null || true) \
    --arg host "$(uname -n)" --arg system "$(uname -srm)" --arg processor "$(processor)" --arg processors "$(nproc)" \
    --arg gpus "$(gpus)" --arg now "$(date -u +%FT%TZ)" --arg run "$PIPELINES/run.sh" \
    --slurpfile commands <(commands) '
    def lines: split("\n") | map(select(. != ""));
    def sums: lines | map(split("  ") | {key: .[1], value: (if .[0] | contains(":") then .[0] else "sha256:\(.[0])" end)}) | from_entries;
    ($settings | lines | map(split("\t") | {key: .[0], value: (.[1] // "")}) | from_entries) as $settings
    | {
        name: $name,
        dataset: $dataset,
        written: $now,
        version: $version,
        model: ($model | lines | if length == 0 then null else {digest: .[0], tokenizer: (.[1:] | join("\n") | sums)} end),
        data: ($data | sums),
        task: "sha256:\($task)",
        others: ($others | split(" ") | map(select(. != ""))),
        settings: $settings,
        seeds: ({shuffle: $settings.SHUFFLE, training: $settings.SEED, bootstrap: "1"}),
        repeat: ([$run, $dataset] + ($settings | to_entries | map("\(.key)=\(.value)")) | map(@sh) | join(" ")),
        host: {name: $host, system: $system, processor: $processor, processors: ($processors | tonumber), gpus: ($gpus | lines)},
        commands: ($commands | from_entries),
        outputs: ($outputs | sums),
        seconds: ($times | lines | map(split("\t") | {stage: .[0], target: .[1], began: .[2], seconds: (.[3] | tonumber)})
            | group_by(.target) | map(last) | group_by(.stage)
            | map({key: .[0].stage, value: {seconds: (map(.seconds) | add), targets: (sort_by(.began) | map({key: .target, value: {began, seconds}}) | from_entries)}}) | from_entries)
    }'
