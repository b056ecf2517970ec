# Answers of several tokens in lm-score and lora-train: class logits, their mass, training on them. Streams and what
# transformers and PEFT make of them are tests/oracle/answers.py's.

load refuses

setup() {
    data=$BATS_TEST_DIRNAME/../data
    export DUQ_THREADS=1
    cd "$BATS_TEST_TMPDIR" || exit 1
}

score() { # CASE [OPTION ...]
    local case=$1 model adapter
    shift
    model=$(jq -r ".[\"$case\"].model" "$data/answers/scores.json")
    adapter=$(jq -r ".[\"$case\"].adapter // empty" "$data/answers/scores.json")
    lm-score --mass --compute f32 --model "$data/engine/$model" ${adapter:+--adapter "$data/lora/$adapter"} "$@" \
        "$data/answers/$case.mp" 2>log
}

# Whether records on standard input have the recorded logits, to 1e-4, and masses, to 1e-5.
as_recorded() { # CASE
    rec to-json | jq -es --arg case "$1" --slurpfile recorded "$data/answers/scores.json" '
        $recorded[0][$case] as $want | length == ($want.mass | length)
        and ([[.[].logits], $want.logits] | transpose | map(transpose[] | .[0] - .[1] | fabs) | max < 1e-4)
        and ([[.[].mass], $want.mass] | transpose | map(.[0] - .[1] | fabs) | max < 1e-5)'
}

@test "class logits and masses are those of transformers, one pass for each beginning of an answer" {
    for case in plain synonyms chain branches digits capped scaled adapted; do
        score $case >scores.mp
        rec check scores.mp
        as_recorded $case <scores.mp || { echo "$case"; false; }
    done
}

@test "batch size, sharing and threads do not show in answers of several tokens" {
    for case in chain branches adapted; do
        score $case | rec to-json >a
        score $case --batch-tokens 20 | rec to-json | cmp - a
        score $case --no-share | rec to-json | cmp - a
        score $case --threads 2 | rec to-json | cmp - a
        # Nor does what else is in the stream.
        rec head --skip 2 -n 1 "$data/answers/$case.mp" >one.mp
        model=$(jq -r ".[\"$case\"].model" "$data/answers/scores.json")
        adapter=$(jq -r ".[\"$case\"].adapter // empty" "$data/answers/scores.json")
        lm-score --mass --compute f32 --model "$data/engine/$model" ${adapter:+--adapter "$data/lora/$adapter"} one.mp |
            rec to-json | cmp - <(sed -n 3p a)
    done
}

computed() { # CASE [OPTION ...]
    score "$@" -v -o /dev/null
    sed -n 's/.*; \([0-9]*\) computed.*/\1/p' log
}

@test "answers of several tokens cost their own positions and no prompt again" {
    # The tree of 'branches' is read past 5, 5 7, 6 and 6 9, that of 'chain' past 5 and 5 7.
    rec to-json "$data/answers/branches.mp" >records
    n=$(wc -l <records)
    plain=$(lm-score -v --model "$data/engine/mistral-window" -o /dev/null "$data/answers/plain.mp" 2>&1 |
        sed -n 's/.*; \([0-9]*\) computed.*/\1/p')
    [ "$(computed branches)" -eq $((plain + 4 * n)) ]
    [ "$(computed chain)" -eq $((plain + 2 * n)) ]
}

@test "a mass that is small is said, and all of it under -v" {
    score plain -v -o /dev/null
    grep -q 'mass: the answers had 0\.[0-9]* of the vocabulary.s probability on average, 0\.[0-9]* at least' log
    [ "$(grep -c 'the model would write something else' log)" = 0 ]
    score digits -o /dev/null
    mean=$(jq '.digits.mass | add / length' "$data/answers/scores.json")
    [ "$(jq -n "$mean < 0.01")" = true ]
    grep -q "had 0\.[0-9]* % of the vocabulary's probability on average: the model would write something else" log
    lm-score --model "$data/engine/llama-tied" "$data/answers/plain.mp" | rec to-json | jq -es 'all(has("mass") | not)'
}

