"""Recorded answers for prompt-expand, from a second implementation in Python of the stream format,
the prompts' layout and the word limit; and jsonschema's verdicts on good and bad task files.

usage: prompts.py DIRECTORY    writes the files of tests/data/prompt into DIRECTORY
needs: msgpack, xxhash, jsonschema; run at the top of the source tree
"""

import json
import os
import sys

import jsonschema
import msgpack
import xxhash

TASK = {
    "name": "tiny",
    "classes": ["bad", "so-so", "good {sic}"],
    "instructions": ["Rate this:", "What would a\nfriend say?", "Wähle {eins} aus:"],
    "content": "text {0}: {text}\n%s the text is ",
    "shots": 2,
    "word_limit": 6,
}
CLASSES = TASK["classes"]

# The layout of the published students (amzn/BayesPE, Harsha1969/BPE-KD) for students, another frame
# for the teacher's shots.
FRAMED = {
    **TASK,
    "list": True,
    "blank_line": False,
    "heading": "--- {number} of 3 ---\n",
    "separator": "\n",
    "student": {"list": False, "blank_line": False, "word_limit": None},
}

# (id, text, label)
SHOTS = [
    ("s0", "dull", 0),
    ("s1", "one two three four five six seven", 2),
    ("s2", "", 1),
    ("s3", "a shot\nof two lines", 2),
    ("s4", "{text} {0} %s", 0),
    ("s5", "drei\u3000W\u00f6rter\u00a0nur", 1),
    ("s6", "one more than is needed", None),
]
TEXTS = [
    ("t0", "plain", 0),
    ("t1", "braces {text} {} {0} and %d stay", None),
    ("t2", "  kept as it is:\n\n six words  ", 1),
    ("t3", "  cut \t after\n\nsix\u2003words\u2029of these, with the rest gone ", 2),
    ("t4", "", None),
    ("t5", "\U0001f600 na\u00efve \u0645\u0631\u062d\u0628\u0627 \u4f60\u597d\u4e16\u754c", 2),
    ("t6", "zero\u200bwidth and\ufeff joiners\u2060 do not part words here", 1),
    ("t7", "1 2 3 4 5 6\u001f7", 0),
]


def records(rows):
    return b"".join(msgpack.packb(r) for r in rows)


def stream(schema, rows, **header):
    head = msgpack.packb({"duq": 1, "schema": schema, **header})
    body = records(rows)
    sums = {"xxh64": xxhash.xxh64(body).hexdigest(), "header": xxhash.xxh64(head).hexdigest()}
    return head + body + msgpack.packb({"end": len(rows), **sums})


def limit_words(text, limit):
    words = text.split()
    return " ".join(words[:limit]) if limit and len(words) > limit else text


def block(task, instruction):
    lines = [f"{i}. {c}\n" for i, c in enumerate(task["classes"], 1)]
    listed = lines if task.get("list", True) else []
    return task["instructions"][instruction] + "\n" + "".join(listed)


def content(task, text):
    return task["content"].replace("{text}", limit_words(text, task["word_limit"]), 1)


def zero_shot(task, instruction, text):
    gap = "\n" if task.get("blank_line", True) else ""
    return block(task, instruction) + gap + content(task, text)


def heading(task, number):
    return task.get("heading", "EXAMPLE {number}:\n").replace("{number}", str(number))


def few_shot(task, instruction, shots, text):
    k = task["shots"]
    own = shots[instruction * k : (instruction + 1) * k]
    out = ""
    for i, (_, shot, label) in enumerate(own, 1):
        out += heading(task, i) + zero_shot(task, instruction, shot)
        out += task["classes"][label] + task.get("separator", "\n\n")
    return out + heading(task, k + 1) + zero_shot(task, instruction, text)


def prompts(make):
    return [
        {"id": i, "prompt": p, "text": make(p, text), "label": label}
        for i, text, label in TEXTS
        for p in range(len(TASK["instructions"]))
    ]


def examples(rows):
    return [{"id": i, "text": t, "label": label} for i, t, label in rows]


def words():
    """Python's answers on where words end."""
    spaces = [
        c
        for c in range(0x110000)
        if not 0xD800 <= c < 0xE000 and len(f"a{chr(c)}b".split()) == 2
    ]
    cases = [
        {"text": text, "limit": limit, "limited": limit_words(text, limit)}
        for _, text, _ in TEXTS + SHOTS
        for limit in (0, 1, 2, 5, 6, 100)
    ]
    return {"spaces": spaces, "cases": cases}


