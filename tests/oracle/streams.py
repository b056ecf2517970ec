"""Record streams written and read without duq: by Python's msgpack, xxhash, zstandard, csv and jsonschema.

streams.py record FOLDER   writes tests/data/rec: a stream of each type, plain and under zstd, with
                           what `rec to-json --header` must print of it; streams that `rec check`
                           must refuse, with what it must say; a tricky CSV file and its records
streams.py check REC SCHEMAS   runs a rec program on fresh random data and holds what it writes
                           against these libraries
"""

import csv
import io
import json
import math
import os
import random
import struct
import subprocess
import sys

import msgpack
import xxhash
import zstandard

from duq_stream import encode as stream


def unstream(data):
    """The header and records of one stream, its trailer verified."""
    reader = msgpack.Unpacker(io.BytesIO(data))
    header, records, ends = next(reader), [], [reader.tell()]
    for record in reader:
        if "end" in record:
            trailer = record
            break
        records.append(record)
        ends.append(reader.tell())
    assert list(header)[:2] == ["duq", "schema"]
    assert trailer["end"] == len(records)
    assert trailer["xxh64"] == f"{xxhash.xxh64_intdigest(data[ends[0]:ends[-1]]):016x}"
    assert trailer["header"] == f"{xxhash.xxh64_intdigest(data[:ends[0]]):016x}"
    assert len(trailer) == 3 and reader.tell() == len(data)
    return header, records


def f32(*v):
    return struct.pack(f"<{len(v)}f", *v)


def f64(*v):
    return struct.pack(f"<{len(v)}d", *v)


def i32(*v):
    return struct.pack(f"<{len(v)}i", *v)


ELEMENTS = {"tokens": ("i", 4, "%d"), "logits": ("f", 4, "%.9g"), "probs": ("d", 8, "%.17g"),
            "alpha": ("d", 8, "%.17g"), "bias": ("d", 8, "%.17g"), "members": ("d", 8, "%.17g"), "set": ("i", 4, "%d")}


def json_value(key, value):
    if isinstance(value, bytes):
        letter, size, form = ELEMENTS[key]
        numbers = struct.unpack(f"<{len(value) // size}{letter}", value)
        return "[" + ",".join(form % v if math.isfinite(v) else "null" for v in numbers) + "]"
    if isinstance(value, float):
        return "%.17g" % value if math.isfinite(value) else "null"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def json_line(record):
    return "{" + ",".join(f"{json.dumps(k)}:{json_value(k, v)}" for k, v in record.items()) + "}\n"


CLASSES = ["negative", "very, very positive"]
MADE = [{"program": "streams.py", "version": "0", "arguments": "record"}]
GOOD = {
    "example": ({}, [
        {"id": "a", "text": "plain", "label": 0},
        {"id": "ü 2", "text": "two\nlines, \"quotes\" \\ \t and \u0001, \u00e9 \U0001f600", "label": None},
        {"id": "c", "text": "", "label": 70000}, {"id": "d", "text": "x" * 70000}]),
    "prompt": ({"task": "films", "prompts": 2, "classes": CLASSES},
               [{"id": "a", "prompt": p, "text": f"{p}?", "label": 1} for p in range(2)]),
    "tokens": ({"tokenizer": "t", "class_tokens": [5, 7], "classes": CLASSES},
               [{"id": "a", "prompt": 0, "tokens": i32(1, 2, 2147483647), "label": 1},
                {"id": "a", "prompt": 300, "tokens": i32(*range(300)), "label": None}]),
    "scores": ({"model": "m", "classes": CLASSES},
               [{"id": "a", "prompt": 0, "logits": f32(0.1, -1e-30), "label": 1},
                {"id": "b", "prompt": 0, "logits": f32(16777217.0, 3.4028234e38), "label": 0}]),
    "weights": ({"fit": {"trace": [[1, 0.5], [2, 0.25]]}},
                [{"prompt": 0, "weight": 0.1},
                 {"prompt": 1, "weight": 0.9, "scale": 2.5, "bias": f64(-1 / 3, 1 / 3)}]),
    "prediction": ({"head": "dirichlet", "classes": CLASSES}, [
        {"id": "a", "label": 1, "probs": f64(0.1, 0.9), "alpha": f64(1.0, 1 / 3),
         "members": f64(0.1, 0.9, 0.2, 0.8), "total": 0.1, "aleatoric": 5e-324, "epistemic": -1e-17},
        {"id": "b", "label": None, "probs": f64(0.5, 0.5), "total": None}]),
    "metrics": ({}, [
        {"set": "a", "metric": "ece", "value": 0.25, "n": 5, "low": 0.125, "high": None},
        {"set": "a", "metric": "auroc", "against": "b", "value": None, "n": 0}]),
    "rule": ({"classes": CLASSES, "fit": {"kind": "set", "score": "lac", "alpha": 0.5}}, [
        {"class": 0, "take": "at most", "threshold": 0.1, "n": 20},
        {"class": 1, "take": "all", "threshold": None, "n": 0}]),
    "decision": ({"classes": CLASSES, "rule": {"kind": "set"}}, [
        {"id": "a", "label": 1, "decision": "answer", "answer": 1, "set": i32(1), "score": 0.1, "reason": "single"},
        {"id": "b", "label": None, "decision": "abstain", "answer": None, "set": i32(), "score": 5e-324, "reason": "empty"},
        {"id": "c", "label": 0, "decision": "abstain", "answer": None, "score": 1.0, "reason": "uncertain"}]),
}

