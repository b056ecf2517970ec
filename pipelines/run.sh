#!/usr/bin/env bash
# Runs a data set's whole job, or some stages of it: reads the settings, puts them where make compares them,
# and lets make (stages.mk) decide what is to be done. See man/duq-pipelines.7.
set -euo pipefail
# Numbers and the order of names are the same wherever a run is; what is meant for a user's own shell or make is not
# for these scripts and the programs.
export LC_ALL=C.UTF-8
unset BASH_ENV CDPATH POSIXLY_CORRECT MAKEFLAGS MAKELEVEL MFLAGS GNUMAKEFLAGS MAKEFILES
pipelines=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
stages=(fetch split validation weights teacher softmax dirichlet baseline evaluation detection report)

usage() {
    cat <<END
usage: pipelines/run.sh DATASET [OPTION]... [KEY=VALUE]...
       pipelines/run.sh --from-manifest FILE [OPTION]... [KEY=VALUE]...

DATASET is amazon, sst2, yahoo, youtube, or a folder that holds a task.json and a file called settings.

  --model DIR         the model, a Hugging Face folder (MODEL=)
  --data DIR          the texts, where they are not to be downloaded (DATA=)
  --out DIR           where everything goes (OUT=; runs/DATASET)
  --n-train N         train on the first N texts only (N_TRAIN=)
  --n-test N          test on the first N texts only (N_TEST=)
  --ood NAME,...      other data sets to be told from this one (OOD=)
  --jobs N            shards scored at a time (JOBS=); --gpus 0,1 on these GPUs (GPUS=)
  --hosts FILE        shards are scored on these hosts, by ssh (HOSTS=)
  --stage STAGE       begin here: what comes before is taken as it is
  --stop-stage STAGE  end here
  --only STAGE        this one stage
  --cut STAGE         end before its texts are scored, with their shards in shards/, for other hands (slurm/)
  --from-manifest F   the data set and settings of the run that F is the manifest of
  --dry-run           say what would be done
  --settings          print the settings that a run would have, and end
  --help

stages: ${stages[*]}
settings (KEY=VALUE): see $pipelines/settings
END
}

die() { # STATUS MESSAGE
    printf 'run.sh: %s\n' "$2" >&2
    exit "$1"
}

# ---- settings ----

declare -A value
keys=()