def without(key):
    return {k: v for k, v in TASK.items() if k != key}


# What is done to a good task file, and the key that the error must name (None: nothing is wrong).
VARIANTS = [
    ("as it is", TASK, None),
    ("no word limit", without("word_limit"), None),
    ("null word limit", {**TASK, "word_limit": None}, None),
    ("no shots wanted", {**TASK, "shots": 0}, None),
    ("whole number with a point", {**TASK, "shots": 2.0, "word_limit": 6.0}, None),
    ("one instruction", {**TASK, "instructions": ["x"]}, None),
    ("content of the text alone", {**TASK, "content": "{text}"}, None),
    ("one letter classes", {**TASK, "classes": ["a", "b"]}, None),
    ("inner blanks in a class", {**TASK, "classes": ["a b", "c\td"]}, None),
    ("answers, one each", {**TASK, "answers": [" bad", " so-so", " good"]}, None),
    ("several answers", {**TASK, "answers": [[" bad", " poor"], " so-so", [" good"]]}, None),
    ("answers that are names", {**TASK, "answers": CLASSES}, None),
    ("string for answers", {**TASK, "answers": " bad, so-so, good"}, "answers"),
    ("null answers", {**TASK, "answers": None}, "answers"),
    ("number for an answer", {**TASK, "answers": [" bad", 2, " good"]}, "answers"),
    ("empty answer", {**TASK, "answers": [" bad", "", " good"]}, "answers"),
    ("empty answer in a list", {**TASK, "answers": [" bad", [" so-so", ""], " good"]}, "answers"),
    ("no answer of a class", {**TASK, "answers": [" bad", [], " good"]}, "answers"),
    ("one class's answer twice", {**TASK, "answers": [[" bad", " bad"], " so-so", " good"]}, "answers"),
    ("answer of two classes", {**TASK, "answers": [" bad", " bad", " good"]}, "answers"),
    ("answers of answers", {**TASK, "answers": [[[" bad"]], " so-so", " good"]}, "answers"),
    ("plain layout", {**TASK, "layout": "plain"}, None),
    ("unknown layout", {**TASK, "layout": "chatml"}, "layout"),
    ("null layout", {**TASK, "layout": None}, "layout"),
    ("system without a chat", {**TASK, "system": "x"}, "system"),
    ("system in the plain layout", {**TASK, "layout": "plain", "system": "x"}, "system"),
    ("reply without a chat", {**TASK, "reply": "x"}, "reply"),
    ("number for a reply", {**TASK, "layout": "chat", "reply": 1}, "reply"),
    ("null system", {**TASK, "layout": "chat", "system": None}, "system"),
    ("another layout", FRAMED, None),
    ("no frame at all", {**TASK, "heading": "", "separator": ""}, None),
    ("heading without a number", {**TASK, "heading": "Example:\n"}, None),
    ("heading in a chat", {**TASK, "layout": "chat", "heading": "x"}, "heading"),
    ("separator in a chat", {**TASK, "layout": "chat", "separator": "x"}, "separator"),
    ("student without keys", {**TASK, "student": {}}, None),
    ("string for the list", {**TASK, "list": "no"}, "list"),
    ("null for the blank line", {**TASK, "blank_line": None}, "blank_line"),
    ("heading with the number twice", {**TASK, "heading": "{number}/{number}"}, "heading"),
    ("null heading", {**TASK, "heading": None}, "heading"),
    ("number for a separator", {**TASK, "separator": 1}, "separator"),
    ("string for the student", {**TASK, "student": "no list"}, "student"),
    ("null student", {**TASK, "student": None}, "student"),
    ("number for the student's list", {**TASK, "student": {"list": 0}}, "list"),
    ("student's word limit of zero", {**TASK, "student": {"word_limit": 0}}, "word_limit"),
    ("student's own shots", {**TASK, "student": {"shots": 1}}, "shots"),
    ("student's own student", {**TASK, "student": {"student": {}}}, "student"),
    ("unknown key", {**TASK, "wordlimit": 5}, "wordlimit"),
    ("no name", without("name"), "name"),
    ("no classes", without("classes"), "classes"),
    ("no instructions", without("instructions"), "instructions"),
    ("no content", without("content"), "content"),
    ("no shots", without("shots"), "shots"),
    ("number for a name", {**TASK, "name": 3}, "name"),
    ("empty name", {**TASK, "name": ""}, "name"),
    ("string for classes", {**TASK, "classes": "a, b"}, "classes"),
    ("empty list of classes", {**TASK, "classes": []}, "classes"),
    ("one class", {**TASK, "classes": ["a"]}, "classes"),
    ("empty class", {**TASK, "classes": ["a", ""]}, "classes"),
    ("class twice", {**TASK, "classes": ["a", "b", "a"]}, "classes"),
    ("class that is null", {**TASK, "classes": ["a", None]}, "classes"),
    ("class with a blank before", {**TASK, "classes": ["a", " b"]}, "classes"),
    ("class with a blank after", {**TASK, "classes": ["a", "b "]}, "classes"),
    ("class with a line break", {**TASK, "classes": ["a", "b\nc"]}, "classes"),
    ("class that ends in a line break", {**TASK, "classes": ["a", "b\n"]}, "classes"),
    ("blank class", {**TASK, "classes": ["a", " "]}, "classes"),
    ("no instruction at all", {**TASK, "instructions": []}, "instructions"),
    ("empty instruction", {**TASK, "instructions": ["x", ""]}, "instructions"),
    ("instruction twice", {**TASK, "instructions": ["x", "y", "y"]}, "instructions"),
    ("number for an instruction", {**TASK, "instructions": [1]}, "instructions"),
    ("content without the text", {**TASK, "content": "it is "}, "content"),
    ("content with other braces", {**TASK, "content": "{ text } is "}, "content"),
    ("content with the text twice", {**TASK, "content": "{text}\n{text} is "}, "content"),
    ("null content", {**TASK, "content": None}, "content"),
    ("negative shots", {**TASK, "shots": -1}, "shots"),
    ("half a shot", {**TASK, "shots": 2.5}, "shots"),
    ("string for shots", {**TASK, "shots": "2"}, "shots"),
    ("true for shots", {**TASK, "shots": True}, "shots"),
    ("null shots", {**TASK, "shots": None}, "shots"),
    ("too many shots", {**TASK, "shots": 2**31}, "shots"),
    ("word limit of zero", {**TASK, "word_limit": 0}, "word_limit"),
    ("word limit that is a string", {**TASK, "word_limit": "6"}, "word_limit"),
    ("a list", [TASK], ""),
    ("a string", "task", ""),
]


