# What a report makes of data sets that are not like the four: many classes, texts without a label, published figures that
# somebody else wrote, no students.

load pipelines-fixture
load refuses
bats_require_minimum_version 1.5.0

setup() {
    cd "$BATS_TEST_TMPDIR" || exit 1
}

# In ./set a data set of so many classes, a, b ..., of which a row each, again and again, one of them without a label.
with_classes() { # CLASSES ROWS-TO-TEST-ON
    local i
    mkdir set
    jq -n --argjson classes "$1" '{name: "set", classes: [range($classes) | if . < 26 then 97 + . else 39 + . end | [.] | implode], instructions: ["which?", "say which:"],
        content: "{text} is ", shots: 0}' >set/task.json
    {
        echo text,label
        for ((i = 0; i < 8 + $2; i++)); do echo "text $i,$((i % $1))"; done
        echo 'nobody knows,'
    } >set/rows.csv
    printf '%s = %s\n' MODEL "$top/examples/model" DATA . TRAIN_FILES rows.csv TEXT text LABEL label TRAIN 4 SHOTS 0 \
        VALIDATION 4 TEST $(($2 + 1)) EPOCHS 1 BOOTSTRAP 20 DEVICE cpu >set/settings
}

report() {
    "$top/pipelines/run.sh" ./set OUT=run "$@" 2>said || { cat said; false; }
}

# Answers of all classes in place of the small model's, which has few.
spread_answers() { # PREDICTIONS...
    local file
    for file; do
        rec to-json --header "$file" | jq -c 'if .duq then del(.weights) else (.probs | length) as $n | (.text // .id | explode | add * 7919 % $n) as $top
            | del(.members, .alpha) | .probs = [range($n) | if . == $top then 0.5 else 0.5 / ($n - 1) end] end' | rec from-json -o spread
        mv spread "$file"
    done
}

@test "of many classes, and texts without a label, there is a report" {
    local file
    with_classes 40 1000
    report --stop-stage evaluation
    spread_answers run/predictions/*.test.mp run/teacher/test.mp run/calibrated/test.mp
    report --only report
    # More than fits into one argument of a program.
    [ "$(jq '.confusions' run/report/report.json | wc -c)" -gt 131072 ]
    jq -e '([.labels[].number] | add) == 1000 and ([.confusions[0].counts[].number] | add) == 1000' run/report/report.json
    grep -q '25 N, 1 without a label)' run/report/index.html
}

@test "nothing that somebody else wrote is more than text, or missing, in a report" {
    with_classes 2 4
    sed -i '$d' set/rows.csv
    printf 'a \x01\x1b[31mtext,1\n' >>set/rows.csv
    jq '.classes = ["<b>a</b>", "b&c"]' set/task.json >task.json && mv task.json set
    cat >set/published.json <<'END'
{"sets": {"<img src=x>": {"accuracy": 0.9}, "theirs": {"macro_f1": 0.5, "ece": 0.1, "from": "<i>table</i> 1"}},
 "detection": {"protocol": "common", "against": {"youtube": {"<img src=y>": {"auroc": 0.9, "wasserstein": 12.5}}}},
 "alpha0": {"from": "there", "rows": [{"alpha0": "<img src=z>", "macro_f1": 0.5, "ece": 0.1}]}}
END
    report OOD="$top/examples/youtube" SWEEP=yes SWEEP_SEEDS=1 SWEEP_ALPHAS=8
    run ! grep '<img src=[xyz]\|<b>a\|<i>table' run/report/index.html
    for name in x y z; do
        grep -q "<tr class=published><th scope=row>&lt;img src=$name&gt;" run/report/index.html
    done
    grep -q 'a &#65533;&#65533;\[31mtext\|a ��\[31mtext' run/report/index.html
    run ! grep -P '[\x00-\x08\x0b-\x1f]' run/report/index.html
    grep -qx '<img src=x>    -   -  ' run/report/tables.txt
    grep -qx 'theirs         0.500   0.100  <i>table</i> 1' run/report/tables.txt
    grep -qx 'published, detection by total uncertainty, .*' run/report/tables.txt
    grep -qx 'youtube     <img src=y>  0.90         12.50' run/report/tables.txt
}
