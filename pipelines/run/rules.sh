# shellcheck shell=bash disable=SC2030,SC2034 # what is declared here, others use
# From a recipe to rules for make: a recipe names its stages, the stages (recipes.sh) declare their files, and each file
# becomes a rule. What holds for all of them is in rules.mk.

stages=()    # of the recipe, in their order
students=()  # those of its stages that train one
rules=''     # what make reads
files=()     # of the stage that declares at this moment, and those whose shards --cut leaves to others
in_shards=()
declaring='' skipped=''

# stage NAME: the next one of a recipe.
stage() {
    [ "$(type -t "stage_$1")" = function ] || die 70 "a recipe names a stage that recipes.sh has not: $1"
    stages+=("$1")
}

# makes FILE from FILE... with SETTING... by FUNCTION [ARGUMENT]...
# The function writes the file to standard output. Or: in_shards_by, where it scores texts that --cut may leave to
# others; in_place_by, where it makes a folder, and FILE is the one that tells that it is there.
# What has settings depends on the version of the programs, too, and may name that alone: with version.
makes() {
    local file=$1 role='' version='' command=make
    local -a needs=()
    shift
    while [[ $1 != *by ]]; do
        case $1 in
        from) role=from ;;
        with) role=with version=.settings/version ;;
        *) [ "$role" = from ] && needs+=(".sums/$1") || needs+=(".settings/$1") ;;
        esac
        shift
    done
    case $1 in
    in_shards_by) in_shards+=("$file") ;;
    in_place_by) command=make-folder ;;
    esac
    files+=("$file")
    [ -z "$skipped" ] || return 0
    rules+="$file: ${needs[*]} $version"$'\n'
    rules+=$'\t'"@\"\$\$PIPELINES\"/run/target.sh $command '$declaring' '\$@' '\$^' ${*:2}"$'\n'
}

# The stages' rules, into $rules. Files of those before stage number FIRST are taken as they are. The target cut-STAGE
# is the files that --cut leaves to others.
declare_stages() { # FIRST
    local i
    rules='' students=()
    for i in "${!stages[@]}"; do
        declaring=${stages[i]} files=() in_shards=() skipped=''
        [ "$i" -ge "$1" ] || skipped=1
        "stage_$declaring"
        [ -z "$skipped" ] || continue
        # Said by itself: what was done.
        rules+=".PHONY: $declaring cut-$declaring"$'\n'"$declaring: ${files[*]}"$'\n\t@:\n'
        rules+="cut-$declaring: ${in_shards[*]}"$'\n\t@:\n'
    done
}

# The stages whose texts --cut may leave to others, where the other sets are these.
stages_in_shards() ( # OTHERS
    OTHERS=$1
    for declaring in "${stages[@]}"; do
        in_shards=()
        "stage_$declaring"
        [ ${#in_shards[@]} = 0 ] || echo "$declaring"
    done
)

stage_number() { # STAGE: from 0
    local i
    for i in "${!stages[@]}"; do
        [ "${stages[i]}" != "$1" ] || { echo "$i"; return; }
    done
    die 64 "there is no stage '$1'; they are ${stages[*]}"
}
