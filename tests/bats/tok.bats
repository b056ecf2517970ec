# tok: streams in and out, class tokens, and what it says to bad input. Parity with the original
# libraries is in tests/c/test_tokenizer.c (recorded) and tests/oracle/check-tok.sh (live).

bats_require_minimum_version 1.5.0

setup() {
    data=$BATS_TEST_DIRNAME/../data/tok
    cd "$BATS_TEST_TMPDIR" || exit 1
    # Letters of "negative", "positive" and "pos": one merge, one special token.
    cat >tokenizer.json <<'END'
{"added_tokens": [{"id": 14, "content": "<s>", "special": true}],
 "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
 "post_processor": {"type": "TemplateProcessing",
   "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
   "special_tokens": {"<s>": {"id": "<s>", "ids": [14], "tokens": ["<s>"]}}},
 "decoder": {"type": "ByteLevel"},
 "model": {"type": "BPE", "vocab": {"n": 0, "e": 1, "g": 2, "a": 3, "t": 4, "i": 5, "v": 6, "p": 7,
   "o": 8, "s": 9, "Ġ": 10, "po": 11, "Ã": 12, "©": 13}, "merges": ["p o"]}}
END
}


# A prompt stream, one record for each text, without an instruction's words.
prompts() { # CLASSES TEXT ...
    local classes=$1
    shift
    jq -n --arg classes "$classes" '{name: "t", classes: $classes | split(","), shots: 0,
        instructions: ["give"], content: "{text} "}' >task.json
    jq -cn '$ARGS.positional[] | {text: .}' --args "$@" | rec from-jsonl --text text |
        prompt-expand --task task.json --zero-shot
}

@test "a text becomes BOS and its tokens, and comes back whole" {
    prompts negative,positive 'positive é' >prompts.mp
    tok --model . prompts.mp >tokens.mp
    tok --decode --model . tokens.mp >back.mp
    # The vocabulary has no digits, dots, newlines or other letters: these are left out.
    run -0 bash -c 'rec to-json back.mp | jq -r .text'
    [ "$output" = 'give negative positivepositive é ' ]
}

@test "the header names the tokenizer and the token of each class" {
    prompts negative,positive pos | tok --tokenizer tokenizer.json -o tokens.mp.zst
    run -0 bash -c "rec to-json --header tokens.mp.zst | head -n 1 | jq -c '[.schema, .class_tokens, .tokenizer]'"
    [ "$output" = "[\"tokens\",[0,11],\"xxh64:91fed034ea209810\"]" ]
}

@test "two classes with one first token are an error that names both" {
    prompts positive,pos pos >prompts.mp
    run -65 tok --model . prompts.mp
    [[ $output == *"'positive' and 'pos' both begin with the token 'po' (11)"* ]]
}

# A prompt stream of a task with answers, given as JSON, whose content is CONTENT.
answers() { # CLASSES ANSWERS CONTENT
    jq -n --arg classes "$1" --argjson answers "$2" --arg content "$3" '{name: "t", shots: 0,
        classes: $classes | split(","), answers: $answers, instructions: ["give"], content: $content}' >task.json
    echo pos | rec from-csv --no-header --text 1 | prompt-expand --task task.json --zero-shot
}

# What the header of a tokens stream on standard input says that classes are read at.
read_at() {
    rec to-json --header | head -n 1 | jq -c '[.class_tokens, .answer_tokens]'
}

@test "answers are looked up after the open phrase, blank included" {
    # The tokenizer's merges end words: " is" and "positive" are tokens of theirs.
    jq '.model.vocab += {"<s>": 14, "is": 15, "Ġis": 16, "Ġpo": 17, "Ġn": 18} |
        .model.merges += ["i s", "Ġ is", "Ġ po", "Ġ n"]' tokenizer.json >t.json
    answers negative,positive '[" negative", " positive"]' '{text} is' | tok -t t.json | rec check
    [ "$(answers negative,positive '[" negative", " positive"]' '{text} is' | tok -t t.json | read_at)" = '[[18,17],null]' ]
    # The same words in other places have other tokens, and names are not asked.
    [ "$(answers no,yes '["negative", "positive"]' '{text}is' | tok -t t.json | read_at)" = '[[0,11],null]' ]
    # The end of the phrase and the answer's beginning become one token.
    answers no,yes '["negative", "positive"]' '{text} is ' >fused.mp
    run -65 tok -t t.json fused.mp
    [[ $output == *"key 'answers': 'negative' has no tokens of its own after ' is ', for t.json joins the two; this tokenizer writes the blank with the word: end the task's 'content' without it"* ]]
    answers no,yes '["s", "n"]' '{text} i' >fused.mp
    run -65 tok -t t.json fused.mp
    [[ $output == *"'s' has no tokens of its own after ' i'"*"begin the answer with a blank"* ]]
}

