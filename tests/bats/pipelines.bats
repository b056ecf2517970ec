# A data set's whole job (pipelines/), on the embedded model and few texts: what is made, what is made again
# and what is not, that how the work is spread changes no byte, and what is said to bad input. What becomes of
# a run that is interrupted is in pipelines-interrupted.bats.

load pipelines-fixture
load refuses
bats_require_minimum_version 1.5.0

setup_file() {
    cd "$BATS_FILE_TMPDIR" || exit 1
    whole base >base.said 2>&1 || { cat base.said; false; }
}

setup() {
    cd "$BATS_TEST_TMPDIR" || exit 1
    base=$BATS_FILE_TMPDIR/base
}

# A copy of the run in setup_file.
copy() {
    cp -a "$base" run
}

# remakes TARGETS COMMAND...: these targets, and no others.
remakes() {
    local expected=$1
    shift
    "$@" >out 2>said || { cat said; false; }
    diff <(printf '%s' "$expected" | tr -s ' \n' '\n' | grep . | sort) <(made said)
}

@test "a run leaves whole streams, adapters, a report and a manifest" {
    find "$base" -name '*.mp' -size +0 ! -path '*/.*' -exec rec check {} +
    for student in softmax dirichlet baseline edl; do
        [ -e "$base/students/$student.lora/adapter_config.json" ]
        [ "$(rec count -q "$base/predictions/$student.test.mp")" = 20 ]
    done
    [ "$(rec count -q "$base/scores/train.mp")" = $((24 * 9)) ]
    [ -z "$(find "$base" -name '*.part' -o -name '*.new' -o -name 'in.*')" ]
}

@test "the parts are those rows of the table, none of them in two parts" {
    table() { # FIRST NUMBER: ids of these rows, counted from 0
        tail -n +2 "$top/examples/data/sst2.csv" | cut -d, -f1 | tail -n +$(($1 + 1)) | head -n "$2"
    }
    ids() { rec to-json "$base/texts/$1.mp" | jq -r .id; }
    cmp <(ids train) <(table 0 24)
    cmp <(ids shots) <(table 1000 45)
    cmp <(ids validation) <(table 1045 16)
    cmp <(ids test) <(table 1061 20)
}

@test "the report begins with the run's figures in words, and shows which classes and texts are hard" {
    local page=$base/report/index.html accuracy interval
    accuracy() { jq --arg set "$1" '.metrics.sets[] | select(.name == $set).metrics.accuracy' "$base/report/report.json"; }
    grep -q "^<p>On 20 test texts the ensemble of 9 prompts was right about $(accuracy teacher | jq '.value * 100' |
        xargs printf %.1f)&#8239;%, with a calibration error (ECE) of 0\.[0-9]*; that takes 9 passes" "$page"
    grep -q "The Dirichlet student, which is asked once and without shots, was right about $(accuracy dirichlet |
        jq '.value * 100' | xargs printf %.1f)&#8239;%" "$page"
    interval='.metrics.sets | map({(.name): .metrics.accuracy}) | add | .teacher.low <= .dirichlet.high and .dirichlet.low <= .teacher.high'
    if [ "$(jq "$interval" "$base/report/report.json")" = true ]; then
        grep -q 'the 95&#8239;% intervals of the two overlap' "$page"
    else
        grep -q 'the 95&#8239;% intervals of the two do not overlap' "$page"
    fi
    # Of each set how often a class got an answer, by another way of counting.
    for set in teacher/test.mp predictions/edl.test.mp; do
        rec to-json "$base/$set" | jq -r '"\(.label) \(if .probs[1] > .probs[0] then 1 else 0 end)"' | sort | uniq -c |
            awk '{ print $2, $3, $1 }' >wanted
        name=${set%%[/]test.mp} name=${name#predictions/}
        jq -r --arg name "${name%.test.mp}" '.confusions[] | select(.name == $name).counts[] | "\(.class) \(.answer) \(.number)"' \
            "$base/report/report.json" | sort | diff wanted -
    done
    rec to-json "$base/predictions/dirichlet.test.mp" | jq -s -c 'sort_by(-.total) | .[:10] | map(.id)' |
        diff - <(jq -c '.uncertain.texts | map(.id)' "$base/report/report.json")
    grep -qF "$(rec to-json "$base/texts/test.mp" | jq -r --arg id "$(jq -r '.uncertain.texts[0].id' "$base/report/report.json")" \
        'select(.id == $id).text | @html')" "$page"
}

@test "the report says who is not shown to be better than always answering the largest class" {
    local root=$BATS_TEST_DIRNAME/../.. labels='.labels = [{class: 0, number: 5}, {class: 1, number: 15}]'
    page() { jq "$1" "$base/report/report.json" | jq -r -L "$root/pipelines/report" -f "$root/pipelines/report/report.jq"; }
    better() { echo "(.metrics.sets[] | select(.name == \"$1\").metrics.accuracy) |= {value: 0.9, low: 0.76, high: 1}"; }
    worse() { echo "(.metrics.sets[] | select(.name == \"$1\").metrics.accuracy) |= {value: 0.8, low: 0.75, high: 1}"; }
    page "$labels | $(better teacher) | $(worse dirichlet)" |
        grep -qF 'Always answering <q>positive</q> would be right about 75.0&#8239;%: the student is not shown to be better.'
    page "$labels | $(worse teacher) | $(better dirichlet)" | grep -qF '%: the ensemble is not shown to be better.'
    page "$labels | $(worse teacher) | $(worse dirichlet)" | grep -qF '%: neither of the two is shown to be better.'
    for changes in "$labels | $(better teacher) | $(better dirichlet)" '.labels = []'; do
        page "$changes" >page
        [ "$(grep -c 'Always answering' page)" = 0 ]
    done
}

