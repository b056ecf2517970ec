#!/usr/bin/env bash
# No two answers of a data set begin with the same token under Mistral's or SmolLM2's tokenizer.
set -eu
cd "$(dirname "$0")/../.."
"${PYTHON:-python3}" tests/oracle/class_tokens.py
echo "class tokens: all first tokens differ"