@test "answers that begin alike have the tokens that tell them apart, synonyms one where one will do" {
    # e n g a: one token each
    [ "$(answers a,b '["nege", "nega"]' '{text} ' | tok -t tokenizer.json | read_at)" = '[null,[[[0,1,2,1]],[[0,1,2,3]]]]' ]
    [ "$(answers a,b '[["ege", "ega", "nn"], ["ne", "a"]]' '{text} ' | tok -t tokenizer.json | read_at)" = \
        '[null,[[[1],[0,0]],[[0,1],[3]]]]' ]
    # All of a class's begin alike, others do not: one token will do.
    [ "$(answers a,b '[["ege", "ega"], ["ne", "nega"]]' '{text} ' | tok -t tokenizer.json | read_at)" = '[[1,0],null]' ]
}

@test "answers that no token tells apart are an error that names both" {
    answers a,b '["ne", "nega"]' '{text} ' >same.mp
    run -65 tok -t tokenizer.json same.mp
    [[ $output == *"key 'answers': 'ne' (class 'a') and 'nega' (class 'b') cannot be told apart: in the tokens of tokenizer.json the second begins with the first"* ]]
    # x and y have no tokens here.
    answers a,b '["nex", "ney"]' '{text} ' >same.mp
    run -65 tok -t tokenizer.json same.mp
    [[ $output == *"they are the same"* ]]
}

@test "a name that is read at a piece of a word gets a warning, once" {
    prompts negative,positive pos >prompts.mp
    tok -t tokenizer.json prompts.mp 2>log >/dev/null
    [ "$(grep -c "the class 'negative' is read at 'n', a piece of the word.*give the task 'answers'" log)" = 1 ]
    [ "$(wc -l <log)" = 1 ]
    prompts n,po pos >prompts.mp
    tok -t tokenizer.json prompts.mp 2>&1 >/dev/null | cmp - /dev/null
}

@test "an answer that is read at a piece of a word gets a warning, once" {
    answers n,p '["ne", "pa"]' '{text} ' >prompts.mp
    tok -t tokenizer.json prompts.mp 2>log >/dev/null
    grep -q "the answer 'ne' is read at 'n', a piece of the word, with which other words begin, too" log
    [ "$(wc -l <log)" = 1 ]
    # All of an answer, or whole words of it, are no piece; further tokens tell these apart.
    answers n,p '["n e", "po"]' '{text} ' | tok -t tokenizer.json 2>&1 >/dev/null | cmp - /dev/null
    answers n,p '["ne", "na"]' '{text} ' | tok -t tokenizer.json 2>&1 >/dev/null | cmp - /dev/null
    answers n,p '["neg", "nat"]' '{text} ' | tok -t tokenizer.json 2>&1 >/dev/null |
        grep -q "the answer 'neg' is read at 'ne', a piece"
}

@test "more tokens than --max-tokens is an error that names the record" {
    prompts negative,positive pos >prompts.mp
    run -65 tok --model . --max-tokens 5 prompts.mp
    [[ $output == *"prompts.mp: record 1 (id 1): "*" tokens, more than --max-tokens 5" ]]
}

@test "decoding with another tokenizer than encoded is refused" {
    prompts negative,positive pos | tok --model . >tokens.mp
    sed 's/"<s>", "ids"/"<s>",  "ids"/' tokenizer.json >other.json
    run -65 tok --decode --tokenizer other.json tokens.mp
    [[ $output == *"tokens.mp: made with another tokenizer than other.json"* ]]
}

