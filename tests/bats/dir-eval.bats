# dir-eval: its outputs, and what it says to bad input. The numbers are checked by
# tests/c/test_evaluation.c; the streams are made by tests/oracle/metrics.py.

load refuses

bats_require_minimum_version 1.5.0

setup() {
    data=$BATS_TEST_DIRNAME/../data/uq
    cd "$BATS_TEST_TMPDIR" || exit 1
}

# An ensemble's predictions, from scores by bpe-fit.
ensemble() {
    bpe-fit "$data/fit-three.mp" -o weights.mp
    bpe-fit --apply weights.mp "$data/fit-three.mp" -o "$1"
}

@test "the table has one row per set, and numbers to four digits" {
    ensemble teacher.mp
    run dir-eval teacher.mp other=teacher.mp
    [ "$status" -eq 0 ]
    [ "${lines[0]}" = "set       n  accuracy  macro_f1     nll     ece     mce   brier  roc_auc" ]
    [ "${lines[1]}" = "teacher  40    0.8500    0.8503  0.4310  0.1623  0.4386  0.2288   0.9742" ]
    [[ ${lines[2]} == "other    40    0.8500"* ]]
}

@test "JSON holds values, counts, and a reason where there is no value" {
    dir-eval --json "$data/metrics-one-row.mp" >out.json
    jq -e '.sets[0].metrics.accuracy.value == 1' out.json
    [ "$(jq '.sets[0].metrics.roc_auc.value' out.json)" = null ]
    [ "$(jq -r '.sets[0].metrics.roc_auc.reason' out.json)" = "all texts have label 1" ]
    [ "$(jq '.bins' out.json)" = 10 ]
    dir-eval --json "$data/metrics-certain.mp" >out.json
    [ "$(jq -r '.sets[0].metrics.nll.reason' out.json)" = \
        "infinite: 10 texts' labels have probability 0" ]
}

@test "a differential entropy that no double holds is told: a mean by its reason, a text's by its record" {
    predictions() { # ALPHA...: two predictions with it
        jq -nc '{duq: 1, schema: "prediction", head: "dirichlet"}'
        for id in a b; do echo "{\"id\":\"$id\",\"label\":0,\"probs\":[0.5,0.5],\"alpha\":[$1]}"; done
    }
    predictions 1e-308,1 | rec from-json | dir-eval --json >out.json # -1e308 each, for psi(x) is -1/x there
    jq -e '.sets[0].metrics | to_entries[] | select(.key | test("mean.*differential"))
        | .value.value == null and .value.reason == "beyond the numbers that a double holds"' out.json
    predictions 1e308,1e308 | rec from-json >huge.mp
    refuses 65 "huge.mp: record 1 (id a): field 'alpha': differential_entropy is not finite" dir-eval huge.mp
}

@test "a file's name that is not UTF-8 may be the file's, but not the set's" {
    one=$data/metrics-one-row.mp
    cp "$one" $'b\xe9.mp'
    for kind in --json --stream; do
        refuses 65 "is not UTF-8; give it one as NAME=FILE" dir-eval $kind $'b\xe9.mp' -o out
        refuses 65 "is not UTF-8; give it one as NAME=FILE" dir-eval $kind $'b\xe9=b\xe9.mp' -o out
        refuses 65 "is not UTF-8; give it one as NAME=FILE" dir-eval $kind "$one" --ood $'b\xe9.mp' -o out
    done
    dir-eval --json b=$'b\xe9.mp' >out.json
    jq -c '.sets[] | [.name, .file]' out.json | diff - <(printf '["b","b\xef\xbf\xbd.mp"]\n')
    dir-eval --stream b=$'b\xe9.mp' | rec check
}

@test "the stream holds one metrics record for each figure" {
    dir-eval --stream -o out.mp "$data/metrics-binary.mp" --ood x="$data/metrics-edges.mp"
    strings -n 2 out.mp >words
    for word in metrics accuracy aurc_epistemic auroc_total against; do
        grep -q "$word" words
    done
}

