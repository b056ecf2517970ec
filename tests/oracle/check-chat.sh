#!/usr/bin/env bash
# Makes the recorded chats again and compares: texts by jinja2, ids by tokenizers and transformers.
set -eu
cd "$(dirname "$0")/../.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"${PYTHON:-python3}" tests/oracle/chat.py "$fresh"
diff -r -x jinja.jsonl "$fresh" tests/data/chat
echo "chat: the recorded texts and ids agree with jinja2, tokenizers and transformers"