@test "a folder without a tokenizer, and no tokenizer at all" {
    mkdir empty
    run -66 tok --model empty </dev/null
    [[ $output == *"empty: holds no tokenizer.json and no tokenizer.model" ]]
    run -66 tok --model nowhere </dev/null
    run -64 tok </dev/null
    [[ $output == *"give --model DIR"* ]]
}

# Replaces a part of the tokenizer and expects a refusal that says what.
refused() { # JQ_FILTER MESSAGE
    jq "$1" tokenizer.json >bad.json
    run -65 tok --tokenizer bad.json </dev/null
    [[ $output == *"bad.json: $2"* ]] || { echo "$output"; false; }
}

@test "no prompts at all are an error, and leave nothing under the output's name" {
    run -65 tok --model . -o out.mp "$data/empty.mp"
    [[ $output == *"the input holds no records"* ]]
    [ ! -e out.mp ]
}

@test "what a tokenizer.json asks for and tok does not do is refused by name" {
    refused '.model.type = "Unigram"' "the model 'Unigram' is not supported"
    refused '.model.dropout = 0.1' "the model's dropout is not supported"
    refused '.normalizer = {type: "Nmt"}' "the normalizer 'Nmt' is not supported"
    refused '.pre_tokenizer = {type: "UnicodeScripts"}' "the pre-tokenizer 'UnicodeScripts' is not supported"
    refused '.pre_tokenizer = {type: "Sequence", pretokenizers: [.pre_tokenizer, .pre_tokenizer]}' \
        "a pre-tokenizer after ByteLevel is not supported"
    refused '.decoder = {type: "CTC"}' "the decoder 'CTC' is not supported"
    refused '.post_processor = {type: "BertProcessing"}' "the post-processor 'BertProcessing' is not supported"
    refused '.post_processor.single |= reverse | .post_processor = {type: "Sequence", processors: [.post_processor, .post_processor]}' \
        "the post-processor 'a second TemplateProcessing with tokens behind the text' is not supported"
    refused '.pre_tokenizer = {type: "Split", pattern: {Regex: "[a&&b]"}, behavior: "Isolated"}' \
        "Split: the pattern '[a&&b]' holds an intersection"
    for caseless in '(?i:a|ss)' '(?i)xST' '(?i:é)' '(?i)[\\p{Ll}]' '(?i:\\x41)'; do
        refused ".pre_tokenizer = {type: \"Split\", pattern: {Regex: \"$caseless\"}, behavior: \"Isolated\"}" "Split: the pattern '$(printf %b "$caseless")' holds the caseless '"
    done
    for caseless in "(?i:'s|'t|'re|'ve|'m|'ll|'d)|ss" '(?i:s)s|\\p{Lu}' '(?-i:ss)'; do
        jq ".pre_tokenizer = {type: \"Split\", pattern: {Regex: \"$caseless\"}, behavior: \"Isolated\"}" tokenizer.json >good.json
        tok --tokenizer good.json --digest
    done
    refused '.pre_tokenizer = {type: "Split", pattern: {Regex: "(a"}, behavior: "Isolated"}' \
        "Split: the pattern '(a' cannot be compiled"
}

# What tokenizers 0.23.3 gives: FILTER of the tokenizer below, TEXT, ids.
@test "parts of a tokenizer.json that are seldom together are as in the library" {
    jq -n '{added_tokens: [], model: {type: "BPE", vocab: {a: 0, b: 1, "▁": 2, ab: 3, " ": 4}, merges: []}}' >plain.json
    made() { # FILTER TEXT IDS
        jq "$1" plain.json >made.json
        jq -cn --arg text "$2" '{duq: 1, schema: "prompt", made: []}, {id: "0", prompt: 0, text: $text}' | rec from-json |
            tok --tokenizer made.json | rec to-json | jq -c .tokens >ids
        echo "$1: $(cat ids)"
        [ "$(cat ids)" = "$3" ]
    }
    # A part of a word is no word.
    made '.model.ignore_merges = true' 'ab▁ab' '[0,1,2,0,1]'
    made '.model.ignore_merges = true' ab '[3]'
    # In brackets these numbers are no letters of words.
    made '.model.vocab["½"] = 5 | .pre_tokenizer = {type: "Split", pattern: {Regex: "[^\\w]+"}, behavior: "Removed"}' 'a½b' '[0,1]'
    made '.model.vocab["½"] = 5 | .pre_tokenizer = {type: "Split", pattern: {Regex: "\\w+"}, behavior: "Removed"}' 'a½b ' '[4]'
    # Blanks that one token has taken along are not another's.
    made '.added_tokens = [{id: 5, content: "  ", lstrip: true, rstrip: true}]' 'a    b' '[0,5,1]'
    made '.added_tokens = [{id: 5, content: "<x>", rstrip: true}, {id: 6, content: "\n\n", lstrip: true}]' $'a<x>\n\nb' '[0,5,1]'
    made '.added_tokens = [{id: 5, content: "<x>", rstrip: true}, {id: 6, content: "\n\n", lstrip: true}]' $'a\n\nb' '[0,6,1]'
}