@test "the average prompt of an ensemble stands beside it" {
    ensemble teacher.mp
    run dir-eval --members teacher.mp
    [[ ${lines[2]} == "teacher/prompts  40"* ]]
}

@test "the reference's definitions have names of their own, and bins that cannot be chosen" {
    run dir-eval --definitions reference x="$data/metrics-four.mp"
    [ "$status" -eq 0 ]
    [[ ${lines[0]} == "set    n  accuracy  macro_f1     nll     ece  reference_mce  reference_brier  roc_auc" ]]
    [[ $output == *"ece: l1 norm, 10 bins of equal width, 1 in a bin of its own"* ]]
    [[ $output == *"reference_mce: max norm, every class's probability, rounded to one of 11 bins"* ]]
    dir-eval --definitions reference --json "$data/metrics-four.mp" >reference.json
    jq -e '.sets[0].metrics | has("reference_brier") and (has("mce") or has("brier") | not)' reference.json
    dir-eval --json "$data/metrics-four.mp" | jq -e '.sets[0].metrics | has("brier") and (has("reference_brier") | not)'
    for option in "--bins 10" --own-bin-for-1; do
        # shellcheck disable=SC2086
        run dir-eval --definitions reference $option "$data/metrics-four.mp"
        [ "$status" -eq 64 ]
        [[ $output == *"--definitions reference says what the bins are"* ]]
    done
}

@test "calibration errors say which bins and norm they have, in the table, JSON and records" {
    run dir-eval --bins 15 x="$data/metrics-with-ones.mp"
    [[ $output == *"set   n  ece_equal_mass  ece_class_wise   smece"* ]]
    [[ $output == *"ece: l1 norm, 15 bins of equal width, 1 in the last"* ]]
    [[ $output == *"ece_equal_mass: l1 norm, 15 bins of equal numbers of texts"* ]]
    dir-eval --own-bin-for-1 --json "$data/metrics-with-ones.mp" >own.json
    [ "$(jq -r '.sets[0].metrics.mce.definition' own.json)" = "max norm, 10 bins of equal width, 1 in a bin of its own" ]
    [ "$(jq '.sets[0].metrics.accuracy | has("definition")' own.json)" = false ]
    [ "$(jq -c '[.bins, .own_bin_for_1]' own.json)" = "[10,true]" ]
    dir-eval --stream "$data/metrics-with-ones.mp" >out.mp
    rec check out.mp
    [ "$(rec to-json out.mp | jq -r 'select(.metric == "smece").definition')" = "l1 norm, no bins, reflected Gaussian kernel" ]
}

@test "a bin for confidence 1 alone changes the errors only where there is such a confidence" {
    both() { # SET: ece and mce with and without
        dir-eval --json "$data/metrics-$1.mp" | jq -c '.sets[0].metrics | [.ece.value, .mce.value, .ece_class_wise.value]'
        dir-eval --own-bin-for-1 --json "$data/metrics-$1.mp" |
            jq -c '.sets[0].metrics | [.ece.value, .mce.value, .ece_class_wise.value]'
    }
    [ "$(both with-ones | sort -u | wc -l)" = 2 ]
    [ "$(both binary | sort -u | wc -l)" = 1 ]
    dir-eval --own-bin-for-1 "$data/metrics-with-ones.mp" --figures out >table
    is_drawn out reliability
}

@test "risk at a coverage and coverage at a risk, for each uncertainty" {
    dir-eval --at-coverage 0.8,0.95 --at-risk 0.1 --json "$data/metrics-dirichlet.mp" >out.json
    [ "$(jq -c '[.sets[0].metrics | keys[] | select(contains("_at_"))] | length' out.json)" = 18 ]
    jq -e '.sets[0].metrics | .["risk_at_coverage_0.8_total"].value < 1 and .["coverage_at_risk_0.1_vacuity"].value < 1' out.json
    run dir-eval --at-coverage 0.8 --at-risk 0.1 "$data/metrics-dirichlet.mp"
    [[ $output == *"risk at a coverage of 0.8 or more, by uncertainty"* ]]
    [[ $output == *"coverage at a risk of 0.1 or less, by uncertainty"* ]]
    for wrong in 0.8, 2 x -1 0.1,0.1; do
        run dir-eval --at-coverage "$wrong" "$data/metrics-binary.mp"
        [ "$status" -eq 64 ] || { echo "$wrong: $status"; false; }
    done
    run dir-eval --at-risk 0.1,0.10 "$data/metrics-binary.mp"
    [ "$status" -eq 64 ]
    [[ $output == *"--at-risk: 0.1 is given twice"* ]]
}

