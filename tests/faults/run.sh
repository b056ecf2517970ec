#!/usr/bin/env bash
# Runs each program with one call of its failing (tests/faults/shim.c): the Nth allocation, open, read, write, close,
# mmap, rename, fsync, look at a name ... for every N that it comes to. Each case must end in the right result, or in
# a message and a status that is not zero, with nothing under a final name and no temporary file left.
# usage: tests/faults/run.sh [NAME ...]    only the cases whose name holds one of the NAMEs
#        FAULT_MOST=N   at most so many calls of a kind: the first ones, and others drawn by FAULT_SEED (1)
#        FAULT_KIND=KIND  calls of this kind alone: memory, look, read ...
#        JOBS=N         cases at a time (all processors)
# Prints a line a case, then the findings; the status is 1 where there are any.
set -u
shopt -s nullglob globstar
cd "$(dirname "$0")/../.." || exit 1
root=$PWD build=$(realpath "${BUILD:-build}")
export PATH=$build/bin:$PATH LC_ALL=C.UTF-8 DUQ_THREADS=1 DUQ_CUDA_PLUGIN=/nonexistent
unset FAULT_CALL FAULT_AT FAULT_ON FAULT_SHORT FAULT_COUNT
shim=$build/faults/shim.so
work=$(mktemp -d)
trap 'jobs -p | xargs -r kill 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ---- inputs ----

make_inputs() {
    local data=$root/tests/data
    mkdir "$work/in" && cd "$work/in" || exit 1
    ln -s "$data/engine/llama-tied" net
    ln -s "$data/engine/mistral-shards" shards
    ln -s "$data/tok/sp-user.model" sp.model
    ln -s "$data/gguf/whole.gguf" .
    cp -r "$data/chat/headers" chat
    cp "$data/tok/llama3.json" chat/tokenizer.json
    jq '.classes = ["negative", "positive"]' chat/task.json >chat.json
    cp "$data/lora/streams/"{tokens,teacher}.mp .
    cp "$data/plan/config.json" plan.json
    printf 'idx,sentence,label\n7,"good, very",1\n9,"bad\nindeed",0\n12,so-so,1\n13,fine é,1\n14,poor,0\n' >all.csv
    tr , '\t' <<<$'idx,sentence,label\n7,good,1\n9,bad,0' >all.tsv
    printf '{"id": "a", "text": "good", "label": 1}\n{"id": "b", "text": "bad\\n", "label": 0}\n' >all.jsonl
    jq -n '{name: "t", classes: ["negative", "positive"], shots: 2, instructions: ["classify", "tell"],
        content: "the text: {text}\nit is "}' >task.json
    cat >tokenizer.json <<'JSON'
{"added_tokens": [{"id": 14, "content": "<s>", "special": true}],
 "normalizer": {"type": "NFC"},
 "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
   {"type": "Split", "pattern": {"Regex": "\\p{L}+|[^\\p{L}]"}, "behavior": "Isolated"},
   {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]},
 "post_processor": {"type": "TemplateProcessing",
   "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
   "special_tokens": {"<s>": {"id": "<s>", "ids": [14], "tokens": ["<s>"]}}},
 "decoder": {"type": "ByteLevel"},
 "model": {"type": "BPE", "vocab": {"n": 0, "e": 1, "g": 2, "a": 3, "t": 4, "i": 5, "v": 6, "p": 7,
   "o": 8, "s": 9, "Ġ": 10, "po": 11, "Ã": 12, "©": 13}, "merges": ["p o"]}}
JSON
    printf 'step\tloss\tlr\n1\t0.7\t1e-5\n2\t0.6\t1e-5\n3\t0.5\t1e-5\n' >log.tsv
    rec from-csv --id idx --text sentence --label label --classes negative,positive all.csv >all.mp
    rec cat -z all.mp >all.mp.zst
    rec to-json --header all.mp >header.jsonl
    prompt-expand --task task.json --zero-shot all.mp >prompts.mp
    tok --model . prompts.mp >tok.mp
    tok --tokenizer whole.gguf prompts.mp >gguf-tokens.mp
    printf 'in/tokens.mp\tout/a.mp\nin/tokens.mp\tout/b.mp\n' >list
    cp "$data/uq/metrics-softmax.mp" predictions.mp
    cp "$data/lora/streams/"teacher{,-weights}.npy .
    lora-train -q --model net --rank 2 --alpha 4 --teacher teacher.mp --epochs 1 -o adapter tokens.mp
    lora-train -q --model net --rank 2 --alpha 4 --teacher teacher.mp --loss dirichlet --epochs 1 -o dirichlet tokens.mp
    scores >scores.mp
    bpe-fit scores.mp >weights.mp
    bpe-fit --apply weights.mp scores.mp >ensemble.mp
    rec head -n 60 "$data/decide/fit.mp" >fit.mp
    decide --risk 0.25 --or-abstain fit.mp >rule.mp
}

