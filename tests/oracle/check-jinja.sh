#!/usr/bin/env bash
# Renders the recorded templates again and compares. TEMPLATES=folder: also renders the *.jinja there,
# of models, by transformers and by us, on conversations of many kinds.
set -eu
cd "$(dirname "$0")/../.."
fresh=$(mktemp)
trap 'rm -f "$fresh"' EXIT
"${PYTHON:-python3}" tests/oracle/jinja.py "$fresh"
diff "$fresh" tests/data/chat/jinja.jsonl
echo "jinja: the recorded texts are transformers'"
if [ -n "${TEMPLATES:-}" ]; then
    make --no-print-directory -s "${BUILD:-build}/oracle/jinja_render"
    "${PYTHON:-python3}" tests/oracle/jinja.py --render "${BUILD:-build}/oracle/jinja_render" "$TEMPLATES"
fi
