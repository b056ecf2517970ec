#!/usr/bin/env python3
"""Token streams for tests/bats/lm-score.bats: usage: engine_streams.py FOLDER

good.mp is what the recorded model llama-tied is asked in cases.json; every other stream holds one
thing lm-score must refuse.
"""

import json
import os
import sys

import numpy as np

import duq_stream


def main():
    folder = sys.argv[1]
    with open(os.path.join(folder, "cases.json")) as f:
        case = json.load(f)["llama-tied"]

    def write(name, tokens, class_tokens=case["class_tokens"], classes=("a", "b", "c")):
        header = {"schema": "tokens", "classes": list(classes), "made": []}
        if class_tokens is not None:
            header["class_tokens"] = class_tokens
        duq_stream.write(os.path.join(folder, name), header, [
            {"id": f"t{i}", "prompt": i % 3, "tokens": np.array(t, dtype="<i4"), "label": i % 2}
            for i, t in enumerate(tokens)])

    write("good.mp", case["tokens"])
    write("empty.mp", [])
    write("token-too-large.mp", [[1, 5, 6], [1, 5, 96]])
    write("token-negative.mp", [[1, 5, 6], [1, -5, 7]])
    write("too-long.mp", [[1, 5, 6], [7] * 513])
    write("no-class-tokens.mp", [[1, 5, 6]], None)
    write("class-token-too-large.mp", [[1, 5, 6]], [3, 50, 96])
    write("class-token-missing.mp", [[1, 5, 6]], [3, 50])


if __name__ == "__main__":
    main()
