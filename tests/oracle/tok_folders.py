"""Records what AutoTokenizer makes of tokenizer folders, for tests/c/test_tokenizer_folder.c.

usage: tok_folders.py [FILE]    (tests/data/tok/folders/ids.json)

A folder is a tokenizer file of tests/data/tok and small files beside it, which add tokens or name a
class that builds the tokenizer anew. Each has the ids of every line.
"""
import json
import os
import shutil
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
import transformers

import tok_lines

DATA = "tests/data/tok"
LINES = ["", " ", "a film", " a film", "  12 films, 3,5", "x\n\n3 <s> y", "<|im_start|>user\nIt's<|im_end|>", "x<new>y <new>  z", "<New> <new>",
         "the <s>the</s> film", "naïve Äpfel e\u0301 ½ 这是", "<unk> <|endoftext|>\t\ttabs", "a  <extra_0>  b<extra_1>", "<pad><bos><eos><mask>",
         "▁film ▁ ▁▁", "THEY'LL they'll 1234567", "film\r\n\r\n  film ", "[INST] good [/INST]", "😀 <image> a\u200b"] + [s for s in tok_lines.lines(60, seed=5) if 20 < len(s) < 60][-4:]


def base_size(base):
    with open(os.path.join(DATA, base), encoding="utf-8") as f:
        file = json.load(f)
    tokens = dict(file["model"]["vocab"])
    tokens.update((t["content"], t["id"]) for t in file["added_tokens"])
    return len(tokens)


def token(content, **flags):
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True, **flags}


def typed(content, **flags):
    return {"__type": "AddedToken", **token(content, **flags)}


def own_tokens(base):
    with open(os.path.join(DATA, base), encoding="utf-8") as f:
        return {str(t.pop("id")): t for t in json.load(f)["added_tokens"]}


