# bpe-fit: what it writes, and what it says to bad input. The numbers are checked by
# tests/c/test_prompt_weights.c; the streams are made by tests/oracle/{bpe_fit,uq_bad_streams}.py.

setup() {
    data=$BATS_TEST_DIRNAME/../data/uq
    cd "$BATS_TEST_TMPDIR" || exit 1
}

@test "weights are fitted and applied, and the fit reports its gap under -v" {
    run bpe-fit -v -o weights.mp "$data/fit-random.mp"
    [ "$status" -eq 0 ]
    [[ $output == *"30 texts, 9 prompts: optimum -9.53864433, gap "*" iterations"* ]]
    bpe-fit --apply weights.mp "$data/fit-random.mp" >predictions.mp
    strings predictions.mp | grep -q ensemble
    run bpe-fit -v --apply weights.mp -o /dev/null "$data/fit-random.mp"
    [[ $output == *"read 270, written 30, skipped 0"* ]]
}

@test "the weights stream carries objective, gap and trace in its header" {
    bpe-fit --objective published --entropy-weight 0.2 "$data/fit-three.mp" >weights.mp
    for word in fit objective published entropy_weight optimum gap iterations trace; do
        strings -n 3 weights.mp | grep -q "$word"
    done
}

@test "interleaved scores give the same predictions as scores text by text" {
    bpe-fit --uniform "$data/scores-good.mp" >weights.mp
    bpe-fit --apply weights.mp "$data/scores-good.mp" >a.mp
    bpe-fit --apply weights.mp <"$data/scores-interleaved.mp" >b.mp
    # The header names the arguments; from the first record on the streams agree.
    [ "$(tail -c 400 a.mp | head -c 340 | cksum)" = "$(tail -c 400 b.mp | head -c 340 | cksum)" ]
}

@test "uniform weights and predictions need no labels, a fit does" {
    bpe-fit --uniform "$data/scores-unlabelled.mp" >weights.mp
    bpe-fit --apply weights.mp "$data/scores-unlabelled.mp" >/dev/null
    run bpe-fit -o out.mp "$data/scores-unlabelled.mp"
    [ "$status" -eq 65 ]
    [[ $output == *"scores-unlabelled.mp: record 1 (id a): no label"* ]]
    [ ! -e out.mp ]
}

@test "a missing score is an error that names id and prompt" {
    run bpe-fit "$data/scores-missing.mp"
    [ "$status" -eq 65 ]
    [[ $output == *"id b: prompt 1 of 2 has no scores"* ]]
    bpe-fit --uniform "$data/scores-good.mp" >weights.mp
    run bpe-fit --apply weights.mp -o out.mp "$data/scores-missing.mp"
    [ "$status" -eq 65 ]
    [[ $output == *"id b: prompt 1 has no scores"* ]]
    [ ! -e out.mp ]
}

@test "a score that is there twice is an error" {
    run bpe-fit "$data/scores-twice.mp"
    [ "$status" -eq 65 ]
    [[ $output == *"id b: prompt 0 has two scores"* ]]
    bpe-fit --uniform "$data/scores-good.mp" >weights.mp
    run bpe-fit --apply weights.mp -o out.mp "$data/scores-twice.mp"
    [ "$status" -eq 65 ]
    [[ $output == *"record 5 (id b): prompt 0 has two scores"* ]]
    # After the text was handed out, too.
    run bpe-fit --apply weights.mp -o out.mp "$data/scores-good.mp" "$data/scores-good.mp"
    [ "$status" -eq 65 ]
    [[ $output == *"(id a): prompt 0 has two scores"* ]]
}

@test "labels that differ between a text's prompts are an error" {
    run bpe-fit "$data/scores-labels-differ.mp"
    [ "$status" -eq 65 ]
    [[ $output == *"record 4 (id b): the label at prompt 1 is not that of the text's other prompts"* ]]
}

@test "a prompt beyond those the header announces is an error" {
    run bpe-fit "$data/scores-beyond.mp"
    [ "$status" -eq 65 ]
    [[ $output == *"record 7 (id d): prompt 2, but the header announces 2"* ]]
}

@test "weights fitted with another model are refused" {
    bpe-fit "$data/scores-other-model.mp" >weights.mp
    run bpe-fit --apply weights.mp "$data/scores-good.mp"
    [ "$status" -eq 65 ]
    [[ $output == *"weights.mp: fitted on scores with another 'model'"* ]]
}

@test "a cut stream, an empty one and one of another kind are errors" {
    run bpe-fit -o out.mp "$data/scores-cut.mp"
    [ "$status" -eq 65 ]
    run bpe-fit -o out.mp "$data/scores-empty.mp"
    [ "$status" -eq 65 ]
    [[ $output == *"no records"* ]]
    [ ! -e out.mp ]
    bpe-fit "$data/scores-good.mp" >weights.mp
    run bpe-fit weights.mp
    [ "$status" -eq 65 ]
    run bpe-fit --apply "$data/scores-good.mp" "$data/scores-good.mp"
    [ "$status" -eq 65 ]
}

@test "wrong usage ends with status 64 and a missing file with 66" {
    run bpe-fit --objective other "$data/scores-good.mp"
    [ "$status" -eq 64 ]
    run bpe-fit --apply w.mp --uniform "$data/scores-good.mp"
    [ "$status" -eq 64 ]
    run bpe-fit --entropy-weight -1 "$data/scores-good.mp"
    [ "$status" -eq 64 ]
    run bpe-fit nowhere.mp
    [ "$status" -eq 66 ]
    run bpe-fit --apply nowhere.mp "$data/scores-good.mp"
    [ "$status" -eq 66 ]
}
