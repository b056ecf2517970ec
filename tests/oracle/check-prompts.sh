#!/usr/bin/env bash
# Makes prompt-expand's recorded answers again and compares: tests/data/prompt is what Python says.
set -eu
cd "$(dirname "$0")/../.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"${PYTHON:-python3}" tests/oracle/prompts.py "$fresh"
diff -r "$fresh" tests/data/prompt
echo "prompts: the recorded streams, words and verdicts agree with Python and jsonschema"
