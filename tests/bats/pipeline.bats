# The whole job on the embedded model, teacher and student: what flows between the programs, that a stage
# which dies takes the later ones with it, and that how the work is cut up changes no score.

setup_file() {
    cd "$BATS_FILE_TMPDIR" || exit 1
    local top=$BATS_TEST_DIRNAME/../..
    export DUQ_THREADS=1
    export M=$top/examples/model T=$top/examples/sst2/task.json
    rec from-csv --id idx --text sentence --label label "$top/examples/data/sst2.csv" >all.mp
    rec head -n 45 all.mp >shots.mp
    rec head --skip 45 -n 16 all.mp >val.mp
    rec head --skip 61 -n 16 all.mp >test.mp
    for set in val test; do
        prompt-expand --task "$T" --shots shots.mp $set.mp >$set.prompts.mp
        tok --model "$M" $set.prompts.mp >$set.tokens.mp
        lm-score --model "$M" $set.tokens.mp >$set.scores.mp
    done
    bpe-fit val.scores.mp >weights.mp
    bpe-fit --apply weights.mp test.scores.mp >teacher.mp
    student test.mp >student.tokens.mp
    lora-train --model "$M" --teacher teacher.mp --loss dirichlet --epochs 2 --rank 2 --batch 8 \
        -o dirichlet.lora student.tokens.mp
    lm-score --model "$M" --adapter dirichlet.lora --head dirichlet student.tokens.mp >student.mp
}

student() {
    prompt-expand --task "$T" --instruction best:weights.mp --zero-shot "$1" | tok --model "$M"
}

setup() {
    cd "$BATS_FILE_TMPDIR" || exit 1
    new=$BATS_TEST_TMPDIR
}

records() {
    rec to-json "$@"
}

