# The lines of Python in duq-stream(5), as they stand there, on streams of the programs; with Debian's python3-msgpack
# and python3-xxhash, or PyPI's.

data=$BATS_TEST_DIRNAME/../data/uq

bats_require_minimum_version 1.5.0

setup() {
    cd "$BATS_TEST_TMPDIR" || exit 1
    for python in "${PYTHON:-python3}" /usr/bin/python3 ''; do
        ! "${python:-false}" -c 'import msgpack, xxhash' 2>/dev/null || break
    done
    [ -n "$python" ] || skip "Python has no msgpack and xxhash (tests/deps test)"
    sed -n '/^import msgpack/,/^\.Ed/{/^\.Ed/d; p}' "$BATS_TEST_DIRNAME/../../man/duq-stream.5" >duq_stream.py
    bpe-fit -q --apply "$data/weights-good.mp" -o in.mp "$data/scores-good.mp"
}

@test "Python reads what a program wrote: every value that rec to-json prints" {
    rec to-json in.mp >said.json
    rec to-json --header in.mp | head -n 1 >header.json
    "$python" - <<'END'
import json
from duq_stream import read
header, records = read("in.mp")
assert header == json.load(open("header.json")), header
read = [{key: memoryview(value).cast("d").tolist() if isinstance(value, bytes) else value
         for key, value in record.items()} for record in records]
said = [json.loads(line) for line in open("said.json")]
assert len(said) == 3 and len(said[0]["members"]) == 4 and read == said, read
END
}

@test "the programs take what Python wrote, and it is what they would have written" {
    "$python" -c 'from duq_stream import *; write("same.mp", *read("in.mp"))'
    rec check same.mp
    cmp in.mp same.mp
    "$python" - <<'END'
from array import array
from duq_stream import write
write("own.mp", {"schema": "scores", "classes": ["no", "yes"]},
      [{"id": str(i), "prompt": 0, "logits": array("f", [0.5 * i, -1]).tobytes(), "label": i % 2} for i in range(4)])
END
    rec check own.mp
    [ "$(rec to-json own.mp | tail -n 1)" = '{"id":"3","prompt":0,"logits":[1.5,-1],"label":1}' ]
}

@test "Python refuses a stream that was cut or changed" {
    head -c -1 in.mp >cut.mp
    LC_ALL=C sed 's/probs/prabs/' in.mp >changed.mp
    run ! cmp -s in.mp changed.mp
    : >empty.mp
    for file in cut changed empty; do
        run "$python" -c 'import sys; from duq_stream import *; read(sys.argv[1])' $file.mp
        echo "$file: $output"
        [ "$status" -eq 1 ]
        [ "$output" = "$file.mp: no whole stream" ]
    done
}
