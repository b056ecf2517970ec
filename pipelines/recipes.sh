# shellcheck shell=bash
# The stages of a data set's job: for each, the files that it makes and the pipes that make them. A recipe (sst2.sh ...)
# names the stages that its data set has; a data set without a script has all of them.
#
# stage_NAME declares the files of the stage NAME, in the order in which they are made:
#     makes FILE from FILE... with SETTING... by FUNCTION [ARGUMENT]...
# A file is made again when one of those files or settings is another one (run/rules.sh). The function writes it to
# standard output; run/target.sh calls it in the run's folder, with the settings in the environment. Streams' headers have
# the command lines that made them, so names in these are relative ones and the model is ./model: the same bytes come out
# wherever the folder is. Scoring goes through spread (spread/spread.sh), which has it done in one place or in several.
#
# shellcheck disable=SC2034,SC2153,SC2154 # settings are in the environment; signature and students are the callers'
every_stage=(fetch split validation weights teacher softmax dirichlet baseline edl evaluation epochs seeds sweep detection report)
without_model=(fetch split report) # these need none at hand

# What every score depends on, beside its text and prompt.
scoring=(model DEVICE COMPUTE)

# ---- fetch: the data set's files, and their digests ----

stage_fetch() {
    makes data/files with DATA SOURCE CHECKSUM TRAIN_FILES TEST_FILES data by fetch # run/fetch.sh
}

# ---- split: rows to train on, for shots, for validation and to test on ----

parts=(train shots validation test)

stage_split() {
    local part
    makes texts/rows.mp from data/files task.json \
        with HEADER ID TEXT LABEL LABELS MISSING SHUFFLE TRAIN SHOTS_FROM SHOTS VALIDATION TEST by rows train
    makes texts/test-rows.mp from data/files task.json \
        with HEADER ID TEXT LABEL LABELS MISSING TEST by rows test
    for part in "${parts[@]}"; do
        makes "texts/$part.plan" from texts/rows.mp texts/test-rows.mp \
            with TRAIN SHOTS_FROM SHOTS VALIDATION TEST N_TRAIN N_TEST by plan "$part" # run/split.sh
        makes "texts/$part.mp" from "texts/$part.plan" texts/rows.mp texts/test-rows.mp by part "$part"
    done
}

# The table's rows as a stream.
rows() { # train or test
    local number labels
    local -a files
    mapfile -t files < <(printf '%s\n' "data/$1".[0-9]* | sort -V) # 2 before 10
    if [ "$1" = test ] && ! has_test_file; then
        return # an empty file: the test texts are in the other
    fi
    number=$(rows_needed "$1")
    labels=$(fitting_labels "$number" "${files[@]}")
    if [ "$1" = train ] && [ -n "$SHUFFLE" ]; then
        from_table "$labels" "${files[@]}" | rec sample --shuffle --seed "$SHUFFLE"
    else
        first_rows "$number" "$labels" "${files[@]}"
    fi
}

part() { # PART
    local file skip number
    read -r file skip number <"texts/$1.plan"
    rec head --skip "$skip" -n "$number" "$file"
}

# ---- validation: the teacher's scores of the validation texts, by every instruction with its shots ----

stage_validation() {
    makes scores/validation.mp from texts/validation.mp texts/shots.mp task.json \
        with "${scoring[@]}" in_shards_by teacher_scores texts/validation.mp
}

# Of texts of this data set or, where FOLDER is its run's, of another one, by the instructions and shots there.
teacher_scores() { # TEXTS [FOLDER]
    local task=${2:+$2/}task.json shots=${2:+$2/}texts/shots.mp
    local -a how=(--shots "$shots")
    [ "$(jq .shots "$task")" != 0 ] || shots='' how=(--zero-shot)
    local -a prompts=(prompt-expand --task "$task" --model model "${how[@]}") tokens=(tok --model model)
    local -a score=(lm-score --model model --device "$DEVICE" --compute "$COMPUTE")
    local prompts_per_text
    # shellcheck disable=SC2034 # spread has it
    prompts_per_text=$(jq '.instructions | length' "$task")
    spread "$1" "$task" ${shots:+"$shots"}
}

