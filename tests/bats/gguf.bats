# GGUF files as models: the programs on tests/data/gguf, which tests/oracle/gguf_models.py makes, and what is
# said of files that are not followed. What they answer is tests/c/test_gguf.c's to show, and malformed ones.

load refuses
load pipelines-fixture
bats_require_minimum_version 1.5.0

setup() {
    data=$(realpath "$BATS_TEST_DIRNAME/../data/gguf")
    streams=$BATS_TEST_DIRNAME/../data/lora/streams
    model=$data/whole.gguf
    cd "$BATS_TEST_TMPDIR" || exit 1
}

prompts() { # TEXT ...
    jq -n '{name: "t", classes: ["good", "bad"], shots: 0, instructions: ["say"], content: "{text} "}' >task.json
    jq -cn '$ARGS.positional[] | {text: .}' --args "$@" | rec from-jsonl --text text |
        prompt-expand --task task.json --zero-shot
}

score() { # MODEL
    prompts "a fine film" "two hours of rain" | tok --model "$1" | lm-score --model "$1" --compute f32
}

# put FILE TEXT OFFSET BYTES: other bytes so far behind the first place where a text stands in a file.
put() {
    local at
    at=$(LC_ALL=C grep -abo "$2" "$1" | head -n 1 | cut -d: -f1)
    printf '%b' "$4" | dd of="$1" bs=1 seek=$((at + $3)) conv=notrunc status=none
}

# A copy of a file, one text replaced by another of the same length.
with() { # FILE TEXT OTHER
    LC_ALL=C sed "s/$2/$3/" "$data/$1" >changed.gguf
    [ "$(wc -c <changed.gguf)" = "$(wc -c <"$data/$1")" ]
}

@test "a file, a link to it and a folder with nothing else are one model and one tokenizer" {
    mkdir folder
    cp "$model" folder/any-name.gguf
    ln -s "$model" model
    score "$model" | rec to-json >file
    [ "$(wc -l <file)" = 2 ]
    cmp file <(score folder | rec to-json)
    cmp file <(score model | rec to-json)
    [ "$(lm-score --model folder --digest)" = "$(lm-score --model "$model" --digest)" ]
    [ "$(tok --model folder --digest)" = "$(tok --model "$model" --digest)" ]
    [ "$(tok --model "$model" --digest)" = "$(prompts x | tok --model "$model" | rec to-json --header | head -n 1 | jq -r .tokenizer)" ]
}

@test "tokens of another tokenizer than the file's are refused" {
    prompts "a fine film" >prompts.mp
    tok --tokenizer "$data/tok-llama3.gguf" prompts.mp >other.mp
    refuses 65 "other.mp: tokens of another tokenizer (xxh64:" lm-score --model "$model" other.mp
}

@test "tokens come back as text" {
    prompts "a fine film" >prompts.mp
    tok --model "$model" prompts.mp | tok --decode --model "$model" | rec to-json | jq -r .text >back
    cmp back <(rec to-json prompts.mp | jq -r .text)
}

@test "a folder's own tokenizer.json goes before the file's" {
    mkdir folder
    cp "$model" folder
    cp "$data/../tok/llama3.json" folder/tokenizer.json
    [ "$(tok --model folder --digest)" = "$(tok --tokenizer folder/tokenizer.json --digest)" ]
}

@test "digests tell weights, settings and vocabularies apart" {
    with whole.gguf 'llama.rope.freq_base' 'llama.rope.freq_base'
    [ "$(lm-score --model changed.gguf --digest)" = "$(lm-score --model "$model" --digest)" ]
    put changed.gguf llama.rope.freq_base 24 '\0\0\0\x42'
    [ "$(lm-score --model changed.gguf --digest)" != "$(lm-score --model "$model" --digest)" ]
    [ "$(tok --model changed.gguf --digest)" = "$(tok --model "$model" --digest)" ]
    cp "$model" other.gguf
    printf x | dd of=other.gguf bs=1 seek=$(($(wc -c <"$model") - 100)) conv=notrunc status=none
    [ "$(lm-score --model other.gguf --digest)" != "$(lm-score --model "$model" --digest)" ]
    with whole.gguf 'tokenizer.ggml.pre' 'tokenizer.ggml.pre'
    put changed.gguf tokenizer.ggml.pre 30 starco
    refuses 65 "the pre-tokenizer 'starco' (tokenizer.ggml.pre) is not supported" tok --model changed.gguf --digest
}

