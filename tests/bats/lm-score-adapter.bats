# lm-score --adapter: students' predictions, and adapters that do not fit. Adapters with a name are
# PEFT's own (tests/oracle/gradients.py).

load refuses

setup() {
    lora=$BATS_TEST_DIRNAME/../data/lora
    data=$lora/streams
    models=$BATS_TEST_DIRNAME/../data/engine
    model=$models/mistral-window
    export DUQ_THREADS=1
    cd "$BATS_TEST_TMPDIR" || exit 1
}

student() { # LOSS OPTION...
    local loss=$1
    shift
    lora-train --model "$model" --teacher "$data/teacher.mp" --loss "$loss" --lr 1e-3 --epochs 3 --rank 4 -o "$loss.lora" \
        "$@" "$data/tokens.mp"
}

score() { # OPTION...
    lm-score --model "$model" "$@" "$data/tokens.mp"
}

@test "a Dirichlet student's predictions carry alpha and all three uncertainties" {
    student dirichlet
    score --adapter dirichlet.lora >predictions.mp # the head is what it was trained with
    rec check predictions.mp
    score --adapter dirichlet.lora --head dirichlet | rec to-json >again.json
    rec to-json predictions.mp | cmp - again.json
    [ "$(wc -l <again.json)" -eq 24 ]
    jq -e 'select((.alpha | add) as $a0 | (.probs[0] - .alpha[0] / $a0 | fabs) < 1e-12
        and (.total - .aleatoric - .epistemic | fabs) < 1e-12 and .epistemic > 0 and all(.alpha[]; . > 1))' again.json |
        jq -s -e 'length == 24'
    [ "$(rec to-json --header predictions.mp | head -n 1 | jq -r .head)" = dirichlet ]
}

@test "a softmax student's predictions carry total uncertainty alone" {
    student softmax
    score --adapter softmax.lora >predictions.mp
    rec check predictions.mp
    rec to-json predictions.mp | jq -e 'select((.probs | add - 1 | fabs) < 1e-12 and .aleatoric == null
        and .epistemic == null and .alpha == null
        and (.total + (.probs | map(. * log) | add) | fabs) < 1e-12)' | jq -s -e 'length == 24'
}

@test "a fixed alpha0 scales the alphas of predictions" {
    student dirichlet --alpha0 fixed:10
    score --adapter dirichlet.lora | rec to-json |
        jq -e 'select((.alpha | add) - 10 | fabs < 1e-9)' | jq -s -e 'length == 24'
}

@test "alphas of a fixed alpha0 are had unscaled, with the same probabilities, and the header says so" {
    student dirichlet --alpha0 fixed:10
    score --adapter dirichlet.lora >scaled.mp
    score --adapter dirichlet.lora --alphas unscaled >unscaled.mp
    rec check unscaled.mp
    [ "$(rec to-json --header unscaled.mp | head -n 1 | jq -r .alphas)" = unscaled ]
    jq -n -e --slurpfile s <(rec to-json scaled.mp) --slurpfile u <(rec to-json unscaled.mp) '
        all(range(24); . as $i | all(range(3); . as $c | ($s[$i].probs[$c] - $u[$i].probs[$c] | fabs) < 1e-12
            and $u[$i].alpha[$c] > 1) and ($u[$i].alpha | add) != 10)'
    run rec cat scaled.mp unscaled.mp
    [ "$status" -eq 65 ]
    [[ $output == *alphas* ]]
    student dirichlet --alpha0 standard -o free.lora
    run score --adapter free.lora --alphas unscaled
    [ "$status" -eq 65 ]
    [[ $output == *"was not trained with --alpha0 fixed"* ]]
}

@test "the adapter changes the logits, and merged into the weights gives nearly the same" {
    score --compute f32 | rec to-json | jq '.logits[]' >base
    score --compute f32 --adapter "$lora/mistral" | rec to-json | jq '.logits[]' >adapted
    score --compute f32 --adapter "$lora/mistral" --merge | rec to-json | jq '.logits[]' >merged
    paste base adapted | awk '{ d = $1 - $2; s += d < 0 ? -d : d } END { exit !(s / NR > 0.1) }'
    paste merged adapted | awk '{ d = $1 - $2; if (d > 2e-5 || d < -2e-5) exit 1 }'
}

