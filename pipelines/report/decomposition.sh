#!/usr/bin/env bash
# A figure of the uncertainties of this set's texts and of the other sets', in the layout of the published one: a row for
# each set, a column for each of total, epistemic and aleatoric uncertainty, in each a step line of the texts' frequencies
# for the teacher and the students that it has. As SVG, to standard output.
# Started by report.sh in the run's folder.
# usage: decomposition.sh PROTOCOL     how the other sets were asked: own or common
# shellcheck disable=SC2153 # OTHERS, STUDENTS and NAME are in the environment
set -euo pipefail
protocol=$1

shown() { # the sets whose lines are drawn
    local name
    echo teacher
    for name in $STUDENTS; do
        case $name in dirichlet | softmax) echo "$name" ;; esac
    done
}

# An object for each row and line, of numbers.
rows() {
    local name other folder=detection
    [ "$protocol" = common ] || folder=detection/own
    for name in $(shown); do
        if [ "$name" = teacher ]; then values "$NAME" 0 teacher/test.mp; else values "$NAME" 0 "predictions/$name.test.mp"; fi
        for other in $OTHERS; do
            values "$other" 1 "$folder/$name.$other.mp"
        done
    done
}

values() { # SET FOREIGN FILE
    rec to-json "$3" | jq -n -c --arg set "$1" --argjson foreign "$2" --arg name "$name" '
        [inputs] | {set: $set, foreign: ($foreign == 1), name: $name, classes: (.[0].probs | length),
            total: map(.total | values), epistemic: map(.epistemic | values), aleatoric: map(.aleatoric | values)}'
}

rows | jq -s -r -L "$PIPELINES/report" -f "$PIPELINES/report/decomposition.jq"
