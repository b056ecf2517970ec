# A student is asked as it was trained: lm-score holds the prompts of its input against those of the adapter's training.

load refuses
load asked

ask() { # TOKENS OPTION...
    local tokens=$1
    shift
    lm-score --model model --adapter edl.lora -o /dev/null "$@" "$tokens"
}

asked_of() { # STREAM
    rec to-json --header "$1" | head -n 1 | jq -S .asked
}

# task.json changed by a jq program.
change_task() { # PROGRAM
    jq "$1" task.json >changed.json && mv changed.json task.json
}

@test "prompts say how they ask, with nothing left to defaults, and every later stream keeps it" {
    asked_of student.mp >student.json
    jq -e --slurpfile task task.json '.task.instructions == $task[0].instructions and .task.content == $task[0].content
        and .task.shots == 0 and .task.list == true and .task.blank_line == true and .task.word_limit == null
        and .task.layout == "plain" and (.task | has("heading") or has("student") | not)' student.json
    prompt-expand --task task.json --shots shots.mp texts.mp >few.mp
    asked_of few.mp | jq -e '.task.shots == 5 and .task.heading == "EXAMPLE {number}:\n" and .task.separator == "\n\n"'
    ask student.mp -o predictions.mp
    asked_of predictions.mp | cmp - student.json
    rec check predictions.mp few.mp
    jq -e --slurpfile asked student.json '.asked.task == $asked[0].task and .asked.instructions == [2]' edl.lora/duq.json
}

@test "what prompts say of themselves is a task file that makes the same prompts" {
    change_task '.list = false | .blank_line = false | .word_limit = 7 | .student = {word_limit: 3, list: true}'
    prompt-expand --task task.json --student texts.mp >student-prompts.mp
    prompt-expand --task task.json --shots shots.mp texts.mp >few.mp
    asked_of student-prompts.mp | jq .task >said.json
    prompt-expand --task said.json texts.mp | rec to-json | cmp - <(rec to-json student-prompts.mp)
    asked_of few.mp | jq .task >said.json
    prompt-expand --task said.json --shots shots.mp texts.mp | rec to-json | cmp - <(rec to-json few.mp)
}

@test "a student that is asked as it was trained is answered for" {
    student_tokens --instruction 2 --zero-shot texts.mp >same.mp # this task's students are asked like its teacher
    ask same.mp
    change_task '.name = "another" | .instructions |= [.[2], .[0]]'
    student_tokens --instruction 0 --student texts.mp >renumbered.mp
    ask renumbered.mp
}

@test "a student that is asked by few-shot prompts is found out" {
    student_tokens --instruction 2 --shots shots.mp texts.mp >few.mp
    refuses 65 'prompts with 5 worked examples, the adapter was trained on prompts with 0: make them with prompt-expand --student' \
        ask few.mp
    ask few.mp --other-task
}

@test "a student that is asked by another instruction is found out, at the record" {
    student_tokens --student texts.mp >all-instructions.mp
    refuses 65 'record 1 (id 0): asked by instruction 0' ask all-instructions.mp
    [[ $output == *"make the prompts with prompt-expand --instruction 2; --other-task asks"* ]]
    ask all-instructions.mp --other-task
    change_task '.instructions |= map("Now: " + .)'
    student_tokens --instruction 2 --student texts.mp >reworded.mp
    refuses 65 "asked by the instruction 'Now: " ask reworded.mp
}

@test "a student that is asked in another layout is found out, and what differs is named" {
    local change key
    while IFS=$'\t' read -r key change; do
        cp "$BATS_FILE_TMPDIR/student/task.json" task.json
        change_task "$change"
        student_tokens --instruction 2 --student texts.mp >other.mp
        refuses 65 "prompts whose '$key' is" ask other.mp
        ask other.mp --other-task
    done <<'END'
content	.content |= "Look: " + .
word_limit	.word_limit = 3
blank_line	.student = {blank_line: false}
list	.list = false
END
}

@test "tokens and adapters that do not say how they were asked are taken as they were" {
    rec to-json --header student.mp | jq -c 'del(.asked)' | rec from-json >silent.mp
    ask silent.mp
    jq 'del(.asked)' edl.lora/duq.json >facts.json && mv facts.json edl.lora/duq.json
    student_tokens --instruction 4 --student texts.mp >other.mp
    ask other.mp
}

@test "streams of prompts that ask otherwise do not concatenate" {
    prompt-expand --task task.json --shots shots.mp texts.mp >few.mp
    prompt-expand --task task.json --student texts.mp >none.mp
    refuses 65 "a concatenated stream's header has another 'asked' than the first's" rec cat few.mp none.mp
}

