"""Records what `tokenizers` and `sentencepiece` make of generated lines, for tests/c/test_tokenizer.c.

usage: tok_record.py [FOLDER]    (tests/data/tok)

Small tokenizers (tok_train.py; those already there are kept); lines.mp.zst, prompt records; for each tokenizer NAME.tokens.mp.zst
with the ids of each line that has any, NAME.back.mp.zst with the ids decoded; long.tsv: long lines of
one thing repeated, with the number of ids and their XXH64; not-utf8.mp, a text that tok must refuse; empty.mp, no text.
"""
import os
import sys

import msgpack
import numpy as np
import xxhash
import zstandard

import duq_stream
import tok
import tok_lines
import tok_train

NAMES = ["gpt2", "smollm2", "llama3", "qwen2", "tekken", "mistral", "gemma", "metaspace", "metaspace-split", "suffix", "prefix",
         "split-removed", "split-merged_with_previous", "split-merged_with_next-invert", "split-contiguous", "sp-identity", "sp-user"]
LONG = {"smollm2": (" ", "\n", "a", "the ", "e\u0301", "这", "😀", "<|im_start|>", "1", "\u180e \n"),
        "qwen2": ("e\u0323\u0301", "\u0301\u0327"),
        "mistral": ("a b", "▁"),
        "sp-identity": (" ", "\n", "a", "the ", "e\u0301", "这", "😀", "<s>", "\0", "▁")}
SIZE = 1 << 20


def write(path, header, records):
    duq_stream.write(path, header, records)
    with open(path, "rb") as f:
        packed = zstandard.ZstdCompressor(level=19).compress(f.read())
    with open(path + ".zst", "wb") as f:
        f.write(packed)
    os.remove(path)


def not_utf8(path):
    head = msgpack.packb({"duq": 1, "schema": "prompt"})
    body = msgpack.packb({"id": "good", "prompt": 0, "text": "caf\u00e9", "label": None}) + msgpack.packb(
        {"id": "latin", "prompt": 0, "text": "caf\udce9", "label": None}, unicode_errors="surrogateescape")
    with open(path, "wb") as f:
        f.write(head + body + msgpack.packb({"end": 2, "xxh64": xxhash.xxh64_hexdigest(body), "header": xxhash.xxh64_hexdigest(head)}))


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else "tests/data/tok"
    there = os.listdir(folder) if os.path.isdir(folder) else []
    tok_train.write(folder, names=[n for n in NAMES if n + ".json" not in there and n + ".model" not in there])
    lines = list(tok_lines.lines(250, seed=7))
    write(os.path.join(folder, "lines.mp"), {"schema": "prompt"},
          ({"id": str(i), "prompt": 0, "text": s, "label": None} for i, s in enumerate(lines)))
    not_utf8(os.path.join(folder, "not-utf8.mp"))
    duq_stream.write(os.path.join(folder, "empty.mp"), {"schema": "prompt"}, [])
    long = open(os.path.join(folder, "long.tsv"), "w", encoding="utf-8")
    print("# tokenizer, bytes in hexadecimal, how often they come, ids, XXH64 of the ids", file=long)
    for name in NAMES:
        path = next(p for p in (os.path.join(folder, name + e) for e in (".json", ".model")) if os.path.exists(p))
        encode, decode = tok.reference(path)
        ids = encode(lines)
        write(os.path.join(folder, name + ".tokens.mp"), {"schema": "tokens"},
              ({"id": str(i), "prompt": 0, "tokens": np.array(t, np.int32), "label": None} for i, t in enumerate(ids) if t))
        write(os.path.join(folder, name + ".back.mp"), {"schema": "prompt"},
              ({"id": str(i), "prompt": 0, "text": s, "label": None} for i, s in enumerate(decode(ids)) if ids[i]))
        for piece in LONG.get(name, ()):
            count = SIZE // len(piece.encode()) + 1
            got = np.array(encode([piece * count])[0], np.int32)
            print(os.path.basename(path), piece.encode().hex(), count, len(got), xxhash.xxh64_hexdigest(got.tobytes()), sep="\t", file=long)


if __name__ == "__main__":
    main()
