# Profiles of data sets: the steps of the published programs and duq's, which differ in settings and task alone; task
# files of the user's own; other sets asked by their own prompts.

load pipelines-fixture
load refuses

bats_require_minimum_version 1.5.0

setup() {
    cd "$BATS_TEST_TMPDIR" || exit 1
}

settings() { # SET PROFILE KEY...: their values
    local set=$1 profile=$2
    shift 2
    "$top/pipelines/$set.sh" PROFILE="$profile" --settings >shown
    for key; do
        sed -n "s/^$key = //p" shown
    done | paste -sd'|'
}

@test "each data set's published profile has what the notebooks ran, duq's what it had" {
    keys=(TRAIN SHOTS_FROM TEST SHUFFLE MISSING EPOCHS LR BATCH RANK LORA_ALPHA OBJECTIVE SOLVER ALPHAS DETECTION
        SOFTMAX_OPTIONS)
    for set in amazon sst2; do
        [ "$(settings $set published "${keys[@]}")" = \
            "10000|50000|$([ $set = amazon ] && echo 5000 || echo 872)||pandas|10|1e-5|16|16|32|published|published|unscaled|both|--rank 8 --alpha 16" ]
    done
    [ "$(settings yahoo published "${keys[@]}")" = \
        '10000|50000|5000||pandas|10|1e-5|1|16|32|published|published|unscaled|both|--rank 8 --alpha 16' ]
    for set in amazon: sst2:'--dropout-epochs 1' yahoo:'--dropout-epochs 1' youtube:; do
        [ "$(settings ${set%%:*} published DIRICHLET_OPTIONS)" = "${set#*:}" ]
    done
    [ "$(settings yahoo published TEXT)" = 'Question: {2} {3}\nAnswer: {4}' ]
    [ "$(settings youtube published "${keys[@]}")" = \
        '1100||711||pandas|10|1e-5|32|16|32|published|published|unscaled|both|--rank 8 --alpha 16 --batch 16' ]
    [ "$(settings youtube duq "${keys[@]}")" = '1100||711|1|as-is|10|1e-5|16|16|32|paper|optimum|trained|common|' ]
    [ "$(settings amazon published OUT)" = "$PWD/runs/amazon.published" ]
    "$top/pipelines/amazon.sh" --settings | cmp - <("$top/pipelines/amazon.sh" PROFILE=duq --settings)
}

@test "the task of the published profile has the same instructions in the published layout" {
    for set in amazon sst2 yahoo youtube; do
        published=$(settings $set published TASK)
        cmp <(jq '[.name, .instructions, .shots]' "$published") <(jq '[.name, .instructions, .shots]' "$top/pipelines/$set/task.json")
        jq -e '(has("answers") | not) and .word_limit == null and .student == {list: false, blank_line: false}
            and (.content | endswith(" "))' "$published"
    done
    jq -r '.content' "$top/pipelines/yahoo/published.task.json" | cmp - <(printf '{text}\nthe topic is \n')
    echo 'a text' | rec from-csv --no-header --text 1 |
        prompt-expand --task "$top/pipelines/youtube/published.task.json" --student --instruction 0 --show |
        cmp - <(printf '%s\n' 'Spam or not? Label this comment:' 'comment: a text' 'the comment is ')
}

@test "a profile that is not there is refused by name" {
    refuses 66 "sst2 has no profile 'paper' (PROFILE=): it has duq, published" "$top/pipelines/sst2.sh" PROFILE=paper
    refuses 66 "sst2 has no profile 'published' (PROFILE=): it has duq" few run PROFILE=published
    refuses 66 "sst2 has no profile '../sst2/published'" "$top/pipelines/sst2.sh" PROFILE=../sst2/published
    [ ! -e runs ]
    [ ! -e run ]
}

