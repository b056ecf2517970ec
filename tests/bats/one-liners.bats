# The commands in examples/one-liners.md, run in order on the embedded model and fewer texts. Each result is
# compared with one reached by another way: other programs, other options, or sums over the tables themselves.

bats_require_minimum_version 1.5.0

setup_file() {
    cd "$BATS_FILE_TMPDIR" || exit 1
    ln -s "$(realpath "$BATS_TEST_DIRNAME/../../examples")" examples
    export DUQ_THREADS=1
    export M=examples/model T=examples/sst2/task.json
    rec from-csv --id idx --text sentence --label label examples/data/sst2.csv >all.mp
    rec head -n 45 all.mp >shots.mp
    rec head --skip 45 -n 30 all.mp >val.mp
    rec head --skip 145 -n 60 all.mp >test.mp
    rec head --skip 345 -n 100 all.mp >train.mp
    teacher val.mp | bpe-fit >weights.mp
    teacher test.mp | bpe-fit --apply weights.mp >teacher.mp
    teacher train.mp | bpe-fit --apply weights.mp >teacher.train.mp
    for loss in softmax dirichlet; do
        student train.mp | lora-train --model $M --teacher teacher.train.mp --loss $loss --lr 1e-3 \
            --epochs 3 -o $loss.lora
        student test.mp | lm-score --model $M --adapter $loss.lora --head $loss >$loss.mp
    done
    # Students of fewer texts are unsure at another level: the limit lets the ten least certain texts through.
    limit=$(predictions dirichlet.mp epistemic | sort -k 4,4gr | sed -n 11p | cut -f 4)
    export limit
    for section in $(seq "$(sections | wc -l)"); do
        commands_of "$section" | sed "s/epistemic > 0\.0228/epistemic > $limit/" >"commands.$section"
        bash -euo pipefail -c "$(declare -f student); source ./commands.$section" >"said.$section"
    done
}

setup() {
    cd "$BATS_FILE_TMPDIR" || exit 1
}

teacher() {
    prompt-expand --task "$T" --shots shots.mp "$1" | tok --model "$M" | lm-score --model "$M"
}

student() {
    prompt-expand --task "$T" --instruction best:weights.mp --zero-shot "$1" | tok --model "$M"
}

sections() {
    grep '^## [0-9]*\. ' "$BATS_TEST_DIRNAME/../../examples/one-liners.md"
}

commands_of() { # SECTION
    awk -v section="$1." '/^## / { inside = $2 == section } inside && sub(/^    \$ /, "")' \
        "$BATS_TEST_DIRNAME/../../examples/one-liners.md"
}

shown_in() { # SECTION
    awk -v section="$1." '/^## / { inside = $2 == section } inside && /^    [^$]/ { print substr($0, 5) }' \
        "$BATS_TEST_DIRNAME/../../examples/one-liners.md"
}

# near A B TOLERANCE
near() {
    jq -en "$1 - $2 | fabs <= $3" >"$BATS_TEST_TMPDIR/near" || { echo "$1, and not $2"; false; }
}

# id, label, probability of class 1, and from column 4 on the rest, blanks between.
predictions() { # FILE COLUMN...
    local file=$1
    shift
    rec to-json "$file" | jq -r "[.id, .label, .probs[1]${*/#/, .}] | @tsv"
}

@test "there are ten, numbered, with commands, and each has a test here" {
    [ "$(sections | wc -l)" = 10 ]
    sections | cut -d ' ' -f 2 | cmp - <(seq 10 | sed 's/$/./')
    for section in $(seq 10); do
        [ -s "commands.$section" ]
        grep -q "^@test \"$section\. " "$BATS_TEST_FILENAME"
    done
}

@test "1. a new data set from a CSV file" {
    cmp said.1 <(shown_in 1)
    # The table has no quoted fields with commas in the columns used here; its last field is the label.
    rec to-json comments.mp | jq -r '[.id, .label] | @tsv' | sort >ids
    tail -n +2 examples/data/youtube.csv | tr -d '\r' | sed 's/^\([^,]*\),.*,\([01]\)$/\1\t\2/' | sort | cmp - ids
    [ "$(rec to-json comments.mp | jq -r 'select(.id == "c0").text')" = 'jo41: Win a phone at tiny-deals.example' ]
    rec to-json comments.mp | jq -r .id | head -n 20 >ids
    run ! sort -c -V ids
}

@test "2. ask about one text" {
    printf 'idx,sentence,label\nx,a warm and witty film,1\n' |
        rec from-csv --id idx --text sentence --label label -o one.mp
    student one.mp | lm-score --model $M --adapter dirichlet.lora --head dirichlet -o one.prediction.mp
    [ "$(jq -c '.[0]' said.2)" = "$(rec to-json one.prediction.mp | jq -c '.probs[1]')" ]
    [ "$(jq -c '.[1]' said.2)" = "$(rec to-json one.prediction.mp | jq -c '.epistemic')" ]
    jq -e '.[0] > 0.5 and .[1] > 0' said.2
}

