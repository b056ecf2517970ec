"""tok's speed as a ratio to `tokenizers` and `sentencepiece`, each on one thread, in one run.

usage: tok.py TOKENIZER_FILE ...

The text is the Python library's own source, in paragraphs. Times are processor times, the best of
three; tok's includes starting, opening the tokenizer, reading and writing streams.
"""
import glob
import os
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "oracle"))
import duq_stream  # noqa: E402

MOST = 16 << 20


def texts():
    out, size = [], 0
    for path in sorted(glob.glob(os.path.join(sysconfig.get_path("stdlib"), "**", "*.py"), recursive=True)):
        if "site-packages" in path:
            continue
        with open(path, encoding="utf-8", errors="ignore") as f:
            for text in f.read().split("\n\n"):
                out.append(text + "\n\n")
                size += len(out[-1].encode())
        if size > MOST:
            break
    return out, size / 1e6


def best(run):
    return min(run() for _ in range(3))


def in_process(encode):
    def run():
        start = time.process_time()
        encode()
        return time.process_time() - start
    return best(run)


def children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def tok(path, prompts):
    program = os.path.join(os.environ.get("BUILD", "build"), "bin", "tok")

    def run():
        start = children()
        subprocess.run([program, "-q", "--tokenizer", path, "-o", os.devnull, prompts], check=True)
        return children() - start
    return best(run)


def peers(path, lines):
    if not path.endswith(".json"):
        import sentencepiece
        model = sentencepiece.SentencePieceProcessor(model_file=path)
        return {"sentencepiece": in_process(lambda: model.encode(lines, num_threads=1))}
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(path)
    return {"tokenizers, one by one": in_process(lambda: [tokenizer.encode(s) for s in lines]),
            "tokenizers, in a batch": in_process(lambda: tokenizer.encode_batch_fast(lines))}


def main():
    lines, size = texts()
    slower = False
    with tempfile.TemporaryDirectory() as folder:
        prompts = os.path.join(folder, "prompts.mp")
        duq_stream.write(prompts, {"schema": "prompt"},
                         ({"id": str(i), "prompt": 0, "text": s, "label": None} for i, s in enumerate(lines)))
        for path in sys.argv[1:]:
            ours = tok(path, prompts)
            print(f"tok, {os.path.basename(path)}: {size / ours:.1f} MB/s ({size:.1f} MB, {len(lines)} texts)")
            for name, theirs in peers(path, lines).items():
                slower |= theirs < ours
                print(f"  {name}: {size / theirs:.1f} MB/s; tok is {theirs / ours:.1f} times as fast")
    sys.exit(slower)


main()
