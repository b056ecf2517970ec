# Makes a program's completion for bash or zsh of what it prints with --list-options: lines of COMMAND, LETTER, NAME,
# ARGUMENT and CHOICES, tabs between them (common/util/options.h).
# usage: PROGRAM --list-options | awk -v program=PROGRAM -v shell=bash -f completion.awk

BEGIN { FS = "\t" }

$2 == "-" && $3 == "-" { commands = commands " " $1; next }

{
    if ($2 != "-")
        add($1, "-" $2)
    if ($3 != "-")
        add($1, "--" $3)
}

END {
    if (shell == "bash")
        print_bash()
    else
        print_zsh()
}

# An option of a command, or of the program ("-"), in both shells' words.
function add(command, option,    what, others) {
    what = $3 == "model" ? "file" : kind($4, $5) # a folder, or a GGUF file
    if (!(command in words))
        order[++n] = command
    words[command] = words[command] " " option
    if (what != "" && !seen[what, option]++) {
        others = what in values ? values[what] " | " : ""
        values[what] = others option
    }
    specs[command] = specs[command] sprintf(" \\\n        '%s%s%s'", option, \
        $4 == "-" ? "" : $4 ~ /^\[=/ ? (option ~ /^--/ ? "=-" : "-") : option ~ /^--/ ? "=" : "+", \
        $4 == "-" ? "" : ($4 ~ /^\[=/ ? "::" : ":") name($4) ":" zsh_action(what))
}

# What completes an option's value: words, "folder", "file", "other" for what cannot be completed; "": it has none, or may
# go without.
function kind(argument, choices) {
    if (argument == "-" || argument ~ /^\[=/)
        return ""
    if (choices != "-") {
        gsub(",", " ", choices)
        return choices
    }
    if (argument ~ /^(DIR|FOLDER)$/)
        return "folder"
    return argument ~ /(FILE|STREAM|ADAPTER|PREFIX)/ ? "file" : "other"
}

function name(argument) {
    gsub(/[^A-Za-z ]/, "", argument)
    return tolower(argument)
}

function zsh_action(what) {
    return what == "folder" ? "_files -/" : what == "file" ? "_files" : what == "other" || what == "" ? " " : "(" what ")"
}

function print_bash(    what, i, command) {
    print "# Completion of " program "."
    print "_duq_" identifier(program) "() {"
    print "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} options"
    print "    # --name=value is three words."
    print "    if [ \"$word\" = = ]; then"
    print "        word=''"
    print "    elif [ \"$before\" = = ]; then"
    print "        before=${COMP_WORDS[COMP_CWORD - 2]}"
    print "    fi"
    print "    COMPREPLY=()"
    print "    case $before in"
    for (what in values) {
        printf "    %s)%s ;;\n", values[what], what == "other" ? " return" : \
            " mapfile -t COMPREPLY < <(compgen " (what == "folder" ? "-d" : what == "file" ? "-f" : "-W '" what "'") " -- \"$word\") && return"
    }
    print "    esac"
    if (commands != "") {
        print "    if [ \"$COMP_CWORD\" -eq 1 ]; then"
        print "        mapfile -t COMPREPLY < <(compgen -W '" substr(commands, 2) " --help --version' -- \"$word\")"
        print "        return"
        print "    fi"
    }
    print "    options='" substr(words["-"], 2) "'"
    if (commands != "") {
        print "    case ${COMP_WORDS[1]} in"
        for (i = 1; i <= n; i++) {
            command = order[i]
            if (command != "-")
                print "    " command ") options+='" words[command] "' ;;"
        }
        print "    esac"
    }
    print "    case $word in"
    print "    -*) mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$word\") ;;"
    print "    *) mapfile -t COMPREPLY < <(compgen -f -- \"$word\") ;;"
    print "    esac"
    print "}"
    print "complete -o filenames -F _duq_" identifier(program) " " program
}

function identifier(text) {
    gsub("-", "_", text)
    return text
}

function print_zsh(    i, command) {
    print "#compdef " program
    print "local -a common"
    print "common=(" specs["-"] "\n)"
    if (commands == "") {
        print "_arguments -s $common '*:file:_files'"
        return
    }
    print "if (( CURRENT == 2 )); then"
    print "    _values command" commands " --help --version"
    print "    return"
    print "fi"
    print "local command=$words[2]"
    print "shift words"
    print "(( CURRENT-- ))"
    print "case $command in"
    for (i = 1; i <= n; i++) {
        command = order[i]
        if (command != "-")
            print command ")\n    _arguments -s $common" specs[command] " '*:file:_files' ;;"
    }
    print "*) _arguments -s $common '*:file:_files' ;;"
    print "esac"
}
