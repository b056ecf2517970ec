# Where programs write: through links and descriptors, never onto what they read, and what is left when one is ended.

bats_require_minimum_version 1.5.0

load refuses
load until-true

setup() {
    data=$BATS_TEST_DIRNAME/../data
    cd "$BATS_TEST_TMPDIR" || exit 1
    seq 9 | rec from-lines >all.mp
}

# No temporary file is left.
nothing_unfinished() {
    [ -z "$(find . -name '*.part*')" ]
}

# Waits until rec has begun to write.
writing() {
    until_true 60 compgen -G 'out.mp.part.*' >/dev/null
}

# ---- places ----

@test "a link to a file stays a link, and what it leads to is replaced whole" {
    mkdir there
    echo old >there/file
    ln there/file other-name
    ln -s there/file link
    ln -s ../link there/second
    rec cat -o there/second all.mp
    [ -L link ]
    [ -L there/second ]
    [ "$(rec to-json there/file)" = "$(rec to-json all.mp)" ]
    [ "$(cat other-name)" = old ] # another file took its place; nothing was written into the old one
    nothing_unfinished
}

@test "a link to nothing yet makes the file that it leads to; a circle of links is refused" {
    ln -s new link
    rec cat -o link all.mp
    [ -L link ]
    rec check new
    ln -s b a
    ln -s a b
    refuses 73 'a: ' rec cat -o a all.mp
    [ -L a ]
    [ -L b ]
}

@test "links to descriptors, as /dev/stdout is one, are written to and stay" {
    local wanted
    wanted=$(rec cat all.mp | rec to-json)
    ln -s /proc/self/fd/1 out
    rec cat -o out all.mp >file
    [ "$(rec to-json file)" = "$wanted" ]
    [ -L out ]
    # Where it stands in a file, and after it.
    { echo before && rec to-json -o /dev/stdout all.mp && echo after; } >file
    [ "$(cat file)" = "before"$'\n'"$wanted"$'\n'"after" ]
    echo first >file
    rec to-json -o /dev/fd/7 all.mp 7>>file
    [ "$(cat file)" = "first"$'\n'"$wanted" ]
    [ "$(rec cat -o /dev/stdout all.mp | rec to-json)" = "$wanted" ]
    nothing_unfinished
}

@test "what is no regular file is written through: a FIFO, a link to a device" {
    mkfifo fifo
    rec to-json fifo >seen &
    rec cat -o fifo all.mp
    wait $!
    [ "$(cat seen)" = "$(rec to-json all.mp)" ]
    [ -p fifo ]
    ln -s /dev/null null
    rec cat -o null all.mp
    [ -L null ]
    [ -c /dev/null ]
    ln -s /dev/full full
    refuses 74 'full: not written' rec cat -o full all.mp
    [ -L full ]
    [ -c /dev/full ]
}

@test "where descriptors 0 to 2 are closed, no message goes into a file, and no output is lost in silence" {
    printf '1,a good one\n9,bad label\n1,so so\n' >bad.csv
    rec from-csv --no-header --text 2 --label 1 --labels 1,2 --skip-bad -o out.mp bad.csv <&- 2>&-
    rec check out.mp
    [ "$(rec count -q out.mp)" = 2 ]
    refuses 74 'standard output: not written' bash -c 'rec cat all.mp >&-'
    refuses 74 'standard input' bash -c 'rec cat <&-'
    refuses 74 'standard output: not written' bash -c 'rec --help >&-'
    refuses 74 'standard output: not written' bash -c 'rec --version >/dev/full'
}

# ---- inputs ----

@test "an output that is an input is refused, by whatever name, and stays as it is" {
    cp all.mp copy.mp
    ln -s all.mp link.mp
    ln all.mp hard.mp
    local name
    for name in all.mp link.mp hard.mp ./all.mp "$PWD/all.mp"; do
        refuses 73 'an output needs a file of its own' rec cat -o "$name" all.mp
        cmp all.mp copy.mp
    done
    refuses 73 'standard input' rec cat -o all.mp - <all.mp
    refuses 73 'standard output' bash -c 'rec cat all.mp >>all.mp'
    refuses 73 'standard' bash -c 'rec cat <all.mp >>all.mp'
    # An input that is opened after the output.
    rec from-lines -o first.mp <<<x
    refuses 73 'an output needs a file of its own' rec cat -o all.mp first.mp all.mp
    cmp all.mp copy.mp
    nothing_unfinished
}

