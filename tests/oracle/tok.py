"""tok against `tokenizers` and `sentencepiece`: every id of every line, and every line back.

usage: tok.py TOKENIZER_FILE [LINES [every] [long] [TEXT_FILE ...]]

The reference is `sentencepiece` for a .model file, `tokenizers` for a .json; tok is the one in
$BUILD/bin. LINES generated lines (tok_lines.py), with "every" each code point, with "long" lines of
a megabyte, then the lines of each TEXT_FILE.
"""
import os
import subprocess
import sys
import tempfile

import numpy as np

import duq_stream
import tok_lines


def reference(path):
    """(encode a list of lines, decode a list of id lists without what encoding puts around)."""
    if not path.endswith(".json"):
        import sentencepiece

        model = sentencepiece.SentencePieceProcessor(model_file=path)
        return (lambda lines: model.encode(lines, add_bos=True)), (lambda ids: model.decode([i[1:] for i in ids]))
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    bare = [e.ids for e in tokenizer.encode_batch(["a"], add_special_tokens=False)][0]
    whole = tokenizer.encode("a").ids
    before = next((i for i in range(len(whole)) if whole[i:i + len(bare)] == bare), 0)
    after = len(whole) - before - len(bare)

    def decode(ids):
        return tokenizer.decode_batch([i[before:len(i) - after] for i in ids], skip_special_tokens=False)

    return (lambda lines: [e.ids for e in tokenizer.encode_batch(lines)]), decode


def run_tok(source, target, *arguments):
    tok = os.path.join(os.environ.get("BUILD", "build"), "bin", "tok")
    subprocess.run([tok, "-q", *arguments, "-o", target, source], check=True)


def compare(path, lines, name, of=None):
    """of: the file that the reference reads, where that is another one."""
    encode, decode = reference(of or path)
    wanted = encode(lines)
    kept = [k for k, ids in enumerate(wanted) if ids]  # tok refuses texts without tokens
    lines, wanted = [lines[k] for k in kept], [wanted[k] for k in kept]
    differ = 0
    with tempfile.TemporaryDirectory() as folder:
        prompts, tokens, back = (os.path.join(folder, f) for f in ("prompts.mp", "tokens.mp", "back.mp"))
        duq_stream.write(prompts, {"schema": "prompt"},
                         ({"id": str(i), "prompt": 0, "text": s, "label": None} for i, s in enumerate(lines)))
        run_tok(prompts, tokens, "--tokenizer", path)
        _, records = duq_stream.read(tokens, {"tokens": np.int32})
        assert len(records) == len(lines), f"{len(records)} records for {len(lines)} lines"
        for line, ids, record in zip(lines, wanted, records):
            got = record["tokens"]
            if len(got) != len(ids) or not np.array_equal(got, ids):
                differ += 1
                if differ <= 5:
                    k = next((k for k, (a, b) in enumerate(zip(got, ids)) if a != b), min(len(got), len(ids)))
                    print(f"  {line[:80]!r}: from id {k} {got[k:k + 8].tolist()}, not {ids[k:k + 8]}")
        run_tok(tokens, back, "--tokenizer", path, "--decode")
        _, records = duq_stream.read(back)
        undone = 0
        for line, record, text in zip(lines, records, decode(wanted)):
            if record["text"] != text:
                undone += 1
                if undone <= 5:
                    print(f"  {line[:80]!r}: decoded to {record['text'][:80]!r}, not {text[:80]!r}")
    ids = sum(len(i) for i in wanted)
    print(f"{os.path.basename(path)}, {name}: {len(lines)} lines, {ids} ids: {differ} lines differ, {undone} decoded lines differ")
    return differ + undone


def main():
    path, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    bad = compare(path, list(tok_lines.lines(count)), "generated")
    for source in sys.argv[3:]:
        if source == "every":
            bad += compare(path, list(tok_lines.every_character()), "every character")
        elif source == "long":
            bad += compare(path, list(tok_lines.long_lines()), "1 MB lines")
        else:
            with open(source, encoding="utf-8", errors="replace", newline="\n") as f:
                bad += compare(path, f.read().split("\n"), source)
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