@test "degenerate answers: all wrong, all right, one class" {
    dir-eval --at-risk 0.5 --json "$data/metrics-all-wrong.mp" >out.json
    jq -e '.sets[0].metrics.augrc_total.value == 0.5' out.json
    [ "$(jq '.sets[0].metrics["coverage_at_risk_0.5_total"].value' out.json | cut -c 1)" = 0 ]
    [ "$(jq -r '.sets[0].metrics.error_auroc_total.reason' out.json)" = "all answers are right, or all are wrong" ]
    dir-eval --json "$data/metrics-certain-right.mp" >out.json
    [ "$(jq '.sets[0].metrics | [.augrc_total.value, .smece.value, .ece_equal_mass.value] | add' out.json | cut -c 1)" = 0 ]
    run dir-eval "$data/metrics-one-class.mp"
    [ "$status" -eq 0 ]
    [[ $output == *"roc_auc: there is one class only"* ]]
    run dir-eval --bootstrap 20 "$data/metrics-one-row.mp"
    [ "$status" -eq 0 ]
}

@test "Dirichlet predictions have three more uncertainties, others do not" {
    run dir-eval dir="$data/metrics-dirichlet.mp" --ood dir:x="$data/metrics-dirichlet-three.mp" --abstain vacuity
    [[ $output == *"set   n  vacuity  differential_entropy  pairwise_kl"* ]]
    [[ $output == *"dir  x        pairwise_kl"* ]]
    [[ $output == *"vacuity at most"* ]]
    run dir-eval "$data/metrics-softmax.mp"
    [[ $output != *vacuity* ]]
    # Side by side, and detection against predictions without alpha.
    dir-eval --json "$data/metrics-dirichlet.mp" --ood metrics-dirichlet:x="$data/metrics-binary.mp" >out.json
    [ "$(jq -r '.detection[0].metrics.auroc_vacuity.reason' out.json)" = "the out-of-distribution predictions do not have it" ]
}

@test "alpha that is none is refused" {
    run dir-eval "$data/predictions-alpha-zero.mp"
    [ "$status" -eq 65 ]
    [[ $output == *"record 2 (id b): alpha: that of class 1 is 0, not above 0"* ]]
    run dir-eval "$data/predictions-alpha-missing.mp"
    [ "$status" -eq 65 ]
    [[ $output == *"record 2 (id b): field 'alpha' is missing, unlike in the records before it"* ]]
}

