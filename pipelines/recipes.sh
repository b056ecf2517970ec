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
every_stage=(fetch split validation weights teacher softmax dirichlet baseline edl evaluation detection report)
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
    makes texts/rows.mp from data/files \
        with HEADER ID TEXT LABEL LABELS SHUFFLE TRAIN SHOTS VALIDATION TEST by rows train
    makes texts/test-rows.mp from data/files \
        with HEADER ID TEXT LABEL LABELS TEST by rows test
    for part in "${parts[@]}"; do
        makes "texts/$part.plan" from texts/rows.mp texts/test-rows.mp \
            with TRAIN SHOTS VALIDATION TEST N_TRAIN N_TEST by plan "$part" # run/split.sh
        makes "texts/$part.mp" from "texts/$part.plan" texts/rows.mp texts/test-rows.mp by part "$part"
    done
}

# The table's rows as a stream.
rows() { # train or test
    local -a files
    mapfile -t files < <(printf '%s\n' "data/$1".[0-9]* | sort -V) # 2 before 10
    if [ "$1" = test ] && ! has_test_file; then
        return # an empty file: the test texts are in the other
    elif [ "$1" = train ] && [ -n "$SHUFFLE" ]; then
        from_table "${files[@]}" | rec sample --shuffle --seed "$SHUFFLE"
    else
        # What is left of the table need not be read.
        { from_table "${files[@]}" || [ $? = 141 ]; } | rec head -q -n "$(rows_needed "$1")"
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

teacher_scores() { # TEXTS
    local prompts='prompt-expand --task task.json --model model --shots texts/shots.mp'
    spread "$1" "$prompts | tok --model model | lm-score --model model --device $DEVICE --compute $COMPUTE" \
        task.json texts/shots.mp
}

# ---- weights: how far each instruction is to be trusted ----

# Twice: as the paper has it, and of prompts that are calibrated first.
stage_weights() {
    makes weights.mp from scores/validation.mp with OBJECTIVE ENTROPY_WEIGHT by weights
    makes calibrated/weights.mp from scores/validation.mp with OBJECTIVE ENTROPY_WEIGHT CALIBRATE \
        by weights --calibrate
}

weights() { # [--calibrate]
    bpe-fit --objective "$OBJECTIVE" --entropy-weight "$ENTROPY_WEIGHT" ${1:+"$1" "$CALIBRATE"} scores/validation.mp
}

# ---- teacher: scores and predictions of the texts to train and to test on ----

stage_teacher() {
    local part
    for part in train test; do
        makes "scores/$part.mp" from "texts/$part.mp" texts/shots.mp task.json \
            with "${scoring[@]}" in_shards_by teacher_scores "texts/$part.mp"
        makes "teacher/$part.mp" from "scores/$part.mp" weights.mp \
            with version by teacher weights.mp "scores/$part.mp"
        makes "calibrated/$part.mp" from "scores/$part.mp" calibrated/weights.mp \
            with version by teacher calibrated/weights.mp "scores/$part.mp"
    done
}

teacher() { # WEIGHTS SCORES
    bpe-fit --apply "$1" "$2"
}

# ---- softmax, dirichlet, baseline, edl: a student each, and its predictions of the test texts ----

# Two learn what the teacher says, two the labels; one of each two gives a Dirichlet distribution. They are asked by the
# instruction with the highest weight in weights.mp.
stage_softmax() { student softmax; }
stage_dirichlet() { student dirichlet; }
stage_baseline() { student baseline; }
stage_edl() { student edl; }

learns_labels() { # STUDENT
    [ "$1" = baseline ] || [ "$1" = edl ]
}

student() { # STUDENT
    local adapter=students/$1.lora/adapter_config.json
    local -a taught=("${TEACHER:-teacher}/train.mp") # where stages are only listed there are no settings
    ! learns_labels "$1" || taught=()
    # Students have the same prompts: the first one makes them.
    [ ${#students[@]} -gt 0 ] || makes students/train.tokens.mp from texts/train.mp weights.mp task.json \
        with "${scoring[@]}" by student_tokens texts/train.mp
    makes "$adapter" from students/train.tokens.mp "${taught[@]}" \
        with LR BATCH EPOCHS RANK LORA_ALPHA DROPOUT SEED TRAIN_OPTIONS DEVICE COMPUTE model version "${1^^}_OPTIONS" \
        in_place_by train "$1"
    makes "predictions/$1.test.mp" from texts/test.mp "$adapter" weights.mp task.json \
        with "${scoring[@]}" by predict "$1" texts/test.mp
    students+=("$1")
}

student_prompt='prompt-expand --task task.json --model model --instruction best:weights.mp --zero-shot'

student_tokens() { # TEXTS
    $student_prompt <"$1" | tok --model model
}

train() { # STUDENT
    local own=${1^^}_OPTIONS
    local -a loss=(--loss "$1" --teacher "$TEACHER/train.mp")
    ! learns_labels "$1" || loss=(--loss "${1/baseline/labels}")
    forget_other_training "$1"
    # shellcheck disable=SC2086 # options are words
    $LAUNCH lora-train --model model "${loss[@]}" --lr "$LR" --batch "$BATCH" --epochs "$EPOCHS" --rank "$RANK" \
        --alpha "$LORA_ALPHA" --dropout "$DROPOUT" --seed "$SEED" --device "$DEVICE" --compute "$COMPUTE" $TRAIN_OPTIONS ${!own} \
        --checkpoint-every "$CHECKPOINT_EVERY" --resume --log "students/$1.tsv" -o "students/$1.lora" \
        students/train.tokens.mp
}

# A checkpoint of other inputs or settings is of no use.
forget_other_training() { # STUDENT
    [ "$(cat "students/$1.inputs" 2>/dev/null)" != "$signature" ] || return 0
    rm -rf "students/$1.lora" "students/$1.lora.checkpoint" "students/$1.tsv"
    echo "$signature" >"students/$1.inputs"
}

predict() { # STUDENT TEXTS
    local head=softmax score='lm-score --model model'
    local -a adapter=()
    [[ $1 != dirichlet && $1 != edl ]] || head=dirichlet
    [ "$1" = untrained ] || { adapter=("students/$1.lora") && score+=" --adapter students/$1.lora"; }
    spread "$2" "$student_prompt | tok --model model | $score --head $head --device $DEVICE --compute $COMPUTE" \
        task.json weights.mp "${adapter[@]}"
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

predictions() { # [ood]: NAME=FILE, or with ood also --ood and NAME:OTHER=FILE, one a line
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
            printf -- '--ood\n%s:%s=detection/%s.%s.mp\n' "$name" "$other" "$name" "$other"
        done
    done
}

prediction_files() { # [ood]
    predictions "$@" | sed -n 's/.*=//p'
}

# ---- detection: texts of other data sets, asked as if they were of this one ----

stage_detection() {
    local other name texts
    for other in $OTHERS; do
        texts=detection/texts.$other.mp
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
            makes "detection/$name.$other.mp" \
                from "$texts" "students/$name.lora/adapter_config.json" weights.mp task.json \
                with "${scoring[@]}" by predict "$name" "$texts"
        done
    done
    # shellcheck disable=SC2046 # names are words
    [ -z "${OTHERS// /}" ] || makes detection/metrics.mp from $(prediction_files ood) \
        with BOOTSTRAP others by evaluate ood
}

# The texts alone: labels and ids of another set mean nothing here.
strip() { # TEXTS
    rec to-json "$1" | jq -c '{id, text}' | rec from-jsonl --id id --text text
}

# ---- report: tables, figures and a page ----

stage_report() {
    local plans=("${parts[@]/#/texts/}") adapters=("${students[@]/#/students/}")
    # shellcheck disable=SC2046,SC2086 # names are words
    makes report/index.html from $(prediction_files ood) weights.mp "${plans[@]/%/.plan}" data/files task.json \
        "${adapters[@]/%/.lora/adapter_config.json}" \
        with $SHAPING others model published in_place_by report
}

report() {
    local -a sets
    mapfile -t sets < <(predictions ood)
    PARTS=${parts[*]} "$PIPELINES/report/report.sh" report.new "${sets[@]}"
    rm -rf report
    mv report.new report
}
