# What has come is passed on when the input pauses, by each program and by a whole pipeline; what
# it ends with is the same as without a pause. Nothing here says how fast.

setup_file() {
    cd "$BATS_FILE_TMPDIR" || exit 1
    local top=$BATS_TEST_DIRNAME/../..
    export DUQ_THREADS=1
    export M=$top/examples/model T=$top/examples/sst2/task.json
    head -n 1 "$top/examples/data/sst2.csv" >header.csv
    sed -n '100,102p' "$top/examples/data/sst2.csv" >rows.csv
    cat header.csv rows.csv >texts.csv
    rec from-csv --id idx --text sentence --label label "$top/examples/data/sst2.csv" |
        rec head -n 53 >all.mp
    rec head -n 45 all.mp >shots.mp
    rec head --skip 45 all.mp >val.mp
    rec from-csv --id idx --text sentence --label label texts.csv >texts.mp
    for set in val texts; do
        prompt-expand --task "$T" --shots shots.mp $set.mp >$set.prompts.mp
        tok --model "$M" $set.prompts.mp >$set.tokens.mp
        lm-score --model "$M" $set.tokens.mp >$set.scores.mp
    done
    bpe-fit val.scores.mp >weights.mp
    bpe-fit --apply weights.mp texts.scores.mp >teacher.mp
}

setup() {
    cd "$BATS_FILE_TMPDIR" || exit 1
    new=$BATS_TEST_TMPDIR
    mkfifo "$new/in"
    exec 9<>"$new/in" # held open until it is closed here
}

# Starts COMMAND on the FIFO.
start() { # OUTPUT COMMAND...
    local output=$1
    shift
    "$@" <"$new/in" >"$output" 2>"$new/said" 3>&- 9>&- &
    pid=$!
}

# Waits until COMMAND prints so many lines.
await() { # LINES COMMAND...
    local lines=$1 i
    shift
    for ((i = 0; i < 600; i++)); do
        [ "$("$@" 2>/dev/null | wc -l)" != "$lines" ] || return 0
        sleep 0.1
    done
    echo "not $lines lines but: $("$@" 2>&1)"
    cat "$new/said"
    return 1
}

# The input ends, and with it the program.
ends() { # STATUS
    local status=0
    exec 9>&-
    wait $pid || status=$?
    exec 9<>"$new/in"
    [ $status = "$1" ] || { echo "status $status"; cat "$new/said"; return 1; }
}

# A stream that waits for no more than its trailer (of 53 bytes) has been passed on in full.
passes_on() { # STREAM RECORDS COMMAND...
    local input=$1 records=$2
    shift 2
    "$@" <"$input" >"$new/whole"
    start "$new/out" "$@"
    head -c -53 "$input" >&9
    await "$records" rec to-json "$new/out"
    tail -c 53 "$input" >&9
    ends 0
    rec to-json --header "$new/whole" >"$new/whole.json"
    rec to-json --header "$new/out" | cmp - "$new/whole.json"
}

# As it is and compressed.
passes_on_twice() { # STREAM RECORDS COMMAND...
    passes_on "$@"
    passes_on "$@" -z
    [ "$(head -c 4 "$new/out" | od -An -tx1 | tr -d ' ')" = 28b52ffd ]
}

@test "prompt-expand, tok, lm-score and bpe-fit --apply pass on what has come" {
    while read -r input records command; do
        eval "command=($command)"
            passes_on_twice "$input" "$records" "${command[@]}"
    done <<'END'
texts.mp 27 prompt-expand --task "$T" --shots shots.mp
texts.mp 3 prompt-expand --task "$T" --zero-shot --instruction best:weights.mp
texts.prompts.mp 27 tok --model "$M"
texts.tokens.mp 27 tok --decode --model "$M"
texts.tokens.mp 27 lm-score --model "$M"
texts.scores.mp 3 bpe-fit --apply weights.mp
END
}

@test "rec cat, head and join pass on what has come" {
    passes_on_twice texts.mp 3 rec cat
    passes_on_twice texts.mp 2 rec head --skip 1
    passes_on_twice texts.mp 3 rec join - teacher.mp
}

