"""Small tokenizers of every kind that tok reads, trained on generated lines (tok_lines.py).

usage: tok_train.py FOLDER [SEED]

Writes NAME.json (Hugging Face `tokenizers`) and NAME.model (`sentencepiece`) for each name.
"""
import io
import os
import random
import sys

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import tok_lines

# The patterns that the published models of these families come with.
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
          r"\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
GPT4O = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEKKEN = GPT4O.replace(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "").replace(r"\p{N}{1,3}", r"\p{N}")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
SIZE = 640


def text(seed):
    rng = random.Random(seed)
    return [" ".join(rng.choice(tok_lines.WORDS) for _ in range(12)) + rng.choice((".", "!", "\n\n", "  ", " 2024", " 😀"))
            for _ in range(3000)] + list(tok_lines.lines(300, seed))


def train(lines, pre, size=SIZE, alphabet=(), special=(), **model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre
    affixes = {k: model[k] for k in ("continuing_subword_prefix", "end_of_word_suffix") if k in model}
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=list(alphabet), special_tokens=list(special), show_progress=False, limit_alphabet=256,
        **affixes))
    return tokenizer


def byte_level(lines, pre, **options):
    tokenizer = train(lines, pre, alphabet=pre_tokenizers.ByteLevel.alphabet(), special=SPECIAL)
    tokenizer.decoder = decoders.ByteLevel()
    if options.get("ignore_merges"):
        tokenizer.model.ignore_merges = True
    return tokenizer


def bos(tokenizer, token, sequence=False):
    template = processors.TemplateProcessing(single=f"{token} $A", special_tokens=[(token, tokenizer.token_to_id(token))])
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template]) if sequence else template


def gpt2(lines):
    return byte_level(lines, pre_tokenizers.ByteLevel(add_prefix_space=True))


def smollm2(lines):
    return byte_level(lines, pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]))


def split_bytes(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def llama3(lines):
    tokenizer = byte_level(lines, split_bytes(LLAMA3), ignore_merges=True)
    bos(tokenizer, SPECIAL[0], sequence=True)
    return tokenizer


def qwen2(lines):
    tokenizer = byte_level(lines, split_bytes(QWEN2))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_tokens([AddedToken("<extra>", normalized=True), AddedToken("naïve", normalized=True, single_word=True)])
    return tokenizer


def gpt4o(lines):
    return byte_level(lines, split_bytes(GPT4O))


def tekken(lines):
    """As Ministral's and Mistral Nemo's tokenizers are converted."""
    tokenizer = byte_level(lines, split_bytes(TEKKEN), ignore_merges=True)
    tokenizer.add_special_tokens(["[INST]", "[/INST]"])
    bos(tokenizer, SPECIAL[0])
    return tokenizer


def sentencepiece_like(lines, fallback=True):
    """A model as converters make it of a SentencePiece BPE: spaces as U+2581, bytes to fall back on."""
    trained = train(lines, pre_tokenizers.Metaspace(), special=["<unk>", "<s>", "</s>"])
    vocabulary = sorted(trained.get_vocab(), key=trained.token_to_id)
    if fallback:
        vocabulary[3:3] = [f"<0x{b:02X}>" for b in range(256)]
    import json
    merges = [tuple(m) for m in json.loads(trained.to_str())["model"]["merges"]]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(vocabulary)}, merges, unk_token="<unk>", fuse_unk=True,
                                     byte_fallback=fallback))
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    bos(tokenizer, "<s>")
    return tokenizer


def mistral(lines):
    tokenizer = sentencepiece_like(lines)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return tokenizer


def phi3(lines):
    """Mistral's parts; the tokens around turns take the white space after them."""
    tokenizer = mistral(lines)
    tokenizer.add_tokens([AddedToken(t, rstrip=True, normalized=False, special=True) for t in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")])
    return tokenizer


def gemma(lines):
    """Gemma's parts: spaces replaced, none put before; runs of newlines and spaces are added tokens."""
    tokenizer = sentencepiece_like(lines)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t in ("\n", "\n\n", "\n\n\n", "▁▁", "▁▁▁▁", "<h1>", "[mask]")])
    tokenizer.add_special_tokens(["<start_of_turn>"])
    return tokenizer


def metaspace(lines):
    tokenizer = sentencepiece_like(lines)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    return tokenizer


def metaspace_split(lines):
    tokenizer = sentencepiece_like(lines, fallback=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Strip(), normalizers.NFKC(), normalizers.Replace(Regex(r"\d{3,}"), "#")])
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.add_tokens([AddedToken("[mask]", lstrip=True, rstrip=True), AddedToken("the", single_word=True),
                          AddedToken("K", normalized=True), AddedToken("film", normalized=False, lstrip=True)])
    return tokenizer


def suffix(lines):
    tokenizer = train(lines, pre_tokenizers.Whitespace(), special=["<unk>", "<s>"], unk_token="<unk>", end_of_word_suffix="</w>")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase()])
    tokenizer.decoder = decoders.BPEDecoder("</w>")
    return tokenizer


def prefix(lines):
    tokenizer = train(lines, pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits()]),
                      special=["<unk>"], unk_token="<unk>", fuse_unk=True, continuing_subword_prefix="##")
    tokenizer.normalizer = normalizers.NFKD()
    return tokenizer


def behavior(name, invert, pattern):
    def make(lines):
        tokenizer = train(lines, pre_tokenizers.Split(Regex(r"(?<=e)|o+"), "isolated"), special=["<unk>"], unk_token="<unk>")
        tokenizer.pre_tokenizer = pre_tokenizers.Split(pattern, name, invert)
        return tokenizer
    return make


HUGGING_FACE = {"gpt2": gpt2, "smollm2": smollm2, "llama3": llama3, "qwen2": qwen2, "gpt4o": gpt4o, "tekken": tekken, "mistral": mistral,
                "phi3": phi3, "gemma": gemma, "metaspace": metaspace,
                "metaspace-split": metaspace_split, "suffix": suffix, "prefix": prefix}
for _name in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
    HUGGING_FACE[f"split-{_name}"] = behavior(_name, False, Regex(r"\s|\w{2}|\b"))
    HUGGING_FACE[f"split-{_name}-invert"] = behavior(_name, True, " ")

SENTENCEPIECE = {
    "sp-identity": dict(byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
                        control_symbols=["[INST]", "[/INST]"], split_digits=True, allow_whitespace_only_pieces=True),
    "sp-user": dict(byte_fallback=False, normalization_rule_name="identity", add_dummy_prefix=False, character_coverage=0.98,
                    user_defined_symbols=["<|im_start|>", "movie", "  ", "é"]),
    "sp-nfkc": dict(byte_fallback=True, normalization_rule_name="nmt_nfkc", user_defined_symbols=["ﬁ", "[mask]"]),
}


def train_sentencepiece(lines, options):
    model = io.BytesIO()
    clean = [s.replace("\0", "").replace("\n", " ") for s in lines]
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(clean), model_writer=model, model_type="bpe", vocab_size=SIZE + 800,
                                             minloglevel=2, hard_vocab_limit=False, **options)
    return model.getvalue()


def write(folder, seed=3, names=None):
    lines = text(seed)
    os.makedirs(folder, exist_ok=True)
    for name, make in HUGGING_FACE.items():
        if names is None or name in names:
            make(lines).save(os.path.join(folder, name + ".json"), pretty=False)
    for name, options in SENTENCEPIECE.items():
        if names is None or name in names:
            with open(os.path.join(folder, name + ".model"), "wb") as f:
                f.write(train_sentencepiece(lines, options))


if __name__ == "__main__":
    write(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3)
