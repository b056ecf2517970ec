# What people hand in as --model or --tokenizer that is none: each is named, with what to do.

bats_require_minimum_version 1.5.0

setup() {
    load refuses.bash
    top=$BATS_TEST_DIRNAME/../..
    model=$top/examples/model
    cd "$BATS_TEST_TMPDIR" || exit 1
    mkdir folder
}

# Both programs that read a model, and tok.
each_refuses() { # STATUS MESSAGE MODEL
    refuses "$1" "$2" lm-score --model "$3" --digest
    refuses "$1" "$2" lora-train --model "$3" --teacher none.mp -o none
    refuses "$1" "$2" tok --model "$3"
}

@test "a name of the hub that is no folder here says how to download it" {
    each_refuses 66 "hf download mistralai/Mistral-7B-Instruct-v0.3 --local-dir Mistral-7B-Instruct-v0.3" \
        mistralai/Mistral-7B-Instruct-v0.3
    refuses 66 "./no/folder" lm-score --model ./no/folder --digest
    run lm-score --model ./no/folder --digest
    [[ $output != *download* ]]
}

@test "a cache folder of the hub is read at its snapshot" {
    cache=models--someone--small
    mkdir -p $cache/snapshots/0123 $cache/refs $cache/blobs
    for file in "$model"/*; do ln -s "$file" $cache/snapshots/0123; done
    [ "$(lm-score --model $cache --digest)" = "$(lm-score --model "$model" --digest)" ]
    run -0 lm-score -v --model $cache --digest
    [[ $output == *"its snapshot 0123 is read"* ]]
    mkdir $cache/snapshots/4567
    each_refuses 66 "a cache folder with 2 snapshots and none that is the main one: name one of the folders in $cache/snapshots" $cache
    echo 0123 >$cache/refs/main
    [ "$(lm-score --model $cache --digest)" = "$(lm-score --model "$model" --digest)" ]
    rm -r $cache/snapshots/*
    each_refuses 66 "a cache folder with 0 snapshots" $cache
}

@test "an adapter as --model names its base model" {
    echo '{"peft_type": "LORA", "base_model_name_or_path": "someone/base"}' >folder/adapter_config.json
    refuses 65 "folder: a PEFT adapter, not a model: give its base model, someone/base as --model, and this folder as --adapter" \
        lm-score --model folder --digest
    refuses 65 "an adapter's tokenizer is its base model's" tok --model folder
}

@test "Mistral's own format, pickles and ONNX exports are told from a model's folder" {
    : >folder/params.json
    each_refuses 65 "Mistral's own format (params.json, consolidated.safetensors)" folder
    rm folder/params.json
    cp "$model"/{config,tokenizer}.json folder
    : >folder/consolidated.safetensors
    refuses 65 "Mistral's own format" lm-score --model folder --digest
    mv folder/consolidated.safetensors folder/pytorch_model-00001-of-00002.bin
    refuses 65 "its weights are PyTorch pickles" lm-score --model folder --digest
    refuses 65 "M.from_pretrained('folder').save_pretrained('NEW-FOLDER')" lm-score --model folder --digest
    rm folder/*.bin
    mkdir folder/onnx
    refuses 65 "an ONNX export" lm-score --model folder --digest
    mv folder/onnx folder/tf_model.h5
    refuses 65 "another framework's" lm-score --model folder --digest
}

@test "a file as --model asks for its folder" {
    refuses 65 "config.json: a file; --model wants the folder" lm-score --model "$model/config.json" --digest
}

@test "tokenizers in other formats are named" {
    cp "$model/config.json" folder
    echo '{"config": {"pattern": "x"}, "vocab": [{"rank": 0, "token_bytes": "AA==", "token_str": "x"}]}' >folder/tekken.json
    refuses 65 "folder: its tokenizer is Mistral's tekken.json" tok --model folder
    refuses 65 "folder/tekken.json: Mistral's tekken format, which is not read" tok --tokenizer folder/tekken.json
    rm folder/tekken.json
    printf 'IQ== 0\nIg== 1\n' >folder/qwen.tiktoken
    refuses 65 "folder: its tokenizer is a tiktoken file" tok --model folder
    refuses 65 "folder/qwen.tiktoken: a tiktoken vocabulary" tok --tokenizer folder/qwen.tiktoken
    mv folder/qwen.tiktoken folder/tokenizer.model
    refuses 65 "folder/tokenizer.model: a tiktoken vocabulary" tok --model folder
    rm folder/tokenizer.model
    : >folder/vocab.json
    refuses 65 "its tokenizer is in vocab.json and merges.txt" tok --model folder
}

@test "a Git LFS pointer or a web page instead of a file" {
    pointer=$'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 17\n'
    cp "$model"/* folder
    for file in model.safetensors config.json tokenizer.json; do
        printf %s "$pointer" >folder/$file
        program=lm-score
        [ $file != tokenizer.json ] || program=tok
        refuses 65 "folder/$file: a Git LFS pointer, not the file itself" $program --model folder
        printf '\n<!DOCTYPE html><html>' >folder/$file
        refuses 65 "folder/$file: a web page, not the file itself" $program --model folder
        cp "$model/$file" folder
    done
    printf 'PK\003\004 and so on, which is longer' >folder/model.safetensors
    refuses 65 "folder/model.safetensors: a PyTorch pickle" lm-score --model folder
    printf 'PK\003\004 and so on, which is longer' >folder/tokenizer.json
    refuses 65 "folder/tokenizer.json: a PyTorch pickle" tok --model folder
}

# A safetensors file of tensors without bytes but one.
quantised() { # NAME
    local header
    header=$(jq -cn --arg name "$1" '{($name): {dtype: "I32", shape: [1], data_offsets: [0, 4]}}')
    {
        printf '%b' "\\x$(printf %02x ${#header})\\0\\0\\0\\0\\0\\0\\0"
        printf '%s\0\0\0\0' "$header"
    } >folder/model.safetensors
}

@test "quantised weights without their configuration are named" {
    cp "$model/config.json" folder
    while read -r suffix format; do
        quantised model.layers.0.self_attn.q_proj."$suffix"
        refuses 65 "model.layers.0.self_attn.q_proj.$suffix: the model is quantised ($format), which is not supported" \
            lm-score --model folder --digest
    done <<'END'
qweight GPTQ or AWQ
weight_packed compressed-tensors
weight.absmax bitsandbytes, 4 bits
SCB bitsandbytes, 8 bits
weight_scale_inv FP8
scales MLX
END
}

@test "tokens of another tokenizer than the model's are refused" {
    jq -n '{name: "t", classes: ["good", "bad"], shots: 0, instructions: ["say"], content: "{text} "}' >task.json
    echo '{"text": "fine", "label": 0}' | rec from-jsonl --text text --label label |
        prompt-expand --task task.json --zero-shot >prompts.mp
    tok --model "$model" prompts.mp >own.mp
    lm-score --model "$model" own.mp >/dev/null
    # The file decides: what its folder makes of it is the folder's own affair.
    cp "$model"/* folder
    echo '{"pad_token": "<pad>"}' >folder/tokenizer_config.json
    tok --model folder prompts.mp | lm-score --model "$model" >/dev/null
    tok --tokenizer "$BATS_TEST_DIRNAME/../data/tok/mistral.json" prompts.mp >other.mp
    refuses 65 "other.mp: tokens of another tokenizer (xxh64:" lm-score --model "$model" other.mp
    refuses 65 "make them with tok --model $model" lora-train --model "$model" --loss labels -o out other.mp
    rm folder/tokenizer.json
    lm-score --model folder other.mp >/dev/null
}
