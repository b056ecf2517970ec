#!/usr/bin/env bash
# The recorded FLOP counts that tests/c/test_plan.c holds the counting device to, against
# torch.utils.flop_counter as it is installed.
set -eu
cd "$(dirname "$0")/../.."
"${PYTHON:-python3}" tests/oracle/flops.py check tests/data/plan/flops.json
