#!/usr/bin/env bash
# Submits a data set's whole job to Slurm, as jobs that wait for each other:
#
#   fetch, split, cut ->  validation  -> weights, cut ->   teacher   -> students, evaluation, cut -> detection -> report
#   (one job)            (a job array)  (one job)       (a job array)   (one job)                 (a job array)  (one job)
#
# The arrays are shards.sbatch, the others stages.sbatch: read them, and adapt them to your cluster. All nodes need the
# run's folder (OUT), the programs and the model under the same names. The same command again, after whatever failed,
# submits what goes on from there: what is done is found done.
set -euo pipefail
unset BASH_ENV CDPATH POSIXLY_CORRECT
slurm=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PIPELINES=$(dirname "$slurm")
export PIPELINES

usage() {
    cat <<END
usage: pipelines/slurm/submit.sh DATASET [--tasks N] [--sbatch OPTIONS] [--wait] [OPTION]... [KEY=VALUE]...

  --tasks N           each job array has N tasks, which share the shards (8)
  --sbatch OPTIONS    options of sbatch for all of the jobs, such as '--partition=gpu --gres=gpu:1'
  --wait              end when the last job has ended, with its status
  --stop-stage STAGE  submit no more than what leads to this stage

Other options and settings are those of pipelines/run.sh. Prints the jobs' numbers. What they say goes to
OUT/log/slurm. TRIES is how often a task that fails is tried.
END
}

die() { # STATUS MESSAGE
    printf 'submit.sh: %s\n' "$2" >&2
    exit "$1"
}

tasks=8 wait='' stop=report
sbatch=(sbatch --parsable --export=ALL --kill-on-invalid-dep=yes) arguments=()
while [ $# -gt 0 ]; do
    case $1 in
    --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
    esac
    case $1 in
    --tasks | --sbatch | --stop-stage) [ $# -ge 2 ] || die 64 "$1 needs a value" ;;
    esac
    case $1 in
    --help | -h) usage; exit ;;
    --tasks)
        [[ $2 =~ ^[1-9][0-9]*$ ]] || die 64 "--tasks is a number of 1 or more, not '$2'"
        tasks=$2
        shift
        ;;
    --sbatch)
        read -ra words <<<"$2"
        sbatch+=("${words[@]}")
        shift
        ;;
    --wait) wait=1 ;;
    --stop-stage) stop=$2; shift ;;
    --stage | --only | --cut | --dry-run | --settings | --stages | --hosts | HOSTS=* | JOBS=* | --jobs) die 64 "$1 has no place here: see --help" ;;
    *) arguments+=("$1") ;;
    esac
    shift
done
command -v sbatch >/dev/null || die 69 'sbatch is not on the path: this is for a cluster under Slurm'

settings=$("$PIPELINES/run.sh" "${arguments[@]}" --settings)
order=$("$PIPELINES/run.sh" "${arguments[@]}" --stages)
cut -f 1 <<<"$order" | grep -Fx -- "$stop" >/dev/null || die 64 "there is no stage '$stop'"
setting() { # KEY
    sed -n "s/^$1 = //p" <<<"$settings"
}
out=$(setting OUT) tries=$(setting TRIES) timeout=$(setting TIMEOUT)
# Before a job waits in a queue to find it out.
[ -n "$(setting MODEL)" ] || [[ $stop == fetch || $stop == split ]] || die 64 'which model? give MODEL=DIR'
for key in MODEL DATA; do
    place=$(setting $key)
    [ -z "$place" ] || [ -e "$place" ] || echo "submit.sh: $place is not on this machine, and has to be on the nodes ($key=)" >&2
done
programs=${PROGRAMS:-${BUILD:-$PIPELINES/../build}/bin}
[ ! -d "$programs" ] || PATH=$(cd "$programs" && pwd):$PATH
mkdir -p "$out/log/slurm" || die 73 "$out: cannot be made (OUT=)"

last='' status=0
# job NAME SBATCH-OPTION... SCRIPT ARGUMENT...: submits it, after the job before. With --wait, sbatch ends with the job's
# status.
job() {
    local name=$1
    local -a after=()
    shift
    [ -z "$last" ] || after=("--dependency=afterok:$last")
    last=$("${sbatch[@]}" "${after[@]}" --job-name="duq-$name" --output="$out/log/slurm/$name.%j.log" "$@") || status=$?
    [ -n "$last" ] || die 75 'sbatch refused a job'
    printf '%s\t%s\n' "$last" "$name"
}

stages() { # NAME OPTION...
    job "$1" "$slurm/stages.sbatch" "${arguments[@]}" "${@:2}"
}

shards() { # STAGE
    job "$1" --array="0-$((tasks - 1))" "$slurm/shards.sbatch" "$out" "$1" "$tasks" "$tries" "$timeout"
}

# Of each stage whose texts are scored in shards, its shards, after all that comes before it.
submit_shards() {
    local stage cut
    while IFS=$'\t' read -r -u 3 stage cut; do
        if [ "$cut" = cut ]; then
            stages "before-$stage" --cut "$stage"
            shards "$stage"
        fi
        [ "$stage" != "$stop" ] || break
    done 3<<<"$order"
}

submit_shards
if [ -n "$wait" ]; then
    sbatch+=(--wait)
    export DUQ_DONE=$out/log/slurm/done.$$.$EPOCHREALTIME
fi
stages "to-$stop" --stop-stage "$stop"
[ $status = 0 ] || exit $status
# Of a job that Slurm gave up, since one before it had failed, sbatch's status is 0.
if [ -n "$wait" ]; then
    [ -e "$DUQ_DONE" ] || die 75 "the last job did not run, for one before it failed: see $out/log/slurm"
    rm "$DUQ_DONE"
fi