@test "a metric is the best of its column only where its interval overlaps with no other" {
    page() { # SET:VALUE:LOW:HIGH...: of accuracies; null intervals where LOW is -
        jq -n --args '[$ARGS.positional[] | split(":") | {name: .[0], texts: 9, metrics: {accuracy: {value: (.[1] | tonumber),
            low: (.[2] | tonumber?), high: (.[3] | tonumber?)}, ece: {value: 0.1}}}]' "$@" >sets
        jq --slurpfile sets sets '.metrics.sets = $sets[0]' "$base/report/report.json" |
            jq -r -L "$top/pipelines/report" -f "$top/pipelines/report/report.jq" | grep -c 'td class=best' || true
    }
    [ "$(page teacher:0.9:0.85:0.95 dirichlet:0.8:0.75:0.84)" = 1 ]
    [ "$(page teacher:0.9:0.85:0.95 dirichlet:0.8:0.75:0.86)" = 0 ]
    [ "$(page teacher:0.9:0.85:0.95 dirichlet:0.9:0.85:0.95)" = 0 ]
    [ "$(page teacher:0.9:-:- dirichlet:0.8:-:-)" = 0 ]
}

@test "a terminal is told how many shards are done, how long the rest takes and where the report is" {
    wrap lm-score 'echo "$DUQ_RECORDS" >>"$folder/records"'
    script -qec "PROGRAMS=$PWD/bin bash -c '$(declare -f few); top=$top; few run SHARD=8 EPOCHS=1'" /dev/null </dev/null >said ||
        { cat said; false; }
    grep -q 'sst2: validation: 1 of 2 shards, [0-9]*:[0-9][0-9]:[0-9][0-9] left' said
    run ! grep -q ETA said
    # Sixteen texts to validate by in two shards, by nine prompts each; twenty to test in three, of students by one prompt.
    grep -qx 72 records
    grep -qx 7 records
    tr -d '\r' <said | tail -n 1 | grep -qx "sst2: the report: $(realpath run/report/index.html)"
}

@test "the report shows what dir-eval says of the streams, and what was left out" {
    cd "$base"
    dir-eval --json --members teacher=teacher/test.mp calibrated=calibrated/test.mp dirichlet=predictions/dirichlet.test.mp \
        edl=predictions/edl.test.mp >"$BATS_TEST_TMPDIR/eval"
    cd "$BATS_TEST_TMPDIR"
    jq -e '.sets[] | select(.name == "edl").metrics.mean_epistemic.value > 0' eval
    grep -q 'edl<small>evidential deep learning: labels alone, Dirichlet head</small>' "$base/report/index.html"
    for set in teacher calibrated dirichlet edl; do
        for metric in accuracy ece brier; do
            value=$(jq --arg set $set --arg m $metric '.sets[] | select(.name == $set).metrics[$m].value' eval)
            awk -F, -v set=$set -v metric=$metric -v value="$value" \
                '$1 == set && $2 == metric && $3 == "" { found = ($4 - value) ^ 2 < 1e-20 } END { exit !found }' \
                "$base/report/metrics.csv"
            grep -q "<td[^>]*>$(printf %.3f "$value")<small>" "$base/report/index.html"
        done
    done
    grep -q 'teacher/prompts' "$base/report/tables.txt"
    grep -q '<h3>against YouTube comments</h3>' "$base/report/index.html"
    for figure in $(grep -o 'src="[^"]*"' "$base/report/index.html" | cut -d'"' -f2); do
        [ -s "$base/report/$figure" ]
    done
    copy
    refuses 66 "OOD: there is no data set '$PWD/nowhere'" whole other --ood "$top/examples/youtube,./nowhere"
    own nowhere sst2
    sed -i 's/^DATA = .*/DATA = none/' nowhere/settings
    whole run --ood "$top/examples/youtube,./nowhere" 2>said
    grep -q "detection against nowhere is left out" said
    grep -q 'against nowhere was asked for and left out' run/report/index.html
    grep -q 'no detection against nowhere' run/report/tables.txt
}

@test "the same command again makes nothing, nor does a file that was only touched" {
    copy
    remakes '' whole run
    touch run/scores/test.mp run/texts/test.mp run/students/softmax.lora/adapter_config.json
    remakes '' whole run
    same_results run "$base"
}

@test "what was removed is made again, and what was made of it is found the same" {
    copy
    rm run/scores/test.mp run/detection/scores.youtube.mp run/texts/test.mp
    remakes 'texts/test.mp scores/test.mp detection/scores.youtube.mp' whole run
    rm run/{scores,teacher,calibrated}/test.mp run/detection/{texts,scores,teacher,calibrated}.youtube.mp
    remakes 'scores/test.mp teacher/test.mp calibrated/test.mp detection/texts.youtube.mp
        detection/scores.youtube.mp detection/teacher.youtube.mp detection/calibrated.youtube.mp' whole run
    diff -r "$base/report" run/report
}

students='students/softmax.lora/adapter_config.json students/dirichlet.lora/adapter_config.json
    students/baseline.lora/adapter_config.json students/edl.lora/adapter_config.json predictions/softmax.test.mp
    predictions/dirichlet.test.mp predictions/baseline.test.mp predictions/edl.test.mp'
detected='detection/softmax.youtube.mp detection/dirichlet.youtube.mp detection/baseline.youtube.mp detection/edl.youtube.mp
    detection/metrics.mp'

@test "pages of other programs are made anew, and nothing else" {
    copy
    cp -r "$top/pipelines" .
    echo '# another page' >>pipelines/report/epochs.sh
    own() { pipelines/run.sh "$top/examples/sst2" OUT="$1" N_TRAIN=24 N_TEST=20 VALIDATION=16 EPOCHS=1 BOOTSTRAP=20 \
        DEVICE=cpu --ood "$top/examples/youtube"; }
    remakes report/index.html own run
    remakes '' own run
}

