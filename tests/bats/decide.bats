# decide: what it writes, and what it says to bad input. The numbers are checked by tests/c/test_decide.c,
# the promises by tests/c/test_decide_promises.c; the streams are made by tests/oracle/{decide,metrics,uq_bad_streams}.py.

load refuses

bats_require_minimum_version 1.5.0

setup() {
    uq=$BATS_TEST_DIRNAME/../data/uq
    data=$BATS_TEST_DIRNAME/../data/decide
    cd "$BATS_TEST_TMPDIR" || exit 1
}

fit_of() { # RULE JQ
    rec to-json --header "$1" | head -n 1 | jq -c ".fit | $2"
}

# The labelled predictions, as JSON lines with uncertainty and error.
judged() { # PREDICTIONS
    rec to-json "$1" | jq -c '{id, u: (1 - (.probs | max)), wrong: ((.probs | index(max)) != .label)}'
}

@test "a limit is fitted and applied: the same texts are answered, and the counts are those of the streams" {
    decide -v --risk 0.2 --confidence 0.8 "$data/fit.mp" >rule.mp 2>said
    rec check rule.mp
    limit=$(rec to-json rule.mp | jq '.threshold')
    answered=$(judged "$data/fit.mp" | jq -s "map(select(.u < $limit)) | length")
    wrong=$(judged "$data/fit.mp" | jq -s "map(select(.u < $limit and .wrong)) | length")
    [ "$answered" -gt 40 ]
    [ "$(fit_of rule.mp '[.answered, .answered_wrong, .texts]')" = "[$answered,$wrong,150]" ]
    grep -q "answers $answered of them, $wrong wrong" said
    decide -v --apply rule.mp "$data/fit.mp" >decisions.mp 2>said
    rec check decisions.mp
    grep -q "answered $answered of 150 texts" said
    grep -q "$wrong of $answered answers to labelled texts are wrong" said
    diff <(rec to-json decisions.mp | jq -c 'select(.decision == "answer") | .id') \
        <(judged "$data/fit.mp" | jq -c "select(.u < $limit) | .id")
    [ "$(rec to-json decisions.mp | jq -r .reason | sort -u | xargs)" = "certain uncertain" ]
    [ "$(rec to-json decisions.mp | jq -s 'map(select((.answer == null) != (.decision == "abstain"))) | length')" = 0 ]
    diff <(rec to-json --header decisions.mp | head -n 1 | jq -cS .rule) <(fit_of rule.mp . | jq -cS .)
}

@test "the order of the texts is no matter" {
    decide --risk 0.25 "$uq/metrics-edges-three.mp" -o a.mp --or-abstain
    rec sample --shuffle --seed 3 "$uq/metrics-edges-three.mp" | decide --risk 0.25 --or-abstain -o b.mp
    diff <(fit_of a.mp .) <(fit_of b.mp .)
    diff <(rec to-json a.mp) <(rec to-json b.mp)
}

@test "the uncertainty is the one that was asked for" {
    for by in confidence margin total aleatoric epistemic; do
        decide --expected-risk 0.1 --by $by -o rule.mp "$data/fit.mp"
        decide --apply rule.mp "$data/fit.mp" >decisions.mp
        case $by in
        confidence) value='1 - (.probs | max)' ;;
        margin) value='(.probs | sort) | 1 - (.[-1] - .[-2])' ;;
        *) value=.$by ;;
        esac
        # As numbers: jq 1.7 prints those that it only passes on as they were written.
        jq -en --slurpfile decided <(rec to-json decisions.mp) --slurpfile texts <(rec to-json "$data/fit.mp") \
            "(\$decided | map(.score)) == (\$texts | map($value)) and (\$texts | length) > 100"
    done
}

