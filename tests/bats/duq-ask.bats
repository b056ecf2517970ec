# duq-ask: a student asked about texts, with nothing but its folder.

load refuses
load asked
load until-true

# The same by the programs that it runs.
by_hand() { # TEXTS-STREAM
    student_tokens --instruction 2 --student "$1" | lm-score --model model --adapter edl.lora
}

@test "texts of the command line get what the programs say of them" {
    duq-ask --json -- edl.lora 'a dull film' $'two\nlines, "quoted"' '-- ümläut' >got.json
    jq -nc '{text: "a dull film"}, {text: "two\nlines, \"quoted\""}, {text: "-- ümläut"}' | rec from-jsonl --text text >texts.mp
    by_hand texts.mp | rec to-json >wanted.json
    jq -n -e --slurpfile got got.json --slurpfile wanted wanted.json '
        ($got | length) == 3 and ($got | map(.text)) == ["a dull film", "two\nlines, \"quoted\"", "-- ümläut"]
        and ([range(3)] | all(. as $i | $got[$i] as $g | $wanted[$i] as $w
            | $g.probs == {negative: $w.probs[0], positive: $w.probs[1]} and $g.confidence == ($w.probs | max)
            and $g.class == (if $w.probs[0] >= $w.probs[1] then "negative" else "positive" end)
            and $g.total == $w.total and $g.aleatoric == $w.aleatoric and $g.epistemic == $w.epistemic
            and ($g | has("decision") | not)))'
}

@test "lines of standard input get the same, and a table shows it" {
    duq-ask --json edl.lora 'a dull film' 'a gem' >got.json
    printf 'a dull film\na gem\n' | duq-ask --json edl.lora | cmp - got.json
    COLUMNS=200 duq-ask edl.lora 'a dull film' $'a \e[31mgem' >table
    [ "$(wc -l <table)" -eq 3 ]
    head -n 1 table | grep -Eq '^ *id +class +confidence +total +aleatoric +epistemic +text$'
    grep -Eq '(negative|positive) +0\.[0-9]{4} +0\.[0-9]{4} +0\.[0-9]{4} +0\.[0-9]{4} +a \\x1b\[31mgem$' table
    [ "$(tail -n +2 table | awk 'NR == 1 { print $3 }')" = "$(jq -n 'input.confidence' got.json |
        awk '{ printf "%.4f\n", $1 }')" ]
    COLUMNS=200 duq-ask -o file edl.lora 'a dull film' $'a \e[31mgem'
    cmp table file
}

@test "a confidence or a rule says when to abstain" {
    duq-ask --json edl.lora 'a dull film' 'a gem' 'it is' >plain.json
    least=$(jq -s 'map(.confidence) | sort | .[1]' plain.json)
    duq-ask --json --confidence "$least" edl.lora 'a dull film' 'a gem' 'it is' >limited.json
    jq -e -s --argjson least "$least" 'all(.decision == if .confidence >= $least then "answer" else "abstain" end)
        and (map(.decision) | unique) == ["abstain", "answer"]' limited.json
    by_hand texts.mp >predictions.mp
    decide --expected-risk 0.5 --or-abstain -o rule.mp predictions.mp
    duq-ask --json --rule rule.mp edl.lora 'a dull film' 'a gem' 'it is' >ruled.json
    jq -nc '"a dull film", "a gem", "it is" | {text: .}' | rec from-jsonl --text text >asked.mp
    by_hand asked.mp | decide --apply rule.mp | rec to-json | jq -s 'map(.decision)' >wanted.json
    jq -s 'map(.decision)' ruled.json | cmp - wanted.json
    COLUMNS=120 duq-ask --rule rule.mp edl.lora 'a gem' | head -n 1 | grep -q decision
}

@test "of a rule JSON has all that the decision has, classes by their names, and a table the sets" {
    by_hand texts.mp >predictions.mp
    decide --set 0.3 -o sets.mp predictions.mp
    decide --expected-risk 0.5 --or-abstain -o rule.mp predictions.mp
    rec to-json texts.mp | jq -r .text >lines
    local rule
    for rule in sets rule; do
        decide --apply $rule.mp predictions.mp | rec to-json |
            jq -c 'def name: ["negative", "positive"][.]; {decision,
                answer: (if .answer then .answer | name else null end), score, reason} + if .set then {set: (.set | map(name))} else {} end' >wanted.json
        duq-ask --json --rule $rule.mp edl.lora <lines |
            jq -c 'del(.text, .class, .confidence, .total, .aleatoric, .epistemic, .probs)' | diff - wanted.json
    done
    duq-ask --rule sets.mp edl.lora <lines >table
    [ "$(head -n 1 table | tr -s ' ')" = 'id class confidence total aleatoric epistemic decision set text' ]
    # What stands under "set", by where that begins.
    awk 'NR == 1 { from = index($0, "set"); to = index($0, "text"); next }
        { set = substr($0, from, to - from); sub(/ +$/, "", set); print set }' table >sets
    decide --apply sets.mp predictions.mp | rec to-json | jq -r '.set | map(["negative", "positive"][.]) | join(", ")' |
        diff - sets
}

