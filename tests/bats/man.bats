# What holds for every program and man page: the options all share, a page for each program with
# all of its options, and examples that run. In a page's EXAMPLES, lines of a literal block that
# begin with "$ " are commands, "> " continues one; they run in order where man-fixture.bash has put
# the files they name.

bats_require_minimum_version 1.5.0

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
    grep -Ev '^ +(\$ )?(rec|prompt-expand|tok|lm-score|bpe-fit|lora-train|dir-eval|decide) '
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
    for program in bpe-fit dir-eval "decide --set 0.1"; do
        run $program /nonexistent/in.mp
        [ "$status" -eq 66 ] || { echo "$program: $status"; false; }
    done
}

# Lines "WHERE OPTION" of what a man page documents: WHERE is "list" for a tag of a list, "synopsis",
# or the commands of the synopsis's line, as "|a|b|".
documented() { # PAGE
    awk '
        function take(where, i, flag, letter, on) {
            for (i = 2; i <= NF; i++) {
                if ($i == "Fl")
                    on = 1
                else if ($i ~ /^[A-Z][a-z]$/)
                    on = 0
                else if (on && $i ~ /^-/)
                    print where, "-" $i
                else if (on && $i ~ /^[a-z]+$/)
                    for (letter = 1; letter <= length($i); letter++)
                        print where, "-" substr($i, letter, 1)
            }
        }
        /^\.Sh/ { section = $2 }
        section == "SYNOPSIS" && /^\.Nm/ { where = "synopsis" }
        section == "SYNOPSIS" && /^\.Cm/ {
            where = "|"
            for (i = 2; i <= NF; i++)
                if ($i != "|")
                    where = where $i "|"
        }
        section == "SYNOPSIS" && /^\.(Fl|Op) / { $0 = ". " substr($0, 2); take(where) }
        /^\.It / { take("list") }' "$1"
}

# Lines "COMMAND OPTION" of a program, with "-" for an option that is not a command's own.
options_of() { # PROGRAM
    "$1" --list-options | awk -F '\t' '
        $2 != "-" { print $1, "-" $2 }
        $3 != "-" { print $1, "--" $3 }'
}

# Says what only one of the two has. Options are in a list; a command's own may be in its synopsis.
compare_options() { # FILE-OF-OPTIONS FILE-OF-DOCUMENTED
    awk '
        NR == FNR { has[$1, $2]; all[$2]; lines[NR] = $0; n = NR; next }
        $1 == "list" { listed[$2] }
        $1 ~ /^\|/ { count = split($1, of, "|"); for (i in of) shown[of[i], $2] }
        $1 == "list" && !($2 in all) { print "documented, but there is no " $2 }
        $1 == "synopsis" && !(("-", $2) in has) { print "in the synopsis, but there is no " $2 }
        $1 ~ /^\|/ && !(("-", $2) in has) {
            found = 0
            for (i in of)
                if ((of[i], $2) in has)
                    found = 1
            if (!found)
                print "in the synopsis of " $1 ", but there is no " $2
        }
        END {
            for (i = 1; i <= n; i++) {
                split(lines[i], row, " ")
                if (!(row[2] in listed) && !((row[1], row[2]) in shown))
                    print "not documented: " lines[i]
            }
        }' "$1" "$2"
}

@test "every program has a man page with the options that it has, and no others" {
    for program in "$BUILD"/bin/*; do
        name=$(basename "$program")
        [ -f "$root/man/$name.1" ] || { echo "man/$name.1 is missing"; false; }
        options_of "$program" >options
        grep -qx -- "- --output" options
        documented "$root/man/$name.1" >documented
        compare_options options documented >differences
        [ ! -s differences ] || { echo "$name:" && cat differences && false; }
    done
}

@test "an option that only the program or only the man page has is found" {
    for program in "$BUILD"/bin/*; do
        name=$(basename "$program")
        options_of "$program" >options
        documented "$root/man/$name.1" >documented
        for option in $(cut -d ' ' -f 2 options | sort -u); do
            grep -v -- " $option\$" options >fewer
            compare_options fewer documented | grep -q -- "there is no $option\$"
            grep -v -- " $option\$" documented >fewer
            compare_options options fewer | grep -q -- "^not documented: .* $option\$"
        done
    done
}

@test "every option is in the help, and every long option of the help is one" {
    for program in "$BUILD"/bin/*; do
        name=$(basename "$program")
        "$program" --help | own_lines >help
        options_of "$program" >options
        for option in $(grep -oE -- '--[a-z][a-z0-9-]+' help | sort -u); do
            grep -q -- " $option\$" options || { echo "$name: no $option"; false; }
        done
        "$program" --list-options | while IFS=$'\t' read -r _ letter long _; do
            [ "$name $long" != "lora-train compress" ] || continue # it has no use for it
            [ "$letter$long" != -- ] || continue # a command
            [ "$letter" = - ] && spelt="--$long" || spelt="-$letter|--$long"
            grep -Eq -- "(^|[^a-z-])($spelt)([^a-z-]|\$)" help ||
                { echo "$name: the help lacks $spelt"; false; }
        done
    done
}

@test "every man page is free of mandoc's warnings and has examples" {
    for page in "$root"/man/*; do
        mandoc -T lint -W warning "$page"
        # A macro that takes the rest of its line too, and a reference to several pages, are none to mandoc.
        run ! grep -qE '“[^”]*“|‘[^’]*‘|\[[^]]*;' <(mandoc -T utf8 "$page" | sed 's/.\x08//g' | tr '\n' ' ')
        run ! grep -nE '\bXr [^ ]+ [0-9]( ,)? [a-z-]+ [0-9]\b' "$page"
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
        if ! (cd "$name.folder" && timeout 300 bash "../$name.sh") >out 2>errors </dev/null; then
            echo "$name:" && cat errors && failures=$((failures + 1))
        fi
    done
    [ "$failures" -eq 0 ]
}

@test "the streams of every program are as the schemas say" {
    rec check "$BATS_FILE_TMPDIR"/fixture/*.mp
}