@test "an adapter is trained on a file, names it as its base, and is scored and merged" {
    lora-train --model "$model" --loss labels --rank 2 --alpha 4 --epochs 2 --lr 1e-2 -o a.lora "$streams/tokens.mp"
    [ "$(jq -r .base_model_name_or_path a.lora/adapter_config.json)" = "$model" ]
    lm-score --model "$model" --adapter a.lora --head none --compute f32 "$streams/tokens.mp" | rec to-json | jq -c .logits >added
    lm-score --model "$model" --adapter a.lora --head none --merge --compute f32 "$streams/tokens.mp" | rec to-json | jq -c .logits >merged
    lm-score --model "$model" --compute f32 "$streams/tokens.mp" | rec to-json | jq -c .logits >base
    paste added merged base | jq -se '
        def far(a; b): [a, b] | transpose | map(.[0] - .[1] | fabs) | max;
        [range(0; length; 3) as $i | [.[$i], .[$i + 1], .[$i + 2]]] |
        (map(far(.[0]; .[1])) | max) < 1e-4 and (map(far(.[0]; .[2])) | max) > 1e-3'
}

@test "the chat template in a file is the folder's with the same" {
    mkdir folder
    cp "$data/../tok/smollm2.json" folder/tokenizer.json
    jq -n '{bos_token: "<|endoftext|>", chat_template: ("{{ bos_token }}{% for m in messages %}<|im_start|>" +
        "{{ m.role }}: {{ m.content }}<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant: {% endif %}")}' \
        >folder/tokenizer_config.json
    jq -n '{name: "t", classes: ["good", "bad"], shots: 0, instructions: ["say"], content: "{text}", layout: "chat"}' >task.json
    jq -cn '$ARGS.positional[] | {text: .}' --args "a <|im_end|> film" "rain" | rec from-jsonl --text text >texts.mp
    for m in folder "$model"; do
        prompt-expand --task task.json --zero-shot --model "$m" texts.mp | tok --model "$m" | rec to-json | jq -c .tokens
    done >ids
    [ "$(wc -l <ids)" = 4 ]
    cmp <(head -n 2 ids) <(tail -n 2 ids)
    head -n 1 ids | jq -e '.[:2] == [0, 1] and (map(select(. == 2)) | length) == 1'
    refuses 66 "llama.gguf: holds no chat template (tokenizer.chat_template)" \
        prompt-expand --task task.json --zero-shot --model "$data/llama.gguf" texts.mp
}

@test "a file can be planned for" {
    lm-plan --config "$model" --gpu h100 --json "$streams/tokens.mp" | jq -e '.model.architecture == "LlamaForCausalLM" or .architecture == "LlamaForCausalLM"'
}

@test "a pipeline takes a file" {
    few run MODEL="$model" --stop-stage weights
    [ "$(readlink run/model)" = "$model" ]
    grep -q "^$(tok --model "$model" --digest)  tokenizer$" run/.settings/model
    [ "$(rec count -q run/weights.mp)" = 9 ]
}

@test "several files, or none, in a folder are an error" {
    mkdir folder
    refuses 66 "holds no tokenizer.json and no tokenizer.model" tok --model folder --digest
    cp "$model" folder/a.gguf
    cp "$model" folder/b.gguf
    refuses 65 "folder: holds 2 GGUF files, a.gguf the first: name one of them" lm-score --model folder --digest
    refuses 65 "folder: holds 2 GGUF files, a.gguf the first: name one of them" tok --model folder --digest
    refuses 66 "folder/c.gguf" lm-score --model folder/c.gguf --digest
    cp "$data/../engine/llama-tied/config.json" folder
    refuses 65 "to take a GGUF file in it, name that file" lm-score --model folder --digest
    echo hello >c.gguf
    refuses 65 "c.gguf: not a GGUF file: it does not begin with \"GGUF\"" lm-score --model c.gguf --digest
    refuses 65 "c.gguf: not a GGUF file: it does not begin with \"GGUF\"" tok --model c.gguf --digest
    echo "version https://git-lfs.github.com/spec/v1" >c.gguf
    refuses 65 "c.gguf: a Git LFS pointer, not the file itself" lm-score --model c.gguf --digest
}

