# lora-train as several processes under Open MPI's mpirun, on this host alone: results against one process's,
# interruption, and refusals. The streams are made by tests/oracle/lora_streams.py.

setup() {
    load curves
    load adapters
    load mpi
    reason=$(mpi_reason)
    [ -z "$reason" ] || skip "$reason"
    data=$BATS_TEST_DIRNAME/../data/lora/streams
    model=$BATS_TEST_DIRNAME/../data/engine/llama-tied
    export DUQ_THREADS=1
    cd "$BATS_TEST_TMPDIR" || exit 1
}

# Ends what a failed test left running.
teardown() {
    [ -z "${started-}" ] || kill "$started" 2>/dev/null || true
}

teach=(lora-train --rank 4 --alpha 8 --lr 1e-3)

train() { # OPTION...
    "${teach[@]}" --model "$model" --teacher "$data/teacher.mp" "$@" "$data/tokens.mp"
}

train_together() { # RANKS OPTION...
    local ranks=$1
    shift
    together "$ranks" "${teach[@]}" --model "$model" --teacher "$data/teacher.mp" "$@" "$data/tokens.mp"
}

# Two ranks, the second with options of its own. By a shell, for mpirun's ":" crashes that of Open MPI 5.0.7.
differing() { # OPTIONS COMMAND...
    # shellcheck disable=SC2016 # expanded by the ranks' shells
    more=$1 together 2 sh -c '[ "$OMPI_COMM_WORLD_RANK" = 0 ] || set -- "$@" $more; exec "$@"' - "${@:2}"
}

same_training() { # ADAPTER LOG ADAPTER LOG    adapters within 1e-6, losses within one in a million
    local apart
    apart=$(distance "$1" "$3")
    echo "$1 and $3: $apart apart"
    below "$apart" 1e-6
    paste "$2" "$4" | awk -F '\t' 'NR > 1 { d = $2 / $5 - 1; if (d > 1e-6 || d < -1e-6 || $1 != $4 || $3 != $6) exit 1; n++ }
        END { exit n < 4 }'
    cmp "$1/adapter_config.json" "$3/adapter_config.json"
    # All but the digest of the weights, whose last bits differ.
    cmp <(jq 'del(.weights)' "$1/duq.json") <(jq 'del(.weights)' "$3/duq.json")
}

# Of 24 examples batches of 5 leave a last one of 4, and batches of 1 most ranks without work.
@test "two and three ranks train what one does" {
    for options in "--dropout 0 --batch 8" "--dropout 0.3 --batch 5" "--batch 5 --accumulate 2 --shuffle --clip 0.1" \
        "--batch 1 --dropout 0.3"; do
        # shellcheck disable=SC2086
        train $options --epochs 4 --log 1.tsv -o 1.lora
        for ranks in 2 3; do
            # shellcheck disable=SC2086
            train_together $ranks $options --epochs 4 --log $ranks.tsv -o $ranks.lora
            same_training 1.lora 1.tsv $ranks.lora $ranks.tsv
        done
    done
    train --epochs 4 --seed 1 -o seed.lora
    run below "$(distance 1.lora seed.lora)" 1e-3
    [ "$status" -eq 1 ]
}

@test "fifty steps of two ranks follow PyTorch's" {
    train_together 2 --loss dirichlet --alpha0 learned --lr 3e-3 --dropout 0 --batch 5 --epochs 10 --clip 1 \
        --schedule cosine --warmup 5 --log log.tsv -o a.lora
    below "$(worst_difference log.tsv learned)" 1e-4
}

@test "two and three ranks train the evidential students that one does: the same annealing, the same draws" {
    edl=("${teach[@]}" --model "$model" --loss edl --edl-annealing 3 --batch 5 --epochs 5 --dropout 0.3)
    "${edl[@]}" --log 1.tsv -o 1.lora "$data/tokens.mp"
    for ranks in 2 3; do
        together $ranks "${edl[@]}" --log $ranks.tsv -o $ranks.lora "$data/tokens.mp"
        same_training 1.lora 1.tsv $ranks.lora $ranks.tsv
    done
    ib=("${teach[@]}" --model "$model" --loss ib-edl --batch 5 --epochs 5 --dropout 0.3)
    "${ib[@]}" --log 1.tsv -o 1.lora "$data/tokens-inner.mp"
    for ranks in 2 3; do
        together $ranks "${ib[@]}" --log $ranks.tsv -o $ranks.lora "$data/tokens-inner.mp"
        same_training 1.lora 1.tsv $ranks.lora $ranks.tsv
    done
    weighted=("${edl[@]}" --class-weights 0.5,2,1.25)
    "${weighted[@]}" --log 1.tsv -o 1.lora "$data/tokens.mp"
    together 3 "${weighted[@]}" --log 3.tsv -o 3.lora "$data/tokens.mp"
    same_training 1.lora 1.tsv 3.lora 3.tsv
    unlike_annealing() {
        differing "--edl-annealing 4" "${edl[@]}" -o refused.lora "$data/tokens.mp"
    }
    refused 65 "rank 1 has edl_annealing = 4.0, rank 0 has 3.0" unlike_annealing
}

