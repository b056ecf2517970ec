#!/usr/bin/env bash
# The main job on the embedded model, as a user would type it: shows each command line before it runs, and ends in five
# lines that say what came of it.
# usage: examples/demo.sh [TEST [TRAIN]]      how many texts to test on (1000), to train on (1000)
# Run by make demo. Everything is written to build/demo. The model, texts and tasks are this folder's own, a toy made to
# show the mechanism: see make-texts and train-model.
# shellcheck disable=SC2016  # command lines are shown before their variables are expanded
set -euo pipefail
unset CDPATH # it would have cd print where it goes, or go elsewhere
cd "$(dirname "$0")/.."
build=${BUILD:-build}
programs=${PROGRAMS:-$build/bin}
test=${1:-1000}
train=${2:-1000}
[[ $test =~ ^[1-9][0-9]*$ && $train =~ ^[1-9][0-9]*$ ]] || {
    echo 'usage: examples/demo.sh [TEST [TRAIN]]: numbers of texts' >&2
    exit 64
}

{ mkdir -p "$build/demo" 2>/dev/null && [ -w "$build/demo" ]; } || {
    echo "demo.sh: $build/demo cannot be written to; elsewhere: BUILD=/tmp/duq PROGRAMS=$(cd "$programs" && pwd) examples/demo.sh" >&2
    exit 73
}

run() {
    printf '+ %s\n' "$1"
    IFS='' eval "$1" # $D is not split where its path has blanks
}
note() {
    echo
    printf '# %s\n' "$@"
}

# Programs of others that make reading easier; where duq was unpacked rather than built, they may be missing.
without_members=' | jq -c "del(.members)"'
figures=' --curve softmax=$D/softmax.tsv --curve dirichlet=$D/dirichlet.tsv --figures $D/figures'
command -v jq >/dev/null || without_members=
command -v gnuplot >/dev/null || figures=

note 'A model, a task with nine instructions, and labelled texts: to train on, validation, test.'
run "PATH=$(printf %q "$programs"):\$PATH D=$(printf %q "$build/demo") M=examples/model T=examples/amazon/task.json"
run 'mkdir -p $D'
run 'rec from-csv --no-header --text "{2}. {3}" --label 1 --labels 1,2 --classes negative,positive examples/data/amazon.csv >$D/all.mp'
run "rec head -n $train \$D/all.mp >\$D/train.mp"
run 'rec head --skip 1045 -n 100 $D/all.mp >$D/val.mp'
run "rec head --skip 1145 -n $test \$D/all.mp >\$D/test.mp"

note 'The teacher: every instruction, weighted by how well it does on the validation texts.' \
    'In f32 a processor gives the same bytes as any other: what follows is the same on each.'
run 'teacher() { prompt-expand --task $T --zero-shot "$1" | tok --model $M | lm-score --compute f32 --model $M; }'
run 'teacher $D/val.mp | bpe-fit --entropy-weight 10 >$D/weights.mp'
run 'teacher $D/train.mp | bpe-fit --apply $D/weights.mp >$D/teacher.train.mp'
run 'teacher $D/test.mp | bpe-fit --apply $D/weights.mp >$D/teacher.test.mp'
run 'rec to-json $D/weights.mp'
run "rec head -n 3 \$D/teacher.test.mp | rec to-json$without_members"

note 'The students: LoRA adapters that say in one pass of one prompt what the teacher says in nine.'
run 'student() { prompt-expand --task $T --instruction best:$D/weights.mp --zero-shot "$1" | tok --model $M; }'
for loss in softmax dirichlet; do
    run "student \$D/train.mp | lora-train --model \$M --teacher \$D/teacher.train.mp --loss $loss --lr 2e-3 --epochs 8 --schedule cosine --log \$D/$loss.tsv -o \$D/$loss.lora"
    run "student \$D/test.mp | lm-score --compute f32 --model \$M --adapter \$D/$loss.lora --head $loss >\$D/$loss.test.mp"
done
run 'student $D/test.mp | lm-score --compute f32 --model $M --head softmax >$D/untrained.test.mp'

note 'Texts of another kind, comments under videos, given to all of them as if they were reviews.'
run 'rec from-csv --id COMMENT_ID --text CONTENT examples/data/youtube.csv >$D/comments.mp'
run "rec head -n $test \$D/comments.mp >\$D/other.mp"
run 'teacher $D/other.mp | bpe-fit --apply $D/weights.mp >$D/teacher.other.mp'
for loss in softmax dirichlet; do
    run "student \$D/other.mp | lm-score --compute f32 --model \$M --adapter \$D/$loss.lora --head $loss >\$D/$loss.other.mp"
done

note 'All of it side by side: how right, how well calibrated, and how well uncertainty gives the other texts away.' \
    'teacher/prompts is the average of the single prompts; untrained is the student before its training.'
run 'dir-eval -q --members untrained=$D/untrained.test.mp teacher=$D/teacher.test.mp softmax=$D/softmax.test.mp dirichlet=$D/dirichlet.test.mp --ood teacher:comments=$D/teacher.other.mp --ood softmax:comments=$D/softmax.other.mp --ood dirichlet:comments=$D/dirichlet.other.mp'"$figures"
[ -z "$figures" ] || run 'ls $D/figures'

if command -v jq >/dev/null; then
    note 'Each prompt by itself, out of the teacher, and what all of it comes to, with intervals: so few texts tell only so much.'
    run 'single() { rec to-json --header $D/teacher.test.mp | jq -c --argjson i $1 -f examples/single-prompt.jq | rec from-json; }'
    run 'for i in {0..8}; do single $i >$D/prompt.$i.mp; done'
    run 'dir-eval -q --json --members --bootstrap 100 --baseline teacher --at-coverage 0.7 teacher=$D/teacher.test.mp softmax=$D/softmax.test.mp dirichlet=$D/dirichlet.test.mp $D/prompt.?.mp --ood teacher:comments=$D/teacher.other.mp --ood dirichlet:comments=$D/dirichlet.other.mp >$D/evaluation.json'
    run 'rec to-json $D/teacher.test.mp | jq -rn --slurpfile evaluation $D/evaluation.json -f examples/five-lines.jq'
fi
printf '\n# done in %s s\n' $SECONDS