@test "compressed input is passed on as it comes" {
    # A frame in blocks, the last records not followed by the frame's end.
    rec cat -z <"$new/in" >"$new/packed" 3>&- 9>&- &
    pid=$!
    head -c -53 texts.mp >&9
    await 3 rec to-json "$new/packed"
    size=$(stat -c %s "$new/packed")
    tail -c 53 texts.mp >&9
    ends 0
    start "$new/out" rec cat
    head -c "$size" "$new/packed" >&9
    await 3 rec to-json "$new/out"
    tail -c +$((size + 1)) "$new/packed" >&9
    ends 0
    rec check "$new/out"
}

@test "rec to-json and to-csv print what has come" {
    start "$new/out" rec to-json --header
    head -c -53 texts.mp >&9
    await 4 cat "$new/out"
    tail -c 53 texts.mp >&9
    ends 0
    rec to-json --header texts.mp | cmp - "$new/out"
    start "$new/out" rec to-csv
    head -c -53 texts.mp >&9
    await 4 cat "$new/out"
    tail -c 53 texts.mp >&9
    ends 0
    rec to-csv texts.mp | cmp - "$new/out"
}

@test "rows become records as they come" {
    rec to-json texts.mp >"$new/texts.jsonl"
    rec to-json texts.mp | jq -r '[.id, .text, .label] | @tsv' >"$new/texts.tsv"
    while read -r command format columns; do
        read -ra columns <<<"$columns"
            table=$new/texts.$format
        [ -e "$table" ] || table=texts.csv
        rec "$command" "${columns[@]}" <"$table" >"$new/whole"
        start "$new/out" rec "$command" "${columns[@]}"
        head -n -1 "$table" >&9
        await 2 rec to-json "$new/out"
        # A line may come in parts, and the last one without its end.
        tail -n 1 "$table" | head -c 5 >&9
        sleep 0.1
        [ "$(rec to-json "$new/out" 2>/dev/null | wc -l)" = 2 ]
        tail -n 1 "$table" | tail -c +6 | head -c -1 >&9
        ends 0
        cmp "$new/out" "$new/whole"
    done <<'END'
from-csv csv --id idx --text sentence --label label
from-jsonl jsonl --id id --text text --label label
from-tsv tsv --no-header --id 1 --text 2 --label 3
END
}

@test "a file before a FIFO that nobody writes to yet is passed on" {
    mkfifo "$new/late"
    start "$new/out" rec cat texts.mp "$new/late"
    await 3 rec to-json "$new/out"
    cat texts.mp >"$new/late"
    ends 0
    [ "$(rec count -q "$new/out")" = 6 ]
}

pipeline() {
    rec from-csv --id idx --text sentence --label label |
        prompt-expand --task "$T" --shots shots.mp - | tok --model "$M" |
        lm-score --model "$M" | bpe-fit --apply weights.mp | rec to-json
}

@test "a line put into the front of the pipe comes out at its end" {
    set -o pipefail
    start "$new/out" pipeline
    cat header.csv >&9
    for i in 1 2 3; do
        sed -n ${i}p rows.csv >&9
        await $i cat "$new/out"
    done
    ends 0
    rec to-json teacher.mp | cmp - "$new/out"
}

@test "a stream that is cut off after a pause is an error as ever, and no file is left" {
    start "$new/out" rec cat
    head -c -53 texts.mp >&9
    await 3 rec to-json "$new/out"
    ends 65
    grep -q 'after record 3: the stream ends without its trailer' "$new/said"
    start "$new/out" rec cat -o "$new/file.mp"
    head -c -53 texts.mp >&9
    sleep 0.2
    [ ! -e "$new/file.mp" ]
    ends 65
    [ "$(find "$new" -name 'file.mp*')" = "" ]
}

@test "a reader that has gone ends a program that passes on, without a word" {
    mkfifo "$new/link"
    timeout 60 head -c 1 "$new/link" >"$new/first" &
    reader=$!
    timeout 60 rec cat <"$new/in" >"$new/link" 2>"$new/said" 3>&- 9>&- &
    pid=$!
    head -c 200 texts.mp >&9
    wait $reader
    tail -c +201 texts.mp | head -c -53 >&9
    status=0
    wait $pid || status=$?
    [ $status = 141 ]
    [ ! -s "$new/said" ]
}