@test "several seeds of a set have a mean and a deviation" {
    seeds=(s="$data/metrics-paired-a.mp" s="$data/metrics-paired-b.mp" other="$data/metrics-paired-c.mp")
    run dir-eval "${seeds[@]}"
    [ "$status" -eq 64 ]
    [[ $output == *"two sets are named 's'"*"--seeds"* ]]
    dir-eval --seeds --bootstrap 30 --json "${seeds[@]}" >out.json
    [ "$(jq -c '.sets | map(.name)' out.json)" = '["s#1","s#2","other","s"]' ]
    jq -e '.sets[3].metrics.nll | .seeds == 2 and .deviation > 0 and .low < .value and .value < .high' out.json
    [ "$(jq '.sets[0].metrics.nll | has("deviation")' out.json)" = false ]
    # Seeds that alternate, of which the first has no alphas to measure, are one mean.
    rec to-json --header "$data/metrics-dirichlet.mp" | jq -c 'del(.alpha, .total, .aleatoric, .epistemic)' | rec from-json -o plain.mp
    set -- s=plain.mp t="$data/metrics-dirichlet.mp" s="$data/metrics-dirichlet.mp" t="$data/metrics-dirichlet.mp" s="$data/metrics-dirichlet.mp"
    dir-eval --seeds --json "$@" >out.json
    jq -e '[.sets[].name] == ["s#1", "t#1", "s#2", "t#2", "s#3", "s", "t"] and (.sets[5].metrics | has("nll") and has("aurc_total"))' out.json
    run dir-eval --seeds "${seeds[@]}"
    [[ $output == *" ± "* ]]
    # Columns stay aligned: all lines of the first table end in the same column.
    [ "$(head -n 5 <<<"$output" | sed 's/±/+/g' | awk '{ print length }' | sort -u | wc -l)" = 1 ]
    run dir-eval --seeds "${seeds[@]}" "s#1=$data/metrics-paired-c.mp"
    [ "$status" -eq 64 ]
    [[ $output == *"two sets are named 's#1', one of them as a seed of 's'"* ]]
    dir-eval --seeds --stream "${seeds[@]}" >out.mp
    rec check out.mp
    # Out-of-distribution sets go to the seeds in order.
    dir-eval --seeds --json "${seeds[@]}" --ood s:x="$data/metrics-binary.mp" --ood s:x="$data/metrics-edges.mp" >out.json
    [ "$(jq -c '.detection | map([.set, .against, .metrics.auroc_total.n])' out.json)" = \
        '[["s#1","x",270],["s#2","x",260],["s","x",270]]' ]
    run dir-eval --seeds "${seeds[@]}" --ood s:x="$data/metrics-binary.mp" --ood s:x="$data/metrics-edges.mp" \
        --ood s:x="$data/metrics-edges.mp"
    [ "$status" -eq 64 ]
    [[ $output == *"--ood: 's' has 2 seeds, and texts of one name are given for more"* ]]
}

@test "differences from a baseline, on the same texts, have an interval and a p value" {
    sets=(a="$data/metrics-paired-a.mp" b="$data/metrics-paired-b.mp" same="$data/metrics-paired-a.mp")
    dir-eval --baseline a --bootstrap 50 --json "${sets[@]}" >out.json
    [ "$(jq -c '.differences | map([.set, .against])' out.json)" = '[["b","a"],["same","a"]]' ]
    jq -e '.differences[0].metrics.difference_nll | .low < .high and .p > 0 and .p <= 1' out.json
    jq -e '(.sets[1].metrics.nll.value - .sets[0].metrics.nll.value - .differences[0].metrics.difference_nll.value) | fabs < 1e-12' out.json
    jq -e '.differences[1].metrics.difference_nll | .value == 0 and .p == 1' out.json
    # Texts are matched by id, whatever their order.
    rec sample --shuffle "$data/metrics-paired-b.mp" >shuffled.mp
    dir-eval --baseline a --bootstrap 50 --json "${sets[0]}" b=shuffled.mp "${sets[2]}" | jq .differences >shuffled.json
    jq .differences out.json | cmp - shuffled.json
    run dir-eval --baseline a --bootstrap 50 "${sets[@]}"
    [[ $output == *"difference from a, on the same texts"* ]]
    dir-eval --baseline a --bootstrap 20 --stream "${sets[@]}" >out.mp
    rec check out.mp
    run dir-eval --baseline a "${sets[@]}"
    [ "$status" -eq 64 ]
    [[ $output == *"--bootstrap N"* ]]
    run dir-eval --baseline c --bootstrap 20 "${sets[@]}"
    [ "$status" -eq 64 ]
    [[ $output == *"--baseline: no set is named 'c'"* ]]
    ensemble teacher.mp
    run dir-eval --members --baseline teacher/prompts --bootstrap 20 teacher.mp
    [ "$status" -eq 0 ]
    [[ $output == *"difference from teacher/prompts"* ]]
}

@test "standard input is read when no file is named" {
    run dir-eval <"$data/metrics-binary.mp"
    [ "$status" -eq 0 ]
    [[ ${lines[1]} == stdin* ]]
}

