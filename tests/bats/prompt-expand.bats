# prompt-expand: expected prompts written out, streams byte for byte against tests/oracle/prompts.py,
# and what it says to bad input.

setup() {
    data=$BATS_TEST_DIRNAME/../data/prompt
    cd "$BATS_TEST_TMPDIR" || exit 1
}

# A stream's records must be exactly those of a file; the header before them may vary.
trailer=53
has_records() { # STREAM RECORDS
    tail -c $(($(stat -c %s "$2") + trailer)) "$1" | head -c -$trailer | cmp - "$2"
}

expand() {
    prompt-expand --task "$data/task.json" "$@"
}

@test "a zero-shot prompt is the instruction, the numbered classes, a blank line and the content" {
    cat >task.json <<'END'
{"name": "t", "classes": ["negative", "positive"], "instructions": ["Judge this review:"],
 "content": "review: {text}\nthe review is ", "shots": 0}
END
    prompt-expand --task task.json --show "$data/texts.mp" >shown
    printf '%s\n' 'Judge this review:' '1. negative' '2. positive' '' 'review: plain' \
        'the review is ' | cmp - shown
}

@test "a few-shot prompt repeats the block for each shot and numbers the text last" {
    expand --shots "$data/shots.mp" --instruction 0 --show=t1 "$data/texts.mp" >shown
    cat >expected <<'END'
EXAMPLE 1:
Rate this:
1. bad
2. so-so
3. good {sic}

text {0}: dull
%s the text is bad

EXAMPLE 2:
Rate this:
1. bad
2. so-so
3. good {sic}

text {0}: one two three four five six
%s the text is good {sic}

EXAMPLE 3:
Rate this:
1. bad
2. so-so
3. good {sic}

text {0}: braces {text} {} {0} and %d
END
    printf '%s\n' '%s the text is ' >>expected
    cmp expected shown
}

@test "each instruction has shots of its own" {
    expand --shots "$data/shots.mp" --show "$data/texts.mp" >shown
    [ "$(grep -c '^==> text t0, instruction' shown)" = 3 ]
    grep '^text {0}: ' shown | diff - <(printf 'text {0}: %s\n' dull 'one two three four five six' \
        plain '' 'a shot' plain '{text} {0} %s' $'drei\u3000W\u00f6rter\u00a0nur' plain)
}

@test "few-shot records are the oracle's byte for byte" {
    expand --shots "$data/shots.mp" "$data/texts.mp" >prompts.mp
    has_records prompts.mp "$data/few-shot.records"
}

@test "zero-shot records are the oracle's byte for byte, from standard input too" {
    expand --zero-shot "$data/texts.mp" >prompts.mp
    has_records prompts.mp "$data/zero-shot.records"
    zstd -q <"$data/texts.mp" | expand --zero-shot >from-stdin.mp
    has_records from-stdin.mp "$data/zero-shot.records"
}

@test "one instruction keeps its number, and the best one is the one with the highest weight" {
    expand --zero-shot --instruction 1 "$data/texts.mp" >one.mp
    has_records one.mp "$data/zero-shot-1.records"
    expand --zero-shot --instruction best:"$data/weights.mp" "$data/texts.mp" >best.mp
    has_records best.mp "$data/zero-shot-1.records"
}

@test "another layout, frame and word limit, and the student's own, are the oracle's byte for byte" {
    prompt-expand --task "$data/framed.json" --shots "$data/shots.mp" "$data/texts.mp" >framed.mp
    has_records framed.mp "$data/framed.records"
    prompt-expand --task "$data/framed.json" --student "$data/texts.mp" >student.mp
    has_records student.mp "$data/student.records"
    expand --student "$data/texts.mp" >plain.mp
    has_records plain.mp "$data/zero-shot.records"
    run expand --student --shots "$data/shots.mp" "$data/texts.mp"
    [ "$status" = 64 ]
    [[ $output == *"--shots and --student exclude each other"* ]]
}

@test "several files are read in order" {
    expand --zero-shot "$data/texts.mp" "$data/texts.mp" >twice.mp
    cat "$data/zero-shot.records" "$data/zero-shot.records" >twice.records
    has_records twice.mp twice.records
    cat "$data/texts.mp" "$data/texts.mp" | expand --zero-shot >joined.mp
    has_records joined.mp twice.records
}

@test "the header names the task, its classes and the number of prompts" {
    expand --zero-shot "$data/texts.mp" >prompts.mp
    LC_ALL=C grep -qa 'task.tiny' prompts.mp
    LC_ALL=C grep -qa 'classes..bad.so-so.good {sic}' prompts.mp
    LC_ALL=C grep -qaP 'prompts\x03' prompts.mp
}

