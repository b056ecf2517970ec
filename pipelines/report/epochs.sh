#!/usr/bin/env bash
# The students after each epoch: figures of their predictions (epochs/STUDENT.EPOCH.train.mp and test.mp), the training
# loss, and what became of alpha0, as a JSON array with an object for each student and epoch.
# Started by run/target.sh in the run's folder; writes to standard output.
# usage: epochs.sh STUDENT...
set -euo pipefail

# Objects of student, epoch, part and that part's figures.
figures() { # STUDENT PART
    local file epoch
    local -a sets=()
    for file in epochs/"$1".*."$2".mp; do
        epoch=${file#epochs/"$1".}
        sets+=("${epoch%."$2".mp}=$file")
    done
    dir-eval -q --json "${sets[@]}" | jq -c --arg student "$1" --arg part "$2" '.sets[]
        | {student: $student, epoch: (.name | tonumber), part: $part,
            figures: (.metrics | {accuracy, macro_f1, ece, nll, brier} | map_values(.value))}'
}

# The mean of alpha0, the sum of a Dirichlet student's alphas, and of what its penalty draws it to: beta (alpha0 -
# e^s)^2, where e^s was learned.
concentration() { # STUDENT EPOCH
    local adapter=students/$1.lora.epochs/$2/duq.json
    rec to-json "epochs/$1.$2.train.mp" | jq -n --slurpfile facts "$adapter" --arg student "$1" --argjson epoch "$2" '
        [inputs | select(.alpha) | .alpha | add] as $sums
        | $facts[0] as $facts
        | {student: $student, epoch: $epoch, part: "alpha0", figures: (if $sums == [] then {} else {
            alpha0: (($sums | add) / ($sums | length)),
            prior: (if $facts.alpha0_mode == "learned" then $facts.alpha0 else null end),
            regulariser: (if $facts.alpha0_mode == "learned" then
                ($sums | map(. - $facts.alpha0 | . * .) | add / length) * $facts.training.beta else null end)
          } end)}'
}

# The mean loss of each epoch's steps.
losses() { # STUDENT EPOCHS
    tail -n +2 "students/$1.tsv" | jq -R -n -c --arg student "$1" --argjson epochs "$2" \
        --argjson steps "$(jq .step "students/$1.lora.epochs/1/duq.json")" '
        [inputs | split("\t")[1] | tonumber] as $losses
        | range($epochs) as $i
        | {student: $student, epoch: ($i + 1), part: "loss", figures: {loss: ($losses[$i * $steps:($i + 1) * $steps] | add / length)}}'
}

for student; do
    figures "$student" train
    figures "$student" test
    count=$(find "students/$student.lora.epochs" -mindepth 1 -maxdepth 1 | wc -l)
    losses "$student" "$count"
    for ((epoch = 1; epoch <= count; epoch++)); do
        concentration "$student" "$epoch"
    done
done | jq -s --argjson order "$(printf '%s\n' "$@" | jq -R . | jq -s .)" '
    group_by([.student, .epoch])
    | map({student: .[0].student, epoch: .[0].epoch}
        + (map(select(.part == "train" or .part == "test") | {key: .part, value: .figures}) | from_entries)
        + (map(select(.part == "loss" or .part == "alpha0").figures) | add))
    | sort_by(.student as $s | [($order | index($s)), .epoch])'