@test "a learned alpha0 is one for all ranks" {
    learn=(--loss dirichlet --alpha0 learned --alpha0-lr 0.1 --epochs 4 --batch 5)
    train "${learn[@]}" --log 1.tsv -o 1.lora
    train_together 3 "${learn[@]}" --log 3.tsv -o 3.lora
    below "$(distance 1.lora 3.lora)" 1e-6
    jq -es '(.[0].alpha0 - .[1].alpha0 | fabs) < 1e-5 and (.[0].alpha0 - 10 | fabs) > 0.1' 1.lora/duq.json 3.lora/duq.json
}

@test "a number of ranks gives the same bytes every time" {
    train_together 3 --epochs 3 --batch 5 -o a.lora
    train_together 3 --epochs 3 --batch 5 --profile -o b.lora 2>said || { cat said; false; }
    [ "$(grep -c '^the rest' said)" -eq 1 ] # rank 0's table alone
    cmp a.lora/adapter_model.safetensors b.lora/adapter_model.safetensors
}

@test "rank 0 alone reads the tokens and the teacher, from a pipe too, and writes" {
    train --epochs 2 --batch 5 -o 1.lora
    mkfifo teacher
    cat "$data/teacher.mp" >teacher &
    started=$! # it waits for a reader
    # shellcheck disable=SC2016
    together 2 sh -c '[ "$OMPI_COMM_WORLD_RANK" = 0 ] || cd /; exec "$@"' - "${teach[@]}" -v --model "$model" \
        --teacher teacher --epochs 2 --batch 5 --log log.tsv -o 2.lora <"$data/tokens.mp" 2>said
    below "$(distance 1.lora 2.lora)" 1e-6
    [ "$(wc -l <log.tsv)" -eq 11 ]
    [ "$(grep -c 'one of 2 processes, 2 of them on this host' said)" -eq 1 ]
    [ "$(grep -c 'step 10: loss' said)" -eq 1 ]
    [ ! -e 2.lora.checkpoint ]
}

# Each scores a part of the texts held out, of which five leave a third rank fewer than the others.
@test "ranks validate together: the figures and the student that is kept are one process's" {
    rec head -n 5 "$data/tokens-held-out.mp" >five.mp
    options=(--validation five.mp --validation-teacher "$data/teacher-held-out.mp" --keep best --patience 2 --loss dirichlet
        --dropout 0 --lr 2e-2 --epochs 12 --batch 5)
    train "${options[@]}" --log 1.tsv -o 1.lora
    for ranks in 2 3; do
        train_together $ranks "${options[@]}" --log $ranks.tsv -o $ranks.lora
        below "$(distance 1.lora $ranks.lora)" 1e-5
        paste 1.tsv $ranks.tsv | awk -F '\t' 'function off(a, b) { return a == b ? 0 : (a / b - 1) ^ 2 }
            NR > 1 { for (i = 1; i < 8; i++) if (off($i, $(i + 7)) > 1e-8) exit 1; n += $4 != "" } END { exit n < 3 }'
        [ "$(jq -c '[.step, .epoch]' 1.lora/duq.json)" = "$(jq -c '[.step, .epoch]' $ranks.lora/duq.json)" ]
    done
    jq -e '.epoch < 12' 1.lora/duq.json
    train_together 3 "${options[@]}" --log again.tsv -o again.lora
    cmp 3.tsv again.tsv
    cmp 3.lora/duq.json again.lora/duq.json
}

@test "ranks that diverge leave the best student, by rank 0" {
    diverging() {
        train_together 3 --validation "$data/tokens-held-out.mp" --keep best --validate-every 1 --lr 1000 --warmup 100 \
            --epochs 50 --log log.tsv -o best.lora
    }
    refused 65 "The best student so far, of step " diverging
    jq -e '.diverged > .step' best.lora/duq.json
}

# ---- interruption ----

long=(--loss dirichlet --batch 4 --epochs 40 --shuffle --checkpoint-every 7)