# tests/oracle/lora_streams.py holds such adapters against PEFT.
@test "projections that the model's files fuse are one module of the adapter" {
    model=$models/phi3
    student dirichlet --targets q,v,up,lm_head --alpha 6
    jq -e '.target_modules == ["qkv_proj", "gate_up_proj", "lm_head"] and .r == 4 and .lora_alpha == 6
        and .rank_pattern == {"qkv_proj": 8} and .alpha_pattern == {"qkv_proj": 12}' dirichlet.lora/adapter_config.json
    score --compute f32 | rec to-json | jq '.logits[]' >base
    score --compute f32 --head none --adapter dirichlet.lora | rec to-json | jq '.logits[]' >adapted
    score --compute f32 --head none --adapter dirichlet.lora --merge | rec to-json | jq '.logits[]' >merged
    paste base adapted | awk '{ d = $1 - $2; s += d < 0 ? -d : d } END { exit !(s / NR > 0.01) }'
    paste merged adapted | awk '{ d = $1 - $2; if (d > 2e-5 || d < -2e-5) exit 1 }'
}

@test "a text's prediction does not depend on its neighbours in the batch" {
    student dirichlet
    score --adapter dirichlet.lora | rec to-json >all
    score --adapter dirichlet.lora --batch-tokens 8 | rec to-json | cmp - all
    score --adapter dirichlet.lora --no-share | rec to-json | cmp - all
}

refused() { # MESSAGE [OPTION...]
    local message=$1
    shift
    run score --adapter adapter "$@"
    echo "$output"
    [ "$status" -eq 65 ]
    [[ $output == *"$message"* ]]
}

# A copy of PEFT's adapter with a sed script run over a file of it; texts must keep their length.
spoil() { # FILE SCRIPT
    rm -rf adapter
    cp -r "$lora/mistral" adapter
    LC_ALL=C sed -i "$2" "adapter/$1"
}

@test "an adapter's tensor that matches nothing is refused by name" {
    spoil adapter_model.safetensors 's/layers.1.self_attn.q_proj.lora_A/layers.7.self_attn.q_proj.lora_A/'
    refused "tensor base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight matches nothing"
    spoil adapter_model.safetensors 's/layers.1.self_attn.q_proj.lora_A/layers.1.self_attn.q_norm.lora_A/'
    refused "q_norm.lora_A.weight matches nothing"
}

@test "an adapter's tensor of another shape is refused by name" {
    spoil adapter_config.json 's/"r": 4/"r": 5/'
    refused "lora_A.weight has the shape [4,32], this model and its rank ask for [5,32]"
    model=$models/llama-odd-heads
}

@test "a target without its tensors is refused by name" {
    spoil adapter_model.safetensors 's/model.lm_head.lora_A.weight/model.lm_head.lora_C.weight/'
    refused "lm_head.lora_C.weight matches nothing"
    spoil adapter_config.json 's/"v_proj"/"v_proj", "up_proj"/'
    refused "no tensors for model.layers.0.mlp.up_proj, which adapter/adapter_config.json lists as a target"
    spoil adapter_config.json 's/"v_proj"/"v_proj", "embed_tokens"/'
    refused "the target embed_tokens is no module of this model that can have an adapter"
}

@test "tensors that the lists of targets leave out are refused, for PEFT would not compute them" {
    spoil adapter_config.json 's/"layers_to_transform": null/"layers_to_transform": [1]/'
    refused "tensors for model.layers.0.self_attn.q_proj, which adapter/adapter_config.json leaves out"
    spoil adapter_config.json 's/"exclude_modules": null/"exclude_modules": ["v_proj"]/'
    refused "tensors for model.layers.0.self_attn.v_proj, which adapter/adapter_config.json leaves out"
    spoil adapter_config.json 's/"use_rslora": false/"use_rslora": 1/'
    refused "'use_rslora' is not true or false"
    spoil adapter_config.json 's/"alpha_pattern": {}/"alpha_pattern": ["v_proj", 3]/'
    refused "'alpha_pattern' is no object"
}

@test "which module has another scale is part of the adapter's digest" {
    digest() { # MODULE
        rm -rf adapter
        cp -r "$lora/mistral" adapter
        jq --arg m "$1" '.alpha_pattern = {($m): 3}' "$lora/mistral/adapter_config.json" >adapter/adapter_config.json
        score --adapter adapter | rec to-json --header | head -n 1 | jq -r .adapter
    }
    [ "$(digest model.layers.0.self_attn.q_proj)" != "$(digest model.layers.1.self_attn.q_proj)" ]
}

@test "a student is asked in the layout that it was trained in" {
    student softmax
    rec to-json --header "$data/tokens.mp" | sed '1s/^{/{"layout":"chat",/' | rec from-json >chat.mp
    refuses 65 "prompts in the layout 'chat', the adapter was trained on those in 'plain'" \
        lm-score --model "$model" --adapter softmax.lora chat.mp
    lora-train --model "$model" --teacher "$data/teacher.mp" --loss softmax --epochs 1 --rank 4 -o chat.lora chat.mp
    lm-score --model "$model" --adapter chat.lora chat.mp >/dev/null
    refuses 65 "trained on those in 'chat'" lm-score --model "$model" --adapter chat.lora "$data/tokens.mp"
}

