#!/usr/bin/env bash
# lm-score beside one busy process per processor: its wall-clock time over that of a quiet run (2 is
# an equal share of the processors), on a model of SmolLM2-135M's shape with random weights.
set -eu
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
busy=()
quiet_again() {
    [ ${#busy[@]} -eq 0 ] || kill "${busy[@]}"
    rm -rf "$work"
}
trap quiet_again EXIT
export PATH=${BUILD:-build}/bin:$PATH
"${PYTHON:-python3}" tests/bench/random-model.py smollm2 "$work/model"
"${PYTHON:-python3}" - "$work" <<'END'
import random, sys
sys.path.insert(0, "tests/oracle")
import duq_stream, numpy as np
random.seed(1)
prefixes = [[1] + [random.randrange(3, 49152) for _ in range(400)] for _ in range(9)]
records = [{"id": f"t{i}", "prompt": p, "label": None,
            "tokens": np.array(prefix + [random.randrange(3, 49152) for _ in range(30)], dtype="<i4")}
           for i in range(20) for p, prefix in enumerate(prefixes)]
header = {"schema": "tokens", "classes": ["a", "b"], "class_tokens": [100, 200], "made": []}
duq_stream.write(sys.argv[1] + "/all.mp", header, records)
duq_stream.write(sys.argv[1] + "/one.mp", header, records[:1])
END
seconds() { # STREAM
    local began=$EPOCHREALTIME
    lm-score -q --model "$work/model" -o /dev/null "$work/$1"
    awk "BEGIN { print $EPOCHREALTIME - $began }"
}
all=$(seconds all.mp) one=$(seconds one.mp)
for _ in $(seq "$(nproc)"); do
    while :; do :; done &
    busy+=($!)
done
all_busy=$(seconds all.mp) one_busy=$(seconds one.mp)
awk "BEGIN { printf \"180 prompts: quiet %.2f s, busy %.2f s, %.2f times; one prompt: %.2f s, %.2f s, %.2f times\n\",
    $all, $all_busy, $all_busy / $all, $one, $one_busy, $one_busy / $one }"