@test "sets hold the classes whose scores are at most the threshold" {
    decide --set 0.1 -o rule.mp "$data/fit.mp"
    q=$(rec to-json rule.mp | jq .threshold)
    decide -v --apply rule.mp "$data/test.mp" >decisions.mp 2>said
    rec check decisions.mp
    diff <(rec to-json decisions.mp | jq -c .set) \
        <(rec to-json "$data/test.mp" | jq -c "[.probs | to_entries[] | select(1 - .value <= $q) | .key]")
    [ "$(rec to-json decisions.mp | jq -r 'select((.set | length) == 1) | [.decision, .answer == .set[0], .reason] | @csv' |
        sort -u)" = '"answer",true,"single"' ]
    [ "$(rec to-json decisions.mp | jq -r 'select((.set | length) > 1) | .decision + .reason' | sort -u)" = abstainseveral ]
    held=$(rec to-json decisions.mp | jq -s 'map(select(.label as $y | .set | index($y))) | length')
    grep -q "$held of 60 sets hold the label" said
    # A strict rule on sure predictions gives empty sets.
    decide --set 0.7 -o rule.mp "$data/fit.mp"
    decide --apply rule.mp "$data/test.mp" | rec to-json | jq -c 'select(.reason == "empty")' | head -n 1 |
        jq -e '.set == [] and .decision == "abstain"'
}

@test "a temperature is carried in the rule and comes before the rest" {
    decide --risk 0.2 --confidence 0.8 --by total --temperature "$data/temperature.mp" -o rule.mp "$data/fit.mp"
    t=$(fit_of rule.mp .temperature.value)
    jq -en "$t > 1.5 and $t < 1.6"
    decide --apply rule.mp "$data/test.mp" | rec to-json | jq .score >got
    rec to-json "$data/test.mp" | jq "[.probs[] | log / $t | exp] | (add as \$s | map(. / \$s)) | map(-. * log) | add" >want
    paste got want | awk '{ if ($1 - $2 > 1e-12 || $2 - $1 > 1e-12) exit 1; n++ } END { exit n != 60 }'
    decide --set 0.1 --class-conditional --temperature "$data/temperature.mp" -o rule.mp "$data/fit.mp"
    [ "$(rec to-json rule.mp | jq -s 'map(.class) == [0,1,2,3] and (map(.n) | add) == 150')" = true ]
    decide --apply rule.mp "$data/test.mp" | rec check
}

@test "predictions without labels get decisions, too" {
    decide --expected-risk 0.3 -o rule.mp "$uq/metrics-binary.mp"
    decide -v --apply rule.mp "$uq/metrics-no-labels.mp" >decisions.mp 2>said
    [ "$(rec count -q decisions.mp)" = 25 ]
    run ! grep -q "labelled" said
}

@test "where nothing can be promised it says what would do, and writes no rule" {
    refuses 65 "of the 1 surest of 1 texts" decide --risk 0.1 -o out.mp "$uq/metrics-one-row.mp"
    [[ $output == *"22 answers without an error would be the fewest that do"* ]]
    [[ $output == *"--or-abstain"* ]]
    refuses 65 "with that share of errors" decide --risk 0.1 -o out.mp "$data/fit.mp"
    refuses 65 "no number of texts would do" decide --risk 0.01 --confidence 0.1 --by epistemic -o out.mp "$uq/metrics-four.mp"
    refuses 65 "1 texts are too few for an expected risk of 0.1; 9 are the fewest" \
        decide --expected-risk 0.1 -o out.mp "$uq/metrics-one-row.mp"
    refuses 65 "1 texts are too few for sets that miss at most 0.1; 9 would do" decide --set 0.1 -o out.mp "$uq/metrics-one-row.mp"
    refuses 65 "0 texts with label 1 are too few" decide --set 0.1 --class-conditional -o out.mp "$uq/metrics-one-label.mp"
    refuses 65 "--start is 200, but there are 150 texts" decide --risk 0.2 --start 200 -o out.mp "$data/fit.mp"
    [ ! -e out.mp ]
}

