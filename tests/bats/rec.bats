# rec: each of its commands, and what it says to bad input.

setup() {
    cd "$BATS_TEST_TMPDIR" || exit 1
    printf 'idx,sentence,label\n7,"good, very",1\n9,"bad\nindeed",0\n12,so-so,1\n' >train.csv
}

examples() { # FILE...
    rec from-csv --id idx --text sentence --label label "$@"
}

@test "CSV becomes examples, quotes and newlines inside them kept" {
    examples train.csv >all.mp
    rec to-json all.mp >all.json
    diff all.json - <<'END'
{"id":"7","text":"good, very","label":1}
{"id":"9","text":"bad\nindeed","label":0}
{"id":"12","text":"so-so","label":1}
END
}

@test "check passes what from-csv made" {
    examples train.csv | rec check
}

@test "head takes records from where it is told" {
    examples train.csv >all.mp
    [ "$(rec head -n 1 --skip 1 all.mp | rec to-json | jq -r .id)" = 9 ]
}

@test "count gives the number of records, and of each label" {
    examples train.csv >all.mp
    diff <(rec count all.mp) <(printf '3\n0\t-\t1\n1\t-\t2\n')
    [ "$(rec count -q all.mp)" = 3 ]
}