# A data set of one's own, of ten rows of which the first is to train on; the last, to test on, has no body.
with_rows() {
    mkdir -p set
    cp "$top/examples/sst2/task.json" set
    for i in 1 2 3 4 5 6 7 8 9; do echo "$((i % 2 + ${1:-0})),title $i,body"; done >set/rows.csv
    echo "${1:-0},\"\",null" >>set/rows.csv
    cat >set/settings <<'END'
DATA = .
TRAIN_FILES = rows.csv
HEADER = no
TEXT = Question:\t{2} {3}\nAnswer:\\n
LABEL = 1
LABELS = 1,2 | 0,1
TRAIN = 1
SHOTS = 2
VALIDATION = 1
TEST = 3
END
}
split() { "$top/pipelines/run.sh" ./set OUT=run --stop-stage split "$@"; }
texts() { rec to-json "run/texts/$1.mp" | jq -r .text; }
labels() { rec to-json run/texts/rows.mp | jq .label | paste -sd' '; }

@test "line breaks join columns, and what is missing reads nan if so set" {
    with_rows
    split
    texts train | cmp - <(printf 'Question:\ttitle 1 body\nAnswer:\\n\n')
    split SHOTS_FROM=5 MISSING=pandas TEST=2
    texts test | cmp - <(printf 'Question:\ttitle 9 body\nAnswer:\\n\nQuestion:\tnan nan\nAnswer:\\n\n')
    refuses 64 "MISSING is one of as-is, pandas, not 'nan'" split MISSING=nan
}

@test "labels are those of the first alternative that they fit" {
    for first in 0 1; do
        rm -rf set run
        with_rows $first
        split
        [ "$(labels)" = '1 0 1 0 1 0 1' ]
    done
    sed -i 's/^1,title 3/3,title 3/; s/^2,title 3/3,title 3/' set/rows.csv
    refuses 2 "the rows fit no alternative of LABELS:" split
    [[ $output == *"1,2: rec: data/train.1.csv: row 3: label '3' is not among those given"* ]]
}

@test "labels are the names of the task's classes, too" {
    with_rows
    sed -i '/^LABELS/d; s/TEST = 3/TEST = 2/' set/settings
    sed -i 's/^1,/"kind\\, or so",/; s/^0,title 2/harsh,title 2/' set/rows.csv
    jq '.classes = ["harsh", "kind\\, or so"]' "$top/examples/sst2/task.json" >set/task.json
    split
    [ "$(labels)" = '1 0 1 0 1 0' ]
    sed -i 's/^harsh,/mild,/' set/rows.csv
    refuses 2 "label 'mild' is neither a class name nor a number from 0 to 1" split
    [[ $output == *'set: how data/train.1 is read say the settings HEADER, ID, TEXT, LABEL, LABELS and MISSING'* ]]
    # Where the names of classes are numbers, they are no others.
    sed -i 's/^mild,/5,/; s/^0,/5,/; s/^"[^"]*",/1,/' set/rows.csv
    jq '.classes = ["1", "5"]' "$top/examples/sst2/task.json" >set/task.json
    split
    [ "$(labels)" = '0 1 0 1 0 1' ]
    # Nor is one column read in two ways: these are names or, where that is said, numbers.
    sed -i 's/^1,/0,/; s/^5,/1,/' set/rows.csv
    refuses 2 "label '0' is no class name, and the names are numbers" split
    split LABELS=0,1
    [ "$(labels)" = '0 1 0 1 0 1' ]
}

@test "shots begin where SHOTS_FROM says, which is no row to train on" {
    with_rows
    split SHOTS_FROM=5 TEST=2
    for part in train:1 shots:6,7 validation:8 test:9,10; do
        [ "$(rec to-json run/texts/"${part%:*}".mp | jq -r .id | paste -sd,)" = "${part#*:}" ]
    done
    refuses 2 "row 1, where shots begin (SHOTS_FROM), is one of the 2 to train on (TRAIN)" split SHOTS_FROM=1 TRAIN=2
    refuses 2 "the texts are too few: 10 rows for 6 (SHOTS_FROM) + 2 (SHOTS) + 1 (VALIDATION) + 3 (TEST)" split SHOTS_FROM=6
}