@test "--or-abstain writes a rule that never answers, or sets of all classes" {
    run decide --risk 0.1 --or-abstain -o rule.mp "$data/fit.mp"
    [ "$status" -eq 0 ]
    [[ $output == *"the rule never answers"* ]]
    rec check rule.mp
    decide --apply rule.mp "$data/test.mp" >decisions.mp
    [ "$(rec to-json decisions.mp | jq -r '.decision + .reason' | sort -u)" = abstainnever ]
    decide -q --set 0.1 --class-conditional --or-abstain -o rule.mp "$uq/metrics-one-label.mp"
    rec check rule.mp
    decide --apply rule.mp "$uq/metrics-one-label.mp" | rec to-json | jq -se 'all(.set | index(1))'
}

@test "a rule that answers everything says so" {
    decide --risk 0.9 -o rule.mp "$data/fit.mp"
    [ "$(rec to-json rule.mp)" = '{"class":null,"take":"all","threshold":null,"n":150}' ]
    [ "$(decide --apply rule.mp "$data/test.mp" | rec to-json | jq -r .reason | sort -u)" = always ]
}

@test "a rule is refused by predictions of another task, other classes or another model" {
    decide --set 0.1 -o rule.mp "$data/fit.mp"
    refuses 65 "rule.mp: fitted on predictions with another 'task'" decide --apply rule.mp -o out.mp "$uq/metrics-four.mp"
    decide --set 0.1 -o rule.mp "$uq/metrics-binary.mp"
    refuses 65 "another 'classes'" decide --apply rule.mp -o out.mp "$uq/metrics-four.mp"
    refuses 65 "another 'head'" decide --apply rule.mp -o out.mp "$uq/metrics-softmax.mp"
    refuses 65 "different 'head'" decide --set 0.1 --temperature "$uq/metrics-softmax.mp" -o out.mp "$uq/metrics-binary.mp"
    [ ! -e out.mp ]
}

# Their weights are [1], all three.
@test "a rule is refused by an ensemble of other prompts, or calibrated otherwise" {
    scores=$uq/calibrate-real.mp
    bpe-fit -q --top 1 "$scores" >one.mp
    bpe-fit -q --top 1 --calibrate scale+bias "$scores" >calibrated.mp
    for w in one calibrated; do bpe-fit -q --apply $w.mp "$scores" >$w.test.mp; done
    decide --expected-risk 0.5 one.test.mp >rule.mp
    decide --apply rule.mp one.test.mp >/dev/null
    refuses 65 "ensemble" decide --apply rule.mp calibrated.test.mp
    refuses 65 "ensemble" rec cat one.test.mp calibrated.test.mp
    # Where weights tell the ensemble its header is as ever.
    bpe-fit -q "$scores" | tee plain.mp | bpe-fit -q --apply - "$scores" >plain.test.mp
    rec to-json --header plain.test.mp | head -n 1 | jq -e 'has("ensemble") | not'
}

@test "limits of two rules, or decisions by two, are no one stream" {
    decide --set 0.1 "$data/fit.mp" >a.mp
    decide --set 0.3 "$data/fit.mp" >b.mp
    refuses 65 "fit" rec cat a.mp b.mp
    decide --apply a.mp "$data/fit.mp" >a.decisions.mp
    decide --apply b.mp "$data/fit.mp" >b.decisions.mp
    refuses 65 "rule" rec cat a.decisions.mp b.decisions.mp
}

@test "an uncertainty that the predictions do not have is refused" {
    refuses 65 "have no 'epistemic' uncertainty; choose another one with --by" \
        decide --risk 0.3 --by epistemic -o out.mp "$uq/metrics-softmax.mp"
    [ ! -e out.mp ]
}

@test "labels that are missing are named, and temperatures that do not exist" {
    refuses 65 "id t0: no label" decide --risk 0.3 -o out.mp "$uq/metrics-no-labels.mp"
    refuses 65 "id t0: no label" decide --set 0.1 --temperature "$uq/metrics-no-labels.mp" -o out.mp "$uq/metrics-binary.mp"
    refuses 65 "is in" decide --set 0.1 --temperature "$data/fit.mp" -o out.mp "$data/fit.mp"
    [ ! -e out.mp ]
}