EXAMPLE = {"id": "a", "text": "t", "label": 0}
SCORES = {"id": "a", "prompt": 0, "logits": f32(1, 2), "label": 0}
PREDICTION = {"id": "a", "label": 0, "probs": f64(0.5, 0.5)}
PAIR = {"classes": ["n", "p"]}


def without(record, key):
    return {k: v for k, v in record.items() if k != key}


BAD = {  # name: (schema, header, records, what rec check says after the file's name)
    "no-id": ("example", {}, [without(EXAMPLE, "id")], "record 1: 'id' is missing"),
    "id-number": ("example", {}, [{**EXAMPLE, "id": 7}], "record 1: field 'id': is not of type string"),
    "id-empty": ("example", {}, [{**EXAMPLE, "id": ""}], "record 1 (id ): field 'id': shorter than 1"),
    "id-nul": ("example", {}, [{**EXAMPLE, "id": "a\0b"}], "record 1 (id a): its key holds a NUL byte"),
    "no-text": ("example", {}, [EXAMPLE, without({**EXAMPLE, "id": "b"}, "text")], "record 2 (id b): 'text' is missing"),
    "text-bin": ("example", {}, [{**EXAMPLE, "text": b"t"}], "record 1 (id a): field 'text': is not of type string"),
    "label-real": ("example", {}, [{**EXAMPLE, "label": 1.5}], "record 1 (id a): field 'label': is not of type null or integer"),
    "label-minus": ("example", {}, [{**EXAMPLE, "label": -1}], "record 1 (id a): field 'label': -1 is less than 0"),
    "label-beyond": ("example", PAIR, [{**EXAMPLE, "label": 2}], "record 1 (id a): field 'label': 2, but there are 2 classes"),
    "prompt-twice": ("scores", PAIR, [SCORES, {**SCORES, "prompt": 1}, SCORES], "record 3: id 'a', prompt 0: so has record 1"),
    "logits-array": ("scores", PAIR, [{**SCORES, "logits": [1.0, 2.0]}], "record 1 (id a): field 'logits': is not a bin of numbers"),
    "logits-size": ("scores", PAIR, [{**SCORES, "logits": b"12345"}], "record 1 (id a): field 'logits': 5 bytes are no whole number of 4-byte elements"),
    "logits-three": ("scores", PAIR, [{**SCORES, "logits": f32(1, 2, 3)}], "record 1 (id a): field 'logits': 3 numbers, but there are 2 classes"),
    "logits-four": ("scores", PAIR, [{**SCORES, "logits": f32(1, 2, 3, 4)}], "record 1 (id a): field 'logits': 4 numbers, but there are 2 classes"),
    "logits-more": ("scores", {}, [SCORES, {**SCORES, "id": "b", "logits": f32(1, 2, 3)}], "record 2 (id b): field 'logits': 3 numbers, but there are 2 classes"),
    "head-other": ("prediction", {"head": "hydra"}, [PREDICTION], "header: field 'head': is none of the values it may have"),
    "logits-none": ("scores", {}, [{**SCORES, "logits": b""}], "record 1 (id a): field 'logits': less than 1 numbers"),
    "logits-inf": ("scores", {}, [{**SCORES, "logits": f32(1, -math.inf)}], "record 1 (id a): field 'logits': -inf is not a finite number"),
    "tokens-minus": ("tokens", {}, [{"id": "a", "prompt": 0, "tokens": i32(1, -5)}], "record 1 (id a): field 'tokens': -5 is less than 0"),
    "probs-beyond": ("prediction", PAIR, [{**PREDICTION, "probs": f64(-0.5, 1.5)}], "record 1 (id a): field 'probs': -0.5 is less than 0"),
    "alpha-zero": ("prediction", PAIR, [{**PREDICTION, "alpha": f64(0, 1)}], "record 1 (id a): field 'alpha': 0 is not more than 0"),
    "members-odd": ("prediction", PAIR, [{**PREDICTION, "members": f64(0, 1, 0)}], "record 1 (id a): field 'members': 3 numbers, but there are 2 classes"),
    "total-nan": ("prediction", PAIR, [{**PREDICTION, "total": math.nan}], "record 1 (id a): field 'total': nan is not a finite number"),
    "weight-beyond": ("weights", {}, [{"prompt": 0, "weight": 1.5}], "record 1: field 'weight': 1.5 is more than 1.0000000010000001"),
    "weight-twice": ("weights", {}, [{"prompt": 0, "weight": 0.5}] * 2, "record 2: prompt 0: so has record 1"),
    "scale-zero": ("weights", {}, [{"prompt": 0, "weight": 0.5, "scale": 0.0}], "record 1: field 'scale': 0 is not more than 0"),
    "scale-nan": ("weights", {}, [{"prompt": 0, "weight": 0.5, "scale": math.nan}], "record 1: field 'scale': nan is not a finite number"),
    "bias-inf": ("weights", {}, [{"prompt": 0, "weight": 0.5, "bias": f64(math.inf, 0)}], "record 1: field 'bias': inf is not a finite number"),
    "bias-three": ("weights", PAIR, [{"prompt": 0, "weight": 0.5, "bias": f64(0, 1, 2)}], "record 1: field 'bias': 3 numbers, but there are 2 classes"),
    "rule-take": ("rule", {}, [{"class": None, "take": "above", "threshold": 1.0, "n": 1}], "record 1: field 'take': is none of the values it may have"),
    "rule-twice": ("rule", {}, [{"class": None, "take": "all", "threshold": None, "n": 1}] * 2, "record 2: class null: so has record 1"),
    "decision-answer": ("decision", PAIR, [{"id": "a", "decision": "answer", "answer": 2, "score": 0.5, "reason": "certain"}], "record 1 (id a): field 'answer': 2, but there are 2 classes"),
    "metrics-twice": ("metrics", {}, [{"set": "a", "metric": "m", "value": 1.0, "n": 1}] * 2, "record 2: set 'a', metric 'm': so has record 1"),
    "schema-unknown": ("letters", {}, [EXAMPLE], "header: field 'schema': is none of the values it may have"),
    "schema-task": ("task", {}, [EXAMPLE], "header: field 'schema': is none of the values it may have"),
    "classes-number": ("example", {"classes": [1]}, [EXAMPLE], "header: field 'classes[0]': is not of type string"),
    "header-bin": ("example", {"note": b"x"}, [EXAMPLE], "after record 0: the header has what JSON has not"),
    "header-inf": ("example", {"fit": {"x": [math.inf]}}, [EXAMPLE], "after record 0: the header has what JSON has not"),
    "header-large": ("example", {"note": 2**63}, [EXAMPLE], "after record 0: the header has what JSON has not"),
    "header-key": ("example", {"note": {7: 1}}, [EXAMPLE], "after record 0: the header has what JSON has not"),
    "made-number": ("example", {"made": [{"program": 1, "version": ""}]}, [EXAMPLE], "header: field 'made[0].program': is not of type string"),
}


