#!/usr/bin/env bash
# Streams and tables that Python writes are read by rec, and the other way round, on fresh random
# data; and tests/data/rec is what Python says (npy and missing.* there: check-npy.sh, check-missing.sh).
set -eu
cd "$(dirname "$0")/../.."
export PYTHONDONTWRITEBYTECODE=1
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"${PYTHON:-python3}" tests/oracle/streams.py record "$fresh"
diff -r -x npy -x 'missing.*' "$fresh" tests/data/rec
"${PYTHON:-python3}" tests/oracle/streams.py check "$(realpath "${BUILD:-build}/bin/rec")" schemas