@test "weights and rules are for prompts that ask as those did that they were fitted on" {
    local change key few=(prompt-expand --task task.json --shots shots.mp texts.mp)
    scores() { tok --model model | lm-score --model model; }
    "${few[@]}" | scores >scores.mp
    bpe-fit -o weights.mp scores.mp
    bpe-fit --apply weights.mp scores.mp | decide --expected-risk 0.6 --or-abstain -o rule.mp
    prompt-expand --task task.json --zero-shot texts.mp | scores >zero.mp
    refuses 65 "weights.mp: fitted on scores with another 'shots' than those of zero.mp" bpe-fit --apply weights.mp zero.mp
    bpe-fit --uniform zero.mp | bpe-fit --apply - zero.mp -o zero-predictions.mp
    rec to-json --header zero-predictions.mp | jq -c 'del(.ensemble, .weights)' | rec from-json -o one.mp
    rec to-json --header rule.mp | jq -c 'del(.ensemble, .weights)' | rec from-json -o one-rule.mp
    refuses 65 "one-rule.mp: fitted on predictions with another 'shots' than those of one.mp" decide --apply one-rule.mp one.mp
    # On purpose, or where nobody knows.
    bpe-fit --apply weights.mp --other-task zero.mp -o zero-predictions.mp
    refuses 65 "rule.mp: fitted on predictions with another 'made_for'" decide --apply rule.mp zero-predictions.mp
    rec to-json --header zero.mp | jq -c 'del(.asked)' | rec from-json | bpe-fit --apply weights.mp -o silent.mp
    decide --apply rule.mp silent.mp -o decisions.mp
    while IFS=$'\t' read -r key change; do
        cp "$BATS_FILE_TMPDIR/student/task.json" task.json
        change_task "$change"
        "${few[@]}" | scores >other.mp
        refuses 65 "weights.mp: fitted on scores with another '$key' than those of other.mp" bpe-fit --apply weights.mp other.mp
    done <<'END'
content	.content |= "Look: " + .
separator	.separator = "\n--\n"
END
    # Instructions count where they have a weight.
    cp "$BATS_FILE_TMPDIR/student/task.json" task.json
    change_task '.instructions |= reverse'
    "${few[@]}" | scores >other.mp
    refuses 65 "weights.mp: record 1: the weight of prompt 0, which was the instruction '" bpe-fit --apply weights.mp other.mp
    bpe-fit --top 1 scores.mp -o top.mp
    best=$(rec to-json top.mp | jq .prompt)
    cp "$BATS_FILE_TMPDIR/student/task.json" task.json
    change_task ".instructions[$best == 0 | if . then 1 else 0 end] |= \"Now: \" + ."
    "${few[@]}" | scores >other.mp
    bpe-fit --apply top.mp other.mp -o predictions.mp
    change_task ".instructions[$best] |= \"Now: \" + ."
    "${few[@]}" | scores >other.mp
    refuses 65 "top.mp: record 1: the weight of prompt $best" bpe-fit --apply top.mp other.mp
}

@test "a rule for a student is one whatever the instructions are that the student is not asked by" {
    ask student.mp -o predictions.mp
    decide --expected-risk 0.6 --or-abstain predictions.mp -o rule.mp
    change_task '.instructions[0] += " "'
    student_tokens --instruction 2 --student texts.mp | lm-score --model model --adapter edl.lora -o others.mp
    decide --apply rule.mp others.mp -o decisions.mp
    # Prompts by hand are those of the task as far as the tokens of its answers are.
    change_task '.answers = [" negative", " positive"] | .content = "phrase: {text}\nthe phrase is"'
    prompt-expand --task task.json --zero-shot texts.mp | tok --model model -o answers.mp
    lm-score --model model answers.mp | bpe-fit -o weights.mp
    rec to-json --header answers.mp | jq -c 'del(.asked, .answers, .open)' | rec from-json | lm-score --model model |
        bpe-fit --apply weights.mp -o by-hand.mp
}

@test "the best instruction is the one that its weight was fitted on" {
    prompt-expand --task task.json --shots shots.mp texts.mp | tok --model model | lm-score --model model | bpe-fit -o weights.mp
    prompt-expand --task task.json --student --instruction best:weights.mp texts.mp -o best.mp 2>said
    best=$(rec to-json weights.mp | jq -s 'max_by(.weight).prompt')
    change_task '.instructions += ["What is it?"]'
    prompt-expand --task task.json --student --instruction best:weights.mp texts.mp -o same.mp
    cmp <(rec to-json best.mp) <(rec to-json same.mp)
    change_task '.instructions |= (.[-1:] + .[:-1])'
    refuses 65 "weights.mp: prompt $best, of the highest weight, was the instruction '" \
        prompt-expand --task task.json --student --instruction best:weights.mp texts.mp
}