# read_settings FILE [new]: KEY = value lines; without "new" a key must be known already.
read_settings() {
    local file=$1 folder line number=0 key
    folder=$(cd "$(dirname "$file")" && pwd)
    while IFS= read -r line || [ -n "$line" ]; do
        number=$((number + 1))
        [[ $line =~ ^[[:space:]]*(#|$) ]] && continue
        [[ $line =~ ^([A-Z_]+)[[:space:]]*=[[:space:]]*(.*[^[:space:]])?[[:space:]]*$ ]] ||
            die 65 "$file:$number: not a line KEY = value: $line"
        key=${BASH_REMATCH[1]}
        set_value "$key" "${BASH_REMATCH[2]}" "$file:$number" "${2:-}" "$folder"
    done <"$file"
}

# Names of folders are made absolute, from the folder of the file or of the user.
set_value() { # KEY VALUE WHERE NEW FOLDER
    local key=$1 text=$2 i
    local -a words
    if [ -z "${value[$key]+known}" ]; then
        [ "$4" = new ] || die 64 "$3: there is no setting $key (see $pipelines/settings)"
        keys+=("$key")
    fi
    case $key in
    MODEL | DATA | OUT | HOSTS)
        [ -z "$text" ] || [[ $text == /* ]] || text=$(realpath -m "$5/$text")
        ;;
    N_TRAIN | N_TEST | SHOTS | VALIDATION | TEST | JOBS | SILENCE | SHARD | TRIES | TIMEOUT | BATCH | EPOCHS | RANK)
        [[ -z $text || $text =~ ^[1-9][0-9]*$ ]] || die 64 "$3: $key is a number of 1 or more, not '$text'"
        ;;
    TRAIN)
        [[ -z $text || $text =~ ^[1-9][0-9]*([[:space:]]+[1-9][0-9]*)*$ ]] ||
            die 64 "$3: TRAIN is a number of 1 or more, or several, not '$text'"
        ;;
    OOD)
        read -ra words <<<"${text//,/ }"
        for i in "${!words[@]}"; do
            [[ ${words[i]} != */* ]] || words[i]=$(cd "$5" && realpath -m -- "${words[i]}")
        done
        text=${words[*]}
        ;;
    esac
    value[$key]=$text
}

stage_number() { # STAGE
    local i
    for i in "${!stages[@]}"; do
        [ "${stages[i]}" != "$1" ] || { echo "$i"; return; }
    done
    die 64 "there is no stage '$1'; they are ${stages[*]}"
}

# What does not change results, but where things are and how many hands there are.
unshaping='MODEL OUT DATA JOBS GPUS HOSTS SSH SILENCE SHARD TRIES TIMEOUT LAUNCH CHECKPOINT_EVERY'
shaping=()
command_line=()
dataset='' first=0 last=$((${#stages[@]} - 1)) dry_run='' show='' manifest='' cut=''
while [ $# -gt 0 ]; do
    argument=$1
    case $argument in
    --*=*)
        set -- "${argument%%=*}" "${argument#*=}" "${@:2}"
        argument=$1
        ;;
    esac
    case $argument in
    --model | --data | --out | --n-train | --n-test | --ood | --jobs | --gpus | --hosts | --stage | --stop-stage | --only | --cut | \
        --from-manifest)
        [ $# -ge 2 ] || die 64 "$argument needs a value"
        ;;
    esac
    case $argument in
    --help | -h) usage; exit 0 ;;
    --dry-run) dry_run=1 ;;
    --settings) show=1 ;;
    --model | --data | --out | --n-train | --n-test | --ood | --jobs | --gpus | --hosts)
        key=${argument#--}
        key=${key^^}
        command_line+=("${key//-/_}=$2")
        shift
        ;;
    --stage) first=$(stage_number "$2"); shift ;;
    --stop-stage) last=$(stage_number "$2"); shift ;;
    --only) first=$(stage_number "$2") last=$first; shift ;;
    --cut)
        [[ $2 =~ ^(validation|teacher|detection)$ ]] || die 64 "no shards are cut in stage $2"
        cut=$2 last=$(stage_number "$2")
        shift
        ;;
    --from-manifest) manifest=$2; shift ;;
    -*) die 64 "unknown option $argument; try --help" ;;
    *=*) command_line+=("$argument") ;;
    *)
        [ -z "$dataset" ] || die 64 "one data set at a time: $dataset or $argument"
        dataset=$argument
        ;;
    esac
    shift
done
[ "$first" -le "$last" ] || die 64 "stage ${stages[first]} comes after ${stages[last]}"

read_settings "$pipelines/settings" new
if [ -n "$manifest" ]; then
    [ -r "$manifest" ] || die 66 "$manifest: cannot be read"
    [ -z "$dataset" ] || die 64 "a manifest names its data set: leave out $dataset"
    dataset=$(jq -er .dataset "$manifest") || die 65 "$manifest: not a manifest of a run"
