# A data set's whole job (pipelines/), on the embedded model and few texts: what is made, what is made again
# and what is not, and that how the work is spread changes no byte.

bats_require_minimum_version 1.5.0

setup_file() {
    cd "$BATS_FILE_TMPDIR" || exit 1
    local top=$BATS_TEST_DIRNAME/../..
    export TOP=$top OMP_NUM_THREADS=1
    whole base >base.said 2>&1 || { cat base.said; false; }
}

setup() {
    cd "$BATS_TEST_TMPDIR" || exit 1
    base=$BATS_FILE_TMPDIR/base
}

# few OUT [OPTION]...: a run on few texts.
few() {
    local out=$1
    shift
    "$TOP/pipelines/run.sh" "$TOP/examples/sst2" OUT="$out" N_TRAIN=24 N_TEST=20 VALIDATION=16 EPOCHS=1 BOOTSTRAP=20 DEVICE=cpu "$@"
}

whole() {
    few "$1" --ood "$TOP/examples/youtube" "${@:2}"
}

# A copy of the run in setup_file.
copy() {
    cp -a "$base" run
}

# remakes WORDS COMMAND...: it makes these targets, and no others.
remakes() {
    local expected=$1
    shift
    run -0 --separate-stderr "$@"
    diff <(tr ' ' '\n' <<<"$expected" | grep . | sort) <(sed -n 's/^sst2: [a-z]*: //p' <<<"$stderr" | sort)
}

fails() { # STATUS TEXT COMMAND...
    local wanted=$1 text=$2
    shift 2
    run "$@"
    echo "status $status: $output"
    [ "$status" -eq "$wanted" ] && [[ $output == *"$text"* ]]
}

@test "a run leaves whole streams, adapters, a report and a manifest" {
    find "$base" -name '*.mp' -size +0 ! -path '*/.*' -exec rec check {} +
    for student in softmax dirichlet baseline; do
        [ -e "$base/students/$student.lora/adapter_config.json" ]
        [ "$(rec count -q "$base/predictions/$student.test.mp")" = 20 ]
    done
    [ "$(rec count -q "$base/scores/train.mp")" = $((24 * 9)) ]
    grep -q 'teacher/prompts' "$base/report/tables.txt"
    grep -q '<h3>against YouTube comments</h3>' "$base/report/index.html"
    jq -e '.settings.N_TRAIN == "24" and .model.digest == $digest' --arg digest \
        "$(lm-score --model "$TOP/examples/model" --digest)" "$base/manifest.json"
    [ -z "$(find "$base" -name '*.part' -o -name '*.new' -o -name 'in.*')" ]
}

@test "the same command again makes nothing" {
    copy
    remakes '' whole run
    diff -r "$base/report" run/report
}

students='students/softmax.lora/adapter_config.json students/dirichlet.lora/adapter_config.json
    students/baseline.lora/adapter_config.json predictions/softmax.test.mp predictions/dirichlet.test.mp
    predictions/baseline.test.mp'
detected='detection/softmax.youtube.mp detection/dirichlet.youtube.mp detection/baseline.youtube.mp detection/metrics.mp'

@test "a changed setting remakes what depends on it, and nothing else" {
    copy
    remakes "$(echo $students evaluation/metrics.mp $detected report/index.html)" whole run LR=2e-3
    remakes "students/dirichlet.lora/adapter_config.json predictions/dirichlet.test.mp evaluation/metrics.mp
        detection/dirichlet.youtube.mp detection/metrics.mp report/index.html" \
        whole run LR=2e-3 DIRICHLET_OPTIONS='--alpha0 fixed:8'
    remakes "report/index.html evaluation/metrics.mp detection/metrics.mp" whole run LR=2e-3 \
        DIRICHLET_OPTIONS='--alpha0 fixed:8' BOOTSTRAP=30
}

@test "predictions are the same bytes for any number of jobs and shards" {
    whole spread JOBS=3 SHARD=7
    whole single JOBS=1 SHARD=1000
    (cd "$base" && find scores teacher predictions detection students -name '*.mp' -o -name '*.safetensors') >files
    [ "$(wc -l <files)" -gt 20 ]
    while read -r file; do
        cmp "spread/$file" "$base/$file"
        cmp "single/$file" "$base/$file"
    done <files
    diff -r spread/report "$base/report"
    [ "$(grep -c shard.sh spread/log/jobs.scores.train.mp.tsv)" = 4 ]
}