@test "a changed setting remakes what depends on it, and nothing else" {
    copy
    remakes "$students evaluation/metrics.mp $detected report/index.html" whole run LR=2e-3
    options=(LR=2e-3 DIRICHLET_OPTIONS='--alpha0 fixed:8')
    remakes "students/dirichlet.lora/adapter_config.json predictions/dirichlet.test.mp evaluation/metrics.mp
        detection/dirichlet.youtube.mp detection/metrics.mp report/index.html" whole run "${options[@]}"
    options+=(EDL_OPTIONS='--edl-form log --edl-annealing 0')
    remakes "students/edl.lora/adapter_config.json predictions/edl.test.mp evaluation/metrics.mp
        detection/edl.youtube.mp detection/metrics.mp report/index.html" whole run "${options[@]}"
    jq -e '.training | .loss == "edl" and .edl_form == "log" and .edl_annealing == 0' run/students/edl.lora/duq.json
    remakes "evaluation/metrics.mp detection/metrics.mp report/index.html" whole run "${options[@]}" BOOTSTRAP=30
    remakes "calibrated/weights.mp calibrated/validation.mp calibrated/train.mp calibrated/test.mp detection/calibrated.youtube.mp
        evaluation/metrics.mp detection/metrics.mp report/index.html" whole run "${options[@]}" BOOTSTRAP=30 CALIBRATE=bias
    whole run
    same_results run "$base"
}

@test "students learn from the teacher that the settings name" {
    copy
    remakes "students/softmax.lora/adapter_config.json students/dirichlet.lora/adapter_config.json
        predictions/softmax.test.mp predictions/dirichlet.test.mp evaluation/metrics.mp
        detection/softmax.youtube.mp detection/dirichlet.youtube.mp detection/metrics.mp report/index.html" \
        whole run TEACHER=calibrated
    teacher=$(rec to-json --header run/calibrated/train.mp | head -n 1 | jq -c .weights)
    [ "$teacher" != "$(rec to-json --header run/teacher/train.mp | head -n 1 | jq -c .weights)" ]
    run ! cmp -s run/students/softmax.lora/adapter_model.safetensors "$base/students/softmax.lora/adapter_model.safetensors"
    cmp run/students/edl.lora/adapter_model.safetensors "$base/students/edl.lora/adapter_model.safetensors"
    lora-train --model "$top/examples/model" --teacher run/calibrated/train.mp --loss softmax --lr 1e-3 --epochs 1 \
        --device cpu -o here.lora run/students/train.tokens.mp
    cmp run/students/softmax.lora/adapter_model.safetensors here.lora/adapter_model.safetensors
    refuses 64 "TEACHER is one of teacher, calibrated, not 'both'" few run TEACHER=both
    refuses 64 "CALIBRATE is one of none, scale, bias, scale+bias, not 'biased'" few run CALIBRATE=biased
}

@test "more texts to test on leave teacher's weights and students as they are" {
    copy
    remakes "texts/train.plan texts/shots.plan texts/validation.plan texts/test.plan texts/test.mp scores/test.mp
        teacher/test.mp calibrated/test.mp predictions/untrained.test.mp predictions/softmax.test.mp predictions/dirichlet.test.mp
        predictions/baseline.test.mp predictions/edl.test.mp evaluation/metrics.mp report/index.html" few run N_TEST=22
}

@test "another model, or an edited task, remakes all that the model scores" {
    copy
    cp -r "$top/examples/model" other
    jq '.rms_norm_eps = 2e-5' "$top/examples/model/config.json" >other/config.json
    few run --dry-run MODEL=other >said
    grep -q '^validation: scores/validation.mp$' said
    grep -q '^report: report/index.html$' said
    run ! grep -q '^split:' said
    few run MODEL=other --stop-stage weights 2>said
    [ "$(made said | paste -sd' ')" = "calibrated/weights.mp scores/validation.mp weights.mp" ]
    # The same model by another name is no other model.
    copy_of_model=$PWD/again
    cp -r "$top/examples/model" "$copy_of_model"
    rm -rf run
    copy
    remakes '' whole run MODEL="$copy_of_model"
}

@test "texts that were fetched may be gone from where they were" {
    cp -r "$top/examples/data" data
    few run DATA="$PWD/data" --stop-stage split
    rm -r data
    few run DATA="$PWD/data" --only validation
    refuses 66 "$PWD/data: no such folder (DATA=)" few run DATA="$PWD/data" --stop-stage validation
}

@test "stages: from one, up to one, one alone" {
    run few run --stop-stage weights
    [ "$status" = 0 ]
    [ -e run/weights.mp ]
    [ ! -e run/scores/train.mp ]
    few run --only teacher 2>said
    [ "$(made said | paste -sd' ')" = "calibrated/test.mp calibrated/train.mp calibrated/validation.mp scores/test.mp scores/train.mp teacher/test.mp teacher/train.mp teacher/validation.mp" ]
    # A stage before the first one is taken as it is, even if settings are other ones now.
    few run ENTROPY_WEIGHT=0.5 --stage softmax --stop-stage softmax 2>said
    run ! grep -q weights.mp said
    refuses 2 "run/predictions/dirichlet.test.mp is not there: begin with an earlier stage" few run --stage evaluation
    refuses 64 "no stage 'dinner'" few run --only dinner
    refuses 64 "comes after" few run --stage report --stop-stage split
}

@test "what would be done is said, and not done" {
    few run --dry-run >said
    grep -q '^softmax: students/softmax.lora/adapter_config.json$' said
    [ ! -e run/texts ]
}

@test "predictions are the same bytes for any number of jobs and shards" {
    whole spread JOBS=3 SHARD=7
    same_results spread "$base"
    tries spread scores.train.mp | sort -k 3 | diff <(printf ': 0 %s\n' 0 1 2 3) -
    whole single JOBS=1 SHARD=1000
    same_results single "$base"
}

@test "each of several jobs has a GPU of its own" {
    wrap_together 'echo "$CUDA_VISIBLE_DEVICES $DUQ_THREADS" >>"$folder/seen"'
    echo 2 >slots
    (
        unset DUQ_THREADS CUDA_VISIBLE_DEVICES
        PROGRAMS=$PWD/bin few run GPUS=3,5 SHARD=4 --stop-stage validation
    )
    [ "$(cut -d' ' -f1 seen | sort | uniq -c | tr -s ' ' | paste -sd,)" = " 1 , 1 3, 1 5" ] || { cat seen; false; }
    # Those side by side divide the processors.
    half=$(($(nproc) / 2))
    [ "$(grep '^[35]' seen | cut -d' ' -f2 | sort -u)" = $((half > 0 ? half : 1)) ] || { cat seen; false; }
}