@test "added tokens that the library would number or match otherwise are refused" {
    refused '.added_tokens += [{id: 16, content: "<y>"}]' \
        "the added token '<y>' has the id 16, but the library gives it 15: tokens are missing before it"
    refused '.normalizer = {type: "Strip", strip_left: true, strip_right: true} | .added_tokens += [{id: 15, content: " "}]' \
        "of the added token ' ' the normalizer leaves nothing"
}

@test "a damaged tokenizer.json is refused with the place" {
    head -c 200 tokenizer.json >cut.json
    run -65 tok --tokenizer cut.json </dev/null
    [[ $output == *"cut.json: line "* ]]
    refused '.model.vocab.n = 1' "the token 'e' has the id 1 of another one"
    refused '.model.vocab.n = -1' "the token 'n' has no id"
    refused '.model.merges = ["p x"]' "merge 0 ('p' and 'x') has a side or a result that is no token"
    refused '.model.merges = ["po"]' "merge 0 is not a pair of tokens"
    refused '.added_tokens[0].id = 3' "the added token '<s>' has the id 3, which is not its own"
    refused 'del(.model.vocab)' "the model has no vocabulary"
    refused '{}' "no model: not a tokenizer.json"
}

@test "what is neither a tokenizer.json nor a SentencePiece model is refused" {
    printf 'hello' >tokenizer.model
    run -65 tok --tokenizer tokenizer.model </dev/null
    [[ $output == *"tokenizer.model: "*"not a whole SentencePiece model"* ]]
    : >tokenizer.model
    run -65 tok --tokenizer tokenizer.model </dev/null
    [[ $output == *"tokenizer.model: neither a tokenizer.json nor a SentencePiece model"* ]]
}

@test "a text that is not UTF-8 is an error that names the record and the byte" {
    run -65 tok --tokenizer "$data/gpt2.json" "$data/not-utf8.mp"
    [[ $output == *"not-utf8.mp: record 2 (id latin): the text is not UTF-8 at byte 3"* ]]
}

@test "a SentencePiece model adds BOS unless tokenizer_config.json says not to" {
    mkdir model
    cp "$data/sp-identity.model" model/tokenizer.model
    prompts negative,positive pos >prompts.mp
    tok --model model prompts.mp >with.mp
    echo '{"add_bos_token": false}' >model/tokenizer_config.json
    tok --model model prompts.mp >without.mp
    # Token ids are 32-bit: one more of them, and the class tokens the same.
    [ $(($(stat -c %s with.mp) - $(stat -c %s without.mp))) = 4 ]
    run -0 bash -c 'for f in with without; do rec to-json --header $f.mp | head -n 1 | jq -c .class_tokens; done | uniq | wc -l'
    [ "$output" = 1 ]
    tok --decode --model model with.mp | rec to-json >with.jsonl
    tok --decode --model model without.mp | rec to-json | cmp - with.jsonl
}

# Runs tok on the folder with a tokenizer_config.json and expects a refusal.
folder_refused() { # JSON MESSAGE
    printf '%s' "$1" >tokenizer_config.json
    run -65 tok --model . </dev/null
    [[ $output == *"$2"* ]] || { echo "$output"; false; }
}