def verdicts():
    with open("schemas/task.json", encoding="utf-8") as f:
        schema = json.load(f)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for what, task, key in VARIANTS:
        yield {"what": what, "valid": validator.is_valid(task), "key": key, "task": task}


def main(directory):
    def write(name, data):
        with open(os.path.join(directory, name), "wb") as f:
            f.write(data)

    def lines(records):
        return "".join(json.dumps(r, ensure_ascii=True) + "\n" for r in records).encode()

    few = prompts(lambda p, text: few_shot(TASK, p, SHOTS, text))
    zero = prompts(lambda p, text: zero_shot(TASK, p, text))
    framed = prompts(lambda p, text: few_shot(FRAMED, p, SHOTS, text))
    student = {**FRAMED, **FRAMED["student"]}
    students = prompts(lambda p, text: zero_shot(student, p, text))
    weights = [{"prompt": p, "weight": w} for p, w in enumerate((0.25, 0.5, 0.25))]
    made = [{"program": "by hand", "version": "0", "arguments": ""}]
    write("task.json", (json.dumps(TASK, indent=2) + "\n").encode())
    write("framed.json", (json.dumps(FRAMED, indent=2) + "\n").encode())
    write("framed.records", records(framed))
    write("student.records", records(students))
    write("shots.mp", stream("example", examples(SHOTS), classes=CLASSES, made=made))
    write("labelled.mp", stream("example", examples(SHOTS[:-1])))
    write("empty.mp", stream("example", []))
    write("texts.mp", stream("example", examples(TEXTS), made=made))
    write("weights.mp", stream("weights", weights, task="tiny", classes=CLASSES))
    write("few-shot.records", records(few))
    write("zero-shot.records", records(zero))
    write("zero-shot-1.records", records([r for r in zero if r["prompt"] == 1]))
    write("words.json", (json.dumps(words(), indent=1) + "\n").encode())
    write("verdicts.jsonl", lines(verdicts()))


if __name__ == "__main__":
    main(sys.argv[1])