fi
case $dataset in
'') die 64 'which data set? try --help' ;;
*/*) folder=$(realpath -m "$dataset") dataset=$folder ;;
*) folder=$pipelines/$dataset ;;
esac
for file in settings task.json; do
    [ -r "$folder/$file" ] || die 66 "there is no data set '$dataset': $folder/$file cannot be read"
done
name=$(basename "$folder")
read_settings "$folder/settings"
if [ -n "$manifest" ]; then
    while IFS= read -r line; do
        set_value "${line%%=*}" "${line#*=}" "$manifest" '' /
    done < <(jq -r '.settings | to_entries[] | "\(.key)=\(.value)"' "$manifest")
    value[OUT]=
fi
for argument in "${command_line[@]}"; do
    set_value "${argument%%=*}" "${argument#*=}" 'command line' '' "$PWD"
done
[ -n "${value[OUT]}" ] || value[OUT]=$PWD/runs/$name
out=${value[OUT]}

if [ -n "$show" ]; then
    for key in "${keys[@]}"; do
        printf '%s = %s\n' "$key" "${value[$key]}"
    done
    exit 0
fi

# ---- what is needed ----

programs=${PROGRAMS:-${BUILD:-$pipelines/../build}/bin}
[ ! -d "$programs" ] || PATH=$(cd "$programs" && pwd):$PATH
for program in rec prompt-expand tok lm-score bpe-fit lora-train dir-eval jq parallel; do
    command -v "$program" >/dev/null ||
        die 69 "$program is not on the path: run make (and make deps), or make install"
done
if [ -n "${value[HOSTS]}" ]; then
    [ -r "${value[HOSTS]}" ] || die 66 "${value[HOSTS]}: cannot be read (HOSTS=)"
    [ -z "${value[JOBS]}${value[GPUS]}" ] ||
        die 64 'JOBS= and GPUS= are for this machine alone; a file of hosts has places and gpus= of its own'
fi
for key in TRAIN_FILES TEXT LABEL TRAIN SHOTS VALIDATION TEST; do
    [ -n "${value[$key]}" ] || die 65 "there is no $key, neither here nor in $folder/settings (see $pipelines/settings)"
done
needs_model=
[ "$last" -lt "$(stage_number validation)" ] || [ "$first" -ge "$(stage_number report)" ] || needs_model=1
digest=
if [ -n "$needs_model" ]; then
    [ -n "${value[MODEL]}" ] || die 64 'which model? give MODEL=DIR (or --model DIR), a Hugging Face folder'
    [ -d "${value[MODEL]}" ] || die 66 "${value[MODEL]}: no such folder (MODEL=)"
    digest=$(lm-score --model "${value[MODEL]}" --digest) || exit $?
fi

export PIPELINES=$pipelines DATASET=$dataset NAME=$name FOLDER=$folder PATH OUT=$out
mkdir -p "$out/.settings" || die 73 "$out: cannot be made (OUT=)"
exec 9>"$out/.lock"
# What is left of a run that was ended goes within seconds.
flock -w 10 9 || die 75 "$out: another run, or what is left of one, is at work there: wait for it, or end it"

# put NAME: standard input becomes $out/NAME, unless it is that already.
put() {
    local new=$out/$1.new
    cat >"$new"
    if cmp -s "$new" "$out/$1"; then rm -f "$new"; else mv -f "$new" "$out/$1"; fi
}

# Another version may have had other settings.
for file in "$out"/.settings/[A-Z]*; do
    [ -n "${value[${file##*/}]+known}" ] || rm -f "$file"
done
for key in "${keys[@]}"; do
    case $key in MODEL | OUT) continue ;; esac
    printf '%s\n' "${value[$key]}" | put ".settings/$key"
    export "$key=${value[$key]}"
done
put task.json <"$folder/task.json"
{ [ ! -e "$folder/published.json" ] || cat "$folder/published.json"; } | put .settings/published
rec --version | sed 's/.* //' | put .settings/version
if [ -n "$digest" ]; then
    [ "$(readlink "$out/model" || true)" = "${value[MODEL]}" ] || ln -sfT "${value[MODEL]}" "$out/model" ||
        die 73 "$out/model: is not a link that an earlier run made: choose another folder (OUT=)"
    {
        echo "$digest"
        cd "${value[MODEL]}"
        find -L . -maxdepth 1 -name 'tokenizer*' -type f -exec sha256sum {} + | sort -k 2
    } | put .settings/model
