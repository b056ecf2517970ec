# shellcheck shell=bash disable=SC2154 # the settings and the like are run.sh's
# Other data sets, to be told from this one (OOD): their test texts are split as runs of their own would, below others/.
# Where they cannot be had the report says so.

# The names of those that are there, into $others; they are split before detection.
find_others() {
    local other other_name names='' stage
    others=''
    [[ " ${stages[*]} " == *" detection "* ]] || return 0
    stage=$(stage_number detection)
    [ "$last" -ge "$stage" ] || return 0
    for other in ${value[OOD]}; do
        other_name=${other##*/}
        [[ $other_name =~ ^[A-Za-z0-9._+-]+$ ]] ||
            die 64 "OOD: a folder's name has letters, digits and . _ + - alone, not as $other_name"
        [ "$other_name" != "$name" ] || die 64 "OOD: $name cannot be told from itself"
        [[ " $names " != *" $other_name "* ]] || die 64 "OOD: there are two sets called $other_name"
        names+="$other_name "
        if [ "$first" -le "$stage" ]; then
            can_read "$(folder_of "$other")/settings" || die 66 "OOD: there is no data set '$other': $(folder_of "$other")/settings cannot be read"
            split_other "$other" "$other_name"
        elif [ -e "$out/others/$other_name/texts/test.mp" ]; then
            others+="$other_name "
        fi
    done
    [ "${value[DETECTION]}" = common ] || own_prompts_fit
}

# Weights of this data set's prompts are put on as many of another one's.
own_prompts_fit() {
    local other count own
    count=$(jq '.instructions | length' "$task")
    for other in $others; do
        [ -e "$out/others/$other/task.json" ] || continue
        own=$(jq '.instructions | length' "$out/others/$other/task.json")
        [ "$own" = "$count" ] ||
            die 64 "DETECTION=${value[DETECTION]}: $other has $own instructions, and the weights are of $count here (DETECTION=common asks it by these)"
    done
}

folder_of() { # SET
    [[ $1 == */* ]] && echo "$1" || echo "$pipelines/$1"
}

# This run's, where the set has it; else its texts and task are those of its settings alone, which is said.
profile_of() { # SET
    local profile=${value[PROFILE]} set
    set=$(folder_of "$1")
    if [ "$profile" != duq ] && [ -d "$set" ] && [ ! -e "$set/$profile.settings" ]; then
        printf 'run.sh: %s has no profile %s: it is taken with duq'"'"'s\n' "$1" "$profile" >&2
        profile=duq
    fi
    echo "$profile"
}

split_other() { # SET NAME
    local profile settings data number status=0
    profile=$(profile_of "$1")
    local -a arguments=("$1" "OUT=$out/others/$2" --stop-stage split "PROFILE=$profile")
    # What is its own: where its texts are, if its settings say so, and how many there are to test on.
    settings=$("$pipelines/run.sh" "$1" "PROFILE=$profile" --settings 2>/dev/null) || settings=
    data=$(sed -n 's/^DATA = //p' <<<"$settings")
    number=$(sed -n 's/^TEST = //p' <<<"$settings")
    [ -n "$data" ] || arguments+=("DATA=${value[DATA]}")
    [ -z "${value[N_TEST]}" ] || [ "${value[N_TEST]}" -gt "${number:-0}" ] || arguments+=("N_TEST=${value[N_TEST]}")
    [ -z "$dry_run" ] || arguments+=(--dry-run)
    "$pipelines/run.sh" "${arguments[@]}" 9>&- || status=$?
    case $status in
    0) others+="$2 " ;;
    2 | 66) printf 'run.sh: detection against %s is left out, for the reason above (OOD takes folders with settings of their own, too)\n' "$2" >&2 ;;
    *) exit $status ;;
    esac
}
