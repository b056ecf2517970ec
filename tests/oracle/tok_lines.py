"""Lines that tokenizers trip over, made from a seed: the same ones every time."""
import random

WORDS = """the a of and to in is that it was for on are as with his they at be this from I have or by one had not
but what all were when we there can an your which their said if do will each about how up out them then she many
some so these would other into has more her two like him see time could no make than first been its who now people
my made over did down only way find use may water long little very after words called just where most know review
movie great terrible film positive negative sentiment classify text answer question acting story plot funny boring
don't can't it's I'm we've they'll he'd You'RE O'Neill rock'n'roll naïve café Straße façade coöperate İstanbul
tokenization internationalization antidisestablishmentarianism GPT-4 C++ x86_64 foo_bar camelCase HTTPServer""".split()
EMOJI = list("😀😂🤣😍🙃🤖👍🔥🎉✨❤☀☂♥★☎") + ["👨‍👩‍👧‍👦", "👩🏽‍💻", "🇩🇪", "🏳️‍🌈", "❤️", "1️⃣", "🧑🏿‍🚀", "🫠", "🫨"]
CJK = "这是一个测试电影非常好看我不喜欢它了漢字日本語の映画はとても面白いですカタカナひらがな한국어영화재미있어요𠀀𠮷㐀"
OTHER = "Привет мир как дела Γειά σου κόσμε שלום עולם مرحبا بالعالم नमस्ते दुनिया สวัสดีชาวโลก გამარჯობა Բարեւ ሰላም ខ្មែរ தமிழ் ᠮᠣᠩᠭᠣᠯ ᏣᎳᎩ"
MARKS = "\u0300\u0301\u0302\u0303\u0308\u030a\u0323\u0327\u0328\u0338\u034f\u05b0\u064b\u0651\u093c\u0941\u0e38\u3099\u309a\u20e3\ufe0f\u1dc4"
BASES = "aeiouAEOUncsdzgkYyıßſŁøæﬁﬀ가각각ΩKÅ"
SPACES = [" ", "  ", "   ", "\t", "\n", "\r", "\r\n", "\n\n", " \n", "\n ", "\u00a0", "\u3000", "\u2003", "\u2028", "\u2029",
          "\u0085", "\u000b", "\u000c", "\u1680", "\u180e", "\u200b", "\u202f", "\u205f", "\ufeff", "\u2060"]
CONTROLS = [chr(c) for c in range(0x20)] + [chr(c) for c in range(0x7F, 0xA0)] + ["\u200e", "\u200d", "\u200c", "\u202e", "\ufffe",
                                                                              "\uffff", "\U0010ffff", "\ufffd", "\ue000"]
LOOKALIKES = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<s>", "</s>", "<unk>", "[INST]", "[/INST]", "<0x0A>", "<0xE4>",
              "<|im_start|", "<|im_end", "|>", "<|", "<s", "[AVAILABLE_TOOLS]", "<repo_name>", "<file_sep>", "<gh_stars>",
              "<<|im_start|>>", "<|IM_START|>", "< s >", "▁", "▁▁", "▁the", "Ġ", "Ċ", "Ġthe", "<|begin_of_text|>", "[MASK]", "[mask]",
              "<extra>", "word", "[control_8]", "⁇", "</S>"]
PUNCTUATION = list(".,;:!?-_()[]{}<>/\\|@#$%^&*+=~`'\"") + ["...", "—", "–", "“", "”", "‘", "’", "…", "¿", "¡", "«", "»", "、", "。", "!!!", "'S",
                                                           "'T", "'ſ", "'Ll", "'re", "'VE", "'m", "'D"]
NUMBERS = ["0", "1", "12", "123", "1234", "12345678901", "3.14", "1,000,000", "½", "²", "Ⅷ", "٣٤", "१२३", "𝟘𝟙", "①", "四"]


def any_character(rng):
    while True:
        limit = rng.choice((0x80, 0x250, 0x3000, 0x10000, 0x20000, 0x110000))
        code = rng.randrange(limit)
        if not 0xD800 <= code <= 0xDFFF:
            return chr(code)


def word(rng):
    kind = rng.random()
    if kind < 0.5:
        w = rng.choice(WORDS)
        return rng.choice((w, w, w, w.capitalize(), w.upper()))
    if kind < 0.58:
        return rng.choice(EMOJI) * rng.choice((1, 1, 1, 2, 5))
    if kind < 0.66:
        return "".join(rng.choice(CJK) for _ in range(rng.randint(1, 12)))
    if kind < 0.70:
        return rng.choice(OTHER.split())
    if kind < 0.75:
        return "".join(rng.choice(BASES) + "".join(rng.choice(MARKS) for _ in range(rng.randint(0, 4)))
                       for _ in range(rng.randint(1, 5)))
    if kind < 0.80:
        return rng.choice(LOOKALIKES)
    if kind < 0.88:
        return rng.choice(PUNCTUATION)
    if kind < 0.93:
        return rng.choice(NUMBERS)
    if kind < 0.95:
        return rng.choice(CONTROLS)
    return "".join(any_character(rng) for _ in range(rng.randint(1, 6)))


def gap(rng):
    kind = rng.random()
    if kind < 0.75:
        return " "
    if kind < 0.88:
        return ""
    if kind < 0.97:
        return rng.choice(SPACES)
    return rng.choice(SPACES) * rng.randint(2, 60)


def line(rng, words):
    parts = []
    for _ in range(words):
        parts.append(word(rng))
        parts.append(gap(rng))
    if rng.random() < 0.5:
        parts.pop()
    if rng.random() < 0.1:
        parts.insert(0, gap(rng))
    return "".join(parts)


def lines(count, seed=1):
    """count generated lines, after those made on purpose."""
    rng = random.Random(seed)
    yield from ("", " ", "  ", "\n", "\n\n\n", "\0", "\t\t", "a", "▁", " a", "a ", " \n ", "'s", "<s>")
    yield from LOOKALIKES
    for i in range(count):
        yield line(rng, rng.choice((1, 2, 3, 5, 8, 13, 20, 40)))


def every_character():
    """Each code point, in a few surroundings."""
    codes = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
    for i in range(0, len(codes), 64):
        some = [chr(c) for c in codes[i:i + 64]]
        yield "".join(some)
        yield " ".join(some)
        yield "".join(f"a{c}1{c} {c}.\n{c}" for c in some)


def long_lines(seed=2, size=1 << 20):
    """Lines of a megabyte: one thing repeated, and a mixture."""
    rng = random.Random(seed)
    def fill(piece):
        return piece * (size // len(piece.encode()) + 1)
    for piece in (" ", "\n", "\r\n", "a", "ab", "aaaaaaab", "é", "这", "这是", "😀", "e\u0301", "\u0301\u0327", "<", "<|im_start|>", "the ", "1",
                  ".", "\0", "▁", " \n", "\u180e", "가", "ha!"):
        yield fill(piece)
    mixture = []
    length = 0
    while length < size:
        mixture.append(line(rng, 20))
        length += len(mixture[-1].encode())
    yield "".join(mixture)
    yield "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(size))
    yield "".join(rng.choice(CJK) for _ in range(size // 3))