@test "an output file appears whole, and compressed when its name says so" {
    expand --zero-shot -o prompts.mp.zst "$data/texts.mp"
    zstd -qdc prompts.mp.zst >plain.mp
    has_records plain.mp "$data/zero-shot.records"
    [ "$(ls)" = "$(printf 'plain.mp\nprompts.mp.zst')" ]
}

@test "every verdict on a task file is the schema's, and names the key" {
    n=0
    while IFS= read -r case; do
        jq -c .task <<<"$case" >case.json
        what=$(jq -r .what <<<"$case") key=$(jq -r .key <<<"$case")
        run prompt-expand --task case.json --zero-shot --show "$data/texts.mp"
        if [ "$key" = null ]; then
            [ "$status" = 0 ] || { echo "$what: $output"; false; }
        else
            [ "$status" = 65 ] && [[ $output == "prompt-expand: case.json: "*"$key"* ]] ||
                { echo "$what: $status $output"; false; }
        fi
        n=$((n + 1))
    done <"$data/verdicts.jsonl"
    [ $n -gt 40 ]
}

@test "answers end the shots and go into the header, and change nothing without them" {
    jq '.answers = [[" bad", " poor"], " so-so", " good"] | .content = "{text}\nit is"' "$data/task.json" >task.json
    prompt-expand --task task.json --shots "$data/shots.mp" "$data/texts.mp" >few.mp
    rec check few.mp
    rec to-json --header few.mp | head -n 1 |
        jq -e '.answers == [[" bad", " poor"], [" so-so"], [" good"]] and .open == "\nit is"'
    rec to-json few.mp | head -n 1 | jq -r .text >text
    grep -qx 'it is bad' text
    grep -qx 'it is good' text
    grep -qx '3. good {sic}' text
    prompt-expand --task "$data/task.json" --zero-shot "$data/texts.mp" | rec to-json --header | head -n 1 |
        jq -e '(has("answers") or has("open")) | not'
}

@test "answers are as many as the classes, and no two the same" {
    jq '.answers = [" bad", " good"]' "$data/task.json" >few.json
    run prompt-expand --task few.json --zero-shot "$data/texts.mp"
    [ "$status" = 65 ]
    [[ $output == *"few.json: key 'answers' has 2 entries for 3 classes" ]]
    jq '.answers = [[" bad", " poor"], " so-so", [" good", " poor"]]' "$data/task.json" >same.json
    run prompt-expand --task same.json --zero-shot "$data/texts.mp"
    [ "$status" = 65 ]
    [[ $output == *"same.json: key 'answers', entries 0 and 2 both hold ' poor'" ]]
    printf '{"answers": [" \xff", " b"]}' >latin.json
    run prompt-expand --task latin.json --zero-shot "$data/texts.mp"
    [ "$status" = 65 ]
}

@test "lists have an end, for each entry is held against those before it" {
    jq '.instructions = [range(16385) | tostring]' "$data/task.json" >long.json
    run prompt-expand --task long.json --zero-shot "$data/texts.mp"
    [ "$status" = 65 ]
    [[ $output == *"long.json: key 'instructions' has 16385 entries, at most 16384 are possible" ]]
    jq '.answers = ["a", "b", [range(16383) | tostring]]' "$data/task.json" >answers.json
    run prompt-expand --task answers.json --zero-shot "$data/texts.mp"
    [ "$status" = 65 ]
    [[ $output == *"answers.json: key 'answers' holds more than 16384 answers" ]]
}

@test "a byte order mark before a task is dropped, and half of one is not" {
    { printf '\xef\xbb\xbf'; cat "$data/task.json"; } >marked.json
    prompt-expand --task marked.json --zero-shot "$data/texts.mp" | rec to-json | cmp - <(expand --zero-shot "$data/texts.mp" | rec to-json)
    { printf '\xef\xbb'; cat "$data/task.json"; } >half.json
    run prompt-expand --task half.json --zero-shot "$data/texts.mp"
    [ "$status" -eq 65 ]
    [ "$output" = "prompt-expand: half.json: line 1, column 1: invalid byte 0xef" ]
}

@test "what is not JSON, and a key given twice, are errors with their place" {
    echo '{"name": "t",' >bad.json
    run prompt-expand --task bad.json --zero-shot "$data/texts.mp"
    [ "$status" = 65 ]
    [[ $output == "prompt-expand: bad.json: line 2"* ]]
    jq -c . "$data/task.json" | sed 's/"shots":2/"shots":2,"shots":3/' >twice.json
    run prompt-expand --task twice.json --zero-shot "$data/texts.mp"
    [ "$status" = 65 ]
    [[ $output == *twice.json*"duplicate object key"* ]]
    run prompt-expand --task none.json --zero-shot "$data/texts.mp"
    [ "$status" = 66 ]
}