@test "a task file of the user's own stands for the data set's" {
    jq '.name = "mine" | .instructions |= reverse' "$top/examples/sst2/task.json" >mine.json
    few run TASK=mine.json --stop-stage weights
    cmp mine.json run/task.json
    rec to-json --header run/weights.mp | head -n 1 | jq -e '.task == "mine"'
    jq -e --arg task "$PWD/mine.json" '.settings.TASK == $task' run/manifest.json
    # What counts is what it says, not where it is.
    mv mine.json other.json
    few run TASK=other.json --stop-stage weights 2>said
    [ -z "$(made said)" ]
    refuses 66 "nowhere.json: cannot be read (TASK=)" few run TASK=nowhere.json
    jq 'del(.content)' other.json >bad.json
    refuses 65 "bad.json: key 'content' is missing" few run TASK=bad.json
}

published() {
    "$top/pipelines/amazon.sh" MODEL="$top/examples/model" DATA="$top/examples/data" OUT=run TRAIN=900 SHOTS_FROM=1000 TEST=300 \
        OOD="$top/examples/yahoo" N_TRAIN=8 N_TEST=12 VALIDATION=8 EPOCHS=1 BOOTSTRAP=20 LR=1e-3 DEVICE=cpu "$@"
}

@test "other sets are asked both ways; published figures stand beside the steps that they are of, and nowhere else" {
    published PROFILE=published 2>said
    grep -q "examples/yahoo has no profile published: it is taken with duq's" said
    jq -e '.training.rank == 8 and .training.batch == 16' run/students/softmax.lora/duq.json
    jq -e '.training.rank == 16' run/students/dirichlet.lora/duq.json
    rec to-json --header run/weights.mp | head -n 1 | jq -e '.fit.solver == "published"'
    rec to-json --header run/calibrated/weights.mp | head -n 1 | jq -e '.fit.solver != "published"'
    # By their own prompts: ten classes, and what the adapter and the weights were made for is recorded.
    for set in teacher dirichlet softmax untrained; do
        rec check run/detection/own/$set.yahoo.mp
        rec to-json --header run/detection/own/$set.yahoo.mp | head -n 1 >header
        jq -e '.classes | length == 10' header
        jq -e --arg set $set '.made_for.classes == (if $set == "untrained" then null else ["negative", "positive"] end)' header
        rec to-json --header run/detection/$set.yahoo.mp | head -n 1 | jq -e '(.classes | length == 2) and (has("made_for") | not)'
    done
    [ "$(rec to-json run/detection/own/weights.yahoo.mp | wc -l)" = 9 ]
    jq -e '[.metrics.detection[].against] | unique == ["yahoo", "yahoo:own"]' run/report/report.json
    # The table and the page say what was asked, for how many classes.
    grep -qx 'against yahoo: asked by this set.s prompts; 2 classes, total uncertainty at most ln 2 = 0.693' run/report/tables.txt
    grep -qx 'against yahoo:own: asked by its own prompts; 10 classes, total uncertainty at most ln 10 = 2.303;' run/report/tables.txt
    [ "$(grep -c 'They have 10 classes: total uncertainty is at most ln&hairsp;10&nbsp;= 2.303' run/report/index.html)" = 1 ]
    # Published figures: those of quality, and of detection by own prompts alone.
    grep -A 3 '^published, with Mistral-7B-Instruct v0.3 (not measured here)$' run/report/tables.txt >figures
    grep -Eq '^softmax +0\.959   0\.019  amazon_softmax_student.ipynb, after epoch 10 of 10$' figures
    grep -Eq '^yahoo +dirichlet +1\.00 +2\.10$' run/report/tables.txt
    grep '^<tr class=published>' run/report/index.html | sed 's/<p .*//; s/<[^>]*>/ /g' | tr -s ' ' >rows
    [ "$(grep -c 'published' rows)" = 5 ]
    grep -q '^ dirichlet published total 1.00 2.10' rows
    sed '/asked by their own prompts/,$d' run/report/index.html | grep -c 'class=published' | grep -qx 2
    # What the command line has otherwise is said with them, and they are of other instructions.
    jq -e '[.changed[] | select(.key == "EPOCHS")] == [{"key": "EPOCHS", "value": "1", "profile": "10"}]
        and (.changed | map(.key) | (index("N_TRAIN") and (index("BATCH") or index("OOD") | not)))' run/report/report.json
    grep -Eqx 'this run is not as published: .*EPOCHS 1 \(10\).*' run/report/tables.txt
    grep -q '<dt>profile</dt><dd>published, but for .*EPOCHS 1 (10)' run/report/index.html
    grep -q 'This run is not as published: .*EPOCHS 1 (10)' run/report/index.html
    [ "$(grep -c "authors' own instructions" run/report/tables.txt)" = 1 ]
    # duq's steps are others.
    published PROFILE=duq --stage report
    run ! grep 'class=published' run/report/index.html
    grep -q 'PROFILE=published follows them' run/report/index.html
    grep -q '^published figures: in the report of PROFILE=published' run/report/tables.txt
}

@test "students are validated on the validation texts, the best epoch's is kept, and several seeds are one setting" {
    # The first row to train on is among those for validation as well.
    mkdir twice
    awk 'NR == 2 { rest = substr($0, index($0, ",")) } NR == 1047 { $0 = substr($0, 1, index($0, ",") - 1) rest } 1' \
        "$top/examples/data/sst2.csv" >twice/sst2.csv
    few run DATA=twice N_TRAIN=8 N_TEST=12 VALIDATION=8 EPOCHS=4 LR=2e-2 PATIENCE=2 SEEDS=2 SEED=3 ALPHAS=unscaled
    cd run
    [ "$(rec count -q texts/validation.mp)" = 8 ]
    [ "$(rec count -q students/validation.tokens.mp)" = 7 ]
    for student in softmax dirichlet baseline edl seeds/softmax.seed4; do
        awk -F '\t' 'NR > 1 && $4 != "" { n++; if (n == 1 || $4 < low) { low = $4; best = $1 } } END { print best }' students/$student.tsv >best
        [ "$(jq .step students/$student.lora/duq.json)" = "$(cat best)" ]
        jq -e '.training | .keep == "best" and .validation.patience == 2' students/$student.lora/duq.json
    done
    # What the teacher says of them, and how the student does on them: a training of so small a model is in f32.
    rec to-json teacher/validation.mp | jq -s -e 'length == 8 and all(.members | length == 18)'
    lm-score --compute f32 --model model --adapter students/dirichlet.lora students/validation.tokens.mp --device cpu | dir-eval --json - >held-out.json
    jq -e --slurpfile have students/dirichlet.lora/duq.json '.sets[0].metrics.nll.value - $have[0].validation.nll | fabs < 1e-6' held-out.json
    jq -e --slurpfile facts students/dirichlet.lora/duq.json '.held_out == 7 and (.students[1] | .name == "dirichlet"
        and .epoch == $facts[0].epoch and .validation == $facts[0].validation)' report/report.json
    grep -q '<h2>Students</h2>' report/index.html
    grep -q '^students: the epoch that each is of, and its figures on 7 validation texts' report/tables.txt
    grep -q '>validation<' report/figures/training.svg
    # Two seeds of each.
    jq -e '.training.seed == 3' students/edl.lora/duq.json
    jq -e '.training.seed == 4' students/seeds/edl.seed4.lora/duq.json
    [ "$(jq -c 'map(.name)' seeds/table.json)" = '["softmax","dirichlet","baseline","edl"]' ]
    dir-eval --json --seeds a=predictions/dirichlet.test.mp a=predictions/seeds/dirichlet.seed4.test.mp |
        jq -e --slurpfile table seeds/table.json '.sets[2].metrics.nll as $m | $table[0][1] | .nll.mean == $m.value
            and .nll.deviation == $m.deviation and .nll.seeds == 2'
    grep -q '<h2>Over seeds</h2>' report/index.html
    grep -Eq '^dirichlet +[0-9.]+ ' report/tables.txt
    cd ..
    # The published steps keep the last.
    "$top/pipelines/run.sh" sst2 PROFILE=published --settings | grep -qx 'KEEP = last'
    refuses 64 'KEEP=all measures every epoch: PATIENCE= would leave some out' few run KEEP=all PATIENCE=1
}

