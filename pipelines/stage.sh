#!/usr/bin/env bash
# The stages, as functions; stages.mk says when each is run. Started by make in the run's folder, with the
# settings in the environment.
# usage: stage.sh make STAGE TARGET PREREQUISITES FUNCTION [ARGUMENT]...
#        stage.sh sum STAMP FILE | files | missing FILE | manifest
# shellcheck disable=SC2153,SC2317 # settings are in the environment; functions are called by name
set -euo pipefail
# shellcheck source=pipelines/spread.sh
source "$PIPELINES/spread.sh"
# Functions write relative names alone into their streams' headers, and the model is ./model: the same bytes
# come out wherever the run's folder is.

say() { # MESSAGE
    [ -n "${QUIET:-}" ] || printf '%s: %s\n' "$NAME" "$1" >&2
}

fail() { # STATUS MESSAGE
    printf '%s: %s\n' "$NAME" "$2" >&2
    exit "$1"
}

digest() { # FILE...
    cat "$@" | sha256sum | cut -c1-64
}

# ---- the texts ----

# The first alternative of which all files are in one of the folders, as paths.
find_files() { # ALTERNATIVES FOLDER...
    local alternatives=$1 alternative folder file
    local -a files paths
    shift
    while IFS= read -r alternative; do
        read -ra files <<<"$alternative"
        [ ${#files[@]} -gt 0 ] || continue
        for folder; do
            paths=()
            for file in "${files[@]}"; do
                [ -f "$folder/$file" ] && paths+=("$folder/$file")
            done
            [ ${#paths[@]} -lt ${#files[@]} ] || { printf '%s\n' "${paths[@]}"; return; }
        done
    done < <(tr '|' '\n' <<<"$alternatives")
    return 1
}

# data/archive/, with the files of SOURCE. What was fetched in part is gone on with.
download() {
    local archive=data/${SOURCE##*/} status=0
    local wanted="DATA=FOLDER with ${TRAIN_FILES//|/or}${TEST_FILES:+, ${TEST_FILES//|/or}}"
    [ -n "$SOURCE" ] || fail 66 "no SOURCE is known for the texts: give $wanted"
    # Another source may call it the same.
    [ ! -e data/source ] || [ "$(cat data/source)" = "$SOURCE" ] || rm -f "$archive" "$archive.part"
    echo "$SOURCE" >data/source
    if [ ! -e "$archive" ]; then
        command -v curl >/dev/null || fail 69 "curl is not installed: install it, or fetch $SOURCE and give $wanted"
        say "fetch: $SOURCE"
        curl_to "$archive.part" || status=$?
        case $status in
        22 | 33 | 36) # what is there in part cannot be gone on with
            rm -f "$archive.part"
            status=0
            curl_to "$archive.part" || status=$?
            ;;
        esac
        [ "$status" = 0 ] || fail 75 "$SOURCE cannot be fetched from here. Fetch it elsewhere, and give $wanted"
        mv "$archive.part" "$archive"
    fi
    case $CHECKSUM in
    '') ;;
    md5:* | sha256:*)
        [ "$("${CHECKSUM%%:*}sum" <"$archive" | cut -d' ' -f1)" = "${CHECKSUM#*:}" ] || {
            mv "$archive" "$archive.bad"
            fail 65 "$SOURCE does not have its checksum $CHECKSUM; what came is in $OUT/$archive.bad"
        }
        ;;
    *) fail 64 "CHECKSUM is md5:... or sha256:..., not $CHECKSUM" ;;
    esac
    rm -rf data/archive
    mkdir data/archive
    case $archive in
    *.zip) unzip -q "$archive" -d data/archive >&2 ;;
    *) tar -xf "$archive" -C data/archive ;;
    esac || fail 65 "$SOURCE cannot be unpacked: if it did not come whole, remove $OUT/$archive"
}

curl_to() { # FILE
    curl --fail --location --silent --show-error --retry 2 --continue-at - --output "$1" "$SOURCE" >&2
}