@test "-v measures the mass of the first records, says when it is small, and records none" {
    model=$data/engine/$(jq -r .digits.model "$data/answers/scores.json")
    unmeasured() {
        lm-score --compute f32 --model "$model" "$@" 2>log
    }
    unmeasured -o quiet.mp "$data/answers/digits.mp"
    [ ! -s log ]
    unmeasured -v -o told.mp "$data/answers/digits.mp"
    cmp <(rec to-json quiet.mp) <(rec to-json told.mp)
    n=$(rec count -q told.mp)
    grep -q "had 0\.[0-9]* % of the vocabulary's probability on average: the model would write something else" log
    mean=$(sed -n 's/.*mass: the answers had \([0-9.e-]*\) .*('"$n"' records)/\1/p' log)
    jq -e --argjson mean "$mean" '.digits.mass | (add / length) / $mean | . > 0.99 and . < 1.01' "$data/answers/scores.json"
    # Of a second stream none are measured.
    printf '%s\t%s\n' "$data/answers/digits.mp" a.mp "$data/answers/digits.mp" b.mp >list
    unmeasured -v --list list
    grep -q "mass: .*($n records)" log
    cmp <(rec to-json quiet.mp) <(rec to-json b.mp)
    # Of a student's either.
    lm-score -v --model "$data/engine/mistral-window" --adapter "$data/lora/mistral" -o /dev/null \
        "$data/answers/adapted.mp" 2>log
    [ "$(grep -c 'mass:' log)" = 0 ]
}

@test "a merged adapter has the mass of one that is not" {
    score adapted | rec to-json | jq -s '[.[].mass]' >apart
    score adapted --merge | rec to-json | jq -es --slurpfile apart apart \
        '[[.[].mass], $apart[0]] | transpose | map(.[0] - .[1] | fabs) | max < 1e-5'
    # The same in predictions.
    score adapted --head softmax >predictions.mp
    rec check predictions.mp
    rec to-json predictions.mp | jq -es --slurpfile apart apart 'map(.mass) == $apart[0]'
}

@test "headers whose answers are no tree are refused by name" {
    model=$data/engine/llama-tied
    for name in prefix equal; do
        refuses 65 "'answer_tokens': an answer of class 0 is one of class 1, or its beginning" \
            lm-score --model "$model" "$data/answers/bad-$name.mp"
    done
    for name in empty none token; do
        refuses 65 "'answer_tokens' holds something that is no token" lm-score --model "$model" "$data/answers/bad-$name.mp"
    done
    refuses 65 "class token 96 is not in" lm-score --model "$model" "$data/answers/bad-large.mp"
    refuses 65 "2 class tokens in the header for 3 classes" lm-score --model "$model" "$data/answers/bad-count.mp"
}

@test "a record is too long with its answer" {
    jq '.max_position_embeddings = 92' "$data/engine/mistral-window/config.json" >config.json
    cp "$data/engine/mistral-window/model.safetensors" .
    refuses 65 "record 3 (id t2): 93 tokens with the longest answer, but the model takes 92; shorten the text" \
        lm-score --model . "$data/answers/branches.mp"
}

train() { # LOSS [OPTION ...]    by $model, or mistral-window
    local loss=$1 teacher=
    shift
    [[ $loss != softmax && $loss != dirichlet ]] || teacher=$data/lora/streams/teacher.mp
    rm -rf student.lora
    lora-train --model "$data/engine/${model:-mistral-window}" --loss "$loss" ${teacher:+--teacher "$teacher"} --lr 3e-3 --dropout 0 \
        --rank 4 --alpha 8 --batch 5 --epochs 10 --compute f32 --clip 1 --schedule cosine --warmup 5 --log log.tsv \
        -o student.lora "$@" "$data/answers/train.mp"
}

# Whether the log has PyTorch's losses, to 1e-4.
as_pytorch() { # COLUMN
    paste <(sed '1d;31q' log.tsv | cut -f 2) <(sed 1d "$data/answers/curves.tsv" | cut -f "$1") |
        awk '{ d = $1 - $2; if (d > 1e-4 || d < -1e-4) bad = 1; n++ } END { exit bad || n != 30 }'
}

@test "training on such class logits follows PyTorch, activations kept or not" {
    for mode in keep recompute; do
        train softmax --activations $mode
        as_pytorch 2
        train dirichlet --activations $mode
        as_pytorch 3
        train labels --activations $mode
        as_pytorch 4
        train edl --edl-annealing 4 --activations $mode
        as_pytorch 5
        model=gemma2 train dirichlet --activations $mode
        as_pytorch 6
    done
}

@test "an adapter knows the answers it was trained on" {
    train softmax
    jq -e '.answer_tokens == [[[5, 7], [20]], [[5, 8], [21, 3, 9]], [[21, 3, 4]]] and (has("class_tokens") | not)' \
        student.lora/duq.json
    lm-score --model "$data/engine/mistral-window" --adapter student.lora "$data/answers/train.mp" | rec check
    refuses 65 "its class tokens are not those that the adapter was trained on" \
        lm-score --model "$data/engine/mistral-window" --adapter student.lora "$data/answers/branches.mp"
    refuses 65 "its class tokens are not those that the adapter was trained on" \
        lm-score --model "$data/engine/mistral-window" --adapter student.lora "$data/answers/plain.mp"
}

@test "ib-edl does not take answers of several tokens" {
    refuses 65 "('answer_tokens' in the header), which --loss ib-edl does not take" train ib-edl
}
