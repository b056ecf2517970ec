# shellcheck shell=bash disable=SC2153 # settings are in the environment
# From tables to the parts of a data set: reading the tables, and which of their rows each part has.

# A table's rows as a stream, with these labels; where none are said, with the names of the task's classes or their numbers.
from_table() { # LABELS FILE...
    local -a options=(--text "$(unescaped "$TEXT")" --label "$LABEL" --missing "$MISSING")
    [ "$HEADER" = yes ] || options+=(--no-header --ignore-unused)
    [ -z "$ID" ] || options+=(--id "$ID")
    if [ -n "$1" ]; then
        options+=(--labels "$1")
    else
        options+=(--classes "$(jq -r '.classes | map(gsub("(?<kept>[\\\\,])"; "\\\(.kept)")) | join(",")' task.json)")
    fi
    shift
    case $1 in
    *.csv) rec from-csv "${options[@]}" "$@" ;;
    *.tsv) rec from-tsv "${options[@]}" "$@" ;;
    *.jsonl) rec from-jsonl "${options[@]}" "$@" ;;
    *) fail 65 "$1: neither .csv, .tsv nor .jsonl" ;;
    esac || {
        local status=$?
        [ $status != 65 ] || echo "$NAME: how ${1%.*} is read say the settings HEADER, ID, TEXT, LABEL, LABELS and MISSING" >&2
        return $status
    }
}

# With a line break for \n, a tab for \t, a backslash for two.
unescaped() { # TEXT
    local text=${1//\\\\/$'\1'}
    text=${text//\\n/$'\n'}
    text=${text//\\t/$'\t'}
    printf '%s' "${text//$'\1'/\\}"
}

# The first alternative of LABELS that the labels of all rows fit.
fitting_labels() { # NUMBER-OF-ROWS FILE...
    local number=$1 labels said faults=''
    local -a alternatives
    shift
    IFS='|' read -ra alternatives <<<"$LABELS"
    [ ${#alternatives[@]} -gt 1 ] || { echo "$LABELS"; return; }
    for labels in "${alternatives[@]}"; do
        read -r labels <<<"$labels"
        ! said=$(first_rows "$number" "$labels" "$@" 2>&1 >/dev/null) || { echo "$labels"; return; }
        faults+=$'\n'"$labels: ${said%%$'\n'*}"
    done
    fail 65 "the rows fit no alternative of LABELS:$faults"
}

# What is left of the table need not be read.
first_rows() { # NUMBER LABELS FILE...
    { from_table "${@:2}" || [ $? = 141 ]; } | rec head -q -n "$1"
}

has_test_file() {
    compgen -G 'data/test.1.*' >/dev/null
}

largest() { # NUMBER...
    printf '%s\n' "$@" | sort -n | tail -n 1
}

# How many rows of a table the parts need, at the most.
rows_needed() { # train or test
    if [ "$1" = test ]; then
        echo "$TEST"
    else
        # shellcheck disable=SC2086 # TRAIN may be several numbers
        echo $(($(largest $TRAIN $SHOTS_FROM) + SHOTS + VALIDATION + $(has_test_file && echo 0 || echo "$TEST")))
    fi
}

# Which rows a part is: a line with the file, the first row's number from 0, and how many.
plan() { # PART
    local rows test_rows=0 train shots need test_file=texts/rows.mp test_first
    rows=$(rec count -q texts/rows.mp)
    if [ -s texts/test-rows.mp ]; then
        test_file=texts/test-rows.mp
        test_rows=$(rec count -q "$test_file")
        [ "$test_rows" -ge "$TEST" ] || fail 65 "the texts to test on are too few: $test_rows rows for $TEST (TEST)"
    fi
    for train in $TRAIN; do
        shots=${SHOTS_FROM:-$train}
        need=$((shots + SHOTS + VALIDATION))
        [ "$test_rows" -gt 0 ] || need=$((need + TEST))
        [ "$need" -gt "$rows" ] || break
    done
    [ "$shots" -ge "$train" ] || fail 65 "row $shots, where shots begin (SHOTS_FROM), is one of the $train to train on (TRAIN)"
    [ "$need" -le "$rows" ] ||
        fail 65 "the texts are too few: $rows rows for $([ "$shots" = "$train" ] && echo "$train (TRAIN)" || echo "$shots (SHOTS_FROM)") + $SHOTS (SHOTS) + $VALIDATION (VALIDATION)$([ "$test_rows" -gt 0 ] || echo " + $TEST (TEST)")"
    test_first=$((shots + SHOTS + VALIDATION))
    [ "$test_rows" = 0 ] || test_first=0
    at_most TRAIN "$train"
    at_most TEST "$TEST"
    case $1 in
    train) echo texts/rows.mp 0 "${N_TRAIN:-$train}" ;;
    shots) echo texts/rows.mp "$shots" "$SHOTS" ;;
    validation) echo texts/rows.mp $((shots + SHOTS)) "$VALIDATION" ;;
    test) echo "$test_file" "$test_first" "${N_TEST:-$TEST}" ;;
    esac
}

# N_TRAIN and N_TEST ask for fewer texts than there are.
at_most() { # SETTING NUMBER
    local wanted=N_$1
    [ "${!wanted:-0}" -le "$2" ] || fail 65 "the texts are too few: ${!wanted} ($wanted) of $2 ($1)"
}

