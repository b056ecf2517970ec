# shellcheck shell=bash disable=SC2034,SC2154 # what is read here, others use; pipelines is run.sh's
# The command line of run.sh and of the recipes.

# What it said.
dataset='' from='' to='' cut='' manifest='' dry_run='' show=''
command_line=() # KEY=VALUE

usage() {
    local names=("${stages[@]}")
    [ ${#names[@]} -gt 0 ] || names=("${every_stage[@]}")
    cat <<END_OF_USAGE
usage: pipelines/run.sh DATASET [OPTION]... [KEY=VALUE]...
       pipelines/run.sh --from-manifest FILE [OPTION]... [KEY=VALUE]...

DATASET is $(data_sets | paste -sd, | sed 's/,/, /g'), or a folder that holds a task.json and a file called settings.

  --model DIR         the model, a Hugging Face folder or a GGUF file (MODEL=)
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
  --stages            print the stages that a run would have, with "cut" after those that --cut takes, and end
  --help

stages: ${names[*]}
settings (KEY=VALUE): see $pipelines/settings
END_OF_USAGE
}

data_sets() { # the folders here that are data sets
    local task
    for task in "$pipelines"/*/task.json; do
        task=${task%/task.json}
        echo "${task##*/}"
    done
}

read_arguments() { # ARGUMENT...
    local argument key
    while [ $# -gt 0 ]; do
        argument=$1
        case $argument in
        --*=*)
            set -- "${argument%%=*}" "${argument#*=}" "${@:2}"
            argument=$1
            ;;
        esac
        case $argument in
        --model | --data | --out | --n-train | --n-test | --ood | --jobs | --gpus | --hosts | --stage | --stop-stage | --only | \
            --cut | --from-manifest)
            [ $# -ge 2 ] || die 64 "$argument needs a value"
            read_option "$argument" "$2"
            shift
            ;;
        --help | -h) usage; exit 0 ;;
        --dry-run) dry_run=1 ;;
        --settings | --stages) show=${argument#--} ;;
        -*) die 64 "unknown option $argument; try --help" ;;
        *=*) command_line+=("$argument") ;;
        *)
            [ -z "$dataset" ] || die 64 "one data set at a time: $dataset or $argument"
            dataset=$argument
            ;;
        esac
        shift
    done
}

read_option() { # OPTION VALUE
    local key
    case $1 in
    --stage) from=$2 ;;
    --stop-stage) to=$2 ;;
    --only) from=$2 to=$2 ;;
    --cut) cut=$2 to=$2 ;;
    --from-manifest) manifest=$2 ;;
    *) # another name of a setting
        key=${1#--}
        key=${key^^}
        command_line+=("${key//-/_}=$2")
        return
        ;;
    esac
    # A variable of the caller's that is not set would have all of the run begin.
    [ -n "$2" ] || die 64 "$1 is empty"
}