@test "the bootstrap is the same for the same seed, whatever the number of threads" {
    DUQ_THREADS=1 dir-eval --bootstrap 50 --json "$data/metrics-four.mp" >a
    DUQ_THREADS=3 dir-eval --bootstrap 50 --seed 1 --json "$data/metrics-four.mp" >b
    cmp a b
    dir-eval --bootstrap 50 --seed 2 --json "$data/metrics-four.mp" >c
    run ! cmp -s a c
    [ "$(jq '.sets[0].metrics.ece | .low < .value and .value < .high' a)" = true ]
    jq -e '.bootstrap | .replicates == 50 and .seed == 1 and (.level - 0.95 | fabs) < 1e-12' a
}

@test "abstention gives thresholds, coverage and risk" {
    dir-eval --abstain total --json "$data/metrics-edges.mp" >out.json
    [ "$(jq '.sets[0].abstention.thresholds | length' out.json)" = 7 ]
    [ "$(jq '.sets[0] | .abstention.thresholds[0].risk == 1 - .metrics.accuracy.value' out.json)" = true ]
    [ "$(jq '[.sets[0].abstention.thresholds[] | .coverage >= .at_least] | all' out.json)" = true ]
    run dir-eval --abstain total "$data/metrics-edges.mp"
    [[ $output == *"answering only the more certain texts"* ]]
}

@test "an out-of-distribution set goes to the set that the same model made" {
    run dir-eval soft="$data/metrics-softmax.mp" --ood x="$data/metrics-softmax.mp"
    [ "$status" -eq 0 ]
    [[ $output == *"soft  x        total"* ]]
    # softmax against Dirichlet: refused unless the set is named
    run dir-eval dir="$data/metrics-binary.mp" --ood x="$data/metrics-softmax.mp"
    [ "$status" -eq 65 ]
    [[ $output == *"made by another model, head or adapter"* ]]
    run dir-eval dir="$data/metrics-binary.mp" --ood dir:x="$data/metrics-softmax.mp"
    [ "$status" -eq 0 ]
    [[ $output == *"dir against x: auroc_aleatoric, aupr_aleatoric, "*": the out-of-distribution predictions do not have it"* ]]
    run dir-eval dir="$data/metrics-binary.mp" --ood other:x="$data/metrics-softmax.mp"
    [ "$status" -eq 64 ]
}

@test "sets of different texts or labels are not compared" {
    run dir-eval "$data/metrics-binary.mp" "$data/metrics-softmax.mp"
    [ "$status" -eq 65 ]
    [[ $output == *"hold different texts (id t30 is in"* ]]
    run dir-eval "$data/metrics-edges.mp" "$data/metrics-edges-three.mp"
    [ "$status" -eq 65 ]
    [[ $output == *"different classes"* ]]
    run dir-eval "$data/metrics-certain.mp" "$data/metrics-certain-right.mp"
    [ "$status" -eq 65 ]
    [[ $output == *"has label"* ]]
}

@test "predictions without any label are refused, but serve for detection" {
    run dir-eval "$data/metrics-no-labels.mp"
    [ "$status" -eq 65 ]
    [[ $output == *"no prediction has a label"* ]]
    run dir-eval "$data/metrics-no-labels.mp" --ood x="$data/metrics-binary.mp"
    [ "$status" -eq 0 ]
    [[ $output == *"accuracy, macro_f1, "*": no text has a label"* ]]
}

@test "probabilities that are none are refused" {
    run dir-eval "$data/predictions-nan.mp"
    [ "$status" -eq 65 ]
    [[ $output == *"record 2 (id b): probs: the probability of class 0 is nan"* ]]
    run dir-eval "$data/predictions-sum.mp"
    [ "$status" -eq 65 ]
    [[ $output == *"record 2 (id b): probs: the probabilities sum to 0.9, not 1"* ]]
    run dir-eval "$data/predictions-twice.mp"
    [ "$status" -eq 65 ]
    [[ $output == *"record 2 (id a): the id is there twice"* ]]
    run dir-eval "$data/predictions-empty.mp"
    [ "$status" -eq 65 ]
    [[ $output == *"no predictions"* ]]
}