# ---- weights: how far each instruction is to be trusted ----

# Twice: as the paper has it, and of prompts that are calibrated first.
stage_weights() {
    makes weights.mp from scores/validation.mp with OBJECTIVE ENTROPY_WEIGHT SOLVER by weights scores/validation.mp
    makes calibrated/weights.mp from scores/validation.mp with OBJECTIVE ENTROPY_WEIGHT CALIBRATE \
        by weights scores/validation.mp --calibrate
}

weights() { # SCORES [--calibrate]
    local -a how=(--solver "$SOLVER")
    [ $# = 1 ] || how=("$2" "$CALIBRATE")
    bpe-fit --objective "$OBJECTIVE" --entropy-weight "$ENTROPY_WEIGHT" "${how[@]}" "$1"
}

# ---- teacher: scores and predictions of the texts to train and to test on; what it says of the validation texts ----

stage_teacher() {
    local part
    # bpe-fit warns of texts that weights are from: here they are meant.
    makes teacher/validation.mp from scores/validation.mp weights.mp \
        with version by teacher weights.mp scores/validation.mp -q
    makes calibrated/validation.mp from scores/validation.mp calibrated/weights.mp \
        with version by teacher calibrated/weights.mp scores/validation.mp -q
    for part in train test; do
        makes "scores/$part.mp" from "texts/$part.mp" texts/shots.mp task.json \
            with "${scoring[@]}" in_shards_by teacher_scores "texts/$part.mp"
        makes "teacher/$part.mp" from "scores/$part.mp" weights.mp \
            with version by teacher weights.mp "scores/$part.mp"
        makes "calibrated/$part.mp" from "scores/$part.mp" calibrated/weights.mp \
            with version by teacher calibrated/weights.mp "scores/$part.mp"
    done
}

teacher() { # WEIGHTS SCORES [OPTION]
    bpe-fit --apply "$@"
}

# ---- softmax, dirichlet, baseline, edl: a student each, and its predictions of the test texts ----

# Two learn what the teacher says, two the labels; one of each two gives a Dirichlet distribution. They are asked by the
# instruction with the highest weight in weights.mp, and validated on the texts that the weights are from.
stage_softmax() { student softmax; }
stage_dirichlet() { student dirichlet; }
stage_baseline() { student baseline; }
stage_edl() { student edl; }

learns_labels() { # STUDENT
    [ "$1" = baseline ] || [ "$1" = edl ]
}

student() { # STUDENT
    local adapter=students/$1.lora/adapter_config.json
    local -a taught
    taught_by "$1"
    # Students have the same prompts: the first one makes them.
    [ ${#students[@]} -gt 0 ] || student_prompts
    makes "$adapter" from "${taught[@]}" with "${training[@]}" SEED "${1^^}_OPTIONS" in_place_by train "$1"
    asked_with "$1"
    makes "predictions/$1.test.mp" from texts/test.mp "$adapter" weights.mp task.json \
        with "${asked_with[@]}" by predict "$1" texts/test.mp
    students+=("$1")
}

# What every student depends on, beside what it is taught by and options of its own.
training=(LR BATCH EPOCHS RANK LORA_ALPHA DROPOUT TRAIN_OPTIONS KEEP PATIENCE DEVICE COMPUTE model version)

# The files of tokens and of what the teacher says of them, into $taught.
taught_by() { # STUDENT
    local teacher=${TEACHER:-teacher} # where stages are only listed there are no settings
    taught=(students/train.tokens.mp students/validation.tokens.mp)
    learns_labels "$1" || taught+=("$teacher/train.mp" "$teacher/validation.mp")
}

student_prompts() {
    makes students/train.tokens.mp from texts/train.mp weights.mp task.json \
        with "${scoring[@]}" by student_tokens texts/train.mp
    makes students/validation.tokens.mp from texts/validation.mp students/train.tokens.mp weights.mp task.json \
        with "${scoring[@]}" by held_out_tokens texts/validation.mp
}

# Without texts that are trained on as well: tables have rows twice.
held_out_tokens() { # TEXTS
    student_tokens "$1" | rec to-json --header |
        jq -n -c --slurpfile trained <(rec to-json students/train.tokens.mp | jq '.tokens | tojson') '
            (reduce $trained[] as $one ({}; .[$one] = true)) as $seen
            | inputs | select((has("id") | not) or ($seen[.tokens | tojson] | not))' |
        rec from-json
}

student_tokens() { # TEXTS
    prompt-expand --task task.json --model model --instruction best:weights.mp --student <"$1" | tok --model model
}

train() { # STUDENT [NAME OPTION...]: students/NAME.lora, which is the student's own name if not said
    local own=${1^^}_OPTIONS name=${2:-$1} keep=$KEEP
    local -a loss=(--loss "$1" --teacher "$TEACHER/train.mp" --validation-teacher "$TEACHER/validation.mp") launch options
    ! learns_labels "$1" || loss=(--loss "${1/baseline/labels}")
    # Of several seeds each epoch is not asked for.
    [ $# = 1 ] || keep=${keep/all/last}
    forget_other_training "$name"
    read -ra launch <<<"$LAUNCH"
    read -ra options <<<"$TRAIN_OPTIONS ${!own}"
    "${launch[@]}" lora-train --model model "${loss[@]}" --lr "$LR" --batch "$BATCH" --epochs "$EPOCHS" --rank "$RANK" \
        --alpha "$LORA_ALPHA" --dropout "$DROPOUT" --seed "$SEED" --device "$DEVICE" --compute "$COMPUTE" "${options[@]}" "${@:3}" \
        --validation students/validation.tokens.mp --keep "$keep" ${PATIENCE:+--patience "$PATIENCE"} \
        --checkpoint-every "$CHECKPOINT_EVERY" --resume --log "students/$name.tsv" \
        -o "students/$name.lora" students/train.tokens.mp
}

# A checkpoint of other inputs or settings is of no use.
forget_other_training() { # NAME
    [ "$(cat "students/$1.inputs" 2>/dev/null)" != "$signature" ] || return 0
    rm -rf "students/$1.lora" "students/$1.lora".{checkpoint,epochs} "students/$1.tsv"
    echo "$signature" >"students/$1.inputs"
}

# Of texts of this data set or, where FOLDER is its run's, of another one, by the task there and the best of its
# instructions by WEIGHTS.
predict() { # STUDENT TEXTS [FOLDER WEIGHTS]
    local adapter=students/$1.lora
    [ "$1" != untrained ] || adapter=''
    ask "$1" "$adapter" "${@:2}"
}

predict_epoch() { # STUDENT EPOCH TEXTS
    ask "$1" "students/$1.lora.epochs/$2" "$3"
}

# What a student's predictions depend on, beside texts and prompts, into $asked_with: alphas are a Dirichlet student's.
asked_with() { # STUDENT
    asked_with=("${scoring[@]}")
    [ "$1" != dirichlet ] || asked_with+=(ALPHAS)
}

has_fixed_sum() { # ADAPTER
    [ -n "$1" ] && jq -e '.alpha0_mode == "fixed"' "$1/duq.json" >/dev/null
}

ask() { # STUDENT ADAPTER TEXTS [FOLDER WEIGHTS]
    local head=softmax task=${4:+$4/}task.json weights=${5:-weights.mp}
    local -a prompts=(prompt-expand --task "$task" --model model --instruction "best:$weights" --student)
    local -a tokens=(tok --model model) score=(lm-score --model model)
    [[ $1 != dirichlet && $1 != edl ]] || head=dirichlet
    [ -z "$2" ] || score+=(--adapter "$2" ${4:+--other-task})
    [ "$ALPHAS" = trained ] || ! has_fixed_sum "$2" || score+=(--alphas "$ALPHAS")
    score+=(--head "$head" --device "$DEVICE" --compute "$COMPUTE")
    spread "$3" "$task" "$weights" ${2:+"$2"}
}

# ---- evaluation: figures of all predictions; the model as it is, asked like a student, is one more ----

stage_evaluation() {
    makes predictions/untrained.test.mp from texts/test.mp weights.mp task.json \
        with "${scoring[@]}" by predict untrained texts/test.mp
    # shellcheck disable=SC2046 # names are words
    makes evaluation/metrics.mp from $(prediction_files) with BOOTSTRAP by evaluate
}

evaluate() { # [ood]
    local -a sets
    mapfile -t sets < <(predictions "$@")
    dir-eval -q --members --bootstrap "$BOOTSTRAP" --stream "${sets[@]}"
}

# NAME=FILE, or with ood also --ood and NAME:OTHER=FILE, where OTHER:own was asked by its own prompts, one a line.
predictions() { # [ood]
    local name other
    for name in untrained teacher calibrated "${students[@]}"; do
        case $name in
        teacher | calibrated) echo "$name=$name/test.mp" ;;
        *) echo "$name=predictions/$name.test.mp" ;;
        esac
    done
    [ "${1:-}" = ood ] || return 0
    for other in $OTHERS; do
        for name in untrained teacher calibrated "${students[@]}"; do
            [ "${DETECTION:-both}" = own ] ||
                printf -- '--ood\n%s:%s=detection/%s.%s.mp\n' "$name" "$other" "$name" "$other"
            [ "${DETECTION:-both}" = common ] || [ "$name" = calibrated ] ||
                printf -- '--ood\n%s:%s:own=detection/own/%s.%s.mp\n' "$name" "$other" "$name" "$other"
        done
    done
}

prediction_files() { # [ood]
    predictions "$@" | sed -n 's/.*=//p'
}

# ---- epochs: each student after each epoch, on the texts to train and to test on (KEEP=all) ----

stage_epochs() {
    local student epoch part
    local -a predicted=() measured=()
    [ "${KEEP:-best}" = all ] || return 0
    for student in "${students[@]}"; do
        asked_with "$student"
        epoch=$(epochs_of "$student") || exit
        measured+=("$student")
        for (( ; epoch > 0; epoch--)); do
            for part in train test; do
                predicted+=("epochs/$student.$epoch.$part.mp")
                makes "${predicted[-1]}" from "texts/$part.mp" "students/$student.lora/adapter_config.json" weights.mp task.json \
                    with "${asked_with[@]}" by predict_epoch "$student" "$epoch" "texts/$part.mp"
            done
        done
    done
    makes epochs/table.json from "${predicted[@]}" with version by epoch_table "${measured[@]}"
}

# How many there are: what the last --epochs among the student's options says, or EPOCHS.
epochs_of() { # STUDENT
    local own=${1^^}_OPTIONS number=$EPOCHS last='' word
    local -a words
    read -ra words <<<"$TRAIN_OPTIONS ${!own}"
    for word in "${words[@]}"; do
        [[ $word != --epochs=* ]] || number=${word#*=}
        [ "$last" != --epochs ] || number=$word
        last=$word
    done
    jq -enr --arg number "$number" '$number | tonumber | select(. == floor and . >= 1 and . < 1000000)' 2>/dev/null ||
        die 64 "KEEP=all keeps each epoch, and there are '$number' (EPOCHS, --epochs): say a whole number"
}

epoch_table() { # STUDENT...
    "$PIPELINES/report/epochs.sh" "$@"
}

# ---- seeds: each student as other seeds make it, beside that of SEED (SEEDS) ----

stage_seeds() {
    local student seed name
    local -a predicted=() taught
    [ "${SEEDS:-1}" != 1 ] || return 0
    for student in "${students[@]}"; do
        taught_by "$student"
        asked_with "$student"
        predicted+=("predictions/$student.test.mp")
        for seed in $(other_seeds); do
            name=seeds/$student.seed$seed
            predicted+=("predictions/$name.test.mp")
            makes "students/$name.lora/adapter_config.json" from "${taught[@]}" \
                with "${training[@]}" "${student^^}_OPTIONS" in_place_by train "$student" "$name" --seed "$seed"
            makes "${predicted[-1]}" from texts/test.mp "students/$name.lora/adapter_config.json" weights.mp task.json \
                with "${asked_with[@]}" by ask "$student" "students/$name.lora" texts/test.mp
        done
    done
    makes seeds/table.json from "${predicted[@]}" with version by seeds_table
}

other_seeds() {
    seq $((SEED + 1)) $((SEED + SEEDS - 1))
}

seeds_table() {
    local student seed
    local -a sets=()
    for student in "${students[@]}"; do
        sets+=("$student=predictions/$student.test.mp")
        for seed in $(other_seeds); do
            sets+=("$student=predictions/seeds/$student.seed$seed.test.mp")
        done
    done
    over_seeds name "${sets[@]}"
}

# For each name the mean over its sets, of several seeds, and the standard deviation, of each figure, as JSON; KEY is
# what the name is there.
over_seeds() { # KEY NAME=FILE...
    dir-eval -q --json --seeds "${@:2}" | jq --arg key "$1" '[.sets[] | select(.name | contains("#") | not)
        | {($key): .name} + (.metrics | {accuracy, macro_f1, ece, nll, brier}
            | map_values({mean: .value, deviation, seeds}))]'
}

# ---- sweep: Dirichlet students whose alphas have a fixed sum, of several seeds each (SWEEP) ----

stage_sweep() {
    local sum seed name
    local -a predicted=() taught
    [ "${SWEEP:-no}" = yes ] || return 0
    taught_by dirichlet
    for sum in $SWEEP_ALPHAS; do
        for seed in $SWEEP_SEEDS; do
            name=sweep/$sum.seed$seed
            predicted+=("predictions/$name.test.mp")
            makes "students/$name.lora/adapter_config.json" from "${taught[@]}" with "${training[@]}" DIRICHLET_OPTIONS \
                in_place_by train dirichlet "$name" --alpha0 "fixed:$sum" --seed "$seed"
            makes "${predicted[-1]}" from texts/test.mp "students/$name.lora/adapter_config.json" weights.mp task.json \
                with "${scoring[@]}" ALPHAS by ask dirichlet "students/$name.lora" texts/test.mp
        done
    done
    makes sweep/table.json from "${predicted[@]}" with version by sweep_table
}

sweep_table() {
    local sum seed
    local -a sets=()
    for sum in $SWEEP_ALPHAS; do
        for seed in $SWEEP_SEEDS; do
            sets+=("$sum=predictions/sweep/$sum.seed$seed.test.mp")
        done
    done
    over_seeds alpha0 "${sets[@]}"
}

# ---- detection: texts of other data sets ----

stage_detection() {
    local other
    for other in $OTHERS; do
        # Without settings stages are only listed.
        [ "${DETECTION:-both}" = own ] || detection_by_common_prompt "$other"
        [ "${DETECTION:-both}" = common ] || detection_by_own_prompts "$other"
    done
    # shellcheck disable=SC2046 # names are words
    [ -z "${OTHERS// /}" ] || makes detection/metrics.mp from $(prediction_files ood) \
        with BOOTSTRAP others DETECTION by evaluate ood
}

# Asked as if they were of this data set: by its prompts, for its classes.
detection_by_common_prompt() { # OTHER
    local other=$1 name texts=detection/texts.$1.mp
    makes "$texts" from "others/$other/texts/test.mp" \
        with version by strip "others/$other/texts/test.mp"
    makes "detection/untrained.$other.mp" from "$texts" weights.mp task.json \
        with "${scoring[@]}" by predict untrained "$texts"
    makes "detection/scores.$other.mp" from "$texts" texts/shots.mp task.json \
        with "${scoring[@]}" in_shards_by teacher_scores "$texts"
    makes "detection/teacher.$other.mp" from "detection/scores.$other.mp" weights.mp \
        with version by teacher weights.mp "detection/scores.$other.mp"
    makes "detection/calibrated.$other.mp" from "detection/scores.$other.mp" calibrated/weights.mp \
        with version by teacher calibrated/weights.mp "detection/scores.$other.mp"
    for name in "${students[@]}"; do
        asked_with "$name"
        makes "detection/$name.$other.mp" \
            from "$texts" "students/$name.lora/adapter_config.json" weights.mp task.json \
            with "${asked_with[@]}" by predict "$name" "$texts"
    done
}

# Each asked by its own instructions, for its own classes, as published: the teacher with this data set's weights, the
# students by the instruction that is the best one there. There is no calibrated teacher, for biases are of classes.
detection_by_own_prompts() { # OTHER
    local own=detection/own folder=others/$1 name
    local validation=$own/validation.$1.mp scores=$own/scores.$1.mp best=$own/weights.$1.mp texts=$folder/texts/test.mp
    makes "$validation" from "$folder/texts/validation.mp" "$folder/texts/shots.mp" "$folder/task.json" \
        with "${scoring[@]}" in_shards_by teacher_scores "$folder/texts/validation.mp" "$folder"
    makes "$best" from "$validation" with OBJECTIVE ENTROPY_WEIGHT SOLVER by weights "$validation"
    makes "$scores" from "$texts" "$folder/texts/shots.mp" "$folder/task.json" \
        with "${scoring[@]}" in_shards_by teacher_scores "$texts" "$folder"
    makes "$own/teacher.$1.mp" from "$scores" weights.mp with version by teacher weights.mp "$scores" --other-task
    makes "$own/untrained.$1.mp" from "$texts" "$best" "$folder/task.json" \
        with "${scoring[@]}" by predict untrained "$texts" "$folder" "$best"
    for name in "${students[@]}"; do
        asked_with "$name"
        makes "$own/$name.$1.mp" from "$texts" "students/$name.lora/adapter_config.json" "$best" "$folder/task.json" \
            with "${asked_with[@]}" by predict "$name" "$texts" "$folder" "$best"
    done
}

# The texts alone: labels and ids of another set mean nothing here.
strip() { # TEXTS
    rec to-json "$1" | jq -c '{id, text}' | rec from-jsonl --id id --text text
}

# ---- report: tables, figures and a page ----

stage_report() {
    local plans=("${parts[@]/#/texts/}") adapters=("${students[@]/#/students/}") tables=()
    [ "${KEEP:-best}" != all ] || tables+=(epochs/table.json)
    [ "${SEEDS:-1}" = 1 ] || tables+=(seeds/table.json)
    [ "${SWEEP:-no}" = no ] || tables+=(sweep/table.json)
    # shellcheck disable=SC2046,SC2086 # names are words
    makes report/index.html from $(prediction_files ood) "${tables[@]}" weights.mp "${plans[@]/%/.plan}" data/files task.json \
        "${adapters[@]/%/.lora/adapter_config.json}" \
        with $SHAPING others model published changed page in_place_by report
}

report() {
    local -a sets
    mapfile -t sets < <(predictions ood)
    PARTS=${parts[*]} "$PIPELINES/report/report.sh" report.new "${sets[@]}"
    rm -rf report
    mv report.new report
}
