# shellcheck shell=bash disable=SC2154 # pipelines, dataset, folder and the like are run.sh's
# Settings: pipelines/settings declares them, a data set's file, its profile, a manifest and the command line change them.

keys=()            # in the order of the declarations
declare -A value   # of each
declare -A kind    # what it may be: path, number, numbers, decimals, sets, command, or any text
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
        while IFS= read -r line; do
            is_command "${line%%=*}" || set_value "${line%%=*}" "${line#*=}" "$manifest" /
        done < <(jq -r '.settings | to_entries[] | "\(.key)=\(.value)"' "$manifest")
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
    [ "${2:-}" != declarations ] || marks='(\[[a-z|+, -]*\])?'
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
    done <"$file"
}

declare_setting() { # KEY MARKS
    local word marks=${2//[\[\]]/}
    local -a words
    keys+=("$1")
    value[$1]='' kind[$1]=text
    [[ $marks == *"same results"* ]] || shaping+=("$1")
    IFS=, read -ra words <<<"${marks/same results/}"
    for word in "${words[@]// /}"; do
        case $word in
        path | number | numbers | decimals | sets | options | command | *"|"*) kind[$1]=$word ;;
        '') ;;
        *) die 70 "$pipelines/settings: $1 is marked $word, which means nothing" ;;
        esac
    done
}

is_command() { # KEY
    [ "${kind[$1]:-}" = command ]
}

# Names of folders are made absolute, from the folder of the file or of the user.
set_value() { # KEY VALUE WHERE FOLDER
    local key=$1 text=$2 i
    local -a words
    [ -n "${value[$key]+known}" ] || die 64 "$3: there is no setting $key (see $pipelines/settings)"
    case ${kind[$key]} in
    path)
        [ -z "$text" ] || [[ $text == /* ]] || text=$(realpath -m "$4/$text")
        ;;
    *"|"*)
        [[ $text != *"|"* && "|${kind[$key]}|" == *"|$text|"* ]] ||
            die 64 "$3: $key is one of ${kind[$key]//|/, }, not '$text'"
        ;;
    number)
        [[ -z $text || $text =~ ^[1-9][0-9]*$ ]] || die 64 "$3: $key is a number of 1 or more, not '$text'"
        ;;
    numbers)
        [[ -z $text || $text =~ ^[1-9][0-9]*([[:space:]]+[1-9][0-9]*)*$ ]] ||
            die 64 "$3: $key is a number of 1 or more, or several, not '$text'"
        ;;
    decimals)
        [[ $text =~ ^[0-9.eE+-]+([[:space:]]+[0-9.eE+-]+)*$ ]] ||
            die 64 "$3: $key is a number, or several, not '$text'"
        ;;
    sets)
        read -ra words <<<"${text//,/ }"
        for i in "${!words[@]}"; do
            [[ ${words[i]} != */* ]] || words[i]=$(cd "$4" && realpath -m -- "${words[i]}")
        done
        text=${words[*]}
        ;;
    esac
    value[$key]=$text
}