@test "3. the best single prompt" {
    for prompt in $(seq 0 8); do
        accuracy=$(prompt-expand --task $T --shots shots.mp --instruction "$prompt" val.mp | tok --model $M |
            lm-score --model $M --head softmax | dir-eval --json | jq '.sets[0].metrics.accuracy.value')
        printf '%s\t%s\n' "$prompt" "$accuracy"
    done | sort -k 2,2gr -k 1,1n >accuracies
    [ "$(wc -l <said.3)" = 3 ]
    while read -r prompt accuracy && read -r expected_prompt expected_accuracy <&9; do
        [ "$prompt" = "$expected_prompt" ]
        near "$accuracy" "$expected_accuracy" 1e-9
    done <said.3 9<accuracies
}

@test "4. which classes are taken for which" {
    predictions dirichlet.mp | awk '{ n[$2 " " ($3 > 0.5)]++ } END { for (key in n) print n[key], key }' |
        sort -k 2 | cmp - <(awk '{ print $1, $2, $3 }' said.4)
    right=$(awk '$2 == $3 { n += $1 } END { print n }' said.4)
    near "$right / 60" "$(dir-eval --json dirichlet.mp | jq '.sets[0].metrics.accuracy.value')" 1e-9
}

@test "5. how often two students agree" {
    join <(predictions softmax.mp | sort) <(predictions dirichlet.mp | sort) >joined
    [ "$(wc -l <joined)" = 60 ]
    near "$(cat said.5)" "$(awk '($3 > 0.5) == ($5 > 0.5) { n++ } END { print n / NR }' joined)" 1e-5
    near "$(cat said.5)" 0.85 0.15 # they learned from one teacher
}

@test "6. the texts that a student would rather not judge" {
    [ "$(wc -l <said.6)" = 10 ]
    predictions dirichlet.mp epistemic | sort -k 4,4gr | head -n 10 | cut -f 1 | sort |
        cmp - <(jq -r '.[0]' said.6 | sort)
    jq -r '"\(.[0]),\"?\(.[1])\"?,\(.[2])"' said.6 | while read -r row; do
        grep -Eq "^$row.?\$" examples/data/sst2.csv || { echo "not in the table: $row"; false; }
    done
    jq -r '[.[0], .[2], .[3], .[4]] | @tsv' said.6 | sort >shown
    predictions dirichlet.mp epistemic | sort | grep -Fxf shown | cmp - shown
}

@test "7. where a student departs most from its teacher" {
    join <(predictions teacher.mp | sort) <(predictions dirichlet.mp | sort) |
        awk '{ d = $3 - $5; printf "%.9f %s\n", d < 0 ? -d : d, $1 }' | sort -gr | head -n 3 >expected
    [ "$(cut -d ' ' -f 2 expected)" = "$(jq -r '.[1]' said.7)" ]
    for line in 1 2 3; do
        near "$(sed -n ${line}p expected | cut -d ' ' -f 1)" "$(jq -s ".[$line - 1][0]" said.7)" 1e-8
    done
}

@test "8. merge an adapter" {
    rec check merged.mp
    paste <(predictions dirichlet.mp) <(predictions merged.mp) |
        awk '{ d = $3 - $6; if (d < 0) d = -d; if (d > max) max = d } $1 != $4 { exit 1 } END { print max }' >most
    near "$(cat said.8)" "$(cat most)" 1e-5
    near "$(cat said.8)" 0 0.02
    # What rounding moves is little beside what the adapter does.
    student test.mp | lm-score --model $M --head dirichlet -o untrained.mp
    paste <(predictions dirichlet.mp) <(predictions untrained.mp) |
        awk '{ d = $3 - $6; if (d < 0) d = -d; if (d > max) max = d } END { exit !(max > 0.05) }'
}

@test "9. compress everything" {
    for file in tokens again all; do
        [ "$(head -c 4 $file.mp.zst | od -An -tx1)" = " 28 b5 2f fd" ]
    done
    prompt-expand --task $T --shots shots.mp test.mp | tok --model $M -o tokens.mp
    [ "$(stat -c %s tokens.mp.zst)" -lt $(($(stat -c %s tokens.mp) / 2)) ]
    cmp <(rec to-json tokens.mp.zst) <(rec to-json tokens.mp)
    cmp <(rec to-json all.mp.zst) <(rec to-json all.mp)
    cmp <(rec to-json again.mp.zst) <(rec to-json teacher.mp)
    cmp <(rec to-json teacher.mp.zst) <(rec to-json teacher.mp)
}

@test "10. three shards by hand" {
    [ "$(for i in 0 1 2; do rec count -q shard.$i.mp; done | tr '\n' ' ')" = "180 180 180 " ]
    [ "$(rec count -q sharded.mp)" = 60 ]
    cmp <(rec to-json sharded.mp) <(rec to-json teacher.mp)
}