@test "each program refuses to write onto what it reads" {
    local m=$data/engine/llama-tied t=$data/lora/streams
    echo '{"name": "t", "classes": ["a", "b"], "shots": 0, "instructions": ["give"], "content": "{text} "}' >task.json
    cp "$t"/{tokens,teacher}.mp .
    cp -r "$m" model
    cp "$data/uq/metrics-softmax.mp" p.mp
    cp "$data/decide/rule-by.mp" rule.mp
    sha256sum -- *.mp *.json model/* >sums
    refuses 73 'task.json' prompt-expand --task task.json --zero-shot -o task.json all.mp
    refuses 73 'config.json' lm-score --model model -o model/config.json tokens.mp
    refuses 73 'model.safetensors' lm-score --model model -o model/model.safetensors tokens.mp
    refuses 73 'p.mp' dir-eval -o p.mp p.mp
    refuses 73 'p.mp' decide --risk 0.9 --or-abstain -o p.mp p.mp
    refuses 73 'tokens.mp' lora-train --model model --rank 2 --teacher teacher.mp --log tokens.mp -o a tokens.mp
    refuses 73 'teacher.mp' lora-train --model model --rank 2 --teacher teacher.mp --checkpoint teacher.mp -o a tokens.mp
    sha256sum --quiet -c sums
    [ ! -e a ]
}

@test "lora-train's outputs are apart from each other, too" {
    train() { lora-train --model "$data/engine/llama-tied" --rank 2 --teacher "$data/lora/streams/teacher.mp" "$@" "$data/lora/streams/tokens.mp"; }
    refuses 64 '--checkpoint and --log are the same place' train --log same --checkpoint same -o a
    refuses 64 '-o and --checkpoint are the same place' train --checkpoint a -o a
    touch same
    ln -s same link
    refuses 64 '--checkpoint and --log are the same place' train --log link --checkpoint same -o a
    [ ! -e a ]
    [ ! -s same ]
}

# ---- ends ----

@test "whatever signal ends a program, its temporary file goes with it, and the status is the signal's" {
    local signal status pid
    ulimit -c 0
    export ASAN_OPTIONS=${ASAN_OPTIONS-}:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:handle_sigtrap=0
    head -c 100 all.mp >start
    for signal in HUP INT QUIT ILL TRAP ABRT BUS FPE USR1 SEGV USR2 PIPE ALRM TERM STKFLT XCPU VTALRM PROF IO PWR SYS RTMIN RTMAX; do
        mkfifo in
        # INT and QUIT are ignored in what a shell puts in the background.
        env --default-signal=INT,QUIT rec cat -o out.mp in 2>said &
        pid=$!
        exec 8>in
        cat start >&8
        writing
        kill -s $signal $pid
        status=0
        wait $pid || status=$?
        exec 8>&-
        echo "$signal: status $status, $(ls)"
        [ $status -eq $((128 + $(kill -l $signal))) ]
        nothing_unfinished
        [ ! -e out.mp ]
        rm in
    done
}

@test "SIGBUS that is not a mapped file's ends a program that has one, and its temporary file" {
    local status=0 pid
    ulimit -c 0
    export ASAN_OPTIONS=${ASAN_OPTIONS-}:handle_sigbus=0
    mkfifo in
    lm-score --model "$data/engine/llama-tied" -o out.mp in 2>said &
    pid=$!
    exec 8>in
    head -c 2000 "$data/engine/good.mp" >&8
    writing
    kill -s BUS $pid
    exec 8>&-
    wait $pid || status=$?
    echo "status $status, $(ls): $(cat said)"
    [ $status -eq $((128 + $(kill -l BUS))) ]
    nothing_unfinished
    [ ! -e out.mp ]
}

@test "signals that are ignored stay ignored" {
    mkfifo in
    (trap '' HUP USR1 && exec rec cat -o out.mp in) &
    exec 8>in
    head -c 100 all.mp >&8
    writing
    kill -s HUP $!
    kill -s USR1 $!
    tail -c +101 all.mp >&8
    exec 8>&-
    wait $!
    [ "$(rec to-json out.mp)" = "$(rec to-json all.mp)" ]
}

@test "a limit on files' sizes is an error that is said" {
    seq 20000 | rec from-lines -o large.mp
    refuses 74 'out.mp: not written: File too large' bash -c 'ulimit -f 8; rec cat -o out.mp large.mp'
    refuses 74 'standard output: not written: File too large' bash -c 'ulimit -f 8; rec cat large.mp >out'
    nothing_unfinished
    [ ! -e out.mp ]
}

@test "a reader that has gone ends the writer in silence" {
    seq 20000 | rec from-lines -o large.mp
    run -141 bash -c 'set -o pipefail; rec cat large.mp 2>said | head -c 1 >/dev/null'
    [ ! -s said ]
}