# Lines: train or test, path.
table_files() { # FOLDER...
    local set name path paths
    for set in train test; do
        name=${set^^}_FILES
        [ -n "${!name}" ] || continue
        paths=$(find_files "${!name}" "$@") || {
            # In a folder of the user's own one file may hold them all.
            [ $set = train ] || [ -z "$DATA" ] || break
            fail 66 "there is no ${!name//|/or} in ${*/%//}. ${SOURCE:+The official source is $SOURCE. }DATA=FOLDER says where the files are"
        }
        while IFS= read -r path; do
            echo "$set $path"
        done <<<"$paths"
    done
}

# data/train.N.ENDING and data/test.N.ENDING, links to the files; the target lists their digests.
fetch() {
    local set path link last='' number
    local -a folders=("$DATA" "$DATA/$NAME")
    rm -f data/train.[0-9]* data/test.[0-9]*
    if [ -z "$DATA" ]; then
        download
        folders=(data/archive data/archive/*/)
    fi
    table_files "${folders[@]}" >data/found
    while read -r set path; do
        [ "$set" = "$last" ] || number=0
        number=$((number + 1)) last=$set
        # What is in the run's folder moves with it.
        case $path in data/*) link=${path#data/} ;; *) link=$(realpath "$path") ;; esac
        ln -s "$link" "data/$set.$number.${path##*.}"
        printf '%s  %s %s\n' "$(digest "$path")" "$set" "$(basename "$path")"
    done <data/found
    rm data/found
    [ -n "$DATA" ] || printf '%s  archive %s\n' "$(digest "data/${SOURCE##*/}")" "$SOURCE"
}

# What DATA holds: digests and paths.
files() {
    [ -d "$DATA" ] || fail 66 "$DATA: no such folder (DATA=)"
    table_files "$DATA" "$DATA/$NAME" | while read -r _ path; do
        sha256sum "$path"
    done
}

from_table() { # FILE...
    local -a options=(--text "$TEXT" --label "$LABEL")
    [ "$HEADER" = yes ] || options+=(--no-header)
    [ -z "$ID" ] || options+=(--id "$ID")
    [ -z "$LABELS" ] || options+=(--labels "$LABELS")
    case $1 in
    *.csv) rec from-csv "${options[@]}" "$@" ;;
    *.tsv) rec from-tsv "${options[@]}" "$@" ;;
    *.jsonl) rec from-jsonl "${options[@]}" "$@" ;;
    *) fail 65 "$1: neither .csv, .tsv nor .jsonl" ;;
    esac
}

# The first records; what is left of the table need not be read.
first() { # NUMBER FILE...
    local number=$1
    shift
    { from_table "$@" || [ $? = 141 ]; } | rec head -q -n "$number"
}

largest() { # NUMBER...
    printf '%s\n' "$@" | sort -n | tail -n 1
}

has_test_file() {
    compgen -G 'data/test.1.*' >/dev/null
}

rows() { # train or test
    local -a files
    mapfile -t files < <(printf '%s\n' "data/$1".[0-9]* | sort -V) # 2 before 10
    if [ "$1" = test ] && ! has_test_file; then
        return # an empty file: the test texts are in the other
    elif [ "$1" = test ]; then
        first "$TEST" "${files[@]}"
    elif [ -n "$SHUFFLE" ]; then
        from_table "${files[@]}" | rec sample --shuffle --seed "$SHUFFLE"
    else
        # shellcheck disable=SC2086 # TRAIN may be several numbers
        first $(($(largest $TRAIN) + SHOTS + VALIDATION + $(has_test_file && echo 0 || echo "$TEST"))) "${files[@]}"
    fi
}