@test "no setting, of whoever's data set or manifest, is a command" {
    # Words of every kind of shell, where a text is taken.
    local harm='auto$(touch ${PWD}/harm)`touch harm`;touch harm|touch harm&'
    for key in COMPUTE DEVICE LABEL; do
        run few run --stop-stage validation "$key=$harm"
        [ "$status" -ne 0 ]
        [[ $output == *"touch"* ]]
    done
    jq --arg harm "$harm" --arg dataset "$top/examples/sst2" \
        '.dataset = $dataset | .settings += {LABEL: $harm, LAUNCH: "touch harm", SSH: "touch harm"}' "$base/manifest.json" >man.json
    run "$top/pipelines/run.sh" --from-manifest man.json OUT=again --stop-stage validation
    [ "$status" -ne 0 ]
    run "$top/pipelines/run.sh" --from-manifest man.json --settings
    [[ $output == *$'\nSSH = ssh\n'* && $output == *$'\nLAUNCH = \n'* ]]
    # Nor does it write elsewhere, by whatever spelling of an option.
    while IFS=: read -r given text; do
        refuses 64 "$text" few run --dry-run "DIRICHLET_OPTIONS=$given"
    done <<'END'
--log mine:DIRICHLET_OPTIONS: --log names a file, and a run's files are its own
--output=mine:DIRICHLET_OPTIONS: --output names a file
--beta 2 -o mine:DIRICHLET_OPTIONS: -o names a file
--outp mine:DIRICHLET_OPTIONS: '--outp' is not an option of lora-train, spelt in full
-omine:DIRICHLET_OPTIONS: '-omine' is not an option
--beta 2 other.mp:DIRICHLET_OPTIONS: 'other.mp' is not an option
=x:DIRICHLET_OPTIONS: '=x' is not an option
-- other.mp:DIRICHLET_OPTIONS: '--' is not an option
--shuffle=yes:DIRICHLET_OPTIONS: --shuffle takes no value
--shuffle --beta:DIRICHLET_OPTIONS: --beta is without its value
END
    few run --dry-run 'DIRICHLET_OPTIONS=-v --shuffle --beta=2 --alpha0 learned'
    # Numbers that go into arithmetic, or into rules for make.
    run few run --dry-run KEEP=all 'TRAIN_OPTIONS=--epochs a[$(touch${IFS}harm)]'
    [ "$status" -eq 64 ]
    [[ $output == *"(EPOCHS, --epochs): say a whole number"* ]]
    for key in SWEEP_ALPHAS SWEEP_SEEDS; do
        run few run --dry-run SWEEP=yes "$key=1 \$(shell touch harm)"
        [ "$status" -eq 64 ]
        [[ $output == *"$key is a number of 0 or more, or several"* ]]
    done
    cp -r "$top/examples/sst2" set
    echo 'LAUNCH = touch harm' >>set/settings
    run "$top/pipelines/run.sh" ./set OUT=run --settings
    [ "$status" -eq 65 ]
    [[ $output == *"LAUNCH is a command, which the command line alone may say"* ]]
    [ -z "$(find . "$top" -maxdepth 3 -name harm)" ]
}

@test "a manifest that is none is refused" {
    for none in '{"dataset": "sst2"}' '{"dataset": "sst2", "settings": []}' '{"settings": {}}' '[]' ''; do
        echo "$none" >none.json
        refuses 65 'none.json: not a manifest of a run' "$top/pipelines/run.sh" --from-manifest none.json OUT=run
    done
    [ ! -e run ]
}