# Scores of 12 texts by three prompts.
scores() {
    local i p
    {
        echo '{"duq":1,"schema":"scores","task":"t","classes":["a","b"],"prompts":3,"model":"m"}'
        for i in {1..12}; do
            for p in 0 1 2; do
                echo "{\"id\":\"$i\",\"prompt\":$p,\"logits\":[$(((i * 7 + p * 3) % 5)).5,$(((i * 3 + p) % 4)).25],\"label\":$((i % 2))}"
            done
        done
    } | rec from-json
}

# NAME COMMAND ...: words without blanks; {o} is the folder for what is written.
cases='
from-csv          rec from-csv --id idx --text sentence --label label -o {o}/o.mp in/all.csv
from-csv-zst      rec from-csv --id idx --text sentence --label label -o {o}/o.mp.zst in/all.csv
from-tsv          rec from-tsv --text sentence --label label -o {o}/o.mp in/all.tsv
from-jsonl        rec from-jsonl --id id --text text --label label -o {o}/o.mp in/all.jsonl
from-lines        rec from-lines -o {o}/o.mp in/all.tsv
from-json         rec from-json -o {o}/o.mp in/header.jsonl
from-npy          rec from-npy --weights in/teacher-weights.npy -o {o}/o.mp in/teacher.npy
to-json           rec to-json --header -o {o}/o.json in/all.mp.zst
to-json-stdout    rec to-json in/all.mp
to-csv            rec to-csv -o {o}/o.csv in/all.mp
cat               rec cat -z -o {o}/o.mp in/all.mp in/all.mp.zst
cat-stdout        rec cat in/all.mp.zst
head              rec head -n 2 -o {o}/o.mp in/all.mp
sample            rec sample -n 2 --shuffle -o {o}/o.mp in/all.mp
split             rec split -n 2 -o {o}/o in/all.mp
join              rec join -o {o}/o.mp in/all.mp in/all.mp
count             rec count -o {o}/o in/all.mp
check             rec check in/all.mp
prompt-expand     prompt-expand --task in/task.json --shots in/all.mp -o {o}/o.mp in/all.mp
prompt-chat       prompt-expand --task in/chat.json --model in/chat --zero-shot -o {o}/o.mp in/all.mp
prompt-show       prompt-expand --task in/task.json --zero-shot --show in/all.mp
prompt-student    prompt-expand --task in/task.json --instruction 1 --student -o {o}/o.mp in/all.mp
tok               tok --model in -o {o}/o.mp in/prompts.mp
tok-sentencepiece tok --tokenizer in/sp.model -o {o}/o.mp in/prompts.mp
tok-gguf          tok --tokenizer in/whole.gguf -o {o}/o.mp in/prompts.mp
tok-decode        tok --decode --model in -o {o}/o.mp in/tok.mp
lm-score          lm-score --model in/net -o {o}/o.mp in/tokens.mp
lm-score-adapter  lm-score --model in/net --adapter in/dirichlet --head dirichlet -o {o}/o.mp in/tokens.mp
lm-score-gguf     lm-score --model in/whole.gguf -o {o}/o.mp in/gguf-tokens.mp
lm-score-shards   lm-score --model in/shards -o {o}/o.mp in/tokens.mp
lm-score-list     lm-score --model in/net --list in/list
bpe-fit           bpe-fit -o {o}/o.mp in/scores.mp
bpe-calibrate     bpe-fit --calibrate scale+bias --held-out -o {o}/o.mp in/scores.mp
bpe-apply         bpe-fit --apply in/weights.mp -o {o}/o.mp in/scores.mp
lora-train        lora-train -q --model in/net --rank 2 --alpha 4 --teacher in/teacher.mp --epochs 2 --checkpoint-every 1 --log {o}/log.tsv -o {o}/adapter in/tokens.mp
dir-eval          dir-eval -o {o}/o in/predictions.mp
dir-eval-json     dir-eval --json -o {o}/o.json in/predictions.mp
dir-eval-stream   dir-eval --stream -o {o}/o.mp in/ensemble.mp
dir-eval-curves   dir-eval --curve in/log.tsv --figures {o}
decide-risk       decide --risk 0.2 --or-abstain -o {o}/o.mp in/fit.mp
decide-set        decide --set 0.1 -o {o}/o.mp in/fit.mp
decide-apply      decide --apply in/rule.mp -o {o}/o.mp in/fit.mp
lm-plan           lm-plan --config in/plan.json --gpu h100 --synthetic 4,2,20,8 -o {o}/o
lm-plan-json      lm-plan --config in/plan.json --gpu h100 --synthetic 4,2,20,8 --json -o {o}/o.json
help              rec --help
version           tok --version
digest            lm-score --model in/net --digest
'

# ---- one run ----

# In a worker's folder: runs the command, its standard output in so, its messages in se, its files in out.
run_command() {
    "${command[@]//'{o}'/out}" >so 2>se </dev/null
}