@test "every epoch's student is kept and measured, and a sweep of fixed sums of alphas is one setting" {
    # However a student's own number of epochs is spelt.
    for options in '--epochs 2' --epochs=2; do
        few run --dry-run EPOCHS=1 KEEP=all DIRICHLET_OPTIONS="$options" >planned 2>&1
        grep -q 'dirichlet\.2\.test\.mp' planned
    done
    refuses 64 "KEEP=all keeps each epoch, and there are '1.4' (EPOCHS, --epochs)" few other EPOCHS=1.4 KEEP=all
    refuses 64 "KEEP=all keeps each epoch, and there are '.5' (EPOCHS, --epochs)" few other KEEP=all EDL_OPTIONS='--epochs .5'
    few run N_TRAIN=8 N_TEST=12 VALIDATION=8 EPOCHS=3e0 KEEP=all SWEEP=yes SWEEP_ALPHAS='1 10' SWEEP_SEEDS='3 4' ALPHAS=unscaled \
        DIRICHLET_OPTIONS='--epochs 2' SOFTMAX_OPTIONS='--epochs 1' BASELINE_OPTIONS='--epochs 1' EDL_OPTIONS='--epochs 1'
    cd run
    jq -e '[.[] | [.student, .epoch]] == [["softmax", 1], ["dirichlet", 1], ["dirichlet", 2], ["baseline", 1], ["edl", 1]]' epochs/table.json
    # The last epoch is the student; each has the figures that dir-eval gives.
    cmp students/dirichlet.lora.epochs/2/adapter_model.safetensors students/dirichlet.lora/adapter_model.safetensors
    rec to-json epochs/dirichlet.2.test.mp | cmp - <(rec to-json predictions/dirichlet.test.mp)
    for part in train test; do
        dir-eval --json epochs/dirichlet.1.$part.mp | jq -e --arg part $part --slurpfile table epochs/table.json '.sets[0].metrics as $m
            | $table[0][1][$part] | to_entries | all(.value == $m[.key].value) and length == 5'
    done
    sum=$(rec to-json epochs/dirichlet.1.train.mp | jq -s 'map(.alpha | add) | add / length')
    jq -e --argjson sum "$sum" '.[1].alpha0 == $sum and .[1].regulariser == null and .[0].alpha0 == null' epochs/table.json
    loss=$(awk 'NR > 1 && NR <= 1 + n / 2 { sum += $2; k++ } END { print sum / k }' n="$(($(wc -l <students/dirichlet.tsv) - 1))" students/dirichlet.tsv)
    jq -e --argjson loss "$loss" '.[1].loss - $loss | fabs < 1e-4' epochs/table.json
    grep -q '<small>the student above</small>' report/index.html
    grep -q 'An epoch that is chosen by its figures on the test texts has better ones there' report/index.html
    grep -Eq '^dirichlet   2  ' report/tables.txt
    # The sweep: two seeds each of two sums.
    jq -e '.training.seed == 4 and .alpha0 == 10' students/sweep/10.seed4.lora/duq.json
    rec to-json --header predictions/sweep/10.seed4.test.mp >unscaled
    head -n 1 unscaled | jq -e '.alphas == "unscaled"'
    tail -n +2 unscaled | jq -e 'select((.alpha | add) - 10 | fabs > 1)' | jq -s -e 'length == 12'
    rec to-json --header predictions/dirichlet.test.mp | head -n 1 | jq -e 'has("alphas") | not'
    dir-eval --json --seeds a=predictions/sweep/1.seed3.test.mp a=predictions/sweep/1.seed4.test.mp |
        jq -e --slurpfile table sweep/table.json '.sets[2].metrics.ece as $m | $table[0][0] | .alpha0 == "1" and .ece.mean == $m.value
            and .ece.deviation == $m.deviation and .ece.seeds == 2'
    grep -q '<h2>Fixed sums of alphas</h2>' report/index.html
    cd ..
    # What learns alpha0 is pulled to it.
    few run N_TRAIN=8 N_TEST=12 VALIDATION=8 EPOCHS=1 KEEP=all DIRICHLET_OPTIONS='--alpha0 learned --beta 2' --stop-stage epochs
    prior=$(jq .alpha0 run/students/dirichlet.lora.epochs/1/duq.json)
    pull=$(rec to-json run/epochs/dirichlet.1.train.mp | jq -s --argjson prior "$prior" '2 * (map((.alpha | add) - $prior | . * .) | add / length)')
    jq -e --argjson pull "$pull" '.[1].regulariser - $pull | fabs < 1e-9' run/epochs/table.json
}

