"""Cells that pandas takes for missing, in a table and as pandas joins them to texts: recorded answers for
rec from-csv --missing pandas.

usage: missing.py DIRECTORY    writes missing.csv and missing.jsonl of tests/data/rec into DIRECTORY
The published programs join columns by astype(str), which before pandas 3 is what map(str) is; since then it leaves
missing what is.
"""

import csv
import json
import os
import sys

import pandas

CELLS = """,#N/A,#N/A N/A,#NA,-1.#IND,-1.#QNAN,-NaN,-nan,1.#IND,1.#QNAN,<NA>,N/A,NA,NULL,NaN,None,n/a,nan,null,
 ,none,Null,NAN,na,N/A ,- nan,no,inf,#na,null null,<na>""".replace("\n", "").split(",")


def main(directory):
    table = os.path.join(directory, "missing.csv")
    with open(table, "w", encoding="utf-8", newline="") as f:
        rows = csv.writer(f, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        rows.writerow(["label", "title", "body"])
        for i, cell in enumerate(CELLS):
            rows.writerow([i % 2, cell, "why " + cell])
            rows.writerow([i % 2, "a title", cell])
    read = pandas.read_csv(table)
    texts = "Question: " + read["title"].map(str) + " " + read["body"].map(str)
    with open(os.path.join(directory, "missing.jsonl"), "w", encoding="utf-8") as f:
        for text in texts:
            f.write(json.dumps(text) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
