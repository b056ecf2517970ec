# shellcheck shell=bash disable=SC2153 # settings are in the environment
# From tables to the parts of a data set: reading the tables, and which of their rows each part has.

from_table() { # FILE...
    local -a options=(--text "$TEXT" --label "$LABEL")
    [ "$HEADER" = yes ] || options+=(--no-header --ignore-unused)
    [ -z "$ID" ] || options+=(--id "$ID")
    [ -z "$LABELS" ] || options+=(--labels "$LABELS")
    case $1 in
    *.csv) rec from-csv "${options[@]}" "$@" ;;
    *.tsv) rec from-tsv "${options[@]}" "$@" ;;
    *.jsonl) rec from-jsonl "${options[@]}" "$@" ;;
    *) fail 65 "$1: neither .csv, .tsv nor .jsonl" ;;
    esac
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
        echo $(($(largest $TRAIN) + SHOTS + VALIDATION + $(has_test_file && echo 0 || echo "$TEST")))
    fi
}

# Which rows a part is: a line with the file, the first row's number from 0, and how many.
plan() { # PART
    local rows test_rows=0 train need test_file=texts/rows.mp test_first
    rows=$(rec count -q texts/rows.mp)
    if [ -s texts/test-rows.mp ]; then
        test_file=texts/test-rows.mp
        test_rows=$(rec count -q "$test_file")
        [ "$test_rows" -ge "$TEST" ] || fail 65 "the texts to test on are too few: $test_rows rows for $TEST (TEST)"
    fi
    for train in $TRAIN; do
        need=$((train + SHOTS + VALIDATION))
        [ "$test_rows" -gt 0 ] || need=$((need + TEST))
        [ "$need" -gt "$rows" ] || break
    done
    [ "$need" -le "$rows" ] ||
        fail 65 "the texts are too few: $rows rows for $train (TRAIN) + $SHOTS (SHOTS) + $VALIDATION (VALIDATION)$([ "$test_rows" -gt 0 ] || echo " + $TEST (TEST)")"
    test_first=$((train + SHOTS + VALIDATION))
    [ "$test_rows" = 0 ] || test_first=0
    case $1 in
    train) echo texts/rows.mp 0 "$(smaller "$train" "$N_TRAIN")" ;;
    shots) echo texts/rows.mp "$train" "$SHOTS" ;;
    validation) echo texts/rows.mp $((train + SHOTS)) "$VALIDATION" ;;
    test) echo "$test_file" "$test_first" "$(smaller "$TEST" "$N_TEST")" ;;
    esac
}

smaller() { # NUMBER [NUMBER]
    printf '%s\n' "$@" | grep . | sort -n | head -n 1
}