def bad_streams():
    """Those that Python's packer would not write, beside those above."""
    for name, (schema, header, records, message) in BAD.items():
        yield name, stream({"schema": schema, **header}, records), message
    twice = b"\x84\xa2id\xa1a\xa4text\xa1t\xa5label\x00\xa5label\x01"
    latin = b"\x82\xa2id\xa1a\xa4text\xa1\xe9"
    number_key = b"\x83\xa2id\xa1a\xa4text\xa1t\x01\x02"
    head = msgpack.packb({"duq": 1, "schema": "example"})
    for name, record, message in [
            ("key-twice", twice, "record 1 (id a): key 'label' comes twice"),
            ("latin1", latin, "record 1 (id a): field 'text': not UTF-8 (byte 1 of it)"),
            ("key-number", number_key, "record 1 (id a): a key is not a string"),
            ("not-a-map", b"\x93\x01\x02\x03", "record 1: not a map")]:
        trailer = {"end": 1, "xxh64": f"{xxhash.xxh64_intdigest(record):016x}",
                   "header": f"{xxhash.xxh64_intdigest(head):016x}"}
        yield name, head + record + msgpack.packb(trailer), message
    yield "version-2", stream({"schema": "example"}, [EXAMPLE]).replace(b"\xa3duq\x01", b"\xa3duq\x02"), \
        "after record 0: stream format version is not 1"
    yield "header-latin1", stream({"schema": "example", "note": "xy"}, [EXAMPLE]).replace(b"\xa2xy", b"\xa2x\xe9"), \
        "after record 0: the header has what JSON has not"


