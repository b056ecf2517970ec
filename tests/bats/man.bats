# What holds for every program and man page: the options all share, a page for each program with
# all of its options, and examples that run. In a page's EXAMPLES, lines of a literal block that
# begin with "$ " are commands, "> " continues one; they run in order where man-fixture.bash has put
# the files they name.

root=$BATS_TEST_DIRNAME/../..

setup_file() {
    export DUQ_THREADS=1 # the models are tiny
    load man-fixture
    (make_fixture "$BATS_FILE_TMPDIR/fixture") || return 1
}

setup() {
    load man-fixture
    cd "$BATS_TEST_TMPDIR" || exit 1
}

# A man page as text.
plain_page() { # PAGE
    mandoc -T ascii "$1" | sed 's/.\x08//g'
}

# A help text without its command lines, whose options may be other programs'.
own_lines() {
    grep -Ev '^ +(\$ )?(rec|prompt-expand|tok|lm-score|bpe-fit|lora-train|dir-eval) '
}

@test "every program answers --help and --version on standard output" {
    for program in "$BUILD"/bin/*; do
        name=$(basename "$program")
        "$program" --help >help 2>errors
        grep -q "^usage: $name" help
        [ ! -s errors ]
        "$program" --version >version 2>errors
        grep -Eq "^$name \(duq\) [0-9]+\.[0-9]+" version
        [ ! -s errors ]
    done
}

@test "every program refuses an option it does not have with status 64" {
    for program in "$BUILD"/bin/*; do
        run "$program" --no-such-option
        [ "$status" -eq 64 ] || { echo "$program: $status"; false; }
        [[ $output == *"--help"* ]]
    done
}

@test "every program says that its input is missing with status 66" {
    for program in bpe-fit dir-eval; do
        run "$program" /nonexistent/in.mp
        [ "$status" -eq 66 ] || { echo "$program: $status"; false; }
    done
}

@test "every program has a man page with each long option that its help has" {
    for program in "$BUILD"/bin/*; do
        name=$(basename "$program")
        [ -f "$root/man/$name.1" ] || { echo "man/$name.1 is missing"; false; }
        plain_page "$root/man/$name.1" >page
        for option in $("$program" --help | own_lines | grep -oE -- '--[a-z][a-z0-9-]+' | sort -u); do
            grep -q -- "$option" page || { echo "man/$name.1 does not mention $option"; false; }
        done
    done
}

@test "every man page is free of mandoc's warnings and has examples" {
    for page in "$root"/man/*; do
        mandoc -T lint -W warning "$page"
        grep -q '^\.Sh EXAMPLES' "$page" || { echo "$page: no EXAMPLES"; false; }
    done
}

# The commands in a page's EXAMPLES, as a script.
commands_of() { # PAGE
    plain_page "$1" | awk '
        /^[A-Z]/ { inside = $0 == "EXAMPLES"; next }
        !inside { next }
        /^ +\$ / { sub(/^ +\$ /, ""); print; open = 1; next }
        open && /^ +> / { sub(/^ +> /, ""); print; next }
        { open = 0 }'
}

# Names the literal blocks in EXAMPLES that hold no command.
blocks_without_commands() { # PAGE
    awk '/^\.Sh/ { inside = $2 == "EXAMPLES" }
        inside && /^\.Bd/ { start = NR; found = 0 }
        inside && /^\$ / { found = 1 }
        inside && /^\.Ed/ && !found { print FILENAME ": line " start ": no line begins with \"$ \"" }' "$1"
}

@test "every example in the man pages runs" {
    failures=0
    for page in "$root"/man/*; do
        name=$(basename "$page")
        blocks=$(blocks_without_commands "$page")
        [ -z "$blocks" ] || { echo "$blocks" && failures=$((failures + 1)); }
        {
            # shellcheck disable=SC2016 # for the script to expand
            printf '%s\n' "source '$BATS_TEST_DIRNAME/man-fixture.bash'" \
                'set -Eo pipefail' 'trap '\''stop_on_failure "${PIPESTATUS[@]}"'\'' ERR' \
                'M=model T=task.json'
            commands_of "$page"
            echo exit 0 # not the last command's 141
        } >"$name.sh"
        cp -r "$BATS_FILE_TMPDIR/fixture" "$name.folder"
        if ! (cd "$name.folder" && timeout 60 bash "../$name.sh") >out 2>errors </dev/null; then
            echo "$name:" && cat errors && failures=$((failures + 1))
        fi
    done
    [ "$failures" -eq 0 ]
}

@test "the streams of every program are as the schemas say" {
    rec check "$BATS_FILE_TMPDIR"/fixture/*.mp
}