# Which rows a part is: a line with the file, the first row's number from 0, and how many.
plan() { # PART
    local rows test_rows=0 train need test_file=texts/rows.mp test_first
    rows=$(rec count -q texts/rows.mp)
    if [ -s texts/test-rows.mp ]; then
        test_file=texts/test-rows.mp
        test_rows=$(rec count -q "$test_file")
        [ "$test_rows" -ge "$TEST" ] || fail 65 "the texts to test on are too few: $test_rows rows for $TEST (TEST)"
    fi
    for train in $TRAIN; do
        need=$((train + SHOTS + VALIDATION))
        [ "$test_rows" -gt 0 ] || need=$((need + TEST))
        [ "$need" -gt "$rows" ] || break
    done
    [ "$need" -le "$rows" ] ||
        fail 65 "the texts are too few: $rows rows for $train (TRAIN) + $SHOTS (SHOTS) + $VALIDATION (VALIDATION)$([ "$test_rows" -gt 0 ] || echo " + $TEST (TEST)")"
    test_first=$((train + SHOTS + VALIDATION))
    [ "$test_rows" = 0 ] || test_first=0
    case $1 in
    train) echo texts/rows.mp 0 "$(smaller "$train" "$N_TRAIN")" ;;
    shots) echo texts/rows.mp "$train" "$SHOTS" ;;
    validation) echo texts/rows.mp $((train + SHOTS)) "$VALIDATION" ;;
    test) echo "$test_file" "$test_first" "$(smaller "$TEST" "$N_TEST")" ;;
    esac
}

smaller() { # NUMBER [NUMBER]
    printf '%s\n' "$@" | grep . | sort -n | head -n 1
}

part() { # PART
    local file skip number
    read -r file skip number <"texts/$1.plan"
    rec head --skip "$skip" -n "$number" "$file"
}

# The texts alone: labels and ids of another set mean nothing here.
strip() { # TEXTS
    rec to-json "$1" | jq -c '{id, text}' | rec from-jsonl --id id --text text
}

# ---- the teacher ----

teacher_scores() { # TEXTS
    spread "$1" "prompt-expand --task task.json --shots texts/shots.mp | tok --model model | lm-score --model model --device $DEVICE --compute $COMPUTE" \
        task.json texts/shots.mp
}

weights() {
    bpe-fit --objective "$OBJECTIVE" --entropy-weight "$ENTROPY_WEIGHT" scores/validation.mp
}

teacher() { # SCORES
    bpe-fit --apply weights.mp "$1"
}

# ---- the students ----

student_prompt='prompt-expand --task task.json --instruction best:weights.mp --zero-shot'

student_tokens() { # TEXTS
    $student_prompt <"$1" | tok --model model
}

train() { # STUDENT
    local own=${1^^}_OPTIONS
    local -a loss=(--loss labels)
    [ "$1" = baseline ] || loss=(--loss "$1" --teacher teacher/train.mp)
    # A checkpoint of other inputs or settings is of no use.
    if [ "$(cat "students/$1.inputs" 2>/dev/null)" != "$signature" ]; then
        rm -rf "students/$1.lora" "students/$1.lora.checkpoint" "students/$1.tsv"
        echo "$signature" >"students/$1.inputs"
    fi
    # shellcheck disable=SC2086 # options are words
    $LAUNCH lora-train --model model "${loss[@]}" --lr "$LR" --batch "$BATCH" --epochs "$EPOCHS" --rank "$RANK" \
        --alpha "$LORA_ALPHA" --dropout "$DROPOUT" --seed "$SEED" --device "$DEVICE" --compute "$COMPUTE" $TRAIN_OPTIONS ${!own} \
        --checkpoint-every "$CHECKPOINT_EVERY" --resume --log "students/$1.tsv" -o "students/$1.lora" \
        students/train.tokens.mp
}

predict() { # STUDENT TEXTS
    local head=softmax
    local -a adapter=()
    [ "$1" != dirichlet ] || head=dirichlet
    [ "$1" = untrained ] || adapter=("students/$1.lora")
    spread "$2" "$student_prompt | tok --model model | lm-score --model model${adapter[0]:+ --adapter ${adapter[0]}} --head $head --device $DEVICE --compute $COMPUTE" \
        task.json weights.mp "${adapter[@]}"
}

# ---- what came of it ----

predictors=(untrained teacher softmax dirichlet baseline)

predictions() { # prints NAME=FILE, and in detection --ood NAME:OTHER=FILE, one a line
    local name other
    for name in "${predictors[@]}"; do
        [ "$name" = teacher ] && echo teacher=teacher/test.mp || echo "$name=predictions/$name.test.mp"
    done
    [ "${1:-}" = ood ] || return 0
    for other in $OTHERS; do
        for name in "${predictors[@]}"; do
            printf -- '--ood\n%s:%s=detection/%s.%s.mp\n' "$name" "$other" "$name" "$other"
        done
    done
}