@test "the adapter of another task says its own of it, as one that nobody knows the task of" {
    data=$BATS_TEST_DIRNAME/../data/lora/streams model=$BATS_TEST_DIRNAME/../data/engine/mistral-window
    lora-train --model "$model" --teacher "$data/teacher.mp" --loss dirichlet --lr 1e-3 --epochs 1 --rank 4 -o d.lora "$data/tokens.mp"
    lm-score --model "$model" --adapter d.lora --head dirichlet --other-task "$data/tokens-other-classes.mp" >there.mp
    cp -r d.lora unknown.lora
    rm unknown.lora/duq.json
    lm-score --model "$model" --adapter unknown.lora --head dirichlet "$data/tokens-other-classes.mp" | rec to-json |
        cmp - <(rec to-json there.mp)
    refuses 64 "--other-task goes with --adapter" lm-score --model "$model" --other-task "$data/tokens.mp"
    refuses 65 "--other-task asks the student about it all the same" \
        lm-score --model "$model" --adapter d.lora "$data/tokens-other-classes.mp"
}

@test "weights of another task are applied when asked to, but for those whose biases are of classes" {
    few run --stop-stage weights
    "$top/pipelines/run.sh" "$top/examples/yahoo" OUT=yahoo VALIDATION=4 DEVICE=cpu --stop-stage validation
    refuses 65 "run/weights.mp: fitted on scores with another 'task'" bpe-fit --apply run/weights.mp yahoo/scores/validation.mp
    bpe-fit --apply run/weights.mp --other-task -o there.mp yahoo/scores/validation.mp
    rec to-json --header there.mp | head -n 1 |
        jq -e '.task == "yahoo" and .made_for == {task: "sst2", classes: ["negative", "positive"]}'
    # The mixture of the prompts' probabilities under the weights.
    bpe-fit --uniform -o uniform.mp yahoo/scores/validation.mp
    bpe-fit --apply uniform.mp yahoo/scores/validation.mp | rec to-json | jq -c .members | cmp - <(rec to-json there.mp | jq -c .members)
    rec to-json run/weights.mp | jq -s 'map(.weight)' >weights
    rec to-json there.mp | jq -e --slurpfile w weights 'select([.members as $m | range(10) as $c
        | ([range(9) as $p | $m[10 * $p + $c] * $w[0][$p]] | add) - .probs[$c] | fabs < 1e-9] | all)' | jq -s -e 'length == 4'
    refuses 65 "have a bias for each class of their own task: --other-task takes weights without" \
        bpe-fit --apply run/calibrated/weights.mp --other-task yahoo/scores/validation.mp
    refuses 64 "--other-task goes with --apply" bpe-fit --other-task yahoo/scores/validation.mp
}