@test "alphas as trained and unscaled are not one set of predictions" {
    student dirichlet --alpha0 fixed:10
    score --adapter dirichlet.lora >trained.mp
    score --adapter dirichlet.lora --alphas unscaled >unscaled.mp
    decide --expected-risk 0.9 --by epistemic trained.mp >rule.mp
    refuses 65 alphas decide --apply rule.mp unscaled.mp
}

@test "another base model's adapter is refused" {
    # PEFT saves a copy of lm_head's own weights; those of this model are others.
    spoil adapter_config.json ''
    model=$models/llama-yarn
    refused "is not the base model's lm_head.weight: the adapter belongs to another base model"
    model=$models/mistral-window
    student softmax
    model=$models/llama-yarn
    run score --adapter softmax.lora
    [ "$status" -eq 65 ]
    [[ $output == *"softmax.lora/duq.json: the adapter was trained on the base model xxh64:"* ]]
}

@test "weights of one adapter beside another's duq.json are refused" {
    student softmax
    student dirichlet
    cp softmax.lora/adapter_model.safetensors dirichlet.lora
    run score --adapter dirichlet.lora
    [ "$status" -eq 65 ]
    [[ $output == *"dirichlet.lora/duq.json: belongs to other weights (xxh64:"*"files of two adapters are mixed"* ]]
    jq 'del(.weights)' dirichlet.lora/duq.json >duq.json
    mv duq.json dirichlet.lora
    score --adapter dirichlet.lora >/dev/null
}

@test "PEFT features that are not computed are refused by name" {
    spoil adapter_config.json 's/"use_dora": false/"use_dora": true/'
    refused "'use_dora' is set, which is not supported"
    spoil adapter_config.json 's/"bias": "none"/"bias": "all"/'
    refused "trained biases are not supported"
    spoil adapter_config.json 's/"peft_type": "LORA"/"peft_type": "IA3"/'
    refused "'peft_type' is IA3; only LORA adapters can be read"
    spoil adapter_config.json 's/"init_lora_weights": true/"init_lora_weights": "pissa"/'
    refused "'init_lora_weights' is pissa, which changes the base weights"
    spoil adapter_config.json 's/"alpha_pattern": {}/"alpha_pattern": {"q_.*": 3}/'
    refused "'alpha_pattern' has the pattern q_.*, which is no module's name: not supported"
    spoil adapter_config.json 's/"alpha_pattern": {}/"alpha_pattern": {"q_proj": "3"}/'
    refused "'alpha_pattern' gives q_proj no positive number"
    spoil adapter_config.json 's/"rank_pattern": {}/"rank_pattern": {"q_proj": 3}/'
    refused "q_proj.lora_A.weight has the shape"
}

@test "a folder without a whole adapter is refused" {
    spoil adapter_config.json ''
    rm adapter/adapter_config.json
    run score --adapter adapter
    [ "$status" -eq 66 ]
    [[ $output == *"adapter/adapter_config.json: No such file"* ]]
    spoil adapter_config.json ''
    head -c 3000 "$lora/mistral/adapter_model.safetensors" >adapter/adapter_model.safetensors
    refused "adapter/adapter_model.safetensors"
}

@test "a head or classes that the adapter was not trained with are refused" {
    student softmax
    run score --adapter softmax.lora --head dirichlet
    [ "$status" -eq 65 ]
    [[ $output == *"the adapter was trained with the head softmax"* ]]
    run lm-score --model "$model" --adapter softmax.lora "$data/tokens-other-classes.mp"
    [ "$status" -eq 65 ]
    [[ $output == *"its class tokens are not those that the adapter was trained on"* ]]
    run score --head often
    [ "$status" -eq 64 ]
    run score --merge
    [ "$status" -eq 64 ]
}

@test "a copy of the base's weights in an adapter is compared with a GGUF file's, too" {
    tail -c +2 "$BATS_TEST_DIRNAME/../fuzz/corpus/gguf/model" >model.gguf
    mkdir copy
    echo '{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}' >copy/adapter_config.json
    header='{"base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight":{"dtype":"F32","shape":[4,4],"data_offsets":[0,64]}}'
    # shellcheck disable=SC2059 # a byte
    { printf "\\x$(printf %x ${#header})" && head -c 7 /dev/zero && printf %s "$header" && head -c 64 /dev/zero; } >copy/adapter_model.safetensors
    refuses 65 "base_layer.weight is not the base model's model.layers.0.self_attn.q_proj.weight" \
        lm-score --model model.gguf --adapter copy "$BATS_TEST_DIRNAME/../data/engine/good.mp"
}
