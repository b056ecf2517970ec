# lm-score: its options, and what it says to bad streams and bad model folders. That its numbers are
# right is tests/c/test_engine.c's to show. Streams are made by tests/oracle/engine_streams.py.

load refuses
load profile

bats_require_minimum_version 1.5.0

setup() {
    data=$BATS_TEST_DIRNAME/../data/engine
    model=$data/llama-tied
    export DUQ_THREADS=1
    cd "$BATS_TEST_TMPDIR" || exit 1
}

logits() { # STREAM
    rec to-json "$1" | jq -c '[.id, .prompt, .label, .logits]'
}

# A copy of the model's folder with config.json changed by a jq program.
with_config() { # JQ-PROGRAM
    rm -rf changed
    cp -r "$model" changed
    jq "$1" "$model/config.json" >changed/config.json
}

# A copy of the folder whose weights are a header, as given, and 64 bytes.
with_header() { # JSON [LENGTH]
    local n=${2:-${#1}} i
    rm -rf changed
    mkdir changed
    cp "$model/config.json" changed
    {
        for i in 0 8 16 24 32 40 48 56; do
            printf '%b' "\\x$(printf %02x $((n >> i & 255)))"
        done
        printf '%s' "$1"
        head -c 64 /dev/zero
    } >changed/model.safetensors
}

@test "scores come in the order of the tokens, with their ids, prompts and labels" {
    lm-score --model "$model" "$data/good.mp" >scores.mp
    rec check scores.mp
    [ "$(logits scores.mp | jq -c '.[0:3]' | head -n 3 | tr '\n' ' ')" = \
        '["t0",0,0] ["t1",1,1] ["t2",2,0] ' ]
    rec to-json scores.mp | jq -e '.logits | length == 3' >lengths
    [ "$(sort -u lengths)" = true ]
    # Recorded from transformers, to 1e-4.
    rec to-json scores.mp | jq -s '[.[].logits]' >ours.json
    jq -e --slurpfile ours ours.json '[.["llama-tied"].logits, $ours[0]] | transpose |
        map(transpose[] | .[0] - .[1] | fabs) | max < 1e-4' "$data/cases.json"
}

@test "the header names the model and what was computed in" {
    lm-score --model "$model" --compute f32 "$data/good.mp" >scores.mp
    rec to-json --header scores.mp | head -n 1 >header
    jq -e '.schema == "scores" and .compute == "f32" and (.model | test("^xxh64:[0-9a-f]{16}$"))' \
        header
    lm-score --model "$data/llama-bias" "$data/good.mp" >other.mp
    [ "$(rec to-json --header other.mp | head -n 1 | jq .model)" != "$(jq .model header)" ]
}

@test "batch size, sharing, threads and the way the stream arrives do not show" {
    lm-score --model "$model" --compute f32 "$data/good.mp" >a.mp
    lm-score --model "$model" --compute f32 --batch-tokens 50 <"$data/good.mp" >b.mp
    lm-score --model "$model" --compute f32 --no-share "$data/good.mp" >c.mp
    lm-score --model "$model" --compute f32 --threads 2 "$data/good.mp" >d.mp
    logits a.mp >a
    for other in b c d; do
        logits $other.mp | cmp - a
    done
}

paths() { # that this processor has, the best first
    DUQ_ISA=none lm-score --compute f32 --model "$model" "$data/good.mp" 2>&1 >/dev/null |
        sed -n 's/.*this processor has \([^;]*\);.*/\1/p' | tr -d ,
}

@test "in f32 every path of the processor gives the same bytes" {
    [ -n "$(paths)" ]
    for path in $(paths); do
        DUQ_ISA=$path lm-score --compute f32 --model "$model" "$data/good.mp" >got.mp
        [ -e first.mp ] || cp got.mp first.mp
        cmp got.mp first.mp
    done
}

@test "DUQ_ISA takes a path that the processor has, and names those it has" {
    DUQ_ISA=plain lm-score -v --model "$model" -o /dev/null "$data/good.mp" 2>&1 |
        grep 'on cpu ([0-9]* threads\?, plain)'
    DUQ_ISA=pdp11 run lm-score --model "$model" -o /dev/null "$data/good.mp"
    [ "$status" -eq 69 ]
    [[ $output == *"DUQ_ISA=pdp11: this processor has "*"plain; name one of these"* ]]
}

@test "a stream put together from shards that were computed in different ways says so once" {
    lm-score --compute f32 --model "$model" "$data/good.mp" >a.mp
    DUQ_ISA=plain lm-score --compute bf16 --model "$model" "$data/good.mp" >b.mp
    rec to-json --header b.mp | head -n 1 | jq -e '.compute == "bf16/widened"'
    rec to-json a.mp b.mp b.mp a.mp 2>log >/dev/null
    [ "$(grep -c 'b.mp: computed in bf16/widened, what came before in f32' log)" -eq 1 ]
    rec to-json a.mp a.mp 2>&1 >/dev/null | cmp - /dev/null
}

@test "several files are one stream, and -o writes zstd" {
    rec head -n 5 "$data/good.mp" >first.mp
    rec head --skip 5 "$data/good.mp" >rest.mp
    lm-score --model "$model" -o scores.mp.zst first.mp rest.mp
    lm-score --model "$model" "$data/good.mp" >whole.mp
    [ "$(head -c 4 scores.mp.zst | od -An -tx1 | tr -d ' ')" = 28b52ffd ]
    [ "$(logits scores.mp.zst)" = "$(logits whole.mp)" ]
}

@test "many streams are scored with one loading, each as if alone" {
    rec head -n 3 "$data/good.mp" >one.mp
    rec head --skip 3 "$data/good.mp" | rec cat -z >'two words.mp'
    for name in one 'two words'; do
        lm-score --model "$model" <"$name.mp" >"alone.$name.mp"
    done
    printf '%s\t%s\n' one.mp 1.mp 'two words.mp' '2 words.mp' one.mp 3.zst >list
    lm-score -v --model "$model" --list list >written 2>said
    [ "$(cat written)" = "$(printf '%s\n' 1.mp '2 words.mp' 3.zst)" ]
    [ "$(grep -c 'loaded in' said)" = 1 ]
    lm-score --model "$model" --list list >written
    cmp 1.mp alone.one.mp
    cmp '2 words.mp' 'alone.two words.mp'
    cmp <(zstd -dcq 3.zst) alone.one.mp
    lm-score -z --model "$model" --list list >written
    for name in 1.mp '2 words.mp' 3.zst; do
        zstd -t -q "$name"
    done
    # From a pipe each is done before the next one is known; what an option is called does not show.
    rm 1.mp
    mkfifo work answers
    lm-score --model "$model" --li=- <work >answers &
    exec 5>work 6<answers
    for i in 1 2; do
        printf 'one.mp\tpiped.%s.mp\n' $i >&5
        read -r -u 6 answer
        [ "$answer" = piped.$i.mp ]
        cmp "$answer" alone.one.mp
    done
    exec 5>&- 6<&-
    wait $!
    # No work is done well.
    lm-score --model "$model" --list /dev/null
}

@test "a list that cannot be scored is refused where it goes wrong" {
    rec head -n 3 "$data/good.mp" >one.mp
    for line in one.mp '' $'one.mp\t' $'\tout.mp' $'one.mp\tout.mp\tmore'; do
        printf 'one.mp\tfirst.mp\n%s\n' "$line" >list
        run lm-score --model "$model" --list list
        [ "$status" -eq 65 ]
        [[ $output == *"list: line 2: not a file of tokens, a tab and the file to write"* ]]
        rec check first.mp
    done
    rec to-json --header one.mp >text
    head -c 200 one.mp >cut.mp
    printf 'one.mp\tfirst.mp\ncut.mp\tsecond.mp\n' >list
    refuses 65 'cut.mp' lm-score --model "$model" --list list
    [ ! -e second.mp ]
    sed '1s/"classes":\["a"/"classes":["other"/' text | rec from-json >other.mp
    run ! cmp -s one.mp other.mp
    printf 'one.mp\tfirst.mp\nother.mp\tsecond.mp\n' >list
    refuses 65 "other.mp: has another 'classes' than one.mp, the list's first" lm-score --model "$model" --list list
    [ ! -e second.mp ]
    printf '%s/empty.mp\tsecond.mp\n' "$data" >list
    refuses 65 'empty.mp: holds no records' lm-score --model "$model" --list list
    # No output is another line's, or what one reads; nothing is scored then.
    cp one.mp two.mp
    ln -s two.mp link.mp
    printf 'one.mp\ttwice.mp\ntwo.mp\ttwice.mp\n' >list
    refuses 73 'list: line 2: twice.mp is what line 1 writes' lm-score --model "$model" --list list
    refuses 73 'standard input: line 2: twice.mp is what line 1 writes' lm-score --model "$model" --list - <list
    for written in two.mp ./two.mp link.mp; do
        printf 'one.mp\t%s\ntwo.mp\tout.mp\n' $written >list
        refuses 73 "list: line 1: $written is what line 2 reads" lm-score --model "$model" --list list
    done
    cmp one.mp two.mp
    [ ! -e twice.mp ]
    printf 'one.mp\t/dev/null\ntwo.mp\t/dev/null\n' >list
    lm-score --model "$model" --list list
    refuses 66 'nowhere: ' lm-score --model "$model" --list nowhere
    refuses 64 '--list FILE' lm-score --model "$model" --list list one.mp
    refuses 64 '--list FILE' lm-score --model "$model" --list list -o out.mp
}

@test "-v says what was shared, computed, and how fast" {
    run lm-score -v --model "$model" -o /dev/null "$data/good.mp"
    [ "$status" -eq 0 ]
    [[ $output == *"LlamaForCausalLM"*"stored as F32, computing in f32 on cpu"* ]]
    [[ $output == *"458 computed"*"3 shared prefixes"* ]]
    [[ $output == *"GFLOP/s"*"read 13, written 13, skipped 0"* ]]
}

@test "--profile says where the time went and changes no score" {
    lm-score --model "$model" "$data/good.mp" >a.mp 2>log
    [ ! -s log ]
    lm-score --profile --model "$model" "$data/good.mp" >b.mp 2>log
    is_profile log weights matmul gated_matmul attention rmsnorm rope embed class_logits
    grep -Eq '^lm-score: [0-9.]+ s, by operations on cpu \(' log
    # The same bytes, but for the command line that the header tells.
    rec to-json a.mp >a
    rec to-json b.mp | cmp - a
    for stream in a b; do
        rec to-json --header $stream.mp | head -n 1 | jq 'del(.made)' >$stream.header
    done
    cmp a.header b.header
    grep -Eq '^(matmul|gated_matmul) .* % +[0-9.]+ +[0-9.]+$' log
    grep -Eq '^weights .* % +- +-$' log
}

@test "memory that runs out ends in what to lower" {
    [[ $BUILD != *sanitize* ]] || skip "AddressSanitizer needs more addresses"
    # A million tokens in one pass take a gigabyte.
    for _ in $(seq 1000); do cat "$data/good.mp"; done >many.mp
    (
        ulimit -v 300000
        refuses 71 "lower --batch-tokens (it is 1000000; a longer record is a pass of its own)" \
            lm-score --model "$model" --no-share --batch-tokens 1000000 -o none.mp many.mp
        refuses 71 "lower --batch-tokens (it is 1000000; a longer record is a pass of its own)" \
            lm-score --profile --model "$model" --no-share --batch-tokens 1000000 -o none.mp many.mp
    )
    [ ! -e none.mp ]
}

@test "records that the model cannot take are named" {
    refuses 65 "record 2 (id t1): token 96 is not in the model's vocabulary of 96" \
        lm-score --model "$model" "$data/token-too-large.mp"
    refuses 65 "record 2 (id t1): token -5 is not in the model's vocabulary" \
        lm-score --model "$model" "$data/token-negative.mp"
    refuses 65 "record 2 (id t1): 513 tokens, but the model takes 512" \
        lm-score --model "$model" "$data/too-long.mp"
}

@test "streams that cannot be scored are refused" {
    refuses 65 "the input holds no records" lm-score --model "$model" -o out.mp "$data/empty.mp"
    [ ! -e out.mp ]
    refuses 65 "the header has no 'class_tokens'" lm-score --model "$model" "$data/no-class-tokens.mp"
    refuses 65 "class token 96 is not in" lm-score --model "$model" "$data/class-token-too-large.mp"
    refuses 65 "2 class tokens in the header for 3 classes" \
        lm-score --model "$model" "$data/class-token-missing.mp"
    head -c 2000 "$data/good.mp" >cut.mp
    refuses 65 "cut.mp" lm-score --model "$model" -o out.mp cut.mp
    [ ! -e out.mp ]
    lm-score --model "$model" "$data/good.mp" >scores.mp
    refuses 65 "scores" lm-score --model "$model" scores.mp
}

@test "wrong options are refused" {
    refuses 64 "--model DIR is needed" lm-score "$data/good.mp"
    refuses 64 "none of auto, f32, bf16" lm-score --model "$model" --compute f64 "$data/good.mp"
    refuses 64 "--batch-tokens" lm-score --model "$model" --batch-tokens 0 "$data/good.mp"
    refuses 66 "nowhere/config.json" lm-score --model nowhere "$data/good.mp"
}

@test "configurations that would be computed wrongly are refused by name" {
    with_config '.architectures = ["GemmaForCausalLM"]'
    refuses 65 "architecture GemmaForCausalLM is not supported" lm-score --model changed "$data/good.mp"
    with_config '.hidden_act = "gelu"'
    refuses 65 "activation 'gelu' is not supported" lm-score --model changed "$data/good.mp"
    with_config '.quantization_config = {"quant_method": "awq"}'
    refuses 65 "quantised" lm-score --model changed "$data/good.mp"
    for scaling in dynamic longrope; do
        with_config "del(.rope_parameters) |
            .rope_scaling = {\"type\": \"$scaling\", \"factor\": 2.0}"
        refuses 65 "RoPE scaling '$scaling' is not supported" lm-score --model changed "$data/good.mp"
    done
    with_config '.num_attention_heads = 3'
    refuses 65 "3 attention heads cannot share 2 key heads" lm-score --model changed "$data/good.mp"
    with_config '.hidden_size = 40'
    refuses 65 "has the shape [96,32], config.json asks for [96,40]" \
        lm-score --model changed "$data/good.mp"
    with_config '.num_hidden_layers = 3'
    refuses 65 "tensor model.layers.2.self_attn.q_proj.weight is missing" \
        lm-score --model changed "$data/good.mp"
    with_config '.vocab_size = "many"'
    refuses 65 "'vocab_size' is missing or not a positive whole number" \
        lm-score --model changed "$data/good.mp"
}

@test "what a configuration says and nobody here knows is refused by name" {
    with_config '.final_logit_softcapping = 30'
    refuses 65 "'final_logit_softcapping' is not known" lm-score --model changed "$data/good.mp"
    with_config '.final_logit_softcapping = null | .use_mrope = false | ._model_name_or_path = "here"'
    lm-score --model changed -o /dev/null "$data/good.mp"
    # A switch that is on unless it is off is as unknown as one that is on.
    with_config '.qk_rotation = false'
    refuses 65 "'qk_rotation' is not known" lm-score --model changed "$data/good.mp"
    for value in false null; do
        with_config ".is_causal = $value"
        refuses 65 "'is_causal' is not true: tokens would see those after them" \
            lm-score --model changed "$data/good.mp"
    done
    with_config '.is_causal = true'
    lm-score --model changed -o /dev/null "$data/good.mp"
    with_config '.model_type = "qwen2"'
    refuses 65 "'architectures' says LlamaForCausalLM, 'model_type' is not 'llama'" \
        lm-score --model changed "$data/good.mp"
    with_config '.layer_types = ["full_attention", "sliding_attention"]'
    refuses 65 "'layer_types' has windows, LlamaForCausalLM has none" lm-score --model changed "$data/good.mp"
    with_config '.rope_parameters.mrope_section = [2, 1, 1]'
    refuses 65 "'rope_parameters' has a key 'mrope_section', which is not known" \
        lm-score --model changed "$data/good.mp"
    with_config '.rope_parameters = {"full_attention": {"rope_theta": 10000.0}}'
    refuses 65 "'rope_parameters' by kinds of layers ('full_attention') is not supported" \
        lm-score --model changed "$data/good.mp"
    with_config '.rope_scaling = "yarn"'
    refuses 65 "'rope_scaling' is no object" lm-score --model changed "$data/good.mp"
}

@test "a tensor that the architecture does not have is refused by name" {
    # An attention bias, where the configuration says that there is none.
    cp -r "$data/llama-bias" changed
    jq 'del(.attention_bias)' "$data/llama-bias/config.json" >changed/config.json
    refuses 65 "tensor model.layers.0.self_attn.k_proj.bias is none that a LlamaForCausalLM has" \
        lm-score --model changed "$data/good.mp"
}

@test "a model that is cut while it is in use ends in a message and leaves nothing behind" {
    local name folder
    mkfifo tokens
    for name in model.safetensors model.gguf; do
        rm -rf cut && mkdir cut
        folder=cut
        if [ $name = model.gguf ]; then
            cp "$data/../gguf/llama.gguf" cut/$name
            folder=cut/$name
        else
            cp "$model"/* cut
        fi
        lm-score --model $folder -o out.mp tokens 2>said 3>&- &
        # Somebody reads tokens: the model has been opened, and looked through.
        exec 5>tokens
        truncate -s 100 cut/$name
        cat "$data/good.mp" >&5
        exec 5>&-
        status=0
        wait $! || status=$?
        [ "$status" -eq 74 ]
        [[ $(cat said) == "lm-score: cut/$name: cannot be read any more: it was cut while it was in use, or its disk fails" ]]
        [ -z "$(compgen -G 'out.mp*')" ]
    done
}

@test "numbers that no float or index holds are errors" {
    with_config '.rms_norm_eps = 1e300'
    refuses 65 "'rms_norm_eps' is 1e+300, too large for single precision" lm-score --model changed --digest
    with_config '.rope_parameters.rope_theta = 1e-300'
    refuses 65 "'rope_theta' is 1e-300, too small for single precision" lm-score --model changed --digest
    with_config '.num_attention_heads = 134217729 | .num_key_value_heads = 1 | .head_dim = 32'
    refuses 65 "134217729 heads of 32 are more than a model can have" lm-score --model changed --digest
    with_config '.num_hidden_layers = 1000000'
    refuses 65 "1000000 layers are more than a model can have" lm-score --model changed --digest
    with_config '.num_attention_heads = 1 | .num_key_value_heads = 1 | .head_dim = 1000000'
    refuses 65 "1 heads of 1000000 are more than a model can have" lm-score --model changed --digest
    # A key that nobody needs may hold what it likes.
    jq -c . "$model/config.json" | sed 's/}$/,"max_length":1000000000000000019884624838656}/' >changed/config.json
    [ "$(lm-score --model changed --digest)" = "$(lm-score --model "$model" --digest)" ]
    sed 's/"num_attention_heads":4/"num_attention_heads":1000000000000000019884624838656/' changed/config.json >more
    mv more changed/config.json
    refuses 65 "'num_attention_heads' is missing or not a positive whole number" lm-score --model changed --digest
}

@test "hostile safetensors files are errors, not crashes" {
    entry='"dtype":"F32","shape":[4],"data_offsets"'
    with_header '{"a":{'"$entry"':[0,16]}}' 99999999
    refuses 65 "not a safetensors file, or cut off" lm-score --model changed "$data/good.mp"
    with_header '{"a":{'"$entry"':[0,16]}}' $((1 << 62))
    refuses 65 "not a safetensors file, or cut off" lm-score --model changed "$data/good.mp"
    with_header '[1, 2]'
    refuses 65 "not a JSON object" lm-score --model changed "$data/good.mp"
    with_header '{"a":{'"$entry"':[0,16]'
    refuses 65 "not a JSON object" lm-score --model changed "$data/good.mp"
    with_header '{"a":{'"$entry"':[56,72]}}'
    refuses 65 "tensor a: its bytes lie outside the file" lm-score --model changed "$data/good.mp"
    with_header '{"a":{'"$entry"':[-8,8]}}'
    refuses 65 "tensor a: its bytes lie outside the file" lm-score --model changed "$data/good.mp"
    with_header '{"a":{'"$entry"':[16,0]}}'
    refuses 65 "tensor a: its bytes lie outside the file" lm-score --model changed "$data/good.mp"
    with_header '{"a":{'"$entry"':[0,12]}}'
    refuses 65 "tensor a: 12 bytes for a shape that takes 16" lm-score --model changed "$data/good.mp"
    with_header '{"a":{'"$entry"':[0,16]},"b":{'"$entry"':[8,24]}}'
    refuses 65 "tensors a and b overlap" lm-score --model changed "$data/good.mp"
    with_header '{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,16]}}'
    refuses 65 "tensor a: impossible shape" lm-score --model changed "$data/good.mp"
    with_header '{"a":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}}'
    refuses 65 "tensor a: impossible shape" lm-score --model changed "$data/good.mp"
    with_header '{"a":7}'
    refuses 65 "tensor a: dtype, shape or data_offsets is missing" \
        lm-score --model changed "$data/good.mp"
    with_header '{"model.embed_tokens.weight":{"dtype":"I8","shape":[96,32],"data_offsets":[0,64]}}'
    refuses 65 "64 bytes for a shape that takes 3072" lm-score --model changed "$data/good.mp"
    printf 'abc' >changed/model.safetensors
    refuses 65 "shorter than its own length field" lm-score --model changed "$data/good.mp"
    : >changed/model.safetensors
    refuses 65 "shorter than its own length field" lm-score --model changed "$data/good.mp"
}

@test "folders with other weights say what to do" {
    mkdir changed
    cp "$model/config.json" changed
    refuses 66 "no model.safetensors" lm-score --model changed "$data/good.mp"
    : >changed/pytorch_model.bin
    refuses 65 "convert them: python3" lm-score --model changed "$data/good.mp"
    rm -r changed
    cp -r "$data/mistral-shards" changed
    rm changed/model-00002-of-00002.safetensors
    refuses 66 "model-00002-of-00002.safetensors" lm-score --model changed "$data/good.mp"
    cp changed/model-00001-of-00002.safetensors changed/model-00002-of-00002.safetensors
    refuses 65 "is also in" lm-score --model changed "$data/good.mp"
    jq '.weight_map["lm_head.weight"] = "../escape"' "$data/mistral-shards/model.safetensors.index.json" \
        >changed/model.safetensors.index.json
    refuses 65 "not a plain file name" lm-score --model changed "$data/good.mp"
}

@test "a logit that is not a number is an error that names the record" {
    cp -r "$model" changed
    # The last bytes of the file belong to the final norm.
    size=$(stat -c %s changed/model.safetensors)
    printf '\377\377\377\377' | dd of=changed/model.safetensors bs=1 seek=$((size - 4)) conv=notrunc 2>/dev/null
    refuses 65 "record 1 (id t0): the model gives a logit that is not a finite number" \
        lm-score --model changed -o out.mp "$data/good.mp"
    [ ! -e out.mp ]
}

@test "the digest is that of the headers, asked for by itself" {
    lm-score --model "$model" "$data/good.mp" >scores.mp
    lm-score --model "$model" --digest >digest
    [ "$(cat digest)" = "$(rec to-json --header scores.mp | head -n 1 | jq -r .model)" ]
    with_config '.rms_norm_eps = 0.01'
    [ "$(lm-score --model changed --digest)" != "$(cat digest)" ]
    refuses 74 "not written" bash -c 'lm-score --model "$0" --digest >/dev/full' "$model"
}

@test "values of config.json of the wrong kind, or that contradict each other, are refused by name" {
    wrong() { # MODEL JQ-PROGRAM TEXT
        model=$data/$1
        with_config "$2"
        refuses 65 "$3" lm-score --model changed "$data/good.mp"
    }
    wrong qwen2-window 'del(.layer_types) | .max_window_layers = "1"' "'max_window_layers' is not a whole number"
    wrong qwen2-window 'del(.layer_types) | .max_window_layers = 4294967297' "'max_window_layers' is not a whole number"
    wrong qwen2-window '.layer_types = "sliding_attention"' "'layer_types' is no list"
    wrong llama-tied '.hidden_act = 7' "'hidden_act' is not a name"
    wrong gemma3 '.hidden_activation = ["gelu"]' "'hidden_activation' is not a name"
    wrong gemma3 '.rope_scaling = {"rope_type": "linear", "factor": 2}' \
        "'rope_scaling' beside 'rope_parameters' is not supported of a Gemma3ForCausalLM"
    wrong gemma3 'del(.rope_parameters) | .rope_scaling = {"type": "linear", "factor": 2}' \
        "'rope_scaling' of a Gemma3ForCausalLM is followed where it has a 'rope_type' and no kinds"
    wrong gemma3 'del(.rope_parameters) | .rope_scaling = {"rope_type": "linear", "full_attention": {"factor": 2}}' \
        "'rope_scaling' of a Gemma3ForCausalLM is followed where it has a 'rope_type' and no kinds"
    wrong gemma3 '.rope_parameters = {"rope_type": "linear", "factor": 2}' \
        "'rope_parameters' of a Gemma3ForCausalLM are under 'full_attention' and 'sliding_attention'"
    wrong gemma3 'del(.layer_types) | .sliding_window = null' "Gemma3ForCausalLM has windows, 'sliding_window'"
    wrong gemma3 '.attn_logit_softcapping = 5' "'attn_logit_softcapping' is set, which is not supported"
    wrong gemma3 '.use_bidirectional_attention = true' "'use_bidirectional_attention' is set"
    wrong smollm3 '.layer_types = ["sliding_attention", "full_attention"] | .sliding_window = 8' "make them agree"
    wrong qwen2-window '.use_sliding_window = false' \
        "'layer_types' has windows, 'sliding_window' or 'use_sliding_window' has none: make them agree"
    wrong mistral-window '.layer_types = ["full_attention", "sliding_attention"] | .sliding_window = null' \
        "make them agree"
    wrong smollm3 '.no_rope_layers = [1]' "'no_rope_layers' does not name every layer"
    wrong phi3 '.layer_types = ["full_attention", "full_attention"]' "'layer_types' is nothing that Phi3ForCausalLM has"
    wrong phi3 '.rope_scaling = {"type": "linear", "factor": 2}' \
        "RoPE scaling 'linear' is nothing that Phi3ForCausalLM has (default, longrope)"
    wrong phi4-mini '.rope_parameters.short_factor = [1]' "'short_factor' does not have 3 factors"
    wrong phi4-mini '.original_max_position_embeddings = 1' "'original_max_position_embeddings' is 1"
    wrong phi4-mini '.partial_rotary_factor = 0.4 | del(.rope_parameters.partial_rotary_factor)' \
        "3 of a head's dimensions turn, which is not an even number"
    wrong llama-yarn '.rope_parameters.truncate = null' "'truncate' is not true or false"
    wrong llama-yarn '.rope_parameters.rope_theta = 1' "'rope_theta' is 1, which yarn cannot stretch"
    wrong granite '.residual_multiplier = "x"' "'residual_multiplier' is missing or not a positive number"
}