# Starts a long run whose ranks note their process numbers, and kills one of them once there is a checkpoint. Leaves
# its words in `said` and its exit status in $status.
killed() { # RANKS VICTIM [SIGNAL]
    for i in {1..20}; do
        rm -rf cut.lora cut.lora.checkpoint rank.*
        # shellcheck disable=SC2016
        timeout 120 mpirun -n "$1" sh -c 'echo $$ >rank.$OMPI_COMM_WORLD_RANK; exec "$@"' - "${teach[@]}" --model "$model" \
            --teacher "$data/teacher.mp" "${long[@]}" --log cut.tsv -o cut.lora "$data/tokens.mp" 2>said &
        started=$!
        while [ ! -e cut.lora.checkpoint ] && kill -0 $started 2>/dev/null; do sleep 0.01; done
        kill -"${3-9}" "$(cat "rank.$2")" 2>/dev/null || true
        status=0
        wait $started || status=$?
        started=
        echo "status $status: $(cat said)"
        [ ! -e cut.lora.checkpoint ] || return 0
    done
    return 1
}

@test "a rank that dies ends the others, says so, and leaves a checkpoint that is whole" {
    for victim in 0 2; do
        killed 3 $victim
        [ "$status" -eq 137 ]
        tr '\n' ' ' <said | grep "rank $victim .*signal 9" # Open MPI 5 breaks the line
        for i in {1..100}; do
            alive=
            for rank in 0 1 2; do
                ! kill -0 "$(cat rank.$rank)" 2>/dev/null || alive+=" $rank"
            done
            [ -n "$alive" ] || break
            sleep 0.1
        done
        [ -z "$alive" ]
        cp cut.lora.checkpoint before
        run train_together 2 "${long[@]}" --resume --lr 0.5 -o cut.lora
        [ "$status" -eq 65 ]
        [ "$(grep -c "cut.lora.checkpoint: made with learning_rate = 0.001, which is now 0.5" <<<"$output")" -eq 1 ]
        cmp before cut.lora.checkpoint
    done
}

@test "a signal to one rank ends all after their step, with its checkpoint" {
    train_together 2 "${long[@]}" --log whole.tsv -o whole.lora
    killed 2 1 TERM
    [ "$status" -ne 0 ]
    [ "$(grep -c 'interrupted after step' said)" -eq 1 ]
    steps=$(sed -n 's/.*interrupted after step \([0-9]*\) of 240, which is in cut.lora.checkpoint.*/\1/p' said)
    [ "$(wc -l <cut.tsv)" -eq $((steps + 1)) ]
    train_together 2 "${long[@]}" --resume --log cut.tsv -o cut.lora
    for file in adapter_model.safetensors adapter_config.json duq.json; do
        cmp whole.lora/$file cut.lora/$file
    done
    cmp whole.tsv cut.tsv
}