def folders():
    n = {b: base_size(b + ".json") for b in ("gpt2", "smollm2", "llama3", "qwen2", "mistral", "metaspace")}
    plain = {"tokenizer_class": "PreTrainedTokenizerFast"}
    llama, qwen2, gemma2 = {"model_type": "llama"}, {"model_type": "qwen2"}, {"model_type": "gemma2"}

    def case(name, base, config=None, model=llama, added=None, special=None):
        files = {"config.json": model, "tokenizer_config.json": config, "added_tokens.json": added, "special_tokens_map.json": special}
        return {"name": name, "base": base + ".json", "files": {k: v for k, v in files.items() if v is not None}}

    yield case("nothing", "gpt2")
    yield case("decoder", "gpt2", {**plain, "added_tokens_decoder": {
        str(n["gpt2"] + 1): token("<extra_0>", lstrip=True), str(n["gpt2"]): token("<new>", special=False, normalized=True, rstrip=True)}})
    yield case("decoder changes flags", "smollm2", {**plain, "added_tokens_decoder": {"1": token("<|im_start|>", lstrip=True, rstrip=True)}})
    yield case("a role of the model's own, an object", "llama3", {**plain, "image_token": typed("<image>")})
    yield case("a role of the model's own, a string", "llama3", {**plain, "image_token": "<image>"})
    again = typed("<new>", rstrip=True)
    yield case("two roles of one token, the second's flags", "llama3", {**plain, "bos_token": "<new>", "eos_token": again})
    yield case("two roles of one token, in their order", "llama3", {**plain, "eos_token": again, "pad_token": "<new>"})
    yield case("a role and an extra of one token", "llama3", {**plain, "eos_token": again, "additional_special_tokens": ["<new>", "<n2>"]})
    yield case("a role and an extra of one token with flags", "llama3", {**plain, "eos_token": "<new>", "additional_special_tokens": [again]})
    yield case("decoder silences older files", "gpt2", {**plain, "added_tokens_decoder": {}}, added={"<new>": n["gpt2"]},
               special={"additional_special_tokens": ["<extra_0>"]})
    yield case("added_tokens.json", "qwen2", plain, model={"model_type": "mistral"}, added={"<new>": n["qwen2"], "<pad>": n["qwen2"] + 1},
               special={"pad_token": "<pad>"})
    yield case("added_tokens.json alone", "mistral", None, added={"<New>": n["mistral"] + 1, "<new>": n["mistral"]})
    yield case("special_tokens_map.json", "gpt2", plain, special={
        "additional_special_tokens": ["<new>", "film"], "bos_token": {"content": "<bos>", "lstrip": True, "normalized": False, "rstrip": False,
                                                                     "single_word": False}, "eos_token": "<eos>"})
    yield case("roles", "gpt2", {**plain, "image_token": "<image>", "bos_token": typed("<bos>", rstrip=True), "eos_token": "film", "pad_token": None,
                                 "extra_special_tokens": ["<new>", typed("<extra_0>", lstrip=True)], "add_bos_token": True})
    yield case("roles by name", "llama3", {**plain, "extra_special_tokens": {"boi_token": "<image>"}, "additional_special_tokens": ["<new>"]})
    yield case("bos and eos asked for", "llama3", {**plain, "add_bos_token": False, "add_eos_token": True, "eos_token": "<|im_end|>"})
    yield case("llama", "mistral", {"tokenizer_class": "LlamaTokenizer"})
    yield case("llama legacy", "mistral", {"tokenizer_class": "LlamaTokenizerFast", "legacy": True, "added_tokens_decoder": own_tokens("mistral.json")})
    yield case("llama without a space", "metaspace", {"tokenizer_class": "LlamaTokenizer", "add_prefix_space": False, "legacy": None})
    yield case("llama with fewer tokens", "mistral", {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "<eos>", "added_tokens_decoder": {
        "1": token("<s>", lstrip=True, normalized=True)}})
    yield case("llama, byte-level", "llama3", {"tokenizer_class": "LlamaTokenizerFast"})
    yield case("llama of mistral", "mistral", {"tokenizer_class": "LlamaTokenizer", "legacy": False}, {"model_type": "mistral"})
    yield case("llama of phi3", "mistral", {"tokenizer_class": "LlamaTokenizer"}, {"model_type": "phi3"})
    yield case("gpt2", "smollm2", {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False, "eos_token": "<|im_end|>", "bos_token": "<|im_start|>"})
    yield case("gpt2 with a space", "qwen2", {"tokenizer_class": "GPT2TokenizerFast", "add_prefix_space": True, "unk_token": "<unk>"})
    yield case("gpt2 of granite", "smollm2", {"tokenizer_class": "GPT2Tokenizer"}, {"model_type": "granite"})
    yield case("qwen2", "smollm2", {"tokenizer_class": "Qwen2Tokenizer", "extra_special_tokens": ["<new>"]}, qwen2)
    yield case("qwen2 by its model", "smollm2", {**plain, "added_tokens_decoder": {"0": token("<|endoftext|>", lstrip=True), "1": token(
        "<|im_start|>", rstrip=True)}}, qwen2)
    yield case("qwen2 without a configuration", "llama3", None, qwen2)
    yield case("qwen3 as it stands", "llama3", plain, {"model_type": "qwen3"})
    yield case("gemma", "metaspace", {"tokenizer_class": "GemmaTokenizer", "pad_token": "<pad>"}, gemma2)
    yield case("gemma by its model", "mistral", None, {"model_type": "gemma3_text"})
    yield case("class of config.json", "mistral", None, {"model_type": "llama", "tokenizer_class": "LlamaTokenizer"})
    yield case("smollm3", "llama3", {**plain, "model_max_length": 10 ** 30}, {"model_type": "smollm3"})


def encode(case):
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(os.path.join(DATA, case["base"]), os.path.join(folder, "tokenizer.json"))
        for name, content in case["files"].items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                json.dump(content, f)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        return [tokenizer(line)["input_ids"] for line in LINES]


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(DATA, "folders", "ids.json")
    transformers.logging.set_verbosity_error()
    cases = []
    for case in folders():
        case["ids"] = encode(case)
        cases.append(json.dumps(case, ensure_ascii=False, separators=(",", ":")))
    with open(path, "w", encoding="utf-8") as f:
        print('{"lines":', json.dumps(LINES, ensure_ascii=True), ',\n"folders":[\n', ",\n".join(cases), "]}", sep="", file=f)


if __name__ == "__main__":
    main()
