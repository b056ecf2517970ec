# shellcheck shell=bash disable=SC2154 # pipelines, dataset, folder and the like are run.sh's
# Settings: pipelines/settings declares them, a data set's file, its profile, a manifest and the command line change them.

keys=()            # in the order of the declarations
declare -A value   # of each
declare -A kind    # what it may be: path, number, numbers, decimal, decimals, device, sets, command, or any text
declare -A bound   # of a number or decimal: from N, above 0, below 1
declare -A given   # what is never empty, for its declaration has a value
shaping=()         # those that results depend on
declare -A profiled # what they are by the data set's settings and its profile

# The settings of a run, the last word with the command line.
settle() {
    local line key profile
    read_settings "$folder/settings"
    profile=$(chosen_profile)
    [ "$profile" = duq ] || read_profile "$profile"
    for key in "${keys[@]}"; do
        profiled[$key]=${value[$key]}
    done
    if [ -n "$manifest" ]; then
        while IFS= read -r -d '' line; do
            is_command "${line%%=*}" || set_value "${line%%=*}" "${line#*=}" "$manifest" /
        done < <(jq -j '.settings | to_entries[] | "\(.key)=\(.value)\u0000"' "$manifest")
        value[OUT]=
    fi
    for line in "${command_line[@]}"; do
        set_value "${line%%=*}" "${line#*=}" 'command line' "$PWD"
    done
    if [ -z "${value[OUT]}" ]; then
        value[OUT]=$PWD/runs/$name
        [ "${value[PROFILE]}" = duq ] || value[OUT]+=.${value[PROFILE]}
    fi
}

# Lines KEY, value and the profile's, of the settings that shape results, and of the task, where the two differ. What is
# measured beside is no departure, nor rounding, nor that epochs are kept on the way to the last one.
changed_settings() {
    local key
    # By what it says: names of files are no part of a report.
    cmp -s "$task" "${profiled[TASK]:-$folder/task.json}" || printf "TASK\tanother\tthe profile's\n"
    for key in "${shaping[@]}"; do
        case "$key ${value[$key]} ${profiled[$key]}" in
        PROFILE* | OOD* | DETECTION* | BOOTSTRAP* | SEEDS* | SWEEP\ * | DEVICE* | COMPUTE* | 'KEEP all last') continue ;;
        esac
        [ "${value[$key]}" = "${profiled[$key]}" ] || printf '%s\t%s\t%s\n' "$key" "${value[$key]}" "${profiled[$key]}"
    done
}