@test "what tokenizer_config.json asks for and tok does not do is refused by name" {
    folder_refused '{"tokenizer_class": "CohereTokenizer"}' \
        "./tokenizer_config.json: the tokenizer_class 'CohereTokenizer' is not supported"
    folder_refused '{"auto_map": {"AutoTokenizer": ["x.T", null]}}' "'auto_map' asks for a tokenizer of the folder's own code"
    folder_refused '{"split_special_tokens": true}' "'split_special_tokens' is not supported"
    folder_refused '{"fast_tokenizer_files": ["tokenizer.4.0.0.json"]}' "'fast_tokenizer_files' names other files"
    folder_refused '{"added_tokens_decoder": {"20": {"content": "<new>"}}}' \
        "./tokenizer_config.json: the token '<new>' has the id 20, but transformers gives it 15"
    folder_refused '{"added_tokens_decoder": {"x": {"content": "<new>"}}}' "added_tokens_decoder: 'x' is no token's id"
    folder_refused '{"bos_token": {"content": "<new>"}}' "'bos_token' is neither a token's content nor an AddedToken"
    folder_refused '{"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": 1}' "'add_prefix_space' is neither true nor false"
    folder_refused '{' "./tokenizer_config.json: line 1"
    jq '.added_tokens[0].id = 20' tokenizer.json >far.json
    run -65 tok --tokenizer far.json </dev/null
    rm tokenizer_config.json
    mv far.json tokenizer.json
    run -65 tok --model . </dev/null
    [[ $output == *"./tokenizer.json: the token '<s>' has the id 20, but transformers gives it 14"* ]]
}

@test "the digest tells a folder from its tokenizer.json where they are two tokenizers" {
    digest() { tok "$@" | rec to-json --header | head -n 1 | jq -r .tokenizer; }
    prompts negative,positive pos >prompts.mp
    file=$(digest --tokenizer tokenizer.json prompts.mp)
    [ "$(digest --model . prompts.mp)" = "$file" ]
    echo '{"eos_token": "<s>", "tokenizer_class": "TokenizersBackend"}' >tokenizer_config.json
    [ "$(digest --model . prompts.mp)" = "$file" ]
    echo '{"eos_token": "</s>"}' >tokenizer_config.json
    [[ "$(digest --model . prompts.mp)" =~ ^$file[+][0-9a-f]{16}$ ]]
    run -0 tok -v --model . prompts.mp -o tokens.mp
    [[ $output == *"./tokenizer.json: 'added_tokens' "* ]]
    run -65 tok --decode --tokenizer tokenizer.json tokens.mp
    [[ $output == *"made with another tokenizer than tokenizer.json"* ]]
}

@test "tokens that stand beside a tokenizer.model are refused, and those that are in it not" {
    mkdir model
    cp "$data/sp-identity.model" model/tokenizer.model
    echo '{"bos_token": "<s>", "added_tokens_decoder": {"0": {"content": "<unk>"}, "1": {"content": "<s>"}}}' >model/tokenizer_config.json
    prompts negative,positive pos >prompts.mp
    tok --model model prompts.mp >/dev/null
    echo '{"pad_token": "<pad>"}' >model/tokenizer_config.json
    run -65 tok --model model prompts.mp
    [[ $output == *"model/tokenizer.model: the files beside it add the token '<pad>'"*"save_pretrained('model')"* ]]
    echo '{"add_eos_token": true}' >model/tokenizer_config.json
    run -65 tok --model model prompts.mp
    [[ $output == *"'add_eos_token' is not supported"* ]]
    rm model/tokenizer_config.json
    echo '{"<|im_start|>": 32000}' >model/added_tokens.json
    run -65 tok --model model prompts.mp
    [[ $output == *"the token '<|im_start|>' has the id 32000, but"* ]]
}

@test "a folder's tokenizer.json goes before its tokenizer.model" {
    cp "$data/sp-identity.model" tokenizer.model
    prompts negative,positive pos >prompts.mp
    tok --model . prompts.mp | rec to-json >by-folder
    tok --tokenizer tokenizer.json prompts.mp | rec to-json | cmp - by-folder
}

@test "a cut tokenizer.model is refused, wherever the cut is" {
    size=$(stat -c %s "$data/sp-identity.model")
    for cut in 1 2 10 100 1000 $((size / 2)) $((size - 1)); do
        head -c "$cut" "$data/sp-identity.model" >cut.model
        run -65 tok --tokenizer cut.model </dev/null
        [[ $output == *"cut.model: "* ]]
    done
}