@test "every stream on the way keeps to its schema and holds what it should" {
    rec check ./*.mp
    [ "$(rec count -q test.prompts.mp)" = $((16 * 9)) ]
    [ "$(rec count -q test.tokens.mp)" = $((16 * 9)) ]
    [ "$(rec count -q test.scores.mp)" = $((16 * 9)) ]
    [ "$(rec count -q weights.mp)" = 9 ]
    [ "$(rec count -q teacher.mp)" = 16 ]
    [ "$(rec count -q student.tokens.mp)" = 16 ]
    [ "$(rec count -q student.mp)" = 16 ]
}

@test "ids and labels survive every step, in order" {
    records test.mp | jq -c '[.id, .label]' >"$new/texts"
    records teacher.mp | jq -c '[.id, .label]' | cmp - "$new/texts"
    records student.mp | jq -c '[.id, .label]' | cmp - "$new/texts"
    records test.scores.mp | jq -c 'select(.prompt == 8) | [.id, .label]' | cmp - "$new/texts"
}

@test "the header says how a prediction was made" {
    rec to-json --header teacher.mp | head -n 1 >"$new/header"
    [ "$(jq -r '[.made[].program] | join(" ")' "$new/header")" = \
        "rec rec prompt-expand tok lm-score bpe-fit" ]
    [ "$(jq -c '[.task, .classes]' "$new/header")" = '["sst2",["negative","positive"]]' ]
}

@test "the student sees the instruction with the highest weight, and no shots" {
    best=$(records weights.mp | jq -s 'max_by(.weight).prompt')
    [ "$(records student.tokens.mp | jq -s 'map(.prompt) | unique[]')" = "$best" ]
    tok --decode --model "$M" student.tokens.mp | records | head -n 1 | jq -r .text >"$new/prompt"
    [ "$(head -n 1 "$new/prompt")" = "$(jq -r ".instructions[$best]" "$T")" ]
    [ "$(wc -l <"$new/prompt")" = 6 ]
}

@test "teacher and student stand side by side, and against texts of another kind" {
    rec from-csv --id COMMENT_ID --text CONTENT "$M/../data/youtube.csv" | rec head -n 16 >"$new/ood.mp"
    student "$new/ood.mp" | lm-score --model "$M" --adapter dirichlet.lora --head dirichlet \
        >"$new/ood.predictions.mp"
    dir-eval --json teacher=teacher.mp dirichlet=student.mp \
        --ood dirichlet:youtube="$new/ood.predictions.mp" >"$new/report"
    jq -e '[.sets[].name] == ["teacher", "dirichlet"]' "$new/report"
    jq -e '.sets[] | .metrics | .accuracy.value > 0.5 and .ece.value < 0.5' "$new/report"
    jq -e '.detection[0] | [.set, .against] == ["dirichlet", "youtube"] and
        (.metrics.auroc_total | .n == 32 and .value >= 0 and .value <= 1)' "$new/report"
}

@test "one pipeline gives what the steps give" {
    teacher() {
        prompt-expand --task "$T" --shots shots.mp "$1" | tok --model "$M" | lm-score --model "$M"
    }
    teacher val.mp | bpe-fit >"$new/weights.mp"
    teacher test.mp | bpe-fit --apply "$new/weights.mp" >"$new/teacher.mp"
    cmp <(records "$new/weights.mp") <(records weights.mp)
    cmp <(records "$new/teacher.mp") <(records teacher.mp)
}

@test "zstd between the steps changes nothing" {
    prompt-expand -z --task "$T" --shots shots.mp test.mp | tok -z --model "$M" |
        tee "$new/tokens" | lm-score -z --model "$M" | bpe-fit --apply weights.mp -z >"$new/teacher"
    [ "$(head -c 4 "$new/tokens" | od -An -tx1)" = " 28 b5 2f fd" ]
    [ "$(stat -c %s "$new/tokens")" -lt "$(stat -c %s test.tokens.mp)" ]
    cmp <(records "$new/teacher") <(records teacher.mp)
}

@test "the accuracy that dir-eval prints is that of the predictions" {
    right=$(records teacher.mp |
        jq -s 'map(select((.probs[1] > .probs[0]) == (.label == 1))) | length')
    [ "$(dir-eval --json teacher.mp | jq '.sets[0].metrics.accuracy.value * 16 | round')" = "$right" ]
    [ "$right" -ge 10 ]
}

@test "three shards, scored apart and joined, are the whole" {
    rec split -n 3 -o "$new/shard" test.tokens.mp
    for i in 0 1 2; do
        lm-score --model "$M" "$new/shard.$i.mp" >"$new/scores.$i.mp"
    done
    cat "$new"/scores.[012].mp >"$new/joined.mp"
    rec check "$new/joined.mp"
    cmp <(records "$new/joined.mp") <(records test.scores.mp)
    bpe-fit --apply weights.mp "$new"/scores.[012].mp >"$new/teacher.mp"
    cmp <(records "$new/teacher.mp") <(records teacher.mp)
}

@test "shards that another model scored do not join" {
    rec split -n 2 -o "$new/shard" test.scores.mp
    cp -r "$M" "$new/model"
    jq '.rope_theta = 9000' "$M/config.json" >"$new/model/config.json"
    rec head -n 9 test.tokens.mp | lm-score --model "$new/model" >"$new/other.mp"
    cat "$new/shard.0.mp" "$new/other.mp" >"$new/mixed.mp"
    run bpe-fit --apply weights.mp "$new/mixed.mp"
    [ "$status" = 65 ]
    [[ $output == *"another 'model'"* ]]
}

@test "neither shared prefixes nor the size of a batch nor threads change a score" {
    for options in --no-share '--batch-tokens 600' '--threads 2'; do
        # shellcheck disable=SC2086 # options are words
        lm-score $options --model "$M" test.tokens.mp >"$new/scores.mp"
        cmp <(records "$new/scores.mp") <(records test.scores.mp) || { echo "$options"; false; }
    done
}

# Each program after the first, with the stream that it reads.
stages=('prompt-expand --task $T --shots shots.mp:test.mp'
    'tok --model $M:test.prompts.mp'
    'lm-score --model $M:test.tokens.mp'
    'lm-score --model $M --adapter dirichlet.lora:student.tokens.mp'
    'bpe-fit:val.scores.mp'
    'bpe-fit --apply weights.mp:test.scores.mp')

@test "a stream that was cut off is nowhere taken for a whole one" {
    for stage in "${stages[@]}"; do
        eval "command=(${stage%:*})"
        input=${stage##*:} size=$(stat -c %s "${stage##*:}")
        for keep in 0 $((size / 2)) $((size - 60)) $((size - 54)) $((size - 53)) $((size - 1)); do
            run "${command[@]}" -o "$new/out.mp" <(head -c $keep "$input")
            [ "$status" = 65 ] || { echo "$stage, $keep bytes: $status, $output"; false; }
            [ ! -e "$new/out.mp" ]
        done
    done
    run dir-eval <(head -c -60 teacher.mp)
    [ "$status" = 65 ]
    run lora-train --model "$M" --teacher <(head -c -60 teacher.mp) -o "$new/a.lora" student.tokens.mp
    [ "$status" = 65 ]
    run lora-train --model "$M" --teacher teacher.mp -o "$new/a.lora" <(head -c -60 student.tokens.mp)
    [ "$status" = 65 ]
    [ ! -e "$new/a.lora" ]
}

@test "when a stage is killed the next one ends with status 65 and leaves no output" {
    mkfifo "$new/in" "$new/link"
    stages=("${stages[@]:0:3}" 'bpe-fit --apply weights.mp:test.scores.mp')
    for i in 0 1 2; do
        eval "killed=(${stages[i]%:*}) next=(${stages[i + 1]%:*})"
        input=${stages[i]##*:}
        exec 9<>"$new/in" # held open: the stage waits for the rest, which does not come
        "${killed[@]}" "$new/in" >"$new/link" 3>&- 9>&- &
        pid=$!
        "${next[@]}" -o "$new/out.mp" <"$new/link" 3>&- 9>&- 2>"$new/said" &
        next_pid=$!
        head -c $(($(stat -c %s "$input") / 2)) "$input" >&9
        sleep 0.2
        kill -KILL $pid
        status=0
        wait $next_pid || status=$?
        exec 9>&-
        [ $status = 65 ] || { echo "${next[0]}: $status"; cat "$new/said"; false; }
        [ "$(find "$new" -name 'out.mp*')" = "" ]
    done
}

@test "a stage that is told to stop removes what it had begun" {
    mkfifo "$new/in"
    exec 9<>"$new/in"
    tok --model "$M" -o "$new/out.mp" "$new/in" 3>&- 9>&- &
    pid=$!
    head -c 5000 test.prompts.mp >&9
    sleep 0.2
    kill -TERM $pid
    status=0
    wait $pid || status=$?
    exec 9>&-
    [ $status = 143 ]
    [ "$(find "$new" -name 'out.mp*')" = "" ]
}

@test "with pipefail a failing first program fails the whole pipeline" {
    run bash -o pipefail -c 'prompt-expand --task "$T" --shots shots.mp <(head -c 400 test.mp) |
        tok --model "$M" | lm-score --model "$M" | bpe-fit --apply weights.mp >"$0/out.mp"' "$new"
    [ "$status" = 65 ]
    [[ $output == *"prompt-expand: "*"tok: "*"lm-score: "*"bpe-fit: "* ]]
}

# The section's indented lines; in a block with a line "$ COMMAND" only such lines are commands. What gets a model from
# elsewhere is left out.
readme_commands() {
    sed -n '/^## Your own texts/,/^## Four data sets/p' "$1" | grep -Ev '^    (pip|hf) ' | awk '
        function flush() { if (shows) printf "%s", typed; else printf "%s", all; all = typed = ""; shows = 0 }
        /^    / { line = substr($0, 5); all = all line "\n"
                  if (sub(/^\$ /, "", line)) { shows = 1; typed = typed line "\n" } }
        /^[^ ]/ { flush() }
        END { flush() }'
}

@test "the commands in the README do what they say, here on the embedded model and fewer texts" {
    root=$(realpath "$BATS_TEST_DIRNAME/../..")
    cd "$new" && ln -s "$root/examples" "$root/pipelines" .
    readme_commands "$root/README.md" |
        sed 's/-n \(100\|200\|1000\)/-n 16/; s|^PATH=[^ ]* *M=[^ ]*|M=examples/model|' >commands
    [ "$(wc -l <commands)" -gt 15 ]
    grep -q '^M=examples/model   T=' commands
    bash -eu commands >said
    rec check ./*.mp
    grep -q '^dirichlet ' said
}

@test "a calibrated teacher of the two best prompts asks these alone, and teaches" {
    bpe-fit -q --calibrate scale+bias --top 2 val.scores.mp >"$new/two.mp"
    bpe-fit --apply "$new/two.mp" test.scores.mp >"$new/teacher.mp"
    for i in $(records "$new/two.mp" | jq .prompt); do
        prompt-expand --task "$T" --shots shots.mp --instruction "$i" test.mp
    done | tok --model "$M" | lm-score --model "$M" >"$new/scores.mp"
    [ "$(rec count -q "$new/scores.mp")" = 32 ]
    bpe-fit --apply "$new/two.mp" "$new/scores.mp" >"$new/alone.mp"
    cmp <(records "$new/teacher.mp") <(records "$new/alone.mp")
    best=$(records "$new/two.mp" | jq -s 'max_by(.weight).prompt')
    prompt-expand --task "$T" --instruction "best:$new/two.mp" --zero-shot test.mp >"$new/student.mp"
    [ "$(records "$new/student.mp" | jq -s 'map(.prompt) | unique[]')" = "$best" ]
    tok --model "$M" "$new/student.mp" | lora-train --model "$M" --teacher "$new/teacher.mp" --loss dirichlet \
        --epochs 1 --rank 2 --batch 8 -o "$new/two.lora"
}