evaluate() {
    local -a sets
    mapfile -t sets < <(predictions "$([ "$stage" != detection ] || echo ood)")
    dir-eval -q --members --bootstrap "$BOOTSTRAP" --stream "${sets[@]}"
}

report() {
    local -a sets
    mapfile -t sets < <(predictions ood)
    "$PIPELINES/report.sh" report.new "${sets[@]}"
    rm -rf report
    mv report.new report
}

manifest() {
    local folder
    # Shards of what was finished by a stage that did not live to remove them.
    for folder in shards/*/; do
        [ ! -e "$folder/target" ] || [ ! "$(cat "$folder/target")" -nt "$folder/inputs" ] || rm -rf "$folder"
    done
    "$PIPELINES/manifest.sh" >manifest.json.new
    mv -f manifest.json.new manifest.json
}

# ---- how a target is made ----

# A folder's files appear by themselves; everything else is standard output, put in place when it is whole.
make_target() { # FUNCTION [ARGUMENT]...
    case $1 in
    train | report) "$@" ;;
    *)
        "$@" >"$target.part"
        mv -f "$target.part" "$target"
        ;;
    esac
    touch "$target"
}

# Ends the job and all that it started, and only then this stage. TERM twice, for parallel waits for its jobs
# at the first one.
end() { # STATUS
    local i
    trap '' TERM HUP INT
    for ((i = 0; i < 50; i++)); do
        case $i in
        0 | 1) kill -TERM -- "-$job" 2>/dev/null || break ;;
        49) kill -KILL -- "-$job" 2>/dev/null || break ;;
        esac
        kill -0 -- "-$job" 2>/dev/null || break
        sleep 0.1
    done
    rm -f "$target.part"
    exit "$1"
}

make_() { # STAGE TARGET PREREQUISITES FUNCTION [ARGUMENT]...
    stage=$1 target=$2
    local prerequisites=$3 began tenths status=0 job
    shift 3
    mkdir -p "$(dirname "$target")" "$(dirname ".made/$target")" log
    # shellcheck disable=SC2086 # names are words
    signature=$(digest $prerequisites)
    if [ -e "$target" ] && [ "$(cat ".made/$target" 2>/dev/null)" = "$signature" ]; then
        touch "$target"
        return
    fi
    rm -f ".made/$target"
    say "$stage: $target"
    began=$EPOCHREALTIME
    # In a process group of its own, so that everything in it can be ended at once.
    set -m
    (
        set +m
        make_target "$@"
    ) </dev/null & # which this shell does not see to itself under -m: who reads from a terminal there stops
    job=$!
    set +m
    trap 'end 143' TERM HUP
    trap 'end 130' INT
    wait $job || status=$?
    trap - TERM HUP INT
    if [ $status = $cut_only ]; then
        rm -f "$target.part"
        say "$stage: $target is cut into $(find "shards/${target//\//.}" -name 'in.*.mp' | wc -l) shards"
        return
    fi
    if [ $status != 0 ]; then
        rm -f "$target.part"
        fail $status "$stage: $target was not made; the same command goes on from here"
    fi
    echo "$signature" >".made/$target"
    rm -rf "shards/${target//\//.}"
    tenths=$(((${EPOCHREALTIME/./} - ${began/./} + 50000) / 100000))
    printf '%s\t%s\t%s\t%s\n' "$stage" "$target" "$(date -u -d "@${began%.*}" +%FT%TZ)" \
        "$((tenths / 10)).$((tenths % 10))" >>log/times.tsv
}

# A function that ends in exit was read as a whole: a script that is replaced while it runs does no harm.
main() {
    local command=$1 new
    shift
    case $command in
    make) make_ "$@" ;;
    sum)
        new=$1.new
        case $2 in
        */adapter_config.json) digest "$(dirname "$2")"/*.json "$(dirname "$2")"/*.safetensors ;;
        *) digest "$2" ;;
        esac >"$new"
        if cmp -s "$new" "$1"; then rm -f "$new"; else mv -f "$new" "$1"; fi
        ;;
    files) files ;;
    missing) fail 66 "$OUT/$1 is not there: begin with an earlier stage" ;;
    manifest) manifest ;;
    esac
    exit
}

main "$@"
