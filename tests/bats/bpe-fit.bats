# bpe-fit: what it writes, and what it says to bad input. The numbers are checked by
# tests/c/test_prompt_weights.c and test_calibration.c; the streams are made by
# tests/oracle/{bpe_fit,calibration,uq_bad_streams}.py.

bats_require_minimum_version 1.5.0

setup() {
    load refuses
    data=$BATS_TEST_DIRNAME/../data/uq
    cd "$BATS_TEST_TMPDIR" || exit 1
}

@test "a label beyond the classes is refused with --apply, too, where no header names them" {
    printf '%s\n' '{"duq":1,"schema":"scores","prompts":1}' '{"id":"a","prompt":0,"logits":[0,1],"label":1}' \
        '{"id":"b","prompt":0,"logits":[0,1],"label":0}' | rec from-json | bpe-fit -o weights.mp
    printf '%s\n' '{"duq":1,"schema":"scores","prompts":1}' '{"id":"a","prompt":0,"logits":[0,1]}' \
        '{"id":"b","prompt":0,"logits":[0,1]}' | rec from-json -o scores.mp
    printf '%s\n' '{"id":"a","text":"","label":1}' '{"id":"b","text":"","label":2}' |
        rec from-jsonl --id id --text text --label label -o texts.mp
    rec join -o labelled.mp scores.mp texts.mp
    refuses 65 "labelled.mp: record 2 (id b): label 2, but there are 2 classes" bpe-fit --apply weights.mp labelled.mp -o out.mp
    [ ! -e out.mp ]
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

@test "a prompt's number may be any, and takes no memory for the prompts that are not there" {
    record() { # HEADER PROMPT
        printf '%s\n' "{\"duq\":1,\"schema\":\"scores\",\"classes\":[\"a\",\"b\"]$1}" \
            "{\"id\":\"x\",\"prompt\":$2,\"logits\":[0.1,0.2],\"label\":0}" | rec from-json
    }
    record ',"prompts":2000000000' 0 >announced.mp
    record '' 2000000000 >far.mp
    record '' 2147483647 >farthest.mp
    # In 200 MB of addresses, where a place for each prompt would take 15 GB.
    for options in '' --uniform; do
        # shellcheck disable=SC2086 # none or one
        (
            [[ $BUILD == *sanitize* ]] || ulimit -v 200000 # AddressSanitizer needs more
            refuses 65 "id x: prompt 1 of 2000000000 has no scores" bpe-fit $options announced.mp &&
                refuses 65 "id x: prompt 0 of 2000000001 has no scores" bpe-fit $options far.mp &&
                refuses 65 "id x: prompt 0 of 2147483648 has no scores" bpe-fit $options farthest.mp
        )
    done
}

@test "weights applied to texts that they were fitted on are warned of" {
    bpe-fit -o weights.mp "$data/fit-random.mp"
    rec head -n 45 "$data/fit-random.mp" >some.mp
    run bpe-fit --apply weights.mp -o /dev/null some.mp
    [ "$status" -eq 0 ]
    [ "$output" = "bpe-fit: 5 of the 5 texts are ones that weights.mp was fitted on: how good the ensemble is on them says nothing of others" ]
    bpe-fit --top 2 -o top.mp "$data/fit-random.mp"
    run bpe-fit --apply top.mp -o /dev/null some.mp
    [[ $output == *"5 of the 5 texts are ones that top.mp was fitted on"* ]]
    # The same ids with other scores are other texts.
    bpe-fit --uniform "$data/fit-random.mp" -o uniform.mp
    run bpe-fit --apply uniform.mp -o /dev/null some.mp
    [ "$output" = "" ]
    rec to-json --header weights.mp | head -n 1 | jq -e '.fit.fitted_on | test("^[0-9a-f]{480}$") and ([scan(".{16}")] | . == sort)'
}

@test "damaged digests of the texts fitted on are refused" {
    rec head -n 45 "$data/fit-random.mp" >some.mp
    bpe-fit "$data/fit-random.mp" -o weights.mp
    fitted_on() { # JQ-EXPRESSION
        rec to-json --header weights.mp | jq -c "if .fit then .fit.fitted_on |= $1 else . end" | rec from-json -o changed.mp
    }
    for change in '[scan(".{16}")]' '.[1:]' '"x" + .[1:]' '[.]' '[1]' 7; do
        fitted_on "$change"
        refuses 65 "changed.mp: the header's 'fitted_on' holds something that is no digest" \
            bpe-fit --apply changed.mp -o /dev/null some.mp
    done
}

@test "the weights stream carries objective, gap and trace in its header" {
    bpe-fit --objective published --entropy-weight 0.2 "$data/fit-three.mp" >weights.mp
    for word in fit objective published entropy_weight optimum gap iterations trace; do
        strings -n 3 weights.mp | grep -q "$word"
    done
}

@test "the published solver says how far from the optimum it ends, and is named in the header" {
    run bpe-fit -v --solver published -o weights.mp "$data/calibrate-real.mp"
    [ "$status" -eq 0 ]
    [[ $output == *"60 texts, 5 prompts: the published steps end at -31.9680607, 0.393 below the optimum -31.5749142, after 1258 evaluations"* ]]
    rec to-json --header weights.mp | head -n 1 >header
    jq -e '.fit | .solver == "published" and .objective == "published" and .value < .optimum' header
    run bpe-fit --apply weights.mp -o predictions.mp "$data/calibrate-real.mp"
    [[ $output == *"60 of the 60 texts are ones that weights.mp was fitted on"* ]]
    bpe-fit --objective published "$data/calibrate-real.mp" >optimum.mp
    rec to-json --header optimum.mp | head -n 1 | jq -e '.fit.solver == "optimum"'
}

@test "the published solver goes with nothing that the published code has not" {
    for option in "--objective paper" "--tolerance 1e-6" "--calibrate scale" "--top 2" --held-out --uniform; do
        # shellcheck disable=SC2086
        run bpe-fit --solver published $option "$data/fit-three.mp"
        [ "$status" -eq 64 ]
        [[ $output == *"--solver"* ]]
    done
    run bpe-fit --solver newton "$data/fit-three.mp"
    [ "$status" -eq 64 ]
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

@test "a number of prompts in the header that is no whole number is an error" {
    refuses 65 "the header's 'prompts' is not a whole number above 0" bpe-fit -o out.mp "$data/scores-prompts-real.mp"
    [ ! -e out.mp ]
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

# ---- calibration ----

# The records, and of the header what was found, not how it was asked for.
found() { # WEIGHTS
    rec to-json --header "$1" | jq -c 'del(.made)'
}

@test "calibrated weights keep to the schema and hold what was asked for" {
    while read -r kind keys; do
        bpe-fit --calibrate "$kind" "$data/calibrate-real.mp" >weights.mp
        rec check weights.mp
        [ "$(rec to-json weights.mp | jq -sc 'map(keys) | unique[]')" = "$keys" ]
        rec to-json --header weights.mp | head -n 1 | jq -e --arg kind "$kind" '.fit.calibration |
            .kind == $kind and .penalty > 0 and .folds == 5 and (.cross_validation | length) == 13 and
            (.prompts | map(.gap) | max) <= 1e-10 and (.prompts | map(.nll_after < .nll_before) | all)'
    done <<'END'
scale ["prompt","scale","weight"]
bias ["bias","prompt","weight"]
scale+bias ["bias","prompt","scale","weight"]
END
    [ "$(rec to-csv weights.mp | head -n 1)" = "prompt,weight,scale,bias.class 0,bias.class 1" ]
}

@test "without calibration nothing is different" {
    bpe-fit "$data/calibrate-real.mp" >plain.mp
    bpe-fit --calibrate none "$data/calibrate-real.mp" >none.mp
    bpe-fit --held-out "$data/calibrate-real.mp" 2>/dev/null >held-out.mp
    [ "$(rec to-csv plain.mp | head -n 1)" = prompt,weight ]
    cmp <(found plain.mp) <(found none.mp)
    cmp <(rec to-json plain.mp) <(rec to-json held-out.mp)
    rec to-json plain.mp | jq -e 'keys == ["prompt", "weight"]'
}

@test "calibration moves the members, and the smoothing comes after it" {
    bpe-fit --calibrate bias --penalty 0.0001 "$data/calibrate-one-class.mp" -q >weights.mp
    bpe-fit --apply weights.mp "$data/calibrate-one-class.mp" >predictions.mp
    rec check predictions.mp
    rec to-json predictions.mp | jq -se 'map(.probs[2]) | min > 0.98'
    # (s + 0.00001) / (1 + 0.00003), s the softmax of the logits with the biases.
    jq -ne --slurpfile w <(rec to-json weights.mp) --slurpfile p <(rec to-json predictions.mp) \
        --slurpfile s <(rec to-json "$data/calibrate-one-class.mp") '
        [range(3) as $c | $s[0].logits[$c] + $w[0].bias[$c] | exp] as $e | ($e | add) as $sum |
        [range(3) as $c | (($e[$c] / $sum + 1e-5) / (1 + 3e-5) - $p[0].members[$c]) | fabs] | max < 1e-12'
}

@test "the order of the records changes nothing" {
    rec sample --shuffle --seed 3 "$data/calibrate-real.mp" >shuffled.mp
    run ! cmp -s <(rec to-json shuffled.mp) <(rec to-json "$data/calibrate-real.mp")
    for options in "--calibrate scale+bias --held-out" "--top 2 --held-out" "--calibrate scale --top 3"; do
        # shellcheck disable=SC2086 # options are words
        bpe-fit -q $options "$data/calibrate-real.mp" >a.mp
        # shellcheck disable=SC2086
        bpe-fit -q $options shuffled.mp >b.mp
        cmp <(found a.mp) <(found b.mp)
    done
}

@test "--held-out prints a table, which the header has too; -q keeps it quiet" {
    bpe-fit --calibrate scale+bias --top 2 --held-out "$data/calibrate-real.mp" >weights.mp 2>table
    awk '{ print $1 }' table | diff - <(printf '%s\n' held prompt uniform weighted calibrated top)
    rec to-json --header weights.mp | head -n 1 | jq -r '.held_out.ensembles[] | [.ensemble, .nll, .accuracy] | @tsv' |
        awk '{ printf "%-10s  %6.4f    %6.4f\n", $1, $2, $3 }' | diff - <(tail -n +2 table)
    rec to-json --header weights.mp | head -n 1 | jq -e '.held_out | .folds == 5 and .texts == 60'
    bpe-fit -q --held-out "$data/calibrate-real.mp" 2>said >/dev/null
    [ ! -s said ]
    bpe-fit --held-out "$data/calibrate-real.mp" 2>&1 >/dev/null | awk 'END { exit NR != 4 }'
}

@test "labels of one class are calibrated with a warning, and one text with the strongest penalty" {
    run bpe-fit --calibrate scale+bias -o weights.mp "$data/calibrate-one-class.mp"
    [ "$status" -eq 0 ]
    [[ $output == *"every text has the label 2: calibrated prompts will lean that way"* ]]
    bpe-fit --calibrate scale+bias "$data/calibrate-one-text.mp" -q >weights.mp
    rec to-json --header weights.mp | head -n 1 |
        jq -e '.fit.calibration | .penalty == 100 and .folds == 0 and (has("cross_validation") | not)'
    rec to-json weights.mp | jq -se 'map(.scale - 1 | fabs) | max < 0.02'
}

@test "logits that are not numbers have no part in a calibration, and stay uniform with one" {
    run bpe-fit --calibrate scale+bias -o weights.mp "$data/calibrate-not-finite.mp"
    [ "$status" -eq 0 ]
    [[ $output == *"22 records have scores that are not numbers; taken as uniform"* ]]
    rec to-json --header weights.mp | head -n 1 | jq -e '.fit.calibration.prompts | map(.texts) == [17, 0]'
    bpe-fit -q --apply weights.mp "$data/calibrate-not-finite.mp" |
        rec to-json | jq -se 'map(select(.id == "t3"))[0].members | length == 6 and (map(. - 1 / 3 | fabs) | max < 1e-12)'
}

# ---- the best K ----

@test "--top keeps K prompts, which scores of all and scores of these go with" {
    bpe-fit --calibrate scale+bias --top 2 "$data/calibrate-real.mp" >weights.mp
    rec check weights.mp
    [ "$(rec to-json weights.mp | jq -sc 'map(.prompt)')" = "[1,2]" ]
    rec to-json --header weights.mp | head -n 1 | jq -e '.fit.top | length == 2 and .[0].objective < .[1].objective'
    run bpe-fit -v --apply weights.mp -o all.mp "$data/calibrate-real.mp"
    [[ $output == *"read 300, written 60, skipped 180"* ]]
    bpe-fit --apply weights.mp "$data/calibrate-real-kept.mp" >kept.mp
    cmp <(rec to-json all.mp) <(rec to-json kept.mp)
    rec to-json --header all.mp | jq -se '(.[0].weights | length) == 2 and (.[1].members | length) == 4'
}

@test "every text needs the scores of the prompts kept" {
    refuses 65 "id b: prompt 1 has no scores" bpe-fit --apply "$data/weights-good.mp" "$data/scores-missing.mp"
    bpe-fit --top 1 "$data/scores-good.mp" >one.mp
    # A text of which only other prompts were scored is not passed over.
    [ "$(rec to-json one.mp | jq .prompt)" = 0 ]
    refuses 65 "id c: prompt 0 has no scores" bpe-fit --apply one.mp "$data/scores-other-prompt.mp"
    # Weights that are no selection are for all prompts there are.
    bpe-fit "$data/scores-good.mp" >two.mp
    refuses 65 "prompt 2 has no weight" bpe-fit --apply two.mp "$data/scores-beyond.mp"
}

@test "what the set does not allow is refused" {
    refuses 65 "--top 6, but there are 5 prompts" bpe-fit --top 6 -o out.mp "$data/calibrate-real.mp"
    refuses 65 "--held-out needs two at least" bpe-fit --held-out -o out.mp "$data/calibrate-one-text.mp"
    refuses 65 "record 1 (id a): no label" bpe-fit --calibrate scale -o out.mp "$data/scores-unlabelled.mp"
    refuses 65 "no records" bpe-fit --calibrate bias --held-out -o out.mp "$data/scores-empty.mp"
    [ ! -e out.mp ]
}

@test "options that have nothing to do together are wrong usage" {
    refuses 64 "nothing" bpe-fit --uniform --calibrate scale "$data/scores-good.mp"
    refuses 64 "nothing" bpe-fit --uniform --top 1 "$data/scores-good.mp"
    refuses 64 "nothing" bpe-fit --uniform --held-out "$data/scores-good.mp"
    refuses 64 "--penalty is that of --calibrate" bpe-fit --penalty 1 "$data/scores-good.mp"
    refuses 64 "fitted already" bpe-fit --apply w.mp --calibrate scale "$data/scores-good.mp"
    refuses 64 "" bpe-fit --calibrate bias+scale "$data/scores-good.mp"
    refuses 64 "" bpe-fit --calibrate scale --penalty 0 "$data/scores-good.mp"
    refuses 64 "" bpe-fit --top 0 "$data/scores-good.mp"
}

@test "calibrations that are none are refused" {
    bpe-fit --apply "$data/weights-good.mp" "$data/scores-good.mp" | rec check
    while read -r file message; do
        refuses 65 "weights-$file.mp: $message" bpe-fit --apply "$data/weights-$file.mp" "$data/scores-good.mp"
    done <<'END'
scale-zero record 1: field 'scale' is not a finite number above 0
scale-inf record 2: field 'scale' is not a finite number above 0
scale-text record 2: field 'scale' is not a number
bias-nan record 1: field 'bias' holds nan
bias-three record 1: field 'bias' has 3 numbers for 2 classes
END
    refuses 65 "weights-bias-differs.mp: record 2: field 'bias' has 2 numbers where others have 3" \
        bpe-fit --apply "$data/weights-bias-differs.mp" "$data/scores-unnamed.mp"
    refuses 65 "record 1 (id a): 2 class scores, but the weights are for 3" \
        bpe-fit --apply "$data/weights-bias-unnamed.mp" "$data/scores-unnamed.mp"
}