@test "a task with shots wants --shots or --zero-shot, and not both" {
    run expand "$data/texts.mp"
    [ "$status" = 64 ]
    [[ $output == *"asks for 2 shots per instruction: give 6 labelled examples"*"--zero-shot"* ]]
    run expand --zero-shot --shots "$data/shots.mp" "$data/texts.mp"
    [ "$status" = 64 ]
    jq '.shots = 0' "$data/task.json" >none.json
    run prompt-expand --task none.json --shots "$data/shots.mp" "$data/texts.mp"
    [ "$status" = 64 ]
    run prompt-expand --zero-shot "$data/texts.mp"
    [ "$status" = 64 ]
    [[ $output == *"--task FILE is missing"* ]]
}

@test "too few shots are counted" {
    jq '.shots = 3' "$data/task.json" >more.json
    run prompt-expand --task more.json --shots "$data/shots.mp" "$data/texts.mp"
    [ "$status" = 65 ]
    [[ $output == *"record 7 (id s6): a shot needs a label"* ]]
    jq '.shots = 3' "$data/task.json" >more.json
    run prompt-expand --task more.json --shots "$data/labelled.mp" "$data/texts.mp"
    [ "$status" = 65 ]
    [[ $output == *"9 shots are needed (3 for each of the 3 instructions), 6 were found" ]]
}

@test "a shot that comes twice is an error" {
    cat "$data/labelled.mp" "$data/labelled.mp" >doubled.mp
    jq '.shots = 3' "$data/task.json" >more.json
    run prompt-expand --task more.json --shots doubled.mp "$data/texts.mp"
    [ "$status" = 65 ]
    [[ $output == *"doubled.mp: record 7 (id s0): another shot has the same id" ]]
}

@test "labels and classes that the task does not have are errors" {
    jq '.classes = ["bad", "good"]' "$data/task.json" >two.json
    run prompt-expand --task two.json --zero-shot "$data/texts.mp"
    [ "$status" = 65 ]
    [[ $output == *"texts.mp: record 4 (id t3): label 2, but two.json has 2 classes (0 to 1)" ]]
    run prompt-expand --task two.json --shots "$data/shots.mp" "$data/texts.mp"
    [ "$status" = 65 ]
    [[ $output == *'shots.mp: the header names the classes ["bad","so-so","good {sic}"], two.json names ["bad","good"]'* ]]
}

@test "text that is not UTF-8 is an error, in texts and in shots" {
    sed 's/naïve/na\xefve_/' "$data/texts.mp" >latin.mp
    run expand --zero-shot latin.mp
    [ "$status" = 65 ]
    [[ $output == *"latin.mp: record 6 (id t5): the text is not UTF-8 at byte 7" ]]
    sed 's/dull/du\xfcl/' "$data/shots.mp" >latin.mp
    run expand --shots latin.mp "$data/texts.mp"
    [ "$status" = 65 ]
    [[ $output == *"latin.mp: record 1 (id s0): the text is not UTF-8 at byte 2" ]]
}

@test "texts that are shots too are warned of" {
    expand --shots "$data/shots.mp" "$data/labelled.mp" >prompts.mp 2>said
    grep -q "6 of the texts are shots too (the first: id s0)" said
    expand -q --shots "$data/shots.mp" "$data/labelled.mp" >prompts.mp 2>said
    [ ! -s said ]
}

@test "an instruction that is not there is an error" {
    run expand --zero-shot --instruction 3 "$data/texts.mp"
    [ "$status" = 64 ]
    [[ $output == *"'3' is not a whole number from 0 to 2"* ]]
    jq '.instructions = ["one", "two"]' "$data/task.json" >two.json
    run prompt-expand --task two.json --zero-shot --instruction best:"$data/weights.mp" "$data/texts.mp"
    [ "$status" = 65 ]
    [[ $output == *"weights.mp: record 3: prompt 2, but two.json has 2 instructions (0 to 1)" ]]
}

@test "weights of another task are refused" {
    jq '.name = "other"' "$data/task.json" >other.json
    run prompt-expand --task other.json --zero-shot --instruction best:"$data/weights.mp" "$data/texts.mp"
    [ "$status" = 65 ]
    [[ $output == *"weights.mp: holds the weights of task 'tiny', other.json is task 'other'"* ]]
}