@test "a table of 80 columns has all numbers and classes whole, and without a terminal everything" {
    by_hand texts.mp | decide --expected-risk 0.5 --or-abstain -o rule.mp
    local long
    long=$(printf 'word %.0s' {1..60})end
    COLUMNS=80 duq-ask --rule rule.mp edl.lora "$long" >table
    tail -n 1 table | grep -Eq '^1 +(negative|positive)( +[01]\.[0-9]{4}){4} +(answer|abstain) +word .*…$'
    [ "$(wc -L <table)" -eq 80 ]
    duq-ask --rule rule.mp edl.lora "$long" | tail -n 1 | grep -q " $long\$"
    duq-ask --output out --rule rule.mp edl.lora "$long"
    tail -n 1 out | grep -q " $long\$"
    script -qec "stty cols 90; duq-ask --rule rule.mp edl.lora '$long'" /dev/null | tr -d '\r' >table
    [ "$(wc -L <table)" -eq 90 ]
}

@test "the adapter's folder is all that is needed, wherever it is asked from" {
    duq-ask --json edl.lora 'a gem' >got.json
    mkdir elsewhere && mv edl.lora elsewhere/ && rm -r task.json texts.mp model
    (cd / && duq-ask --json "$BATS_TEST_TMPDIR/elsewhere/edl.lora" 'a gem') | cmp - got.json
}

@test "another base model is refused, and one that is gone is named" {
    cp -rL model other && jq '.rms_norm_eps = 2e-5' model/config.json >other/config.json
    refuses 65 'the adapter was trained on the base model' duq-ask --model other edl.lora 'a gem'
    jq '.base_model_name_or_path = "/gone"' edl.lora/adapter_config.json >c && mv c edl.lora/adapter_config.json
    refuses 66 '/gone: the base model is not there; say with --model where it is' duq-ask edl.lora 'a gem'
    duq-ask --model model edl.lora 'a gem' | grep -q 'a gem'
}

