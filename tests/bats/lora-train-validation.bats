# lora-train's validation: its figures against those of PyTorch, scikit-learn and torchmetrics, which student is kept,
# when it ends. The streams and the figures are made by tests/oracle/lora_streams.py.

setup() {
    load adapters
    load interrupted
    load refuses
    data=$BATS_TEST_DIRNAME/../data/lora/streams
    model=$BATS_TEST_DIRNAME/../data/engine/llama-tied
    export DUQ_THREADS=1
    cd "$BATS_TEST_TMPDIR" || exit 1
}

train() { # OPTION...
    ${runner-} lora-train --model "$model" --rank 4 --alpha 8 "$@" "${tokens:-$data/tokens.mp}"
}

# With a teacher, for both sets.
teach() { # OPTION...
    train --teacher "$data/teacher.mp" --validation "$data/tokens-held-out.mp" --validation-teacher "$data/teacher-held-out.mp" "$@"
}

# A log's lines of validation: step and the four figures.
validated() { # LOG
    awk -F '\t' 'NR > 1 && $4 != "" { print $1, $4, $5, $6, $7 }' "$1"
}

# The figures after each of ten epochs are PyTorch's within 1e-4 of themselves.
like_pytorch() { # STUDENT OPTION...
    local student=$1
    shift
    train --lr 3e-3 --dropout 0 --batch 5 --epochs 10 --clip 1 --schedule cosine --warmup 5 --log log.tsv -o a.lora "$@"
    validated log.tsv | paste -d' ' - <(awk -v s="$student" '$1 == s { print $2, $3, $4, $5, $6 }' "$data/validation.tsv") >both
    cat both
    awk 'function off(a, b) { d = a / b - 1; return d < 0 ? -d : d }
        $1 != 5 * NR || $6 != NR || off($2, $7) > 1e-4 || off($3, $8) > 1e-4 || off($4, $9) > 1e-7 || off($5, $10) > 1e-4 { exit 1 }
        { n++ } END { exit n != 10 }' both
}

held_out() {
    echo --teacher "$data/teacher.mp" --validation "$data/tokens-held-out.mp" --validation-teacher "$data/teacher-held-out.mp"
}

@test "loss, nll, accuracy and ece after each epoch are those of PyTorch, scikit-learn and torchmetrics" {
    # shellcheck disable=SC2046 # options are words
    {
        like_pytorch softmax --loss softmax $(held_out)
        like_pytorch standard --loss dirichlet $(held_out)
        like_pytorch fixed --loss dirichlet --alpha0 fixed:10 $(held_out)
        like_pytorch learned --loss dirichlet --alpha0 learned $(held_out)
    }
    like_pytorch labels --loss labels --validation "$data/tokens-held-out.mp"
    # Of the KL's weight, which comes in over epochs, validation has all.
    like_pytorch edl --loss edl --edl-annealing 4 --validation "$data/tokens-held-out.mp"
    like_pytorch weighted --loss labels --class-weights 0.5,2,1.25 --validation "$data/tokens-held-out.mp"
    like_pytorch weighted-edl --loss edl --edl-annealing 4 --class-weights 0.5,2,1.25 --validation "$data/tokens-held-out.mp"
    tokens=$data/tokens-inner.mp like_pytorch ib-edl --loss ib-edl --ib-beta 1e-3 --validation "$data/tokens-held-out-inner.mp"
}

@test "the figures are dir-eval's of what lm-score predicts with the adapter, and duq.json has them" {
    teach --loss dirichlet --epochs 3 --lr 1e-2 --log log.tsv -o a.lora
    lm-score --model "$model" --adapter a.lora "$data/tokens-held-out.mp" | dir-eval --json - >figures.json
    jq -se '.[0].sets[0].metrics as $want | .[1].validation as $v | .[1].step == 6 and .[1].epoch == 3 and
        ([$v.nll - $want.nll.value, $v.ece - $want.ece.value, $v.accuracy - $want.accuracy.value] | map(fabs) | max < 1e-6)' \
        figures.json a.lora/duq.json
    # What the log says last is what the adapter has.
    validated log.tsv | tail -n 1 >last
    jq -r '[.step, .validation.loss, .validation.nll, .validation.accuracy, .validation.ece] | map(tostring) | join(" ")' \
        a.lora/duq.json | paste -d' ' - last | awk '{ for (i = 1; i < 6; i++) if (($i - $(i + 5)) ^ 2 > 1e-14) exit 1 }'
}