@test "killed and resumed, the adapter is that of a run without interruption, for other numbers of ranks too" {
    train_together 2 "${long[@]}" --log whole.tsv -o whole.lora
    killed 2 1
    cp cut.lora.checkpoint other.lora.checkpoint
    cp cut.tsv other.tsv
    cp cut.lora.checkpoint one.lora.checkpoint
    train_together 2 "${long[@]}" --resume --log cut.tsv -o cut.lora
    for file in adapter_model.safetensors adapter_config.json duq.json; do
        cmp whole.lora/$file cut.lora/$file
    done
    cmp whole.tsv cut.tsv
    [ ! -e cut.lora.checkpoint ]
    train_together 3 "${long[@]}" --resume --log other.tsv -o other.lora
    [ "$(wc -l <other.tsv)" -eq 241 ]
    train "${long[@]}" --resume -o one.lora
    for adapter in other one; do
        apart=$(distance whole.lora $adapter.lora)
        echo "$adapter: $apart apart"
        below "$apart" 1e-5
    done
    # What is complete is left alone.
    touch -d 2001-01-01 cut.lora/*
    train_together 3 "${long[@]}" --resume -o cut.lora
    [ "$(find cut.lora -newermt 2001-01-02 -type f | wc -l)" -eq 0 ]
}

# ---- refusals ----

refused() { # STATUS MESSAGE COMMAND...
    local want=$1 message=$2
    shift 2
    run "$@"
    echo "status $status: $output"
    [ "$status" -eq "$want" ]
    [ "$(grep -cF -e "$message" <<<"$output")" -eq 1 ]
    [ ! -e refused.lora/adapter_config.json ]
}

unlike() { # OPTION...
    differing "$*" "${teach[@]}" --model "$model" --teacher "$data/teacher.mp" -o refused.lora "$data/tokens.mp"
}

@test "ranks that were given other options or another model are refused by rank and setting" {
    refused 65 "lora-train[1]: rank 1 has learning_rate = 0.1, rank 0 has 0.001: give all ranks the same" unlike --lr 0.1
    refused 65 "lora-train[1]: rank 1 has seed = 7, rank 0 has 0" unlike --seed 7
    refused 65 'lora-train[1]: rank 1 has keep = "all", rank 0 has "last"' unlike --keep all
    refused 65 "lora-train[1]: rank 1 has model = " unlike --model "${model%tied}yarn"
    refused 66 "lora-train[1]: nowhere/config.json: No such file" unlike --model nowhere
}

@test "bad input is said once, and ends all ranks with its status" {
    strange() { together 3 "${teach[@]}" --model "$model" --loss labels -o refused.lora "$data/tokens-strange.mp"; }
    refused 65 "(id x): token 96 is not in the model's vocabulary of 96" strange
    diverging() { train_together 3 --lr 1000 --epochs 50 --checkpoint-every 1 -o refused.lora; }
    refused 65 "is not a finite number; try a lower --lr" diverging
    [ -e refused.lora.checkpoint ]
    full() { train_together 3 --log /dev/full -o other.lora; }
    refused 74 "/dev/full: not written: No space left" full
}

@test "MPI is opened where a launcher has started several processes, and nowhere else" {
    export DUQ_MPI_PLUGIN=$PWD/nowhere.so
    train --epochs 1 -o plain.lora
    OMPI_COMM_WORLD_SIZE=1 train --epochs 1 -o one.lora
    cmp plain.lora/adapter_model.safetensors one.lora/adapter_model.safetensors
    refused 69 "there is no MPI plugin $DUQ_MPI_PLUGIN: build duq where mpicc is" train --mpi yes -o refused.lora
    for variable in OMPI_COMM_WORLD_SIZE=2 PMI_SIZE=2 "PMIX_RANK=0 SLURM_STEP_NUM_TASKS=2"; do
        # shellcheck disable=SC2086
        refused 69 "there is no MPI plugin" env $variable "${teach[@]}" --model "$model" --loss labels -o refused.lora "$data/tokens.mp"
    done
    echo 'no library' >nowhere.so
    refused 69 "the MPI plugin cannot be opened" train --mpi yes -o refused.lora
    unset DUQ_MPI_PLUGIN
    PMI_SIZE=3 refused 69 "the launcher started 3 processes, of which MPI sees 1" train -o refused.lora
    train --mpi yes --epochs 1 -o single.lora
    cmp plain.lora/adapter_model.safetensors single.lora/adapter_model.safetensors
    refused 64 "--mpi: 'maybe' is none of auto, yes, no" train --mpi maybe -o refused.lora
}

@test "a warning says so where srun started several processes without MPI" {
    SLURM_STEP_NUM_TASKS=2 train --epochs 1 -o a.lora 2>said
    grep "without MPI: each trains alone; srun --mpi=pmix makes them one" said
    SLURM_STEP_NUM_TASKS=2 train --epochs 1 --mpi no -o b.lora 2>said
    SLURM_STEP_NUM_TASKS=1 train --epochs 1 -o c.lora 2>>said
    [ ! -s said ]
}

# This plugin is no device: it notes which GPU it was asked for, and ends when both ranks have asked.
@test "each rank of a host has a GPU of its own" {
    cat >plugin.c <<END
#include <stdio.h>
#include <unistd.h>
void die(int status, const char *format, ...);
int cuda_device_count(void) { return 2; }
void *cuda_device_open(int compute, int gpu)
{
    char name[] = "gpu.0";
    name[4] += gpu;
    fclose(fopen(name, "w"));
    for (int i = 0; i < 1000 && (access("gpu.0", F_OK) || access("gpu.1", F_OK)); i++)
        usleep(10000);
    die(69, "%d asked for", gpu);
    return (void *)(long)compute;
}
END
    "${CC:-cc}" -shared -fPIC -o plugin.so plugin.c
    export DUQ_CUDA_PLUGIN=$PWD/plugin.so
    for device in cuda auto; do
        rm -f gpu.*
        run train_together 2 --device $device -o refused.lora
        [ "$status" -eq 69 ]
        [ -e gpu.0 ]
        [ -e gpu.1 ]
    done
}

@test "with --mpi no each process trains alone" {
    train --epochs 1 -o plain.lora
    # shellcheck disable=SC2016
    together 2 sh -c 'exec "$@" -o alone.$OMPI_COMM_WORLD_RANK' - "${teach[@]}" --mpi no --epochs 1 --model "$model" \
        --teacher "$data/teacher.mp" "$data/tokens.mp"
    for rank in 0 1; do
        cmp plain.lora/adapter_model.safetensors alone.$rank/adapter_model.safetensors
    done
}

@test "with answers of several tokens, two ranks train what one does" {
    answers=$BATS_TEST_DIRNAME/../data/answers
    model=$BATS_TEST_DIRNAME/../data/engine/mistral-window
    options=(--model "$model" --teacher "$data/teacher.mp" --loss dirichlet --dropout 0.3 --batch 5 --epochs 2)
    "${teach[@]}" "${options[@]}" --log 1.tsv -o 1.lora "$answers/train.mp"
    together 2 "${teach[@]}" "${options[@]}" --log 2.tsv -o 2.lora "$answers/train.mp"
    same_training 1.lora 1.tsv 2.lora 2.tsv
}