# Into wrong: what is wrong with how it ended, if anything. Without a process of its own where nothing is.
# The log of a training and its checkpoint are there from the first step on.
judge() { # STATUS
    local file name
    wrong=
    if [ "$1" -ge 128 ]; then
        wrong="signal $(($1 - 128))"
    elif [ "$1" = 0 ]; then
        cmp -s so ref.so || wrong='status 0, standard output differs'
        diff -r out ref.out >/dev/null || wrong='status 0, files differ'
    elif [ ! -s se ]; then
        wrong="status $1 without a message"
    elif [ "$1" -lt 64 ]; then
        wrong="status $1"
    fi
    [ "$1" = 0 ] && return
    for file in out/**; do
        name=${file#out/}
        if [ ! -f "$file" ]; then
            :
        elif [[ $name == *.part* ]]; then
            [ "$kind" = remove ] || wrong+="; a temporary file is left: ${name%.part*}.part"
        elif [[ $name == log.tsv || ($name == adapter/* && ! -e out/adapter/adapter_config.json) ]]; then
            :
        elif [[ $name == *.checkpoint ]]; then
            resumes || wrong+='; the checkpoint does not go on to the right result'
        elif ! cmp -s "$file" "ref.$file"; then
            wrong+="; a file that is not whole under its final name: $name"
        fi
    done
}

resumes() {
    rm -rf resumed && cp -r out resumed &&
        "${command[@]//'{o}'/resumed}" --resume >/dev/null 2>&1 && diff -r resumed ref.out >/dev/null
}

# ---- a case ----

# Lines "KIND N" of the calls to fail, of the file of counts; "KIND+ N": all later ones, too, as where a disk is full
# or memory has run out (of allocations, there being many, every tenth).
chosen_calls() {
    awk -v most="${FAULT_MOST:-0}" -v seed="${FAULT_SEED:-1}" -v kind="${FAULT_KIND-}" 'BEGIN { srand(seed) }
        kind == "" || $1 == kind {
            for (n = 1; n <= $2; n++) {
                if (most && $2 > most && n > most / 2 && rand() >= (most / 2) / ($2 - most / 2))
                    continue
                print $1, n
                if ($1 == "write" || $1 == "memory" && n % 10 == 1)
                    print $1 "+", n
            }
        }' counts
}

# Of all calls of the case, those of this worker's turn.
run_part() { # PART PARTS
    local kind n on i=0 wrong left
    mkdir "$1" && cd "$1" && ln -s "$work/in" in && ln -s ../so ref.so && ln -s ../out ref.out || exit 1
    while read -r kind n; do
        [ $((i++ % $2)) = "$1" ] || continue
        [ -d out ] || mkdir out
        on=${kind//[a-z]/}
        FAULT_CALL=${kind%+} FAULT_AT=$n FAULT_ON=$on LD_PRELOAD=$shim run_command
        judge $?
        [ -z "$wrong" ] || echo "$name: $kind $n: $wrong ($(tail -n 1 se))"
        left=(out/*)
        [ ${#left[@]} = 0 ] || rm -rf out
    done <../chosen >findings
}

run_case() { # NAME COMMAND ...
    local name=$1 command=("${@:2}") part
    mkdir "$work/$name" && cd "$work/$name" && mkdir out && ln -s "$work/in" in || exit 1
    if ! FAULT_COUNT=$PWD/counts LD_PRELOAD=$shim run_command; then
        echo "$name: fails untouched: $(tail -n 1 se)" | tee findings
        return
    fi
    mkdir plain && (cd plain && mkdir out && ln -s "$work/in" in && run_command) || exit 1
    mkdir short && (cd short && mkdir out && ln -s "$work/in" in && FAULT_SHORT=1 LD_PRELOAD=$shim run_command)
    for part in plain short; do
        cmp so $part/so && diff -r out $part/out || echo "$name: $part: another result ($(tail -n 1 $part/se))"
    done >findings 2>&1
    chosen_calls >chosen
    for ((part = 0; part < jobs; part++)); do
        (run_part $part "$jobs") &
    done
    wait
    cat -- [0-9]*/findings >>findings
    printf '%-17s %6d calls failed, of %d; %d findings\n' "$name" "$(wc -l <chosen)" \
        "$(awk '{ n += $2 } END { print n }' counts)" "$(wc -l <findings)"
}

wanted() { # NAME PATTERN ...
    local name=$1 pattern
    shift
    [ $# -gt 0 ] || return 0
    for pattern; do
        [[ $name == *"$pattern"* ]] && return 0
    done
    return 1
}

[ -e "$shim" ] || { echo "tests/faults/run.sh: $shim is missing: make faults-built"; exit 2; }
jobs=${JOBS:-$(nproc)}
(make_inputs 2>"$work/said") || { cat "$work/said"; exit 2; }
while read -r name rest; do
    if [ -z "$name" ] || ! wanted "$name" "$@"; then
        continue
    fi
    read -ra words <<<"$rest"
    run_case "$name" "${words[@]}"
done <<<"$cases"
cat "$work"/*/findings </dev/null >"$work/findings"
sort -V "$work/findings"
chosen=$(cat "$work"/*/chosen </dev/null | wc -l)
[ "$chosen" -gt 0 ] || { echo "tests/faults/run.sh: there is no such case, or no call of such a kind in it"; exit 2; }
echo "$chosen calls failed, $(wc -l <"$work/findings") findings"
[ ! -s "$work/findings" ]