@test "without the teacher's word on it the loss is that of the labels, and unlabelled texts have a loss alone" {
    train --teacher "$data/teacher.mp" --loss dirichlet --epochs 3 --log labels.tsv -o a.lora --validation "$data/tokens-held-out.mp"
    validated labels.tsv | awk '$2 != $3 { exit 1 } END { exit NR != 3 }'
    # The labels are the tokens', or else the teacher's.
    teach --epochs 1 --log all.tsv -o b.lora
    rec to-json --header "$data/teacher-held-out.mp" | jq -c 'if has("id") then .label = null else . end' | rec from-json >silent.mp
    few=(--validation "$data/tokens-held-out-few.mp" --validation-teacher silent.mp)
    train --teacher "$data/teacher.mp" "${few[@]}" --epochs 1 --log few.tsv -o c.lora
    lm-score --model "$model" --adapter c.lora "$data/tokens-held-out-few.mp" | dir-eval --json - >three.json
    validated few.tsv | jq -R 'split(" ") | map(tonumber)' | jq -se --slurpfile want three.json '.[0] as $have
        | $want[0].sets[0].metrics as $m | [$have[2] - $m.nll.value, $have[3] - $m.accuracy.value, $have[4] - $m.ece.value]
        | map(fabs) | max < 1e-6'
    [ "$(validated few.tsv | cut -d' ' -f2)" = "$(validated all.tsv | cut -d' ' -f2)" ]
    rec to-json --header "$data/tokens-held-out.mp" | jq -c 'if has("id") then .label = null else . end' | rec from-json >none.mp
    train --teacher "$data/teacher.mp" --validation none.mp --validation-teacher silent.mp --epochs 1 --log none.tsv -o d.lora
    [ "$(validated none.tsv | cut -d' ' -f3-)" = "nan nan nan" ]
    jq -e '.validation | has("loss") and (has("nll") | not)' d.lora/duq.json
}

@test "validation changes no bit of the training" {
    options=(--teacher "$data/teacher.mp" --dropout 0.3 --shuffle --batch 5 --epochs 4 --lr 1e-2)
    for loss in "--loss softmax" "--loss dirichlet --alpha0 learned --alpha0-lr 0.1"; do
        # shellcheck disable=SC2086
        train "${options[@]}" $loss --log plain.tsv -o plain.lora
        for often in '' '--validate-every 1' '--validate-every 7 --patience 1000'; do
            # shellcheck disable=SC2086
            teach "${options[@]:2}" $loss $often --log with.tsv -o with.lora
            cmp plain.lora/adapter_model.safetensors with.lora/adapter_model.safetensors
            cmp plain.lora/adapter_config.json with.lora/adapter_config.json
            cmp plain.tsv <(cut -f 1-3 with.tsv)
        done
    done
    [ "$(validated with.tsv | cut -d' ' -f1 | paste -sd' ')" = "7 14 20" ]
}

@test "the figures are the same for any number of threads, and with answers of several tokens" {
    for threads in 1 2 3; do
        teach --threads $threads --epochs 2 --lr 1e-2 --log $threads.tsv -o $threads.lora
        cmp 1.tsv $threads.tsv
    done
    answers=$BATS_TEST_DIRNAME/../data/answers
    model=$BATS_TEST_DIRNAME/../data/engine/mistral-window
    rec head -n 16 "$answers/train.mp" >tokens.mp
    rec head --skip 16 "$answers/train.mp" >held-out.mp
    tokens=tokens.mp train --teacher "$data/teacher.mp" --validation held-out.mp --validation-teacher "$data/teacher.mp" \
        --epochs 2 -o answers.lora
    lm-score --model "$model" --adapter answers.lora held-out.mp | dir-eval --json - |
        jq -e --slurpfile have answers.lora/duq.json '.sets[0].metrics.nll.value - $have[0].validation.nll | fabs < 1e-6'
}

# ---- which student is kept ----

# So fast that it is not the last epoch's student that is the best.
fast=(--loss softmax --dropout 0 --batch 5 --epochs 12 --lr 2e-2)

# The epoch of the lowest validation loss, the first of several.
best_epoch() { # LOG
    validated "$1" | awk 'NR == 1 || $2 < lowest { lowest = $2; best = NR } END { print best }'
}