fi

# Which files DATA holds now, by content.
if [ -n "${value[DATA]}" ]; then
    "$pipelines/stage.sh" files
else
    echo "${value[SOURCE]}"
fi | put .settings/data

# Other sets' test texts are split as their own runs would; where they cannot be had the report says so.
others='' names=''
if [ "$last" -ge "$(stage_number detection)" ]; then
    for other in ${value[OOD]}; do
        other_name=${other##*/}
        [[ $other_name =~ ^[A-Za-z0-9._+-]+$ ]] ||
            die 64 "OOD: a folder's name has letters, digits and . _ + - alone, not as $other_name"
        [ "$other_name" != "$name" ] || die 64 "OOD: $name cannot be told from itself"
        [[ " $names " != *" $other_name "* ]] || die 64 "OOD: there are two sets called $other_name"
        names+="$other_name "
        if [ "$first" -le "$(stage_number detection)" ]; then
            arguments=("$other" "OUT=$out/others/$other_name" --stop-stage split)
            # Of its own, if its settings say where its texts are.
            own=$("$pipelines/run.sh" "$other" --settings 2>/dev/null | sed -n 's/^DATA = //p') || own=
            [ -n "$own" ] || arguments+=("DATA=${value[DATA]}")
            [ -z "${value[N_TEST]}" ] || arguments+=("N_TEST=${value[N_TEST]}")
            [ -z "$dry_run" ] || arguments+=(--dry-run)
            status=0
            "$pipelines/run.sh" "${arguments[@]}" 9>&- || status=$?
            case $status in
            0) others+="$other_name " ;;
            2 | 66) printf 'run.sh: detection against %s is left out: its texts are not at hand\n' "$other_name" >&2 ;;
            *) exit $status ;;
            esac
        elif [ -e "$out/others/$other_name/texts/test.mp" ]; then
            others+="$other_name "
        fi
    done
fi
printf '%s\n' "$others" | put .settings/others

# What the manifest's run had and this one has not.
changed() { # WHAT THEN NOW
    [ "$2" = "$3" ] || printf 'run.sh: %s: %s is another one now: %s, then %s\n' "$manifest" "$1" "$3" "$2" >&2
}
if [ -n "$manifest" ]; then
    was() { jq -r "$1" "$manifest"; }
    changed 'duq' "$(was .version)" "$(cat "$out/.settings/version")"
    changed 'the task' "$(was .task)" "sha256:$(sha256sum <"$out/task.json" | cut -d' ' -f1)"
    [ -z "$digest" ] || changed 'the model' "$(was .model.digest)" "$digest"
    if [ -n "${value[DATA]}" ]; then
        changed 'the data' "$(was '[.data[] | ltrimstr("sha256:")] | join(" ")')" \
            "$(cut -d' ' -f1 "$out/.settings/data" | paste -sd' ')"
    fi
fi

# ---- make ----

for key in "${keys[@]}"; do
    case " $unshaping " in *" $key "*) ;; *) shaping+=("$key") ;; esac
done
export OTHERS=$others SHAPING=${shaping[*]} CUT=$cut
targets=("${stages[@]:first:last - first + 1}" manifest)
[ -z "$cut" ] || targets=("${stages[@]:first:last - first}" "cut-$cut")
arguments=(-rR --no-print-directory -C "$out" -f "$pipelines/stages.mk" "SKIP=${stages[*]:0:first}" "OTHERS=$others"
    "SHAPING=${shaping[*]}")
if [ -n "$dry_run" ]; then
    make -n "${arguments[@]}" "${targets[@]}" |
        sed -n "s/.*stage\.sh make '\([a-z]*\)' '\([^']*\)'.*/\1: \2/p; s/.*stage\.sh missing /missing: /p"
    exit
fi
exec make "${arguments[@]}" "${targets[@]}"