@test "what a file says of its model and is not followed is refused by name" {
    with llama.gguf 'architecture\(.\{12\}\)llama' 'architecture\1lamma'
    refuses 65 "changed.gguf: general.architecture 'lamma' is not supported (llama, qwen2" lm-score --model changed.gguf --digest
    with llama.gguf 'llama.attention.value_length' 'llama.attention.value_lengxx'
    refuses 65 "changed.gguf: llama.attention.value_lengxx is not known: it may say" lm-score --model changed.gguf --digest
    with llama.gguf 'llama.feed_forward_length' 'llana.feed_forward_length'
    refuses 65 "changed.gguf: llama.feed_forward_length is missing" lm-score --model changed.gguf --digest
    with llama.gguf x x
    put changed.gguf llama.attention.value_length 32 '\5'
    refuses 65 "llama.attention.value_length: values of another length than keys are not supported" lm-score --model changed.gguf --digest
    with llama.gguf x x
    put changed.gguf llama.attention.head_count 30 '\3'
    refuses 65 "tensor blk.0.attn_q.weight: 32 rows are not pairs of 3 heads" lm-score --model changed.gguf --digest
    with llama.gguf x x
    put changed.gguf llama.embedding_length 26 '\x40'
    refuses 65 "tensor token_embd.weight has the shape [48,32], its own configuration asks for [48,64]" lm-score --model changed.gguf --digest
    with llama-yarn.gguf yarn barn
    refuses 65 "RoPE scaling 'barn' is not supported" lm-score --model changed.gguf --digest
    with llama-factors.gguf rope_freqs.weight rope_freqz.weight
    refuses 65 "tensor rope_freqz.weight is none that a LlamaForCausalLM has" lm-score --model changed.gguf --digest
}

@test "tensors that are missing, too many or of a type that is not read are refused by name" {
    with llama.gguf blk.0.attn_v.weight blk.0.attn_x.weight
    refuses 65 "changed.gguf: tensor model.layers.0.self_attn.v_proj.weight is missing" lm-score --model changed.gguf --digest
    with llama.gguf blk.0.ffn_norm.weight blk.1.ffn_norm.weight
    refuses 65 "changed.gguf: tensor model.layers.0.post_attention_layernorm.weight is missing" lm-score --model changed.gguf --digest
    with llama-yarn.gguf blk.0.attn_q.bias blk.1.attn_q.bias
    refuses 65 "changed.gguf: tensor blk.0.attn_k.bias is none that a LlamaForCausalLM has" lm-score --model changed.gguf --digest
    with llama.gguf x x
    put changed.gguf token_embd.weight 37 '\x14'
    refuses 65 "changed.gguf: tensor token_embd.weight is of the type IQ4_NL, which is not read (F32, F16, BF16, Q8_0, Q4_0" lm-score --model changed.gguf --digest
}

@test "a tokenizer that is not followed is refused by name" {
    refuses 65 "llama.gguf: tokenizer.ggml.model is missing: the file holds no tokenizer" tok --model "$data/llama.gguf" --digest
    with tok-llama3.gguf 'model\(.\{12\}\)gpt2' 'model\1bert'
    refuses 65 "changed.gguf: the tokenizer 'bert' (tokenizer.ggml.model) is not supported (gpt2 and llama are)" tok --model changed.gguf --digest
    with tok-llama3.gguf tokenizer.ggml.merges tokenizer.ggml.mergex
    refuses 65 "changed.gguf: tokenizer.ggml.mergex is not known: it may say that texts have other tokens" tok --model changed.gguf --digest
    with tok-sp-identity.gguf tokenizer.ggml.scores tokenizer_ggml.scores
    refuses 65 "changed.gguf: tokenizer.ggml.scores is missing" tok --model changed.gguf --digest
    with tok-sp-identity.gguf '<0x41>' '<0x42>'
    refuses 65 "('<0x42>') is there twice" tok --model changed.gguf --digest
    with tok-llama3.gguf x x
    put changed.gguf tokenizer.ggml.bos_token_id 31 '\xff\xff\xff'
    refuses 65 "tokenizer.ggml.bos_token_id is 16777215, which is no token" tok --model changed.gguf --digest
}