@test "--keep best has the student with the lowest validation loss, and says which that is" {
    teach "${fast[@]}" --keep all --log all.tsv -o all.lora
    best=$(best_epoch all.tsv)
    echo "best is epoch $best"
    [ "$best" -gt 1 ]
    [ "$best" -lt 12 ]
    teach "${fast[@]}" --keep best --log best.tsv -o best.lora -v 2>said
    cmp all.tsv best.tsv
    cmp "all.lora.epochs/$best/adapter_model.safetensors" best.lora/adapter_model.safetensors
    cmp <(jq 'del(.training.keep)' "all.lora.epochs/$best/duq.json") <(jq 'del(.training.keep)' best.lora/duq.json)
    jq -e --argjson best "$best" '.epoch == $best and .step == 5 * $best and .training.keep == "best"' best.lora/duq.json
    grep "that of step $((5 * best)); best.lora has step $((5 * best))" said
    # Of all the last one is in the adapter's folder, and each says what it is.
    cmp all.lora/adapter_model.safetensors all.lora.epochs/12/adapter_model.safetensors
    jq -se 'map(.epoch) == [range(1; 13)] and (map(.validation.loss) | min) == .['"$((best - 1))"'].validation.loss' \
        all.lora.epochs/{1,2,3,4,5,6,7,8,9,10,11,12}/duq.json
    # A learned alpha0 is that of the time.
    learn=(--loss dirichlet --alpha0 learned --alpha0-lr 0.5 "${fast[@]:2}" --lr 5e-2)
    teach "${learn[@]}" --keep all --log all.tsv -o learn.lora
    teach "${learn[@]}" --keep best -o one.lora
    best=$(best_epoch all.tsv)
    echo "best is epoch $best"
    [ "$best" -lt 12 ]
    [ "$(jq .alpha0 one.lora/duq.json)" = "$(jq .alpha0 "learn.lora.epochs/$best/duq.json")" ]
    [ "$(jq .alpha0 one.lora/duq.json)" != "$(jq .alpha0 learn.lora/duq.json)" ]
}

@test "--validate-every measures after so many steps, and --keep all keeps these" {
    teach --batch 5 --epochs 3 --validate-every 4 --keep all --log log.tsv -o a.lora
    [ "$(validated log.tsv | cut -d' ' -f1 | paste -sd' ')" = "4 8 12 15" ]
    [ "$(ls a.lora.steps)" = "$(printf '%s\n' 12 4 8)" ]
    jq -e '.step == 8 and (.epoch - 1.6 | fabs) < 1e-12' a.lora.steps/8/duq.json
    jq -e '.step == 15 and .epoch == 3 and has("validation")' a.lora/duq.json
}