TRICKY = [["id", "a", "b", "label"],
          ["1", "plain", "text", "0"],
          ["2", 'with "quotes"', "and, commas", "1"],
          ["3", "two\nlines", "\n\nbegins with newlines", "0"],
          ["4", "", "", "1"],
          ["5", " blanks ", "\ttabs\t", "0"],
          ["6", '"', '""', "1"],
          ["7", "crlf\r\ninside", "cr\rinside", "0"],
          ["8", "\ufeffmark", "\u00e9\u4e2d\U0001f600", "1"],
          ["9", "x" * 2000, ",", "0"],
          ["10", "'single'", "semi;colon|bar", "1"]]


def tricky_csv():
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(TRICKY[:6])
    out.write("\n\r\n")  # blank lines
    csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(TRICKY[6:])
    return out.getvalue()[:-1]  # no newline at the end


def examples_of(text):
    """The records that rec from-csv --id id --text 'text {a} {b}' --label label makes."""
    return [{"id": r["id"], "text": f"text {r['a']} {r['b']}", "label": int(r["label"])}
            for r in csv.DictReader(io.StringIO(text, newline=""))]


def record(folder):
    os.makedirs(os.path.join(folder, "bad"), exist_ok=True)
    put = lambda name, data: open(os.path.join(folder, name), "wb").write(data)
    for name, (extra, records) in GOOD.items():
        header = {"schema": name, **extra, "made": MADE}
        data = stream(header, records)
        put(name + ".mp", data)
        put(name + ".mp.zst", zstandard.ZstdCompressor().compress(data))
        lines = json_line({"duq": 1, **header}) + "".join(map(json_line, records))
        put(name + ".json", lines.encode())
    put("not-finite.mp", stream({"schema": "scores"}, [
        {"id": "a", "prompt": 0, "logits": f32(math.nan, math.inf, -math.inf), "label": None}]))
    put("texts.mp", stream({"schema": "example"}, [
        {"id": "b", "text": "second", "label": None}, {"id": "a", "text": "first", "label": 1}]))
    wave = f32(1, 2)
    put("unknown.mp", stream({"schema": "signal"}, [{"id": "a", "wave": wave, "": 1, "\033[31mred": 2}]))
    put("unknown-nested.mp", stream({"schema": "signal"}, [{"id": "a", "waves": [wave]}]))
    messages = ""
    for name, data, message in bad_streams():
        put(f"bad/{name}.mp", data)
        messages += f"{name}\t{message}\n"
    put("bad/messages.tsv", messages.encode())
    text = tricky_csv()
    put("tricky.csv", text.encode())
    put("tricky.json", "".join(map(json_line, examples_of(text))).encode())


def random_text(rng):
    letters = 'ab,"\n\r\t \u00e9\u4e2d\U0001f600\ufeff;\'\\'
    return "".join(rng.choice(letters) for _ in range(rng.randrange(40)))