# What the command line says it is, or a manifest, or the data set's settings.
chosen_profile() {
    local line profile=${value[PROFILE]}
    [ -z "$manifest" ] || profile=$(jq -r --arg otherwise "$profile" '.settings.PROFILE // $otherwise' "$manifest")
    for line in "${command_line[@]}"; do
        [[ $line != PROFILE=* ]] || profile=${line#*=}
    done
    echo "$profile"
}

# duq's is what stands in the data set's settings themselves; another one changes some.
read_profile() { # PROFILE
    local file=$folder/$1.settings
    [[ $1 =~ ^[A-Za-z0-9_-]+$ && -e $file ]] ||
        die 66 "$name has no profile '$1' (PROFILE=): it has $(profiles | paste -sd, | sed 's/,/, /g')"
    read_settings "$file"
}

profiles() { # of the data set, in its folder
    local file
    echo duq
    for file in "$folder"/*.settings; do
        [ ! -e "$file" ] || basename "$file" .settings
    done
}

show_settings() {
    local key
    for key in "${keys[@]}"; do
        printf '%s = %s\n' "$key" "${value[$key]}"
    done
}

# Lines KEY = value, or in declarations KEY [WORD, ...] = value.
read_settings() { # FILE [declarations]
    local file=$1 folder line number=0 key words text marks='()'
    [ "${2:-}" != declarations ] || marks='(\[[a-z0-9|+, -]*\])?'
    folder=$(cd "$(dirname "$file")" && pwd)
    while IFS= read -r line || [ -n "$line" ]; do
        number=$((number + 1))
        [[ $line =~ ^[[:space:]]*(#|$) ]] && continue
        [[ $line =~ ^([A-Z_]+)[[:space:]]*${marks}[[:space:]]*=[[:space:]]*(.*[^[:space:]])?[[:space:]]*$ ]] ||
            die 65 "$file:$number: not a line KEY = value: $line"
        key=${BASH_REMATCH[1]} words=${BASH_REMATCH[2]} text=${BASH_REMATCH[3]}
        [ "${2:-}" != declarations ] || declare_setting "$key" "$words"
        [ "${2:-}" = declarations ] || ! is_command "$key" ||
            die 65 "$file:$number: $key is a command, which the command line alone may say"
        set_value "$key" "$text" "$file:$number" "$folder"
        [ "${2:-}" != declarations ] || [ -z "$text" ] || given[$key]=1
    done <"$file"
}

declare_setting() { # KEY MARKS
    local word marks=${2//[\[\]]/}
    local -a words
    keys+=("$1")
    value[$1]='' kind[$1]=text bound[$1]=''
    [[ $marks == *"same results"* ]] || shaping+=("$1")
    IFS=, read -ra words <<<"${marks/same results/}"
    for word in "${words[@]}"; do
        read -r word <<<"$word"
        case $word in
        path | number | numbers | decimal | decimals | device | sets | options | command | *"|"*) kind[$1]=$word ;;
        'number from '* | 'numbers from '* | 'decimal above 0' | 'decimal below 1') kind[$1]=${word%% *} bound[$1]=${word#* } bound[$1]=${bound[$1]#from } ;;
        '') ;;
        *) die 70 "$pipelines/settings: $1 is marked $word, which means nothing" ;;
        esac
    done
}

is_command() { # KEY
    [ "${kind[$1]:-}" = command ]
}

# Names of folders are made absolute, from the folder of the file or of the user. What is computed with here is digits:
# the shell would run what stands in an index (name[$(command)]).
set_value() { # KEY VALUE WHERE FOLDER
    local key=$1 text=$2 i fits=1 is
    local -a words
    [ -n "${value[$key]+known}" ] || die 64 "$3: there is no setting $key (see $pipelines/settings)"
    [[ $text != *[[:cntrl:]]* ]] || die 64 "$3: $key has a line break or another control character in it"
    [ -n "$text" ] || [ -z "${given[$key]-}" ] || die 64 "$3: $key is empty"
    case ${kind[$key]} in
    path)
        at_home "$3"
        [ -z "$text" ] || [[ $text == /* ]] || text=$(realpath -m "$4/$text")
        ;;
    *"|"*)
        [[ $text != *"|"* && "|${kind[$key]}|" == *"|$text|"* ]] || fits='' is="one of ${kind[$key]//|/, }"
        ;;
    number)
        [ -z "$text" ] || is_number "$text" "${bound[$key]:-1}" || fits='' is="a number of ${bound[$key]:-1} or more"
        ;;
    numbers)
        is_list is_number "$text" "${bound[$key]:-1}" || fits='' is="a number of ${bound[$key]:-1} or more, or several"
        ;;
    decimal)
        is_decimal "$text" "${bound[$key]}" || fits='' is="a number ${bound[$key]:-of 0 or more}"
        ;;
    decimals)
        is_list is_decimal "$text" '' || fits='' is='a number of 0 or more, or several'
        ;;
    device)
        [[ $text =~ ^(auto|cpu|cuda(:[0-9]{1,4})?)$ ]] || fits='' is='auto, cpu, cuda or cuda:N'
        ;;
    sets)
        read -ra words <<<"${text//,/ }"
        for i in "${!words[@]}"; do
            [[ ${words[i]} == */* ]] || continue
            text=${words[i]}
            at_home "$3"
            words[i]=$(cd "$4" && realpath -m -- "$text")
        done
        text=${words[*]}
        ;;
    esac
    [ -n "$fits" ] || die 64 "$3: $key is $is, not '$text'"
    value[$key]=$text
}

# Puts the user's own folder for a ~ into $text: of shells bash alone does so in a setting.
at_home() { # WHERE
    case $text in
    \~ | \~/*) text=${HOME:?}${text#\~} ;;
    \~*) die 64 "$1: $key: '$text' is not followed: write the folder out, or ./$text" ;;
    esac
}

is_number() { # TEXT LEAST
    [[ $1 =~ ^(0|[1-9][0-9]{0,14})$ && $1 -ge $2 ]]
}

# Whether each word is one.
is_list() { # TEST WORDS BOUND
    local word
    local -a words
    read -ra words <<<"$2"
    for word in "${words[@]}"; do
        "$1" "$word" "$3" || return
    done
}

is_decimal() { # TEXT BOUND
    [[ $1 =~ ^([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$ ]] || return 1
    case $2 in
    'above 0') [[ ${1%%[eE]*} == *[1-9]* ]] ;;
    'below 1') awk -v x="$1" 'BEGIN { exit !(x + 0 < 1) }' ;;
    esac
}