@test "the manifest says what was run, and runs it again" {
    jq -e '.settings.N_TRAIN == "24" and .seeds.training == "0" and .host.processors > 0' "$base/manifest.json"
    jq -e --arg digest "$(lm-score --model "$top/examples/model" --digest)" '.model.digest == $digest' "$base/manifest.json"
    jq -e --arg sum "sha256:$(sha256sum <"$top/examples/data/sst2.csv" | cut -d' ' -f1)" \
        '.data["train sst2.csv"] == $sum' "$base/manifest.json"
    jq -e '.commands["teacher/test.mp"] | any(startswith("lm-score --model model")) and any(startswith("bpe-fit --apply"))' \
        "$base/manifest.json"
    # Of streams that are longer than a pipe as well.
    copy
    for i in $(seq 60); do cat "$base/teacher/test.mp"; done >run/teacher/test.mp
    (cd run && NAME=sst2 DATASET=sst2 OUT=run OTHERS='' PIPELINES=$top/pipelines "$top/pipelines/report/manifest.sh") >manifest
    (cd run && ls weights.mp teacher/*.mp calibrated/*.mp predictions/*.mp detection/*.mp) | grep -v 'texts\|metrics' >files
    jq -r '.commands | keys[]' manifest | diff <(sort files) -
    rm -rf run
    jq -e '.commands["predictions/dirichlet.test.mp"] | any(startswith("lm-score ") and contains("--head dirichlet"))' \
        "$base/manifest.json"
    jq -e '.seconds.softmax.seconds > 0 and .seconds.report.targets["report/index.html"].seconds > 0' "$base/manifest.json"
    (cd "$base" && jq -r '.outputs | to_entries[] | "\(.value | ltrimstr("sha256:"))  \(.key)"' manifest.json | sha256sum -c --quiet)
    "$top/pipelines/run.sh" --from-manifest "$base/manifest.json" OUT=run 2>said
    run ! grep -q 'another one' said
    same_results run "$base"
    cmp <(jq .outputs "$base/manifest.json") <(jq .outputs run/manifest.json)
    # The command that it prints, and a model that is another one now.
    eval "$(jq -r .repeat "$base/manifest.json") OUT=again --stop-stage weights"
    cmp again/weights.mp "$base/weights.mp"
    cp -r "$top/examples/model" other
    jq '.rms_norm_eps = 2e-5' "$top/examples/model/config.json" >other/config.json
    "$top/pipelines/run.sh" --from-manifest "$base/manifest.json" OUT=third MODEL=other --stop-stage validation 2>said
    grep -q 'the model is another one now' said
}

@test "texts are fetched from their source, and held against their checksum" {
    mkdir -p source/SST-2 && cd source
    rec from-csv --text sentence --label label "$top/examples/data/sst2.csv" | rec to-json |
        jq -r '[.text, .label] | @tsv' >rows
    { echo $'sentence\tlabel'; head -n 300 rows; } >SST-2/train.tsv
    { echo $'sentence\tlabel'; tail -n 40 rows; } >SST-2/dev.tsv
    tar -czf archive.tgz SST-2
    cd ..
    archive=$PWD/source/archive.tgz
    sum=$(sha256sum <"$archive" | cut -d' ' -f1)
    fetched() { "$top/pipelines/sst2.sh" OUT=run SOURCE="file://$archive" TRAIN=200 VALIDATION=20 TEST=30 --stop-stage split "$@"; }
    # The first half is there from a fetch that was interrupted.
    mkdir -p run/data
    head -c 2000 "$archive" >run/data/archive.tgz.part
    fetched CHECKSUM="sha256:$sum"
    cmp run/data/archive.tgz "$archive"
    [ "$(cut -d' ' -f1 run/data/files | paste -sd' ')" = \
        "$(cat source/SST-2/train.tsv | sha256sum | cut -d' ' -f1) $(sha256sum <source/SST-2/dev.tsv | cut -d' ' -f1) $sum" ]
    [ "$(rec count -q run/texts/test.mp)" = 30 ]
    # The folder may be moved, and another source is another archive, by whatever name.
    mv run moved
    fetched OUT=moved CHECKSUM="sha256:$sum" TRAIN=190
    mkdir other
    { echo $'sentence\tlabel'; tail -n 280 source/rows; } >source/SST-2/train.tsv
    tar -C source -czf other/archive.tgz SST-2
    fetched OUT=moved CHECKSUM= TRAIN=190 SOURCE="file://$PWD/other/archive.tgz"
    grep -q "^$(sha256sum <other/archive.tgz | cut -d' ' -f1)  archive file://$PWD/other/" moved/data/files
    rm -rf run
    refuses 2 "does not have its checksum" fetched CHECKSUM="sha256:${sum//[0-4]/7}"
    [ ! -e run/data/files ]
    refuses 2 "cannot be fetched from here. Fetch it elsewhere, and give DATA=FOLDER with train.csv or train.tsv, test.csv or dev.tsv" \
        fetched SOURCE="file://$PWD/nowhere.tgz"
}

@test "settings say what they take" {
    refuses 64 "there is no setting LEARNING_RATE" few run LEARNING_RATE=1
    refuses 64 "N_TRAIN is a number of 1 or more, not 'many'" few run N_TRAIN=many
    refuses 64 "TRAIN is a number of 1 or more, or several, not 'most'" few run TRAIN=most
    refuses 65 "there is no TEST, neither here nor in " few run TEST=
    refuses 64 "which data set?" "$top/pipelines/run.sh"
    # Before anything is done: what programs would refuse after hours of others.
    while IFS=';' read -r wrong said; do
        refuses 64 "$said" few run MODEL="$top/examples/model" "$wrong"
    done <<'END'
SEED=abc;SEED is a number of 0 or more, not 'abc'
SEED=010;SEED is a number of 0 or more, not '010'
SHUFFLE=-1;SHUFFLE is a number of 0 or more, not '-1'
N_TEST=9999999999999999;N_TEST is a number of 1 or more
BOOTSTRAP=5;BOOTSTRAP is a number of 20 or more, not '5'
LR=fast;LR is a number above 0, not 'fast'
EPOCHS=0.0e1;EPOCHS is a number above 0, not '0.0e1'
DROPOUT=1;DROPOUT is a number below 1, not '1'
ENTROPY_WEIGHT=-1;ENTROPY_WEIGHT is a number of 0 or more, not '-1'
BATCH=;BATCH is empty
DEVICE=gpu;DEVICE is auto, cpu, cuda or cuda:N, not 'gpu'
OBJECTIVE=newest;OBJECTIVE is one of paper, published, not 'newest'
GPUS=0 1;GPUS are numbers of GPUs with commas between, not '0 1'
GPUS=0,,1;GPUS are numbers of GPUs
SWEEP_SEEDS=0 0.5;SWEEP_SEEDS is a number of 0 or more, or several, not '0 0.5'
SWEEP_ALPHAS=1 0.1.2;SWEEP_ALPHAS is a number of 0 or more, or several, not '1 0.1.2'
TRAIN=5 0;TRAIN is a number of 1 or more, or several, not '5 0'
SWEEP_SEEDS=3 4 3;SWEEP_SEEDS: the same number twice is no other student
OUT=~nobody/run;OUT: '~nobody/run' is not followed
SHOTS=44;SHOTS=44 is too few: the prompts of all instructions of
LABELS=0,1 | positive,negative;LABELS: positive stands for class 0, and is the name of class 1
END
    refuses 64 "TEXT has a line break or another control character in it" few run TEXT=$'{sentence}\nor not'
    for option in --patience=1 '--validate-every 3'; do
        refuses 64 "KEEP=all measures every epoch, and ${option%%[= ]*} in SOFTMAX_OPTIONS would leave some out" \
            few run KEEP=all SOFTMAX_OPTIONS="$option"
    done
    refuses 66 "/: cannot be read (HOSTS=)" few run MODEL="$top/examples/model" HOSTS=/
    for option in --stage --stop-stage --only --cut; do
        refuses 64 "$option is empty" few run MODEL="$top/examples/model" "$option" ''
    done
    HOME=$PWD/home "$top/pipelines/run.sh" sst2 'OUT=~/runs/it' OOD='~/set' --settings >shown
    grep -qx "OUT = $PWD/home/runs/it" shown
    grep -qx "OOD = $PWD/home/set" shown
    # A comma that belongs to a name.
    jq '.classes = ["harsh, or so", "kind"]' "$top/examples/sst2/task.json" >commas.json
    refuses 64 'LABELS: kind stands for class 0' few run MODEL="$top/examples/model" TASK=commas.json 'LABELS=kind,harsh\, or so'
    refuses 64 'SHOTS=1 is too few' few run MODEL="$top/examples/model" TASK=commas.json SHOTS=1 'LABELS=harsh\, or so,kind'
    [ ! -e run ]
    refuses 66 "there is no data set 'imdb'" "$top/pipelines/run.sh" imdb
    mkdir set
    cp "$top/examples/sst2/task.json" set
    echo 'TRAIN 1000' >set/settings
    refuses 65 "set/settings:1: not a line KEY = value" "$top/pipelines/run.sh" ./set
    # What a setting may be is said in pipelines/settings alone.
    echo 'TRAIN [number] = 1000' >set/settings
    refuses 65 "set/settings:1: not a line KEY = value" "$top/pipelines/run.sh" ./set
    "$top/pipelines/sst2.sh" --settings N_TRAIN=7 >shown
    grep -qx 'N_TRAIN = 7' shown
    grep -qx 'LR = 1e-5' shown
    [ ! -e runs ]
}

@test "no shell reads a number of a manifest or of a data set's settings" {
    for key in SEED SHUFFLE SEEDS SHOTS CHECKPOINT_EVERY EPOCHS; do
        jq -n --arg set "$(realpath "$top/examples/sst2")" --arg key $key \
            '{dataset: $set, version: "x", settings: ({SEEDS: "2", KEEP: "all"} + {($key): "BASH_VERSINFO[$(touch read)0]"})}' >manifest.json
        refuses 64 "manifest.json: $key is a number" "$top/pipelines/run.sh" --from-manifest manifest.json OUT=run --dry-run
    done
    [ ! -e read ]
}

@test "a task without shots is asked without" {
    own set sst2
    jq '.shots = 0 | .instructions |= .[:2]' set/task.json >task.json
    mv task.json set
    "$top/pipelines/run.sh" ./set OUT=run N_TRAIN=8 N_TEST=8 VALIDATION=6 SHOTS=0 DEVICE=cpu --stop-stage weights
    rec to-json --header run/scores/validation.mp | jq -se '.[0].made | any(.program == "prompt-expand" and (.arguments | contains("--zero-shot")))'
    [ "$(rec count -q run/scores/validation.mp)" = 12 ]
}

@test "sets with other numbers of instructions are asked by the common ones alone" {
    own more/youtube youtube
    jq '.instructions |= .[:2]' more/youtube/task.json >task.json
    mv task.json more/youtube
    for how in own both; do
        refuses 64 "DETECTION=$how: youtube has 2 instructions, and the weights are of 9 here" \
            few run OOD="$PWD/more/youtube" DETECTION=$how --dry-run
    done
    few run OOD="$PWD/more/youtube" --dry-run
}

@test "what is in the environment for other purposes changes nothing" {
    echo 'echo from BASH_ENV; cd /' >rc
    printf '%s\n' 'report: ; false' >makefile
    ln -s "$(realpath "$top")" tree
    (
        cd tree
        export MODEL=/none DATA=/none OUT=/none JOBS=many TEXT=none CDPATH=.:tests:/ BASH_ENV=$BATS_TEST_TMPDIR/rc \
            OMP_NUM_THREADS=7 TAR_OPTIONS=-v POSIXLY_CORRECT=1 MAKEFLAGS=n GNUMAKEFLAGS=-n MAKEFILES=$BATS_TEST_TMPDIR/makefile \
            PARALLEL_SHELL=/bin/false PARALLEL=--dry-run GREP_OPTIONS=--color=always LC_ALL=de_DE
        unset HOME SHELL
        top=. whole "$BATS_TEST_TMPDIR/run" --ood "$top/examples/youtube"
    )
    same_results run "$base"
}

@test "a tree, a run, a model and texts may have names that a shell or make would read otherwise" {
    mkdir "it's \$0 {}"
    cd "it's \$0 {}"
    cp -r "$top/pipelines" "$top/examples" .
    mv examples/data "examples/da \"ta"
    mv examples/model "examples/mo'del"
    top=. few "./-run #1" MODEL="examples/mo'del" DATA="examples/da \"ta" --stop-stage weights
    cmp "./-run #1/weights.mp" "$base/weights.mp"
    jq -r .repeat "./-run #1/manifest.json" >repeat
    rm -r "./-run #1"
    eval "$(cat repeat) --out=-again --stop-stage weights"
    cmp ./-again/weights.mp "$base/weights.mp"
}

# A data set of one's own with a copy of an example's texts: own NAME EXAMPLE
own() {
    mkdir -p "$1"
    cp "$top/examples/$2/task.json" "$1"
    cp "$top/examples/data/$2.csv" "$1"
    sed "s|^DATA = .*|DATA = .|; s|\.\./|$(realpath "$top")/examples/|" "$top/examples/$2/settings" >"$1/settings"
}

@test "another set's texts are where its own settings say, and it is where the settings that name it say" {
    own set sst2
    own more/youtube youtube
    echo 'OOD = ../more/youtube' >>set/settings
    ( # elsewhere
        mkdir there && cd there
        "$top/pipelines/run.sh" ../set OUT=../run N_TRAIN=24 N_TEST=20 VALIDATION=16 DEVICE=cpu --stage detection \
            --dry-run >../said 2>&1 || { cat ../said; false; }
    )
    run ! grep 'left out' said
    [ "$(cat run/.settings/others)" = "youtube " ]
    # One that gives none has those of this set.
    sed -i '/^DATA/d' more/youtube/settings
    mv more/youtube/youtube.csv set
    "$top/pipelines/run.sh" ./set OUT=run DEVICE=cpu --stage detection --dry-run >said 2>&1
    [ "$(cat run/.settings/others)" = "youtube " ]
}

@test "published figures that are another now are shown" {
    own sst2 sst2
    mine() { "$top/pipelines/run.sh" ./sst2 OUT=run N_TRAIN=8 N_TEST=8 VALIDATION=6 EPOCHS=1 BOOTSTRAP=20 DEVICE=cpu; }
    mine
    echo '{"sets": {"softmax": {"macro_f1": 0.959, "ece": 0.019}}}' >sst2/published.json
    remakes report/index.html mine
    grep -q 'class=published' run/report/index.html
    grep -Eq '^softmax +0\.959   0\.019 *$' run/report/tables.txt
    rm sst2/published.json
    remakes report/index.html mine
    run ! grep 'class=published' run/report/index.html
    remakes '' mine
}

@test "sets of one name, or with a name for no file, are refused; one that another run is at work on ends the run" {
    own set/youtube youtube
    refuses 64 "OOD: there are two sets called youtube" few run OOD="./set/youtube $top/examples/youtube"
    refuses 64 "OOD: a folder's name has letters" few run OOD='./set/you:tube'
    mkdir -p run/others/youtube
    (
        exec 9>run/others/youtube/.lock
        flock 9
        refuses 75 "is at work there" whole run 9>&-
    )
}

@test "what is left of another run is waited for" {
    mkdir run
    (flock 9 && touch held && sleep 1) 9>run/.lock &
    until [ -e held ]; do sleep 0.05; done
    few run --stop-stage split
    wait
}

@test "what an older version left in a run's folder, and a long history, do no harm" {
    copy
    echo 3 >run/.settings/FORMER
    for i in $(seq 4000); do
        printf 'report\treport/index.html\t2026-01-01T00:00:00Z\t%s.5\n' "$i"
    done | cat - run/log/times.tsv >times
    mv times run/log/times.tsv
    remakes '' whole run
    cmp <(jq .settings "$base/manifest.json") <(jq '.settings | .OUT = null | del(.OUT)' run/manifest.json)
    cmp <(jq .seconds.report "$base/manifest.json") <(jq .seconds.report run/manifest.json)
}

@test "a model of links, as Hugging Face keeps them, is known by its tokenizer, too" {
    copy
    mkdir blobs snapshot
    cp "$top/examples/model"/* blobs
    ln -s "$PWD"/blobs/* snapshot
    whole run MODEL=snapshot --dry-run >/dev/null
    cmp run/.settings/model "$base/.settings/model"
    jq . blobs/tokenizer.json >t && mv t blobs/tokenizer.json
    whole run MODEL=snapshot --dry-run >/dev/null
    run ! cmp -s run/.settings/model "$base/.settings/model"
}

@test "a folder that is another's is not taken for a run's" {
    mkdir -p run/model
    refuses 73 "run/model: is not a link that an earlier run made" few run
    [ -z "$(ls run/model)" ]
}

@test "many files are read in their order, and an archive may be called as they are" {
    own set sst2
    mkdir train
    local i files=
    for i in $(seq 12); do
        { head -n 1 set/sst2.csv; sed -n $((i + 1))p set/sst2.csv; } >"train/part$i.csv"
        files+=" part$i.csv"
    done
    tar -czf train.tar.gz train
    rm set/sst2.csv
    sed -i "/^DATA/d; s|^TRAIN_FILES.*|TRAIN_FILES =$files|" set/settings
    own() {
        "$top/pipelines/run.sh" ./set OUT=run SOURCE="file://$PWD/train.tar.gz" TRAIN=8 SHOTS=1 VALIDATION=1 TEST=2 \
            --stop-stage split
    }
    own
    rec to-json run/texts/rows.mp | jq -r .id | cmp - <(seq 0 11)
    # Found there, and not removed with the tables.
    mv train.tar.gz gone.tar.gz
    rm run/data/files
    own
    head -c 100 gone.tar.gz >run/data/train.tar.gz
    rm run/data/files
    refuses 2 "cannot be unpacked: if it did not come whole, remove $PWD/run/data/train.tar.gz" own
}

@test "make hands settings on, and nothing else" {
    make -n -C "$top" yahoo MODEL=/m 'TEXT={2} {3}' OOD=sst2,amazon DESTDIR=/d OUT="it's" >said
    [ "$(grep -o 'pipelines/yahoo.sh.*' said | tr -s ' ' | sed 's/ $//')" = \
        "pipelines/yahoo.sh 'MODEL=/m' 'OOD=sst2,amazon' 'OUT=it'\\''s' 'TEXT={2} {3}'" ] || { cat said; false; }
    # What is no setting gets there too, and is refused.
    make -n -C "$top" sst2 EPOCH=1 >said
    grep -q "pipelines/sst2.sh 'EPOCH=1'" said
    refuses 64 "command line: there is no setting EPOCH" "$top/pipelines/sst2.sh" EPOCH=1
    for set in amazon sst2 yahoo youtube; do
        "$top/pipelines/$set.sh" --settings >shown
        grep -qx "OUT = $PWD/runs/$set" shown
        grep -Eqx 'SOURCE = https://.*' shown
    done
}

@test "make runs a data set in a folder that it is given, which says what is missing there" {
    own "$PWD/own" sst2
    make -n -C "$top" "$PWD/own" examples/sst2 MODEL=/m >said
    grep -q "pipelines/run.sh $PWD/own 'MODEL=/m'" said
    grep -q "pipelines/run.sh examples/sst2 'MODEL=/m'" said
    mkdir bare
    make -n -C "$top" "$PWD/bare" >said
    grep -q "pipelines/run.sh $PWD/bare" said
    refuses 66 "bare/settings cannot be read" "$top/pipelines/run.sh" ./bare
    mkdir bare/settings
    refuses 66 "bare/settings cannot be read" "$top/pipelines/run.sh" ./bare
    # As it was given, not as make would read it.
    make -n -C "$top" sst2 'DATA=/d $b #c' >said
    grep -qF "pipelines/sst2.sh 'DATA=/d \$b #c'" said
}

# A copy of pipelines/ beside all else that there is here, with a data set films in it.
with_films() {
    mkdir tree
    ln -s "$(realpath "$top")"/* tree
    rm tree/pipelines
    cp -r "$top/pipelines" tree
    own tree/pipelines/films sst2
}

@test "a folder put into pipelines/ is a data set: to make, to --help and to a run" {
    with_films
    make -C tree help >said
    grep -q '^make NAME .*(amazon films sst2 yahoo youtube)' said
    tree/pipelines/run.sh --help >said
    grep -q '^DATASET is amazon, films, sst2, yahoo, youtube, or a folder' said
    make -n -C tree films OUT="$PWD/run" N_TRAIN=8 VALIDATION=6 >said
    grep -q 'pipelines/run.sh films ' said
    (cd tree && eval "$(grep 'pipelines/run.sh films ' ../said) --stop-stage weights")
    [ "$(rec count -q run/texts/train.mp)" = 8 ]
    [ "$(rec count -q run/weights.mp)" = 9 ]
    jq -e '.dataset == "films"' run/manifest.json
}

@test "a recipe's stages are those that its script names, whoever runs it" {
    with_films
    {
        sed '/^stage /,$d' tree/pipelines/sst2.sh
        printf 'stage %s\n' fetch split validation weights teacher dirichlet evaluation report
        echo 'run_recipe films "$@"'
    } >tree/pipelines/films.sh
    chmod +x tree/pipelines/films.sh
    films() { "$films" "$@" N_TRAIN=8 N_TEST=8 VALIDATION=6 EPOCHS=1 BOOTSTRAP=20 DEVICE=cpu; }
    films=tree/pipelines/films.sh
    films --stages >said
    printf '%s\n' fetch split $'validation\tcut' weights $'teacher\tcut' dirichlet evaluation report | cmp - said
    tree/pipelines/run.sh films --stages | cmp - said
    refuses 64 "there is no stage 'softmax'; they are fetch split validation weights teacher dirichlet evaluation report" \
        films --only softmax
    films OUT=run
    jq -e '[.metrics.sets[].name] == ["untrained", "teacher", "teacher/prompts", "calibrated", "calibrated/prompts", "dirichlet"]' run/report/report.json
    [ "$(cd run/students && echo *.lora)" = dirichlet.lora ]
    [ ! -e run/detection ]
    tree/pipelines/run.sh --from-manifest run/manifest.json OUT=run 2>said
    [ "$(cat said)" = "films: the report: $PWD/run/report/index.html" ]
    # The teacher alone.
    sed -i '/^stage dirichlet/d' tree/pipelines/films.sh
    films OUT=alone
    jq -e '.students == [] and .held_out == null and .uncertain.of == "teacher"' alone/report/report.json
    sed -i 's/^stage teacher/&s/' tree/pipelines/films.sh
    refuses 70 "names a stage that recipes.sh has not: teachers" films OUT=run
}

@test "stages are listed, with those that may be cut" {
    "$top/pipelines/run.sh" amazon --stages >said
    "$top/pipelines/run.sh" amazon --help | sed -n 's/^stages: //p' | tr ' ' '\n' | diff <(cut -f 1 said) -
    [ "$(sed -n 's/\tcut$//p' said | paste -sd' ')" = "validation teacher detection" ]
    # There is no other set.
    "$top/pipelines/sst2.sh" --stages >said
    [ "$(sed -n 's/\tcut$//p' said | paste -sd' ')" = "validation teacher" ]
    # All four have the same ones.
    for set in sst2 yahoo youtube; do
        "$top/pipelines/$set.sh" --stages OOD=amazon | diff <("$top/pipelines/amazon.sh" --stages) -
    done
    refuses 64 "no shards are cut in stage split" few run --cut split
}

@test "no model, or one that is none, ends a run before it begins" {
    refuses 64 "which model?" "$top/pipelines/sst2.sh" OUT=run
    refuses 66 "nowhere/config.json: No such file" few run MODEL=nowhere
    mkdir broken
    refuses 66 "broken" few run MODEL=broken
    [ ! -e run ]
    cp -r "$top/examples/model" broken/model
    head -c 1000 "$top/examples/model/model.safetensors" >broken/model/model.safetensors
    refuses 65 "model.safetensors" few run MODEL=broken/model
}

@test "texts that are missing, or too few, are told with what to do" {
    refuses 66 "no such folder (DATA=)" few run DATA=nowhere
    mkdir empty
    refuses 66 "there is no sst2.csv in" few run DATA=empty
    refuses 66 "The official source is https://dl.fbaipublicfiles.com/glue/data/SST-2.zip. DATA=FOLDER says" \
        "$top/pipelines/sst2.sh" OUT=run DATA=empty MODEL="$top/examples/model"
    refuses 2 "the texts are too few: 1645 rows for 1600 (TRAIN) + 45 (SHOTS) + 16 (VALIDATION) + 500 (TEST)" few run TRAIN=1600
    refuses 2 "the texts are too few: 1001 (N_TRAIN) of 1000 (TRAIN)" few run N_TRAIN=1001
    refuses 2 "the texts are too few: 501 (N_TEST) of 500 (TEST)" few run N_TEST=501
    few fits TRAIN='1600 900' --stop-stage split
    [ "$(cat fits/texts/shots.plan)" = "texts/rows.mp 900 45" ]
}

@test "bad input ends a shard at once, with the program's own words" {
    copy
    head -c 1000 run/texts/test.mp >half && mv half run/texts/test.mp
    refuses 2 "texts/test.mp" few run --stage teacher
    rm -rf run
    jq '.instructions[0] = 3' "$top/examples/sst2/task.json" >task.json
    mkdir set
    cp task.json set
    sed "s|\.\./|$top/examples/|" "$top/examples/sst2/settings" >set/settings
    refuses 65 "prompt-expand: $PWD/set/task.json: key 'instructions', entry 0 is not a string" "$top/pipelines/run.sh" ./set OUT=run
    [ ! -e run ]
}