@test "wrong usage ends with status 64 and a missing file with 66" {
    run dir-eval --json --stream "$data/metrics-binary.mp"
    [ "$status" -eq 64 ]
    run dir-eval --abstain unsure "$data/metrics-binary.mp"
    [ "$status" -eq 64 ]
    run dir-eval "$data/metrics-binary.mp" "$data/metrics-binary.mp"
    [ "$status" -eq 64 ]
    [[ $output == *"two sets are named 'metrics-binary'"* ]]
    run dir-eval =x.mp
    [ "$status" -eq 64 ]
    run dir-eval -z "$data/metrics-binary.mp"
    [ "$status" -eq 64 ]
    run dir-eval nowhere.mp
    [ "$status" -eq 66 ]
}

# Fails unless FOLDER holds whole figures NAME.svg and NAME.png, and no half ones.
is_drawn() { # FOLDER NAME
    tail -c 10 "$1/$2.svg" | grep -q '</svg>'
    [ "$(head -c 4 "$1/$2.png" | tail -c 3)" = PNG ]
    [ "$(tail -c 8 "$1/$2.png" | head -c 4)" = IEND ]
    [ -z "$(find "$1" -name '*.part*')" ]
}

@test "figures are drawn as SVG and PNG, with names, units and values" {
    dir-eval a="$data/metrics-binary.mp" "b's_{2}"="$data/metrics-binary.mp" \
        --ood b\'s_{2}:other="$data/metrics-edges.mp" --figures out/ >table
    for name in reliability risk-coverage uncertainty-a uncertainty-b_s__2_; do
        is_drawn out $name
    done
    [ "$(find out -type f | wc -l)" -eq 8 ]
    grep -q "b's_{2}" out/reliability.svg
    grep -q 'ECE 0\.' out/reliability.svg
    grep -q 'nats' out/uncertainty-a.svg
    grep -q 'Epistemic uncertainty' out/uncertainty-a.svg
    grep -q 'other, n = 110, AUROC 0\.' out/uncertainty-b_s__2_.svg
    run ! grep -q AUROC out/uncertainty-a.svg
    grep -q 'area 0\.' out/risk-coverage.svg
}

# Ten labelled predictions of two classes: [P, TOTAL, ALEATORIC, EPISTEMIC] by turns, P of the second class.
predictions_of() { # [[P, TOTAL, ALEATORIC, EPISTEMIC], ...]
    jq -nc --argjson kinds "$1" '
        {duq: 1, schema: "prediction", classes: ["no", "yes"], head: "dirichlet"},
        (range(10) | $kinds[. % ($kinds | length)] as [$p, $t, $a, $e]
            | {id: "\(.)", label: (. % 2), probs: [1 - $p, $p], total: $t, aleatoric: $a, epistemic: $e})' | rec from-json
}

# How often a figure has these words of text.
words() { # FILE WORDS
    grep -oE '>[^<>]+<' "$1" | tr -d '<>' | sed 's/^ *//; s/ *$//' | grep -cxF -- "$2"
}

@test "histograms that are compared have the same scales" {
    predictions_of '[[0.99, 0.056, 0.05, 0.006]]' >sure.mp
    predictions_of '[[0.5, 0.69314, 0.6, 0.09314], [0.9, 0.325, 0.3, 0.025]]' >mixed.mp
    dir-eval -q sure=sure.mp mixed=mixed.mp --ood sure:other=mixed.mp --figures out >table
    # Total and aleatoric uncertainty go to ln 2 in all figures, though those of one set end at 0.056.
    [ "$(words out/uncertainty-sure.svg 0.6)" -eq 4 ]
    [ "$(words out/uncertainty-mixed.svg 0.6)" -eq 2 ]
    # A bar of all texts above one of half of them: both axes go to 100 %.
    [ "$(words out/uncertainty-sure.svg 100)" -eq 6 ]
    [ "$(words out/uncertainty-mixed.svg 100)" -eq 0 ]
    # The shares of texts below the reliability diagrams, of 100 % and of 50 %.
    [ "$(words out/reliability.svg 100)" -eq 2 ]
}