@test "what is wrong is said, with a status of its own" {
    refuses 64 'the first argument is the folder of an adapter' duq-ask
    refuses 64 "unrecognized option '--no-such'" duq-ask --no-such edl.lora text
    refuses 64 "option '--rule' requires an argument" duq-ask --rule
    refuses 64 "'1.5' is not a number from 0 to 1" duq-ask --confidence 1.5 edl.lora text
    refuses 64 'give one' duq-ask --confidence=0.5 --rule=rule.mp edl.lora text
    refuses 66 'no such folder' duq-ask nowhere text
    refuses 66 'takes adapters that lora-train wrote' duq-ask model text
    refuses 65 'the input holds no records' duq-ask edl.lora </dev/null
    refuses 65 'UTF-8' duq-ask edl.lora < <(printf 'ab\xffcd\n')
    refuses 73 'cannot be created' duq-ask -o nowhere/file edl.lora text
    local option
    for option in -r --rule --confidence --model -m; do
        refuses 64 "$option: it is empty" duq-ask $option '' edl.lora text
    done
    cp -r edl.lora kept.lora
    rm edl.lora/adapter_config.json
    refuses 66 'duq-ask: edl.lora/adapter_config.json: cannot be read' duq-ask -m model edl.lora text
    for option in '{' '[]' '' '{} {}'; do
        echo "$option" >edl.lora/adapter_config.json
        refuses 65 'duq-ask: edl.lora/adapter_config.json: no JSON object' duq-ask -m model edl.lora text
    done
    echo '{}' >edl.lora/adapter_config.json
    refuses 65 'names no base model' duq-ask edl.lora text
    cp kept.lora/* edl.lora
    : >edl.lora/duq.json
    refuses 65 'duq-ask: edl.lora/duq.json: no JSON object' duq-ask edl.lora text
    jq 'del(.head)' kept.lora/duq.json >edl.lora/duq.json
    refuses 65 'gives no probabilities' duq-ask edl.lora text
    jq 'del(.asked)' kept.lora/duq.json >edl.lora/duq.json
    refuses 65 'does not say by which prompt to ask' duq-ask edl.lora text
    student_tokens --instruction 2 --shots shots.mp texts.mp |
        lora-train --model model --loss edl --rank 2 --epochs 1 -o few.lora
    refuses 65 'trained on prompts with worked examples' duq-ask few.lora text
}

@test "options stand anywhere, letters together, values attached, names shortened; -- ends them" {
    duq-ask --json --confidence 0.3 -- edl.lora hello -c >wanted.json
    duq-ask edl.lora --js hello --conf=0.3 -- -c | cmp - wanted.json
    duq-ask -jc0.3 edl.lora hello -- -c | cmp - wanted.json
    duq-ask edl.lora -jc 0.3 -mmodel hello -- -c | cmp - wanted.json
    refuses 64 "unrecognized option '--no-such'" duq-ask edl.lora hello --no-such
    refuses 64 "invalid option -- 'x'" duq-ask -jx edl.lora hello
    GETOPT_COMPATIBLE=1 duq-ask edl.lora --json hello -c 0.3 -- -c | cmp - wanted.json
    POSIXLY_CORRECT=1 duq-ask edl.lora --json hello -c 0.3 -- -c | cmp - wanted.json
}

@test "files and folders may have any name" {
    duq-ask --json --model model edl.lora 'a gem' >wanted.json
    by_hand texts.mp | decide --expected-risk 0.5 --or-abstain --output=-r
    mv -- edl.lora -a
    cp -rL -- model -m
    duq-ask --json -- -a 'a gem' | cmp - wanted.json
    duq-ask --json -m-m -- -a 'a gem' | cmp - wanted.json
    COLUMNS=200 duq-ask --rule -r -- -a 'a gem' | grep -q decision
    mv -- -a 'an "odd" $name'
    duq-ask --json 'an "odd" $name' 'a gem' | cmp - wanted.json
}

@test "texts of the command line are taken byte for byte, or refused" {
    local texts=($'\xef\xbb\xbfa\r\nb\r' '"' '""' $'"\n"' ' x,y ' '\n' $'\n')
    duq-ask --json edl.lora "${texts[@]}" | jq -j '.text + "\u0000"' | cmp - <(printf '%s\0' "${texts[@]}")
    refuses 65 'arguments: row 2: the text is not UTF-8 (byte 4 of it)' duq-ask edl.lora fine $'caf\xe9'
}

@test "help that is not written is an error" {
    refuses 74 'not written' timeout 60 bash -c 'duq-ask --help >/dev/full'
    refuses 74 'not written' timeout 60 bash -c 'duq-ask --version >/dev/full'
}

# What it says for a text on standard output, in said.json; no file that is unfinished may be left.
said() {
    [ -e said.json ] || duq-ask --json edl.lora 'a gem' >said.json
    cat said.json
}

nothing_left() {
    [ -z "$(find . "$TMPDIR" -name '*.part.*' -o -path "$TMPDIR/*")" ]
}

@test "what is no regular file is written through, and links stay" {
    export TMPDIR=$PWD/temporary
    mkdir temporary there
    said >wanted
    mkfifo fifo
    cat fifo >seen &
    duq-ask --json -o fifo edl.lora 'a gem'
    wait $!
    cmp seen wanted
    [ -p fifo ]
    if [ "$(id -u)" = 0 ] && mknod null c 1 3 2>/dev/null && : 2>/dev/null >null; then
        duq-ask --json -o null edl.lora 'a gem'
        [ -c null ]
    fi
    echo old >there/file
    chmod 600 there/file
    ln -s there/file link
    ln -s ../link there/second
    duq-ask --json -o there/second edl.lora 'a gem'
    [ -L link ] && [ -L there/second ]
    cmp there/file wanted
    ln -s new dangling
    duq-ask --json -o dangling edl.lora 'a gem'
    [ -L dangling ]
    cmp new wanted
    [ "$(stat -c %a new)" = "$(printf %o $((0666 & ~$(umask))))" ]
    nothing_left
}

@test "standard output and other descriptors are written to where they stand" {
    local name
    ln -s /proc/self/fd/1 out
    for name in - /dev/stdout /proc/self/fd/1 out; do
        { echo before && duq-ask --json -o "$name" edl.lora 'a gem' && echo after; } >file
        { echo before && said && echo after; } | cmp - file
    done
    [ -L out ]
    echo first >file
    duq-ask --json -o /dev/fd/7 edl.lora 'a gem' 7>>file
    { echo first && said; } | cmp - file
    [ ! -e ./- ]
}

@test "an output of any name is written; one that cannot be is refused before anything is asked" {
    export TMPDIR=$PWD/temporary
    mkdir temporary folder
    said >wanted
    duq-ask -o -x.txt --json edl.lora 'a gem'
    cmp ./-x.txt wanted
    duq-ask -o 'a "$b"' --json edl.lora 'a gem'
    cmp 'a "$b"' wanted
    ln -s b a
    ln -s a b
    echo 'a gem' >lines
    by_hand texts.mp | decide --expected-risk 0.5 --or-abstain -o rule.mp
    mkdir programs
    printf '#!/bin/sh\ncat >/dev/null\necho asked >&2\nexit 1\n' >programs/lm-score
    chmod +x programs/lm-score
    PATH=$PWD/programs:$PATH
    local name
    for name in nowhere/file new/ folder folder/ link/x; do
        refuses 73 "duq-ask: $name: cannot be created: " duq-ask -o "$name" edl.lora text
        [[ $output != *asked* && $output != *line* && $(wc -l <<<"$output") -eq 1 ]]
    done
    refuses 73 "duq-ask: nowhere/file: cannot be created: No such file or directory" \
        duq-ask -o nowhere/file edl.lora text
    refuses 73 "duq-ask: folder: cannot be created: Is a directory" duq-ask -o folder edl.lora text
    refuses 73 'a: cannot be created: symbolic links that lead in a circle' duq-ask -o a edl.lora text
    refuses 73 'an output needs a file of its own' duq-ask -o lines edl.lora <lines
    refuses 73 'an output needs a file of its own' duq-ask -o rule.mp --rule rule.mp edl.lora text
    refuses 73 'an output needs a file of its own' duq-ask -o edl.lora/duq.json edl.lora text
    refuses 73 'standard output: would be read and written' bash -c 'duq-ask edl.lora <lines >>lines'
    refuses 73 'an output needs a file of its own' bash -c 'duq-ask -o /dev/fd/7 edl.lora <lines 7>>lines'
    # Beside what is read there is room.
    refuses 1 asked duq-ask -o edl.lora/said.txt edl.lora text
    : >edl.lora/said.txt
    refuses 1 asked duq-ask -o edl.lora/said.txt edl.lora text
    refuses 1 asked duq-ask -o lines edl.lora text
    [ "$(cat lines)" = 'a gem' ]
    nothing_left
}

@test "a full folder for what is on the way is an error of its own" {
    unshare -rm true 2>/dev/null || skip 'no file system may be mounted here (unshare)'
    mkdir little
    refuses 74 "duq-ask: $PWD/little: not written; TMPDIR says where there is room" unshare -rm bash -c 'mount -t tmpfs -o size=4k tmpfs little &&
        head -c 4096 /dev/zero >little/x && TMPDIR=$PWD/little duq-ask edl.lora text'
    refuses 74 'duq-ask: /nonexistent/tmp: not written' env TMPDIR=/nonexistent/tmp duq-ask edl.lora text
}

@test "an output that is not written is an error" {
    [ -c /dev/full ] || skip 'there is no /dev/full'
    refuses 74 'not written' bash -c 'duq-ask edl.lora text >/dev/full'
    refuses 74 'duq-ask: standard output: not written' bash -c 'duq-ask --json edl.lora text >/dev/full'
}

@test "a signal ends it at once, its programs with it, and leaves nothing" {
    export TMPDIR=$PWD/temporary
    mkdir temporary
    mkfifo lines
    local signal status pid
    for signal in HUP INT QUIT TERM; do
        env --default-signal=INT,QUIT duq-ask -o out edl.lora <lines 2>errors &
        pid=$!
        exec 8>lines
        until_true 10 compgen -G "$TMPDIR/*/texts.mp" >/dev/null
        kill -s $signal $pid
        until_true 10 eval '! kill -0 $pid 2>/dev/null'
        (trap '' PIPE && ! echo 'a gem' >&8) 2>/dev/null # nobody reads any more
        status=0
        wait $pid || status=$?
        exec 8>&-
        echo "$signal: status $status, $(cat errors)"
        [ $status -eq $((128 + $(kill -l $signal))) ]
        nothing_left
        [ ! -e out ]
    done
}

@test "on a terminal it takes lines from there, and Ctrl-C ends it" {
    export TMPDIR=$PWD/temporary
    mkdir temporary
    (echo 'a gem' && sleep 1 && printf '\4' && until_true 10 grep -q confidence seen) |
        script -qec 'duq-ask edl.lora' /dev/null >seen
    grep -Eq '^1 .* a gem' seen
    # The shell that runs it there tells its status.
    (until_true 10 compgen -G "$TMPDIR/*/texts.mp" >/dev/null && printf '\3' && until_true 10 grep -q status seen) |
        timeout 180 script -qec 'trap : INT; duq-ask edl.lora; echo "status $?"' /dev/null >seen
    grep -q 'status 130' seen
    nothing_left
}
