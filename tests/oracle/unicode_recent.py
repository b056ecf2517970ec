"""Writes the tables of common/text/unicode_recent.c: where `tokenizers` and the Unicode data of PCRE2
and utf8proc (of Unicode 14 and later, as the system has it) may disagree.

usage: unicode_recent.py >tables     (paste between the file's marks)

`tokenizers` 0.23 knows Unicode 16 in patterns (Oniguruma 6.9.10), Unicode 9 in normal forms
(unicode-normalization-alignments) and Unicode 17 in lower case and digits (Rust's library). What each
takes a character for is found by asking it about every character. needs: tokenizers, unicodedata2
"""
import sys
import unicodedata  # the interpreter's own: Unicode 14 in Python 3.11

import unicodedata2
from tokenizers import Regex, normalizers, pre_tokenizers

assert unicodedata.unidata_version == "14.0.0", "run with Python 3.11"
CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co Cn".split()
CODES = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
TEXT = "".join(map(chr, CODES))
# Old characters of each category, as long in UTF-8; all of Han are in planes 2 and 3.
STAND_INS = {2: dict(Cn=0x378, Lu=0x100, Ll=0x101, Lm=0x2B0, Cf=0x61C, Nd=0x660, Lo=0x1BB, Mn=0x300, Po=0xA7, So=0xA6, Sk=0x2C2),
             3: dict(Lu=0x1E00, Ll=0x1E01, Lm=0x1D2C, Lo=0x0E01, Mn=0x20D0, Mc=0x0903, Nd=0x0966, Po=0x2016, Pd=0x2010, So=0x2100,
                     Sm=0x2200, Sc=0x20AC, Cf=0x200B, Cn=0xFFFE, Sk=0x1FBD, Ps=0x2045, Pe=0x2046, No=0x2070, Pf=0x201D, Pi=0x201C),
             4: dict(Lu=0x10400, Ll=0x10428, Lm=0x16B40, Lo=0x10000, Mn=0x101FD, Mc=0x11000, Nd=0x104A0, Nl=0x10140, No=0x10107,
                     Po=0x10100, Pd=0x10EAD, Sm=0x1D6C1, So=0x10137, Cf=0xE0001, Cn=0x1FFFE)}


def oniguruma():
    found = {}
    for category in CATEGORIES:
        for piece, _ in pre_tokenizers.Split(Regex(rf"\p{{{category}}}+"), "removed", True).pre_tokenize_str(TEXT):
            found.update((ord(c), category) for c in piece)
    return found


def ranges(values):
    """(first, last, value) of neighbours with one value."""
    out = []
    for code in sorted(values):
        if out and out[-1][1] == code - 1 and out[-1][2] == values[code]:
            out[-1][1] = code
        else:
            out.append([code, code, values[code]])
    return out


def table(name, comment, rows, row):
    print(f"/* {comment} */\nstatic const struct range {name}[] = {{")
    text = "    "
    for r in rows:
        item = row(*r) + ","
        if len(text) + len(item) > 98:
            print(text.rstrip())
            text = "    "
        text += item + " "
    print(text.rstrip() + "\n};\n")


def main():
    known = oniguruma()
    stand_ins = {}
    for code in CODES:
        category = known.get(code, "Cn")
        if category in (unicodedata.category(chr(code)), unicodedata2.category(chr(code))) and \
                unicodedata.category(chr(code)) == unicodedata2.category(chr(code)):
            continue
        han = category == "Lo" and code >= 0x20000
        stand_ins[code] = 0x20000 if han else STAND_INS[len(chr(code).encode())][category]
    table("stand_ins", "Category as in Unicode 16: like that of the third.", ranges(stand_ins),
          lambda a, b, v: f"{{0x{a:X}, 0x{b:X}, 0x{v:X}}}")

    digits = {ord(p) for p, _ in pre_tokenizers.Digits(individual_digits=True).pre_tokenize_str("a".join(TEXT))
              if len(p) == 1 and p != "a"}
    more = {c: 0 for c in digits if known.get(c, "Cn")[0] != "N"}
    assert not [c for c in CODES if known.get(c, "Cn")[0] == "N" and c not in digits]
    table("digits", "Numbers of Unicode 17.", ranges(more), lambda a, b, v: f"{{0x{a:X}, 0x{b:X}, 0}}")

    lower = {}
    normalizer = normalizers.Lowercase()
    for code in CODES:
        got = normalizer.normalize_str(chr(code))
        later = unicodedata2.category(chr(code)) != "Cn" and chr(code).lower() == chr(code)
        if got != chr(code).lower() or later and unicodedata.category(chr(code)) == "Cn" and code in known and known[code] == "Lu":
            assert len(got) == 1
            lower[code] = ord(got) - code
    table("lower", "Lower case of Unicode 15 to 17: this much further on.", ranges(lower),
          lambda a, b, v: f"{{0x{a:X}, 0x{b:X}, {v}}}")

    inert = {}
    marks = "\u0301\u0327\u0338\u05b0\u0345\u3099"
    for code in CODES:
        c = chr(code)
        later = unicodedata2.decomposition(c) or unicodedata2.combining(c)
        if not later:
            continue
        tests = [c] + [t for m in marks for t in (c + m, m + c, "a" + c + m, "a" + m + c)]
        if any(getattr(normalizers, f)().normalize_str(t) != unicodedata2.normalize(f, t)
               for f in ("NFC", "NFD", "NFKC", "NFKD") for t in tests):
            inert[code] = 0
    # What later characters decompose to is new itself, or as old as its script.
    for code in list(inert):
        decomposition = unicodedata2.decomposition(chr(code))
        for part in decomposition.split() if "<" not in decomposition else []:
            part = int(part, 16)
            if unicodedata.category(chr(part)) == "Cn" or 0x11930 <= part <= 0x11938:
                inert[part] = 0
    table("inert", "Not of Unicode 9: normal forms leave them, and what is around them, alone.", ranges(inert),
          lambda a, b, v: f"{{0x{a:X}, 0x{b:X}, 0}}")


sys.exit(main())