@test "--show says what tok would say of answers, where the model's folder has a tokenizer" {
    task() { # ANSWERS CONTENT
        jq -n --argjson answers "$1" --arg content "$2" '{name: "t", classes: ["sadness", "joy"], shots: 0,
            instructions: ["say"], content: $content} + if $answers then {answers: $answers} else {} end' >task.json
    }
    echo fine | rec from-lines >text.mp
    shown() {
        prompt-expand --task task.json --zero-shot --show "$@" text.mp 2>log >prompts
    }
    mkdir model
    cp "$data/../tok/smollm2.json" model/tokenizer.json
    task null '{text} is '
    shown
    [ ! -s log ]
    shown --model model
    grep -q "the class 'sadness' is read at 's', a piece of the word.*give the task 'answers'" log
    [ -s prompts ]
    task '["sadness", "joy"]' '{text}:\n'
    shown --model model
    grep -q "the answer 'sadness' is read at '[a-z]*', a piece of the word" log
    task '[" s", " j"]' '{text} is'
    shown --model model
    grep -q "the answer ' j' is read at ' ', a piece of the word" log
    task '[" s", " t"]' '{text} is'
    shown --model model
    [ ! -s log ]
    task '[" s", " s s"]' '{text} is'
    run shown --model model
    [ "$status" = 65 ]
    grep -q "task.json: key 'answers': ' s' (class 'sadness') and ' s s' (class 'joy') cannot be told apart" log
    rm model/tokenizer.json
    shown --model model
    [ ! -s log ]
}

@test "an id that is not there cannot be shown" {
    run expand --zero-shot --show=t99 "$data/texts.mp"
    [ "$status" = 65 ]
    [[ $output == "prompt-expand: no text has the id 't99'" ]]
    run expand --zero-shot --show -z "$data/texts.mp"
    [ "$status" = 64 ]
}

@test "standard input serves one purpose" {
    run expand --shots - <"$data/shots.mp"
    [ "$status" = 64 ]
    [[ $output == *"standard input can be read once: give files for the other inputs"* ]]
}

@test "a cut stream of texts or shots is not taken for a whole one" {
    head -c 300 "$data/texts.mp" >cut.mp
    run expand --zero-shot -o prompts.mp cut.mp
    [ "$status" = 65 ]
    [ ! -e prompts.mp ]
    head -c 350 "$data/shots.mp" >cut.mp
    run expand --shots cut.mp -o prompts.mp "$data/texts.mp"
    [ "$status" = 65 ]
    [ ! -e prompts.mp ]
}

@test "prompts are the wrong input, and no texts at all is an error" {
    expand --zero-shot "$data/texts.mp" >prompts.mp
    run expand --zero-shot prompts.mp
    [ "$status" = 65 ]
    [[ $output == *"holds 'prompt' records, 'example' records are wanted here: rec from-csv and the like make them" ]]
    run expand --zero-shot "$data/empty.mp" -o out.mp
    [ "$status" = 65 ]
    [[ $output == *"holds no records"* ]]
    [ ! -e out.mp ]
}

@test "--help shows a command line and --version a version" {
    run prompt-expand --help
    [ "$status" = 0 ]
    [[ $output == *"prompt-expand --task pipelines/sst2/task.json"* ]]
    run prompt-expand --version
    [ "$status" = 0 ]
    [[ $output == "prompt-expand (duq) "* ]]
}

@test "content and answers that run into one word where shots follow are refused" {
    printf '%s\n' '{"text": "fine", "label": 0}' | rec from-jsonl --text text --label label >one.mp
    jq -n '{name: "t", classes: ["good", "bad"], shots: 1, instructions: ["say"], content: "text: {text}\nit is"}' >seam.json
    run -65 prompt-expand --task seam.json --shots one.mp one.mp
    [[ $output == *"seam.json: key 'content' ends in a word without a blank, and in a shot the answer 'good' stands right behind it"* ]]
    prompt-expand --task seam.json --zero-shot one.mp >/dev/null
    jq '.answers = [" good", " bad"]' seam.json >apart.json
    prompt-expand --task apart.json --shots one.mp one.mp >/dev/null
    jq '.content = "{text}"' seam.json >bare.json
    run -65 prompt-expand --task bare.json --shots one.mp one.mp
    [[ $output == *"'content' ends in {text} without a blank"* ]]
    jq '.content = "{text} ->"' seam.json >sign.json
    prompt-expand --task sign.json --shots one.mp one.mp >/dev/null
}

@test "empty texts are counted in a warning" {
    printf '%s\n' '{"text": "", "label": 0}' '{"text": "a", "label": 0}' | rec from-jsonl --text text --label label >two.mp 2>/dev/null
    jq -n '{name: "t", classes: ["good", "bad"], shots: 0, instructions: ["say"], content: "text: {text}\nit is "}' >plain.json
    prompt-expand --task plain.json --zero-shot two.mp 2>said >/dev/null
    [[ $(cat said) == *"1 of 2 texts are empty: their prompts ask about nothing; leave them out"* ]]
}
