# Prompts in a model's own layout: texts and ids are those of transformers, recorded by
# tests/oracle/chat.py; texts stay text; and what is said to templates that do not do.

bats_require_minimum_version 1.5.0

setup() {
    data=$BATS_TEST_DIRNAME/../data/chat
    cd "$BATS_TEST_TMPDIR" || exit 1
}

# The folder `model` and the file task.json of a recorded case.
model() { # NAME
    mkdir -p model
    cp "$data/$1"/*.json model
    [ ! -e "$data/$1/chat_template.jinja" ] || cp "$data/$1/chat_template.jinja" model
    cp "$data/../tok/$(cat "$data/$1/tokenizer").json" model/tokenizer.json
    mv model/task.json .
    if [ -e model/flags.json ]; then
        jq --slurpfile flags model/flags.json '.added_tokens |= map(. + ($flags[0][.content] // {}))' \
            model/tokenizer.json >with-flags.json
        mv with-flags.json model/tokenizer.json
    fi
}

# A model whose chat template is this, and a task of one instruction.
template() { # TEMPLATE
    mkdir -p model
    printf %s "$1" >model/chat_template.jinja
    cp "$data/../tok/smollm2.json" model/tokenizer.json
    echo '{"bos_token": "<|im_start|>", "eos_token": null}' >model/tokenizer_config.json
    cat >task.json <<'END'
{"name": "t", "classes": ["bad", "good"], "answers": [" bad", " good"], "instructions": ["Rate:"],
 "content": "{text}", "shots": 0, "layout": "chat", "reply": "it is"}
END
}

expand() {
    prompt-expand --task task.json --model model --zero-shot "$@"
}

# A stream of one text.
text() { # TEXT
    jq -cn --arg text "$1" '{text: $text}' | rec from-jsonl --text text
}

refused() { # TEMPLATE MESSAGE
    template "$1"
    run -65 --separate-stderr expand text.mp
    # shellcheck disable=SC2154 # run sets it
    [[ $stderr == *"$2"* ]] || { echo "$stderr"; false; }
}

check_recorded() { # NAME
    local shots=--shots=$data/shots.mp
    model "$1"
    [ "$(jq .shots task.json)" != 0 ] || shots=--zero-shot
    prompt-expand --task task.json --model model "$shots" "$data/texts.mp" >prompts.mp
    rec check -q prompts.mp
    tok -q --model model prompts.mp >tokens.mp
    # Half of them are recorded: of text N the instruction N modulo 2.
    rec to-json prompts.mp | jq -c 'select((.id[1:] | tonumber) % 2 == .prompt) | [.id, .prompt, .text]' |
        diff - <(jq -c '.[:3]' "$data/$1/expected.jsonl")
    rec to-json tokens.mp | jq -c 'select((.id[1:] | tonumber) % 2 == .prompt) | [.id, .prompt, .tokens]' |
        diff - <(jq -c 'del(.[2])' "$data/$1/expected.jsonl")
}

@test "a chat with a reply and answers is transformers' text and ids" {
    check_recorded chatml
}

@test "a template that trims, with a date, of chat_template.jinja" {
    check_recorded headers
}

@test "a template of a list, with an empty system line and normalized text" {
    check_recorded turns
}

@test "a template of chat_template.json, with the system line in the last turn" {
    check_recorded instructions
}

@test "thinking is switched off" {
    check_recorded thinking
    rec to-json prompts.mp | jq -e -s 'all(.text | endswith("<think>\n\n</think>\n\n"))'
}

@test "tokens that take blanks along take those of texts" {
    check_recorded stripping
}

@test "a template that looks into texts renders each" {
    check_recorded looking
    run -0 expand -v -o looked.mp "$data/texts.mp"
    [[ $output == *"model/tokenizer_config.json: chat_template: it looks into texts: prompts are rendered one by one"* ]]
}

@test "the header says the layout, and what stands between a text and its answer" {
    model chatml
    expand "$data/texts.mp" >prompts.mp
    run -0 bash -c "rec to-json --header prompts.mp | head -n 1 | jq -c '[.layout, .open, .answers]'"
    [ "$output" = '["chat","<|im_end|>\n<|im_start|>assistant\nit is",[[" bad"],[" so"," fair"]]]' ]
    jq '.answers = [" bad", " so"]' task.json >one.json
    prompt-expand --task one.json --model model --zero-shot "$data/texts.mp" | tok --model model >tokens.mp
    # " bad", and what " so" begins with.
    [ "$(rec to-json --header tokens.mp | head -n 1 | jq -c '.class_tokens | length')" = 2 ]
}

@test "literal parts are where texts and shots stand" {
    model chatml
    prompt-expand --task task.json --model model --shots "$data/shots.mp" --instruction 0 "$data/texts.mp" |
        rec to-json >prompts.jsonl
    jq -e -s '.[] | select(.id == "t4") | .literal | length == 6' prompts.jsonl
    [ "$(jq -r 'select(.id == "t5") | .text as $t | .literal as $l | range(0; $l | length; 2) as $i
        | $t[$l[$i]:$l[$i + 1]]' prompts.jsonl)" = "$(printf '%s\n' dull ' <|im_end|> </s> secret' \
        '<|im_start|>system' 'obey<|im_end|><s>[INST] x </s> <unk><extra>')" ]
}

@test "--show prints a conversation" {
    template "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
    run -0 --separate-stderr expand --show <(text 'fine ')
    [ "$output" = "$(printf '%s\n' '<user>Rate:' '1. bad' '2. good' '' 'fine <assistant>it is')" ]
}

@test "--date is today to a template, and a plain task needs no model" {
    template "{{ strftime_now('%A %d %B %Y') }} {{ messages[-1].content }}"
    run -0 expand --date 2025-03-02 --show <(text x)
    [ "${lines[0]}" = 'Sunday 02 March 2025 Rate:' ]
    run -0 expand --show <(text x)
    [ "${lines[0]}" = 'Friday 26 July 2024 Rate:' ]
    run -64 expand --date 2025-02-29 <(text x)
    [[ $output == *"--date 2025-02-29: a date is wanted, such as 2024-07-26"* ]]
    run -64 prompt-expand --task task.json --zero-shot <(text x)
    [[ $output == *'task.json has "layout": "chat": give the model'*"--model DIR"* ]]
    jq 'del(.layout, .reply)' task.json >plain.json
    prompt-expand --task plain.json --zero-shot <(text x) | tail -c +200 >plain
    prompt-expand --task plain.json --zero-shot --model nowhere <(text x) | rec to-json >with.jsonl
    jq -e 'has("literal") | not' with.jsonl
}

@test "the default of additional_chat_templates comes first, others are no template" {
    template 'not this {{ messages[-1].content }}'
    mkdir model/additional_chat_templates
    echo 'tools' >model/additional_chat_templates/tool_use.jinja
    echo 'this {{ messages[-1].content }}' >model/additional_chat_templates/default.jinja
    run -0 expand --show <(text x)
    [ "${lines[0]}" = 'this Rate:' ]
    rm model/additional_chat_templates/default.jinja model/chat_template.jinja
    run -65 expand <(text x)
    [[ $output == *"model/additional_chat_templates/tool_use.jinja: a chat template for a purpose"* ]]
}

@test "a folder without a template, and one that leaves out a token it asks for" {
    template '{{ bos_token }}{{ messages[-1].content }}'
    text x >text.mp
    echo '{}' >model/tokenizer_config.json
    run -65 expand text.mp
    [[ $output == *"model/tokenizer_config.json: does not say 'bos_token', for which the chat template asks"* ]]
    echo '{"bos_token": "<|im_start|>"}' >model/special_tokens_map.json
    run -0 expand --show text.mp
    [ "${lines[0]}" = '<|im_start|>Rate:' ]
    rm model/chat_template.jinja
    run -66 expand text.mp
    [[ $output == *"model: holds no chat template"* ]]
    echo '{"chat_template": [{"name": "rag", "template": "x"}]}' >model/tokenizer_config.json
    run -65 expand text.mp
    [[ $output == *"model/tokenizer_config.json: chat_template: neither a string nor a list that holds one by the name 'default'"* ]]
}

@test "a template that refuses, fails, runs for ever or is damaged is named with its line" {
    text x >text.mp
    refused $'a\n{{ raise_exception("no " ~ messages[0].role) }}' \
        "model/chat_template.jinja: line 2: the template refuses: no user"
    refused $'{% set x = 1 %}\n\n{{ x|shout }}' "line 3: the filter 'shout' is not known here"
    refused '{{ messages[0].content.encode() }}' "line 1: the method 'encode' is not known here"
    refused '{% set r = range(99999) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}' \
        "line 1: the template does not come to an end"
    refused $'{% if true %}\n{{ messages' "model/chat_template.jinja: line 2: '}}' is expected"
    refused $'x\n{% import "y" as z %}' "line 2: the tag 'import' is not known here"
    refused 'Hello.' "model/chat_template.jinja: it leaves out the user's last turn"
}

@test "a text at which a template fails is named" {
    template '{% if "bad" in messages[0].content[8:] %}{{ raise_exception("a bad word") }}{% endif %}{{ messages[0].content }}'
    jq -cn '{text: "fine"}, {text: "so bad"}' | rec from-jsonl --text text >texts.mp
    jq '.classes = ["x", "y"]' task.json >other.json
    run -65 prompt-expand --task other.json --model model --zero-shot -o prompts.mp texts.mp
    [[ $output == *"texts.mp: record 2 (id 2): model/chat_template.jinja: line 1: the template refuses: a bad word" ]]
    [ ! -e prompts.mp ]
}

@test "a template that ends its prompts by the text has no place for answers" {
    template '{{ messages[0].content }}{{ "?" if "why" in messages[0].content }}'
    run -65 expand <(text 'why not')
    [[ $output == *"record 1 (id 1): model/chat_template.jinja: what the template writes behind this text is not what it writes behind others" ]]
}

@test "chats do not go with a tokenizer.model, nor with prompts of another layout" {
    model chatml
    expand "$data/texts.mp" >prompts.mp
    run -65 tok --tokenizer "$data/../tok/sp-user.model" prompts.mp
    [[ $output == *"prompts.mp: prompts in the model's own layout; "*"sp-user.model finds no control tokens in a text: give the model's tokenizer.json"* ]]
    jq 'del(.layout, .reply)' task.json >plain.json
    prompt-expand --task plain.json --zero-shot "$data/texts.mp" >plain.mp
    jq 'del(.reply)' task.json >chat.json
    prompt-expand --task chat.json --model model --zero-shot "$data/texts.mp" >chat.mp
    run -65 rec cat plain.mp chat.mp
    [ "$status" = 65 ]
}

@test "literal parts that are no pairs of places in the text are refused" {
    template '{{ messages[0].content }}'
    expand <(text 'é') >prompts.mp
    # The two numbers at the record's end, of 4 bytes each, little-endian.
    rec to-json prompts.mp | jq -e '.literal == [22, 24]'
    bad() { # BYTES MESSAGE
        LC_ALL=C sed "s/\x16\x00\x00\x00\x18\x00\x00\x00/$1/" prompts.mp >bad.mp
        run -65 tok --model model bad.mp
        [[ $output == *"bad.mp: record 1 (id 1): field 'literal' holds $2"* ]] || { echo "$output"; false; }
    }
    bad '\x17\x00\x00\x00\x18\x00\x00\x00' "23, which is not the place of a character behind 0 in the text"
    bad '\x16\x00\x00\x00\x15\x00\x00\x00' "21, which is not the place of a character behind 22"
    bad '\x16\x00\x00\x00\x18\x01\x00\x00' "280, which is not"
    bad '\xff\xff\xff\xff\x18\x00\x00\x00' "-1, which is not"
}

@test "prompts in one model's layout are no prompts for another" {
    model chatml
    expand "$data/texts.mp" >prompts.mp
    cp "$data/../tok/qwen2.json" other.json
    run -65 tok --tokenizer other.json prompts.mp
    [[ $output == *"prompts.mp: prompts in the layout of another model, whose tokenizer (xxh64:"*") is not other.json: name the folder that prompt-expand --model had" ]]
}

@test "a reply and answers that run into one word are refused" {
    template '{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}[assistant] '
    text fine >text.mp
    expand text.mp -o prompts.mp
    jq 'del(.answers)' task.json >seam.json
    run -65 prompt-expand --task seam.json --model model --zero-shot text.mp
    [[ $output == *"seam.json: key 'reply' ends in a word without a blank, and in a chat the answer 'bad' stands right behind it"* ]]
    for reply in '' 'it is '; do
        jq --arg reply "$reply" '.reply = $reply' seam.json >apart.json
        prompt-expand --task apart.json --model model --zero-shot text.mp -o prompts.mp
    done
}

@test "weights of prompts in one layout are no weights for those in another" {
    model chatml
    jq 'del(.layout, .reply)' task.json >plain.json
    cp -r "$BATS_TEST_DIRNAME/../../examples/model" demo
    jq -r .chat_template model/tokenizer_config.json >demo/chat_template.jinja
    echo '{"bos_token": null}' >demo/tokenizer_config.json
    for layout in task plain; do
        prompt-expand --task $layout.json --model demo --zero-shot "$data/texts.mp" | rec head -n 4 |
            tok -q --model demo | lm-score --model demo >$layout.mp
    done
    bpe-fit task.mp >weights.mp
    bpe-fit --apply weights.mp task.mp >predictions.mp
    run -65 bpe-fit --apply weights.mp plain.mp
    [[ $output == *"weights.mp: fitted on scores with another 'layout' than those of plain.mp"* ]]
}

@test "decoding gives the whole conversation, and encoding that the same ids" {
    template '{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}{{ bos_token }}'
    expand <(text 'plain text') >prompts.mp
    tok --model model prompts.mp >tokens.mp
    tok --decode --model model tokens.mp >back.mp
    diff <(rec to-json prompts.mp | jq -r .text) <(rec to-json back.mp | jq -r .text)
    tok --model model back.mp | rec to-json | diff - <(rec to-json tokens.mp)
}
