# Completion for bash and zsh, made of the programs' tables of options.

bats_require_minimum_version 1.5.0

setup() {
    cd "$BATS_TEST_TMPDIR" || exit 1
    completions=$BUILD/completion
}

# What bash would offer where the cursor is at the end of the last word, one a line, sorted.
offered() { # WORD...
    # shellcheck disable=SC2034 # the completion reads it
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    # shellcheck disable=SC1090
    source "$completions/bash/$1"
    "_duq_${1//-/_}"
    printf '%s\n' "${COMPREPLY[@]}" | sort
}

@test "every program has a completion for each shell, which the shells take" {
    local program
    for program in "$BUILD"/bin/*; do
        program=${program##*/}
        bash -n "$completions/bash/$program"
        bash -c 'source "$1" && complete -p "$2"' _ "$completions/bash/$program" "$program" | grep -q -- "-F _duq_"
        head -n 1 "$completions/zsh/_$program" | grep -qx "#compdef $program"
        ! command -v zsh || zsh -n "$completions/zsh/_$program"
    done
}

@test "every option that a program has is offered, and no other" {
    local program options
    for program in "$BUILD"/bin/*; do
        program=${program##*/}
        [ "$program" != rec ] || continue
        options=$("$program" --list-options | awk -F '\t' '$2 != "-" { print "-" $2 } $3 != "-" { print "--" $3 }' | sort)
        [ "$(offered "$program" -)" = "$options" ]
    done
}

@test "a command is offered, then its own options and those that all have" {
    [ "$(offered rec '' | grep -c .)" -eq $(($("$BUILD/bin/rec" --list-options | cut -f 1 | sort -u | grep -vcx -- -) + 2)) ]
    [ "$(offered rec from-c)" = from-csv ]
    [ "$(offered rec head --s)" = --skip ]
    [ "$(offered rec cat --s)" = "" ]
    [ "$(offered rec from-csv --verb)" = --verbose ]
}

@test "values are offered: choices, folders and files" {
    mkdir 'a folder' && touch 'a file'
    [ "$(offered lm-score --head '' | paste -sd' ')" = "dirichlet none softmax" ]
    [ "$(offered lm-score --head = so)" = softmax ]
    [ "$(offered lm-score --head = | paste -sd' ')" = "dirichlet none softmax" ]
    [ "$(offered lora-train --loss '' | paste -sd' ')" = "dirichlet edl ib-edl labels softmax" ]
    [ "$(offered lora-train --alpha0 '' | paste -sd' ')" = "learned standard" ]
    for program in lm-score lora-train duq-ask; do
        [ "$(offered $program --device '' | paste -sd' ')" = "auto cpu cuda" ]
    done
    # Of a model a GGUF file, too.
    for program in tok prompt-expand lm-score lora-train duq-ask; do
        [ "$(offered $program --model a | paste -sd,)" = 'a file,a folder' ]
    done
    [ "$(offered lm-score --adapter a)" = 'a folder' ]
    [ "$(offered bpe-fit --apply a | paste -sd,)" = 'a file,a folder' ]
    [ "$(offered lm-score a | paste -sd,)" = 'a file,a folder' ]
    [ -z "$(offered lora-train --epochs a)" ]
    [ "$(offered duq-ask --rule 'a f' | paste -sd,)" = 'a file,a folder' ]
}

@test "zsh offers the same" {
    command -v zsh || skip 'zsh is not installed'
    # What _arguments is given, by a stand-in for it.
    zsh -f -c '_arguments() { print -l -- "$@" } ; words=(rec head --) CURRENT=3; source "$1"' _ "$completions/zsh/_rec" >given
    grep -q -- '^--skip=:k: $' given
    grep -q -- '^--output=:file:_files$' given
    run ! grep -q -- '--shuffle' given
    zsh -f -c '_arguments() { print -l -- "$@" } ; words=(lm-score --) CURRENT=2; source "$1"' _ "$completions/zsh/_lm-score" |
        grep -qx -- '--head=:name:(none softmax dirichlet)'
}