def check(rec, schemas):
    import jsonschema

    rng = random.Random(20261124)
    run = lambda arguments, data: subprocess.run(
        [rec, *arguments], input=data, capture_output=True, check=True).stdout
    # CSV as Python writes it, through rec, and back by Python.
    rows = [{"id": str(i), "a": random_text(rng), "b": random_text(rng), "label": str(rng.randrange(5))}
            for i in range(5000)]
    n_texts = 0
    for quoting in csv.QUOTE_MINIMAL, csv.QUOTE_ALL:
        for end in "\n", "\r\n":
            out = io.StringIO()
            writer = csv.DictWriter(out, ["id", "a", "b", "label"], lineterminator=end, quoting=quoting)
            writer.writeheader()
            # Python leaves a lone CR unquoted where lines end in LF, and cannot read that again itself.
            lone = quoting == csv.QUOTE_MINIMAL and end == "\n"
            writer.writerows({k: v.replace("\r", "") for k, v in r.items()} if lone else r for r in rows)
            mp = run(["from-csv", "--id", "id", "--text", "text {a} {b}", "--label", "label"],
                     out.getvalue().encode())
            header, records = unstream(mp)
            assert records == examples_of(out.getvalue()), (quoting, end)
            table = run(["to-csv"], mp).decode()
            back = [{**r, "label": int(r["label"])} for r in csv.DictReader(io.StringIO(table, newline=""))]
            assert back == records
            assert [json.loads(line) for line in run(["to-json"], mp).decode().split("\n")[:-1]] == records
            assert unstream(zstandard.ZstdDecompressor().decompressobj().decompress(
                run(["cat", "-z"], mp)))[1] == records
            n_texts += len(records)
    # Random numbers, bit for bit through JSON; and what rec prints is what the schemas describe.
    n_numbers = 0
    finite = lambda letter, size: next(v for v in iter(
        lambda: struct.unpack("<" + letter, rng.randbytes(size))[0], None) if math.isfinite(v))
    scores = [{"id": str(i), "prompt": i % 9, "logits": f32(*(finite("f", 4) for _ in range(3))), "label": None}
              for i in range(3000)]
    reals = [{"set": str(i), "metric": "m", "value": finite("d", 8), "n": i} for i in range(3000)]
    for name, records in ("scores", scores), ("metrics", reals):
        data = stream({"schema": name}, records)
        run(["check"], data)
        for record, line in zip(records, run(["to-json"], data).decode().split("\n")):
            shown = json.loads(line)
            if name == "scores":
                assert f32(*shown["logits"]) == record["logits"]
            else:
                assert f64(shown["value"]) == f64(record["value"])
            n_numbers += 1
    # Each schema is a valid one, and agrees with rec check on the recorded streams.
    load = lambda name: json.load(open(os.path.join(schemas, name + ".json")))
    for name in [*GOOD, "header", "trailer"]:
        jsonschema.Draft202012Validator.check_schema(load(name))
    n_verdicts = 0
    for name, (extra, records) in GOOD.items():
        lines = run(["to-json", "--header"], stream({"schema": name, **extra, "made": MADE}, records))
        header, *shown = map(json.loads, lines.decode().split("\n")[:-1])
        jsonschema.validate(header, load("header"))
        for record in shown:
            jsonschema.validate(record, load(name))
            n_verdicts += 1
    # What only our own words forbid is right by JSON Schema; what its words forbid is not.
    own = {"label-beyond", "logits-more", "prompt-twice", "logits-array", "logits-three", "logits-four", "members-odd",
           "weight-twice", "metrics-twice", "rule-twice", "decision-answer", "id-nul", "total-nan", "scale-nan", "bias-inf", "bias-three", "logits-size", "text-bin", "logits-inf"}
    for name, (schema, extra, records, _) in BAD.items():
        if name in own:
            continue
        shown = [json.loads(json_line(r)) for r in records]
        header_right = jsonschema.Draft202012Validator(load("header")).is_valid({"duq": 1, "schema": schema, **extra})
        records_right = header_right and all(jsonschema.Draft202012Validator(load(schema)).is_valid(r) for r in shown)
        assert not records_right, name
        n_verdicts += 1
    print(f"streams: {n_texts} CSV texts, {n_numbers} numbers and {n_verdicts} schema verdicts agree with "
          "Python's csv, msgpack, xxhash, zstandard and jsonschema")


if __name__ == "__main__":
    if sys.argv[1] == "record":
        record(sys.argv[2])
    else:
        check(sys.argv[2], sys.argv[3])