@test "a folder's name is no command of gnuplot's" {
    # shellcheck disable=SC2016 # a name
    for folder in '|tee ran;' '<tee ran' "it's" '~' '"a" `touch ran`'; do
        mkdir -- "$folder"
        dir-eval -q --figures "$folder" a="$data/metrics-binary.mp" >table
        is_drawn "$folder" reliability
    done
    [ ! -e ran ]
}

@test "figures of degenerate sets are drawn too" {
    for set in one-row one-label certain no-labels softmax; do
        dir-eval -q x="$data/metrics-$set.mp" --ood x:y="$data/metrics-$set.mp" --figures $set >table
        is_drawn $set uncertainty-x
    done
    is_drawn one-row reliability
    [ ! -e no-labels/reliability.svg ]
    run ! grep -q Epistemic softmax/uncertainty-x.svg
}

@test "training logs are drawn, with predictions or alone" {
    printf 'step\tloss\tlr\n1\t0.7\t1e-5\n2\t0.6\t9e-6\n3\tnan\t8e-6\n4\t0.5\t7e-6\n' >a.tsv
    printf '# no names\n1\t-3\n2\t-4\n' >b.tsv
    dir-eval --curve student=a.tsv --curve b.tsv --figures out </dev/null
    is_drawn out training
    grep -q '>student<' out/training.svg
    grep -q '>b.tsv<' out/training.svg
    run ! grep -q validation out/training.svg
    printf 'step\tloss\tlr\tval_loss\tval_nll\n1\t0.7\t1e-5\t\t\n2\t0.6\t9e-6\t0.65\t0.7\n3\t0.5\t7e-6\t0.62\tnan\n' >c.tsv
    dir-eval --curve student=c.tsv --curve a.tsv --figures validated </dev/null
    is_drawn validated training
    [ "$(grep -c '>validation<' validated/training.svg)" -eq 1 ]
    printf 'step\tloss\n1\t0.5\nx\t0.4\n' >bad.tsv
    run dir-eval --curve bad.tsv --figures out
    [ "$status" -eq 65 ]
    [[ $output == *"bad.tsv: line 3: not a step and its loss"* ]]
    printf 'step\tperplexity\n1\t0.5\n' >bad.tsv
    run dir-eval --curve bad.tsv --figures out
    [ "$status" -eq 65 ]
    [[ $output == *"no column is named 'loss'"* ]]
    run dir-eval --curve a.tsv "$data/metrics-binary.mp"
    [ "$status" -eq 64 ]
}

@test "a figure that gnuplot cut short, as on a full disk, is an error and leaves nothing" {
    mkdir bin
    # It says that all is well.
    cat >bin/gnuplot <<'END'
#!/bin/sh
[ "$1" = --version ] && exit
sed -n "s/^set output '\(.*\)'$/\1/p" | while read -r file; do
    printf '<svg width="640" height="480"><g id="gnuplot_plot_1"><path d="M 1' >"$file"
done
END
    chmod +x bin/gnuplot
    PATH=$PWD/bin:$PATH run dir-eval "$data/metrics-binary.mp" --figures out
    [ "$status" -eq 74 ]
    [[ $output == *".svg: gnuplot wrote it in part: is the disk full?"* ]]
    [ -z "$(ls out)" ]
}

@test "figures without gnuplot, or without a place, are clear errors" {
    PATH=$BUILD/bin run "$BUILD/bin/dir-eval" "$data/metrics-binary.mp" --figures out
    [ "$status" -eq 69 ]
    [[ $output == *"gnuplot is not installed"* ]]
    touch file
    run dir-eval "$data/metrics-binary.mp" --figures file
    [ "$status" -eq 73 ]
    run dir-eval "$data/metrics-binary.mp" --figures no/such/folder
    [ "$status" -eq 73 ]
    run dir-eval "a b=$data/metrics-binary.mp" "a_b=$data/metrics-binary.mp" --figures out
    [ "$status" -eq 64 ]
    [[ $output == *"the figures of 'a b' and 'a_b' would both be uncertainty-a_b.svg; name the sets apart"* ]]
}
