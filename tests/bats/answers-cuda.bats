# Answers of several tokens on the CUDA device (the simulated one, or that which DUQ_CUDA_PLUGIN names): against
# transformers and PyTorch, as tests/oracle/answers.py recorded them.

load refuses

setup() {
    data=$BATS_TEST_DIRNAME/../data
    # The simulator's cuBLAS has OpenMP's threads (oneDNN's).
    export DUQ_THREADS=1
    cd "$BATS_TEST_TMPDIR" || exit 1
}

@test "class logits and masses are those of transformers" {
    for case in synonyms branches digits capped scaled adapted; do
        model=$(jq -r ".[\"$case\"].model" "$data/answers/scores.json")
        adapter=$(jq -r ".[\"$case\"].adapter // empty" "$data/answers/scores.json")
        lm-score --device cuda --mass --compute f32 --model "$data/engine/$model" -q \
            ${adapter:+--adapter "$data/lora/$adapter"} "$data/answers/$case.mp" >scores.mp
        rec to-json scores.mp | jq -es --arg case "$case" --slurpfile recorded "$data/answers/scores.json" '
            $recorded[0][$case] as $want
            | ([[.[].logits], $want.logits] | transpose | map(transpose[] | .[0] - .[1] | fabs) | max < 1e-4)
            and ([[.[].mass], $want.mass] | transpose | map(.[0] - .[1] | fabs) | max < 1e-5)'
    done
}

@test "training on such class logits follows PyTorch" {
    lora-train --device cuda --model "$data/engine/mistral-window" --loss dirichlet \
        --teacher "$data/lora/streams/teacher.mp" --lr 3e-3 --dropout 0 --rank 4 --alpha 8 --batch 5 --epochs 10 --clip 1 \
        --schedule cosine --warmup 5 --compute f32 --log log.tsv -o student.lora "$data/answers/train.mp"
    paste <(sed '1d;31q' log.tsv | cut -f 2) <(sed 1d "$data/answers/curves.tsv" | cut -f 3) |
        awk '{ d = $1 - $2; if (d > 1e-4 || d < -1e-4) bad = 1; n++ } END { exit bad || n != 30 }'
}