@test "a cut stream, an empty one, faulty probabilities and streams of another kind are errors" {
    refuses 65 "no predictions" decide --set 0.1 -o out.mp "$uq/predictions-empty.mp"
    refuses 65 "the id is there twice" decide --set 0.1 -o out.mp "$uq/predictions-twice.mp"
    refuses 65 "the probability of class 0 is nan" decide --set 0.1 -o out.mp "$uq/predictions-nan.mp"
    refuses 65 "scores" decide --set 0.1 -o out.mp "$uq/scores-good.mp"
    head -c 9000 "$data/fit.mp" >cut.mp
    refuses 65 "cut.mp" decide --set 0.1 -o out.mp cut.mp
    decide --set 0.1 -o rule.mp "$data/fit.mp"
    refuses 65 "test.mp" decide --apply "$data/test.mp" -o out.mp "$data/test.mp"
    refuses 65 "rule.mp" decide --apply rule.mp -o out.mp rule.mp
    cat rule.mp rule.mp >two.mp
    refuses 65 "a second limit where the first one is for all classes" decide --apply two.mp -o out.mp "$data/test.mp"
    rec head -n 1 "$uq/predictions-sum.mp" | decide -q --set 0.1 --or-abstain -o rule.mp
    refuses 65 "record 2 (id b): probs: the probability of class 0 is nan" \
        decide --apply rule.mp -o out.mp "$uq/predictions-nan.mp"
    refuses 65 "record 2 (id b): field 'total' is infinite" \
        decide --apply rule.mp -o out.mp "$uq/predictions-infinite.mp"
    refuses 65 "record 2 (id b): probs: the probabilities sum to 0.9" decide --apply rule.mp -o out.mp "$uq/predictions-sum.mp"
    refuses 65 "no records" decide --apply rule.mp -o out.mp "$uq/predictions-empty.mp"
    [ ! -e out.mp ]
}

@test "a rule that is not understood is refused" {
    while IFS='|' read -r name says; do
        refuses 65 "$says" decide --apply "$data/rule-$name.mp" -o out.mp "$data/test.mp"
    done <<'END'
kind|no rule that this version of decide knows: 'kind' is 'luck'
by|no rule that this version of decide knows: 'by' is 'feeling'
no-fit|no rule that this version of decide knows: 'kind' is 'missing'
no-limit|the rule has no limit
two-limits|record 2: a second limit where the first one is for all classes
class|record 1: a limit on the uncertainty is not for one class
class-order|record 2: class 2 where class 1 was to come
class-missing|record 1 (id te0): 4 classes, but the rule has limits for 3
side|record 1: such a limit is not one of 'set' rules
take|record 1: field 'take' is missing or none of the words it may be
threshold|record 1: field 'threshold' does not go with take 'below'
temperature|the temperature in the header is not a number above 0
tempered|a temperature does not go with 'epistemic'
END
    [ ! -e out.mp ]
}

@test "wrong usage ends with status 64 and a missing file with 66" {
    refuses 64 "a rule has one kind" decide "$data/fit.mp"
    refuses 64 "a rule has one kind" decide --risk 0.1 --set 0.1 "$data/fit.mp"
    refuses 64 "" decide --risk 0 "$data/fit.mp"
    refuses 64 "" decide --risk 1 "$data/fit.mp"
    refuses 64 "go with --risk" decide --set 0.1 --confidence 0.8 "$data/fit.mp"
    refuses 64 "go with --set" decide --risk 0.1 --score aps "$data/fit.mp"
    refuses 64 "a set has its --score" decide --set 0.1 --by total "$data/fit.mp"
    refuses 64 "epistemic uncertainty is not of those alone" \
        decide --risk 0.1 --by epistemic --temperature "$data/temperature.mp" "$data/fit.mp"
    refuses 64 "fitting options have no place" decide --apply rule.mp --set 0.1 "$data/test.mp"
    refuses 66 "nowhere.mp" decide --apply nowhere.mp "$data/test.mp"
    refuses 66 "nowhere.mp" decide --set 0.1 --temperature nowhere.mp "$data/fit.mp"
    refuses 66 "nowhere.mp" decide --set 0.1 nowhere.mp
}