@test "--patience ends the training after so many validations without a lower loss" {
    teach "${fast[@]}" --log whole.tsv -o whole.lora
    best=$(best_epoch whole.tsv)
    for patience in 1 2; do
        teach "${fast[@]}" --patience $patience --keep best --log $patience.tsv -o $patience.lora -v 2>said
        # The first epoch after which there was no lower loss for so long.
        end=$(validated whole.tsv | awk -v p=$patience 'NR == 1 || $2 < low { low = $2; best = NR }
            NR - best == p { print NR; found = 1; exit } END { if (!found) print 12 }')
        echo "ends after epoch $end"
        [ "$end" -lt 12 ]
        cmp <(head -n $((5 * end + 1)) whole.tsv) $patience.tsv
        grep "step $((5 * end)): no lower validation loss in $patience validations: the end" said
        jq -e --argjson best $((end - patience)) '.epoch == $best' $patience.lora/duq.json
        [ ! -e $patience.lora.checkpoint ]
    done
    # Without --keep best what it ends with is kept; it is done.
    teach "${fast[@]}" --patience 1 -o last.lora
    jq -e '.epoch < 12' last.lora/duq.json
    run teach "${fast[@]}" --patience 1 -v --resume -o last.lora
    [ "$status" -eq 0 ]
    [[ $output == *"last.lora: already complete"* ]]
}

# ---- interruption ----

long_run() { # FOLDER OPTION...
    teach --loss dirichlet --alpha0 learned --alpha0-lr 0.1 --lr 5e-3 --batch 4 --epochs 40 --shuffle --checkpoint-every 7 \
        --keep best --patience 25 --validate-every 5 -o "$@"
}

@test "killed at any moment and resumed, the best student, what is known of it and the log have the same bytes" {
    killed_and_resumed
    jq -e '.step > 20 and .step < 235' whole.lora/duq.json
}

@test "a checkpoint is not gone on with under another validation" {
    interrupt
    cp half.lora.checkpoint before
    for options in "--patience 3" "--validate-every 4"; do
        # shellcheck disable=SC2086
        run long_run half.lora --resume $options
        [ "$status" -eq 65 ]
        [[ $output == *"half.lora.checkpoint: made with validation = "*", which is now "* ]]
    done
    run long_run half.lora --resume --keep last
    [[ $output == *'made with keep = "best", which is now "last"'* ]]
    rec head -n 5 "$data/tokens-held-out.mp" >five.mp
    run long_run half.lora --resume --validation five.mp
    [[ $output == *"half.lora.checkpoint: made with validation = "* ]]
    cmp before half.lora.checkpoint
    # What the checkpoint says of the best student is part of what its digest covers.
    sed 's/since_best":"[0-9]*/since_best":"9/' before >half.lora.checkpoint
    run long_run half.lora --resume
    [ "$status" -eq 65 ]
    [[ $output == *"half.lora.checkpoint"* ]]
}

# ---- numbers that are none ----

@test "a training that diverges leaves the best student, says so and fails" {
    options=(--lr 1000 --warmup 100 --epochs 50 --validate-every 1)
    run teach "${options[@]}" --keep best --checkpoint-every 0 --log log.tsv -o a.lora
    [ "$status" -eq 65 ]
    best=$(best_epoch log.tsv)
    [[ $output == *"is not a finite number; try a lower --lr, or --clip. The best student so far, of step $best, is in a.lora. No checkpoint was due yet"* ]]
    jq -e --argjson best "$best" '.step == $best and .diverged > $best' a.lora/duq.json
    lm-score --model "$model" --adapter a.lora "$data/tokens-held-out.mp" | dir-eval --json - |
        jq -e --slurpfile have a.lora/duq.json '.sets[0].metrics.nll.value - $have[0].validation.nll | fabs < 1e-6'
    # This is no complete run.
    run teach "${options[@]}" --keep best --checkpoint-every 0 --log log.tsv --resume -o a.lora
    [ "$status" -eq 65 ]
    [[ $output == *"a.lora: the best student of a run whose loss was not a finite number any more at step "* ]]
    # With a checkpoint it is that one again.
    run teach "${options[@]}" --keep best --checkpoint-every 1 -o b.lora
    [ "$status" -eq 65 ]
    [[ $output == *"of step $best, is in b.lora. The last checkpoint is whole: b.lora.checkpoint"* ]]
    run teach "${options[@]}" --keep best --checkpoint-every 1 --resume -o b.lora
    [ "$status" -eq 65 ]
    cmp a.lora/adapter_model.safetensors b.lora/adapter_model.safetensors
    run teach "${options[@]}" -o c.lora
    [ "$status" -eq 65 ]
    [ ! -e c.lora ]
}

# A copy of the model in which a token, of no text to train on, has no finite embedding.
@test "a validation loss that is not finite ends the training and names the text" {
    cp -r "$model" broken
    file=broken/model.safetensors
    size=$(od -An -tu8 -N8 "$file" | tr -d ' ')
    read -r begin bytes < <(tail -c +9 "$file" | head -c "$size" |
        jq -r '."model.embed_tokens.weight" | "\(.data_offsets[0]) \((.data_offsets[1] - .data_offsets[0]) / .shape[0])"')
    token=$(comm -13 <(rec to-json "$data/tokens.mp" | jq '.tokens[]' | sort -u) <(rec to-json "$data/tokens-held-out.mp" | jq '.tokens[]' | sort -u) | head -n 1)
    [ -n "$token" ]
    echo "token $token"
    head -c "$bytes" /dev/zero | tr '\0' '\377' | dd of="$file" bs=1 seek=$((8 + size + begin + token * bytes)) conv=notrunc status=none
    id=$(rec to-json "$data/tokens-held-out.mp" | jq -r --argjson t "$token" 'select(.tokens | index($t)) | .id' | head -n 1)
    model=broken run teach --epochs 2 --keep best --log log.tsv -o a.lora
    echo "$output"
    [ "$status" -eq 65 ]
    [[ $output == *"step 2 (id $id): the validation loss is not a finite number"* ]]
    [ ! -e a.lora ]
    [ "$(validated log.tsv)" = "2 nan nan nan nan" ]
}

# ---- bad input ----

refused() { # STATUS MESSAGE OPTION...
    local want=$1 message=$2
    shift 2
    run train -o refused.lora "$@"
    echo "$output"
    [ "$status" -eq "$want" ]
    [[ $output == *"$message"* ]]
    [ ! -e refused.lora ]
}

@test "texts that are trained on are no validation set" {
    common=(--teacher "$data/teacher.mp" --validation-teacher "$data/teacher.mp")
    rec head --skip 5 -n 3 "$data/tokens.mp" >some.mp
    refused 65 "some.mp: id t5 is the id of a text to train on as well" "${common[@]}" --validation some.mp
    rename() { jq -c 'if has("id") then .id = "n" + .id else . end' | rec from-json; }
    rec to-json --header some.mp | rename >renamed.mp
    rec to-json --header "$data/teacher.mp" | rename >teacher.mp
    refused 65 "renamed.mp: id nt5 is the same text as id t5 of those to train on" \
        "${common[@]}" --validation-teacher teacher.mp --validation renamed.mp
}

@test "validation texts are asked as those to train on" {
    top=$BATS_TEST_DIRNAME/../..
    rec from-csv --text sentence --label label --classes negative,positive "$top/examples/data/sst2.csv" | rec head -n 61 >all.mp
    rec head -n 45 all.mp >shots.mp
    asked() { # FIRST OPTION...
        rec head --skip "$1" -n 8 all.mp | prompt-expand --task "$top/pipelines/sst2/task.json" "${@:2}" |
            tok --model "$top/examples/model"
    }
    asked 45 --instruction 0 --zero-shot >train.mp
    asked 53 --instruction 0 --zero-shot >same.mp
    asked 53 --instruction 1 --zero-shot >other.mp
    asked 53 --instruction 0 --shots shots.mp >shown.mp
    validated() { lora-train --model "$top/examples/model" --rank 2 --epochs 1 --loss labels --validation "$1" --keep best -o a.lora train.mp; }
    refuses 65 "other.mp: asked by instruction 1, by which no text to train on is asked" validated other.mp
    refuses 65 "shown.mp: prompts whose 'shots' is 5, where it is 0 in those to train on" validated shown.mp
    validated same.mp
}

@test "a validation set that does not go with the training is refused" {
    taught=(--teacher "$data/teacher.mp" --validation-teacher "$data/teacher-held-out.mp")
    refused 65 "tokens-held-out-inner.mp: its classes, their tokens or the prompts' layout are not those" \
        "${taught[@]}" --validation "$data/tokens-held-out-inner.mp"
    refused 65 "tokens-held-out.mp: record 1 (id v0): $data/teacher.mp holds no prediction of this id" \
        --teacher "$data/teacher.mp" --validation-teacher "$data/teacher.mp" --validation "$data/tokens-held-out.mp"
    refused 65 "record 4 (id v3): no label, which --validation without --validation-teacher needs" \
        --teacher "$data/teacher.mp" --validation "$data/tokens-held-out-few.mp"
    refused 65 "record 4 (id v3): no label, which --loss edl needs" --loss edl --validation "$data/tokens-held-out-few.mp"
    refused 65 "holds no records" --loss labels --validation "$data/tokens-empty.mp"
    refused 65 "token 96 is not in the model's vocabulary of 96" --loss labels --validation "$data/tokens-strange.mp"
    refused 66 "nowhere.mp" --loss labels --validation nowhere.mp
}

@test "usage errors say what is wrong" {
    refused 64 "--validation-teacher goes with --validation FILE" --teacher t --validation-teacher v
    refused 64 "--keep best goes with --validation FILE" --teacher t --keep best
    refused 64 "--patience and --validate-every go with --validation FILE" --teacher t --patience 3
    refused 64 "--patience and --validate-every go with --validation FILE" --teacher t --validate-every 3
    refused 64 "--loss labels learns from the tokens' labels: --validation-teacher has no place" \
        --loss labels --validation v --validation-teacher t
    refused 64 "--keep: 'first' is none of last, best, all" --teacher t --keep first
    refused 64 "--patience" --teacher t --validation v --patience 0
}
