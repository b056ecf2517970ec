#!/usr/bin/env bash
# Runs a data set's whole job, or some stages of it. What the job is stands in a recipe (sst2.sh ...) and in recipes.sh;
# this file runs it: it reads the settings, writes them where make compares them, and starts make, which decides what is
# to be done. See man/duq-pipelines.7.
# usage: pipelines/run.sh DATASET [OPTION]... [KEY=VALUE]...    see --help
# A recipe sources this file, names its stages (stage NAME) and ends with run_recipe DATASET "$@".

# A recipe that read_recipe sources finds all this here already.
[ "$(type -t run_recipe)" != function ] || return 0

set -euo pipefail
# Numbers and the order of names are the same wherever a run is; what is meant for a user's own shell or make is not
# for these scripts and the programs. nproc(1) heeds the limits for OpenMP.
export LC_ALL=C.UTF-8
unset BASH_ENV CDPATH POSIXLY_CORRECT MAKEFLAGS MAKELEVEL MFLAGS GNUMAKEFLAGS MAKEFILES TAR_OPTIONS OMP_NUM_THREADS OMP_THREAD_LIMIT
pipelines=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=pipelines/recipes.sh
source "$pipelines/recipes.sh"
# shellcheck source=pipelines/run/arguments.sh
source "$pipelines/run/arguments.sh"
# shellcheck source=pipelines/run/settings.sh
source "$pipelines/run/settings.sh"
# shellcheck source=pipelines/run/rules.sh
source "$pipelines/run/rules.sh"
# shellcheck source=pipelines/run/needs.sh
source "$pipelines/run/needs.sh"
# shellcheck source=pipelines/run/stamps.sh
source "$pipelines/run/stamps.sh"
# shellcheck source=pipelines/run/others.sh
source "$pipelines/run/others.sh"

reading='' # set while a recipe is sourced for its stages alone

die() { # STATUS MESSAGE
    printf 'run.sh: %s\n' "$2" >&2
    exit "$1"
}

run_recipe() { # [DATASET] [OPTION]... [KEY=VALUE]...
    [ -z "$reading" ] || return 0
    read_arguments "$@"
    read_settings "$pipelines/settings" declarations
    # shellcheck disable=SC2031 # its change in stages_in_shards is for that alone
    export OTHERS='' SHAPING=${shaping[*]}
    find_data_set
    read_recipe
    settle
    find_stages
    case $show in
    settings) show_settings; exit ;;
    stages) show_stages; exit ;;
    esac
    prepare
    start_make
}

# The data set's folder and name.
find_data_set() {
    local file
    if [ -n "$manifest" ]; then
        [ -r "$manifest" ] || die 66 "$manifest: cannot be read"
        [ -z "$dataset" ] || die 64 "a manifest names its data set: leave out $dataset"
        { dataset=$(jq -er 'select(.settings | type == "object") | .dataset | strings' "$manifest" 2>/dev/null) && [ -n "$dataset" ]; } ||
            die 65 "$manifest: not a manifest of a run"
    fi
    case $dataset in
    '') die 64 'which data set? try --help' ;;
    */*) folder=$(realpath -m "$dataset") dataset=$folder ;;
    *) folder=$pipelines/$dataset ;;
    esac
    for file in settings task.json; do
        [ -r "$folder/$file" ] || [[ $dataset == */* || ! -e $dataset/$file ]] ||
            die 66 "there is no data set '$dataset' in $pipelines; the folder here is ./$dataset"
        can_read "$folder/$file" || die 66 "there is no data set '$dataset': $folder/$file cannot be read"
    done
    name=$(basename "$folder")
}

# The stages of the data set's recipe, if they are not known yet; without one, all that there are.
read_recipe() {
    local reading=1 one
    if [ ${#stages[@]} -gt 0 ]; then
        return
    elif [ "$folder" = "$pipelines/$dataset" ] && [ -e "$folder.sh" ]; then
        # shellcheck source=pipelines/sst2.sh
        source "$folder.sh"
    else
        for one in "${every_stage[@]}"; do
            stage "$one"
        done
    fi
}

# The numbers of the first and the last stage of this run.
find_stages() {
    first=0 last=$((${#stages[@]} - 1))
    [ -z "$from" ] || first=$(stage_number "$from")
    [ -z "$to" ] || last=$(stage_number "$to")
    [ -z "$cut" ] || [[ " $(stages_in_shards any | paste -sd' ') " == *" $cut "* ]] ||
        die 64 "no shards are cut in stage $cut"
    [ "$first" -le "$last" ] || die 64 "stage ${stages[first]} comes after ${stages[last]}"
}

show_stages() {
    local one cuts
    cuts=$(stages_in_shards "${value[OOD]}")
    for one in "${stages[@]}"; do
        if grep -qx "$one" <<<"$cuts"; then printf '%s\tcut\n' "$one"; else echo "$one"; fi
    done
}

# All that make is to find in the run's folder and in the environment.
prepare() {
    digest="" task="" out=${value[OUT]}
    need_programs
    need_settings
    need_task
    if uses_model; then
        need_model
        need_shots
    fi
    export PIPELINES=$pipelines DATASET=$dataset NAME=$name FOLDER=$folder PATH OUT=$out CUT=$cut
    lock_folder
    put_settings
    [ -z "$digest" ] || put_model
    # What was fetched is taken as it is where the run begins behind that.
    if [ "$first" = 0 ] || [ ! -e "$out/.settings/data" ]; then put_data; fi
    find_others
    export OTHERS=$others
    printf '%s\n' "$others" | put .settings/others
    [ -z "$manifest" ] || compare_with_manifest
}

start_make() {
    local -a targets=("${stages[@]:first:last - first + 1}" manifest)
    local -a arguments=(-rR --no-print-directory -C "$out" -f "$pipelines/run/rules.mk" -f /dev/fd/8)
    [ -z "$cut" ] || targets=("${stages[@]:first:last - first}" "cut-$cut")
    declare_stages "$first"
    export STUDENTS=${students[*]} LAST_STAGE=${stages[last]}
    if [ -n "$dry_run" ]; then
        make -n "${arguments[@]}" "${targets[@]}" 8<<<"$rules" |
            sed -n "s/.*target\.sh make[a-z-]* '\([a-z]*\)' '\([^']*\)'.*/\1: \2/p; s/.*target\.sh missing /missing: /p"
        exit
    fi
    exec make "${arguments[@]}" "${targets[@]}" 8<<<"$rules"
}

[ "${BASH_SOURCE[0]}" != "$0" ] || run_recipe "$@"
