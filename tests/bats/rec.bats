# rec: each of its commands, and what it says to bad input. The reader's hardness against damage is
# in tests/c/test_stream.c; tests/oracle/streams.py made tests/data/rec.

load refuses

bats_require_minimum_version 1.5.0

setup() {
    data=$BATS_TEST_DIRNAME/../data/rec
    cd "$BATS_TEST_TMPDIR" || exit 1
    printf 'idx,sentence,label\n7,"good, very",1\n9,"bad\nindeed",0\n12,so-so,1\n' >train.csv
}

examples() { # FILE...
    rec from-csv --id idx --text sentence --label label "$@"
}

# A stream of N examples with ids 1 ... N, labels alternating.
numbered() { # N
    { echo text,label && seq "$1" | awk '{ print "text " $1 "," $1 % 2 }'; } |
        rec from-csv --text text --label label
}

ids() { # FILE...
    rec to-json "$@" | jq -r .id | paste -sd' '
}

# ---- from tables ----

@test "CSV becomes examples, quotes and newlines inside them kept" {
    examples train.csv >all.mp
    rec to-json all.mp >all.json
    diff all.json - <<'END'
{"id":"7","text":"good, very","label":1}
{"id":"9","text":"bad\nindeed","label":0}
{"id":"12","text":"so-so","label":1}
END
    rec check all.mp
}

@test "a tricky CSV file is read as Python's csv reads it" {
    rec from-csv --id id --text 'text {a} {b}' --label label "$data/tricky.csv" | rec to-json >have
    diff have "$data/tricky.json"
    # Line ends of another kind and a byte order mark change nothing outside quotes.
    printf '\xef\xbb\xbfid,text\r\n1,a\r\n2,"b\r\nc"\r\n' >crlf.csv
    rec from-csv --id id --text text crlf.csv | rec to-json | diff - <(printf '%s\n' \
        '{"id":"1","text":"a","label":null}' '{"id":"2","text":"b\r\nc","label":null}')
}

@test "texts are passed on byte for byte: blanks, a byte order mark inside, entities, emoji" {
    printf 'text\n" lead, trail "\n\xef\xbb\xbfx\xef\xbb\xbf\n&#39;&amp;\xf0\x9f\x98\x80 \n  plain  \n' >in.csv
    rec from-csv --text text in.csv | rec to-json | jq -r .text >have
    printf ' lead, trail \n\xef\xbb\xbfx\xef\xbb\xbf\n&#39;&amp;\xf0\x9f\x98\x80 \n  plain  \n' | cmp - have
}

@test "the first no records are a stream with the header alone" {
    rec from-lines <<<'one' >one.mp
    rec head -n 0 one.mp >none.mp
    [ "$(rec count -q none.mp)" = 0 ]
    [ "$(rec to-json --header none.mp | jq -r .schema)" = example ]
}

@test "columns go by name and by number, with and without a header" {
    printf '3,ask,why,because\n1,is,it,so\n' >in.csv
    rec from-csv --no-header --label 1 --text 'Question: {2} {3}
Answer: {{{4}}}' in.csv | rec to-json | diff - <(printf '%s\n' \
        '{"id":"1","text":"Question: ask why\nAnswer: {because}","label":3}' \
        '{"id":"2","text":"Question: is it\nAnswer: {so}","label":1}')
    rec from-csv --no-header --ignore-unused --text 4 in.csv | rec to-json | jq -r .text | diff - <(printf 'because\nso\n')
    rec from-csv --text 2 --id 1 train.csv | rec to-json | jq -r .id | diff - <(printf '7\n9\n12\n')
    printf '2,1\na,b\n' >numbers.csv
    [ "$(rec from-csv --text 2 numbers.csv | rec to-json | jq -r .text)" = a ]
}

@test "a column that nothing asks for, without a header, is an error: it may be the rest of a text" {
    printf 'a film, at last\nan hour, at least\n' >in.csv
    refuses 65 "in.csv: column 2 of 2 is not used: a text with commas stands in quotes" rec from-csv --no-header --text 1 in.csv
    refuses 65 "'rec from-lines' reads one text a line" rec from-csv --no-header --text 1 in.csv
    rec from-csv --no-header --ignore-unused --text 1 in.csv | rec to-json | jq -r .text | diff - <(printf 'a film\nan hour\n')
    rec from-csv --no-header --id 2 --text 1 in.csv >/dev/null
    printf 'a\tb\n' >in.tsv
    refuses 65 "in.tsv: column 1 of 2 is not used" rec from-tsv --no-header --text 2 in.tsv
    printf 'name,text\na,b\n' >named.csv
    rec from-csv --text text named.csv >/dev/null
}

@test "from-lines makes a text of each line, whatever is in it" {
    printf '\xef\xbb\xbfa film, at "last"\r\n\n  {x}\t\nend' >texts
    rec from-lines texts | rec to-json | diff - <(printf '%s\n' \
        '{"id":"1","text":"a film, at \"last\"","label":null}' \
        '{"id":"3","text":"  {x}\t","label":null}' '{"id":"4","text":"end","label":null}')
    refuses 65 "holds no records" rec from-lines /dev/null
    # A line of blanks is a blank one, with or without a line's end.
    printf ' \t \na film\n  \r\n\f' >blank
    rec from-lines blank 2>said | rec to-json | diff - <(echo '{"id":"2","text":"a film","label":null}')
    [ ! -s said ]
    printf 'caf\xe9\n' >latin
    refuses 65 "latin: row 1: the text is not UTF-8" rec from-lines latin
}

@test "arrays that were joined from other records come back from JSON" {
    local decide=$BATS_TEST_DIRNAME/../data/decide
    decide --set 0.3 --or-abstain -o sets.mp "$decide/fit.mp"
    decide --apply sets.mp "$decide/test.mp" | rec join "$decide/test.mp" - >joined.mp
    rec to-json --header joined.mp | rec from-json | cmp - joined.mp
}

@test "JSON numbers are texts as they are written" {
    printf '%s\n' '{"id": 0.1, "text": 2.675, "label": 1}' '{"id": 18446744073709551615, "text": "1.10", "label": 0, "n": 1e400}' \
        '{"id": -1, "text": 1.10, "x": [1, {"y": 2e+3}]}' >in.jsonl
    rec from-jsonl --id id --text text --label label in.jsonl | rec to-json | diff - <(printf '%s\n' \
        '{"id":"0.1","text":"2.675","label":1}' '{"id":"18446744073709551615","text":"1.10","label":0}' \
        '{"id":"-1","text":"1.10","label":null}')
    local wrong
    for wrong in '{"text": 01}' '{"text": 1.}' '{"text": .5}' '{1: 2, "text": "a"}' '{"text": -}' '{"text": 1 2}'; do
        printf '%s\n' "$wrong" >in.jsonl
        refuses 65 "in.jsonl: row 1: " rec from-jsonl --text text in.jsonl
    done
}

@test "empty texts are counted in a warning" {
    printf 'text,label\na,1\n" 	",0\n,1\n' >in.csv
    rec from-csv --text text --label label in.csv 2>said >out.mp
    [ "$(cat said)" = "rec: 2 of 3 texts are empty: a prompt of such a text asks about nothing" ]
    [ "$(rec count -q out.mp)" = 3 ]
}

@test "after a bad row, lines that end in CR go on" {
    printf 'text\rone\ra "b" c\rtwo\r\nthree\r' >in.csv
    rec from-csv --text text --skip-bad in.csv 2>/dev/null | rec to-json | jq -r .text | diff - <(printf 'one\ntwo\nthree\n')
}

@test "cells that are missing read nan as in pandas when asked to, and as they stand otherwise" {
    rec from-csv --missing pandas --text 'Question: {title} {body}' --label label "$data/missing.csv" |
        rec to-json | jq -c .text | diff - <(jq -c . "$data/missing.jsonl")
    rec from-csv --text '{title}|{body}' "$data/missing.csv" | rec to-json | head -n 2 | jq -r .text |
        diff - <(printf '%s\n' '|why ' 'a title|')
    printf 'NA,null\n' >ids.csv
    rec from-csv --no-header --missing pandas --id 1 --text 2 ids.csv | rec to-json | jq -e '.id == "NA" and .text == "nan"'
    refuses 64 "'nan' is neither as-is nor pandas" rec from-csv --missing nan --text 1 ids.csv
}

@test "labels are mapped to classes by name, by list and by map" {
    printf 'text,label\na,spam\nb,ham\n' >names.csv
    printf 'text,label\na,2\nb,1\n' >ones.csv
    labels() {
        rec from-csv --text text --label label "$@" | rec to-json | jq .label | paste -sd' '
    }
    [ "$(labels --classes ham,spam names.csv)" = "1 0" ]
    [ "$(labels --labels ham,spam names.csv)" = "1 0" ]
    long=$(printf 'spam%.0s' {1..100})
    [ "$(labels --classes "ham,$long" <(sed "s/spam/$long/" names.csv))" = "1 0" ]
    [ "$(labels --label-map 'spam=1,ham=0' names.csv)" = "1 0" ]
    [ "$(labels --labels 1,2 ones.csv)" = "1 0" ]
    [ "$(labels --labels 1,2 --classes negative,positive ones.csv)" = "1 0" ]
    [ "$(labels ones.csv)" = "2 1" ]
    rec from-csv --text text --label label --classes ham,spam names.csv |
        rec to-json --header | head -n 1 | jq -e '.classes == ["ham", "spam"]'
}

@test "the name of one class stands for no other" {
    printf 'text,label\na,technical\nb,billing\n' >in.csv
    from() {
        rec from-csv --text text --label label --classes billing,technical "$@" in.csv
    }
    refuses 64 "--labels: 'technical', which is the name of a class, cannot stand for 'billing'" from --labels technical,billing
    refuses 64 "--label-map: 'billing', which is the name of a class, cannot stand for 'technical'" from --label-map tech=1,billing=1
    [ "$(from --labels billing,technical | rec to-json | jq .label | paste -sd' ')" = "1 0" ]
}

@test "names in lists are told from what separates them" {
    printf 'text,label\na,"b, c"\nb, d \nc,e\\f\n' >in.csv
    from() {
        rec from-csv --text text --label label "$@" in.csv
    }
    for options in '--labels=b\, c,\ d\ ,e\\f' '--label-map=e\\f=2,\ d\ =1,b\, c=0'; do
        [ "$(from "$options" | rec to-json | jq .label | paste -sd' ')" = "0 1 2" ]
    done
    from --labels 'b\, c,\ d\ ,e\\f' --classes 'b\, c,d,e\\f' | rec to-json --header | head -n 1 |
        jq -e '.classes == ["b, c", "d", "e\\f"]'
    refuses 64 "--labels: ' technical' begins or ends with a blank" from --labels 'billing, technical'
    refuses 64 "--label-map: 'spam ' begins or ends with a blank" from --label-map 'spam =1'
    refuses 64 "--label-map: ' 1' is not a whole number" from --label-map 'spam= 1'
    refuses 64 "--classes: 'billing ' begins or ends with a blank" from --classes 'billing ,technical'
    refuses 64 "--classes: ' b' begins or ends with a blank" from --classes 'a,\ b'
    refuses 64 "holds a line break" from --classes $'a,b\nc'
    refuses 64 "'e\f': a backslash stands before" from --labels 'e\f'
    refuses 64 "'e\': a backslash stands before" from --labels 'e\'
}

@test "a label that is no class is an error that names the row" {
    printf 'text,label\na,1\nb,maybe\nc,0\nd,2\n' >in.csv
    refuses 65 "in.csv: row 2: label 'maybe' is not a class number" \
        rec from-csv --text text --label label in.csv
    refuses 65 "row 2: label 'maybe' is neither a class name nor a number from 0 to 1" \
        rec from-csv --text text --label label --classes a,b in.csv
    refuses 65 "row 2: label 'maybe' is not among those given" \
        rec from-csv --text text --label label --labels 0,1 in.csv
    printf 'text,label\na,-1\n' >minus.csv
    refuses 65 "row 1: label '-1'" rec from-csv --text text --label label minus.csv
    printf 'text,label\na,99999999999999999999\n' >huge.csv
    refuses 65 "row 1: label '99999999999999999999'" rec from-csv --text text --label label huge.csv
}

@test "bad rows are errors that name the row, and are counted and passed over with --skip-bad" {
    {
        printf 'id,text,label\n1,fine,0\n2,too,many,1\n3\n4,not \xff utf-8,0\n5,label,9\n'
        printf '1,again,0\n,no id,0\n6,stray "quote",1\n7,"closed" early,1\n8,"a ""good""\nrow",1\n'
    } >in.csv
    from() {
        rec from-csv --id id --text text --label label --classes a,b "$@"
    }
    refuses 65 "in.csv: row 2: 4 columns where 3 are due" from in.csv
    refuses 0 "rec: 8 of 10 rows are bad and were passed over" from --skip-bad -o out.mp in.csv
    rec to-json out.mp | diff - <(printf '%s\n' '{"id":"1","text":"fine","label":0}' \
        '{"id":"8","text":"a \"good\"\nrow","label":1}')
    run from --skip-bad -v -o out.mp in.csv
    for message in "row 2: passed over: 4 columns" "row 3: passed over: 1 columns" \
        "row 4: passed over: the text is not UTF-8 (byte 5" "row 5: passed over: label '9'" \
        "row 6: passed over: id '1' is that of in.csv: row 1 too" "row 7: passed over: it has no id" \
        "row 8: passed over: a quote inside" "row 9: passed over: a quote inside" \
        "read 10, written 2, skipped 8"; do
        [[ $output == *"$message"* ]]
    done
}

@test "when every row is bad nothing is written" {
    printf 'text,label\na,x\nb,y\n' >in.csv
    refuses 65 "no row could be used" rec from-csv --text text --label label --skip-bad -o out.mp in.csv
    [ ! -e out.mp ]
}

@test "a quote that is never closed is an error even with --skip-bad" {
    printf 'text\na\n"b\nc\n' >in.csv
    refuses 65 "in.csv: row 2: a quote opened in it is never closed" rec from-csv --text text in.csv
    refuses 65 "never closed" rec from-csv --text text --skip-bad in.csv
}

@test "two rows with one id are an error that names both, over several files too" {
    printf 'id,text\na,1\nb,2\n' >one.csv
    printf 'id,text\nc,3\na,4\n' >two.csv
    refuses 65 "two.csv: row 2: id 'a' is that of one.csv: row 1 too" \
        rec from-csv --id id --text text one.csv two.csv
    [ "$(rec from-csv --text text one.csv two.csv | ids)" = "1 2 3 4" ]
}

@test "files with different headers are not one table" {
    printf 'id,text\na,1\n' >one.csv
    printf 'id,words\nb,2\n' >two.csv
    refuses 65 "two.csv: column 2 is named 'words', in one.csv it is 'text'" \
        rec from-csv --id id --text text one.csv two.csv
}

@test "a column that is not there is an error that lists those there are" {
    refuses 65 "train.csv: no column 'sentense'; there are: idx, sentence, label" \
        rec from-csv --text sentense train.csv
    refuses 65 "no column '4'; there are 3, picked by number" \
        rec from-csv --no-header --text 4 train.csv
    refuses 65 "no column '0'" rec from-csv --text 0 train.csv
    printf 'text,text\na,b\n' >twice.csv
    refuses 65 "columns 1 and 2 are both named 'text'" rec from-csv --text text twice.csv
    [ "$(rec from-csv --text 2 twice.csv 2>&1 | rec to-json | jq -r .text)" = b ]
}

@test "empty tables are bad data, missing ones no input" {
    : >empty.csv
    refuses 65 "empty.csv: empty, not even a header" rec from-csv --text text empty.csv
    refuses 65 "empty.csv: empty" rec from-csv --no-header --text 1 empty.csv
    refuses 65 "empty.csv: empty" rec from-tsv --no-header --text 1 empty.csv
    refuses 65 "holds no records" rec from-jsonl --text a empty.csv
    printf 'a "b",1\nc,2\n' >bad.csv
    refuses 65 "row 1, which tells how many columns" rec from-csv --no-header --text 1 bad.csv
    printf 'text\n' >header.csv
    refuses 65 "holds no records" rec from-csv --text text header.csv
    refuses 66 "missing.csv: No such file" rec from-csv --text text missing.csv
    refuses 66 "missing.mp: No such file" rec cat missing.mp
}

@test "options that do not fit are usage errors" {
    refuses 64 "--text says which column" rec from-csv train.csv
    refuses 64 "a '{' without" rec from-csv --text 'a {b' train.csv
    refuses 64 "a '}' without" rec from-csv --text 'a} b' train.csv
    refuses 64 "give one" rec from-csv --text sentence --label label --labels 0,1 --label-map 0=1 train.csv
    refuses 64 "needs --label" rec from-csv --text sentence --labels 0,1 train.csv
    refuses 64 "--labels has 3 names for 2 classes" rec from-csv --text sentence --label label --labels a,b,c --classes x,y train.csv
    refuses 64 "is not LABEL=CLASS" rec from-csv --text sentence --label label --label-map a train.csv
    refuses 64 "'a' is given twice" rec from-csv --text sentence --label label --labels a,a train.csv
    refuses 64 "--classes: 'a' is given twice" rec from-csv --text sentence --label label --classes a,a --labels 0,1 train.csv
    refuses 64 "an empty name" rec from-csv --text sentence --classes a,,b train.csv
    refuses 64 "not one character" rec from-csv --text sentence --delimiter ab train.csv
    refuses 64 "no command 'tail'" rec tail train.csv
    refuses 64 "unrecognized option" rec cat --text x train.csv
    refuses 64 "invalid option -- 'n'" rec cat -n 3 train.csv
    refuses 64 "-n: '-1' is not a whole number from 0" rec head -n -1 train.csv
    refuses 64 "-n: '0' is not a whole number from 1" rec sample -n 0 train.csv
    refuses 64 "sample needs" rec sample train.csv
    refuses 64 "split needs -n" rec split -o x train.csv
    refuses 64 "split needs -o" rec split -n 2 train.csv
    refuses 64 "numbered from 0 to 1" rec split -n 2 --index 2 train.csv
    refuses 64 "two FILEs" rec join train.csv
    refuses 64 "not compressed here" rec to-json -z train.csv
    refuses 64 "is the command" rec -q
}

@test "TSV: tabs end fields and quotes are ordinary" {
    printf 'text\tlabel\r\nsay "hi"\t1\r\n"open\t0\n' >in.tsv
    rec from-tsv --text text --label label in.tsv | rec to-json | diff - <(printf '%s\n' \
        '{"id":"1","text":"say \"hi\"","label":1}' '{"id":"2","text":"\"open","label":0}')
    printf 'text\tlabel\na\t1\nb\n' >ragged.tsv
    refuses 65 "ragged.tsv: row 2: 1 columns where 2 are due" rec from-tsv --text text ragged.tsv
}

@test "another delimiter" {
    printf 'text;label\n"a;b";1\n' >in.csv
    [ "$(rec from-csv --delimiter ';' --text text in.csv | rec to-json | jq -r .text)" = "a;b" ]
}

@test "another delimiter that was not named is" {
    local delimiter name
    while read -r delimiter name; do
        printf 'id%btext%blabel\n1%bgood%b1\n' "$delimiter" "$delimiter" "$delimiter" "$delimiter" >t.csv
        refuses 65 "t.csv: no column 'text'; all of a row is one column, which $name seem to separate: say so with --delimiter '$delimiter'" \
            rec from-csv --text text t.csv
        refuses 65 "$name seem to separate" rec from-csv --no-header --text 2 t.csv
        rec from-csv --delimiter "$delimiter" --text text t.csv | rec to-json | jq -e '.text == "good"'
    done <<'END'
; semicolons
\t tabs
| bars
END
    printf 'a;b\n1\n' >t.csv # where the column is there, a semicolon is a character like others
    rec from-csv --text 'a;b' t.csv | rec to-json | jq -e '.text == "1"'
}

@test "UTF-16 is named, with what converts it" {
    local encoding said
    while read -r encoding said; do
        printf 'id,text\n1,good\n' | iconv -t "$encoding" >t.csv
        refuses 65 "t.csv: UTF-16, where UTF-8 is wanted: convert it, iconv -f $said -t UTF-8" rec from-csv --text text t.csv
        refuses 65 "iconv -f $said -t UTF-8" rec from-lines t.csv
        iconv -f "$said" -t UTF-8 t.csv | rec from-csv --text text | rec to-json | jq -e '.text == "good"'
    done <<'END'
UTF-16 UTF-16
UTF-16LE UTF-16LE
UTF-16BE UTF-16BE
END
    printf 'id,text\n1,caf\xe9\n' >t.csv
    refuses 65 'not UTF-8 (byte 4 of it): convert the file with iconv (-f WINDOWS-1252' rec from-csv --text text t.csv
}

@test "words as labels are classes where --classes names them, and the message says so" {
    printf 'text,label\ngood,positive\n' >t.csv
    refuses 65 "label 'positive' is not a class number (--classes A,B,... names the classes, class 0 first" \
        rec from-csv --text text --label label t.csv
    rec from-csv --text text --label label --classes negative,positive t.csv | rec to-json | jq -e '.label == 1'
}

@test "JSON lines: keys are columns, null labels are nil, numbers keep their digits" {
    printf '%s\n' '{"id": 7, "q": "why\u0000 \u00e9", "n": 0.25, "label": null}' '' \
        '{"label": 1, "q": "so", "n": 123456789012, "id": "x", "extra": [1]}' >in.jsonl
    rec from-jsonl --id id --text '{q} {n}' --label label in.jsonl | rec to-json | diff - <(printf '%s\n' \
        '{"id":"7","text":"why\u0000 é 0.25","label":null}' \
        '{"id":"x","text":"so 123456789012","label":1}')
}

@test "JSON lines that are not usable name their line" {
    printf '{"text": "a"}\n\n{"text": }\n' >in.jsonl
    refuses 65 "in.jsonl: row 3: " rec from-jsonl --text text in.jsonl
    printf '[1]\n' >list.jsonl
    refuses 65 "row 1: not a JSON object" rec from-jsonl --text text list.jsonl
    printf '{"text": ["a"]}\n' >nested.jsonl
    refuses 65 "row 1: the value of 'text' is a list or an object" rec from-jsonl --text text nested.jsonl
    printf '{"other": "a"}\n' >other.jsonl
    refuses 65 "row 1: it has no text" rec from-jsonl --text text other.jsonl
    printf '{"text": "a", "id": null}\n' >noid.jsonl
    refuses 65 "row 1: it has no id" rec from-jsonl --id id --text text noid.jsonl
    printf '%s\n' '{"text": "a", "label": 1}' '{"text": "b"}' >some.jsonl
    rec from-jsonl --text text --label label some.jsonl | rec check
    refuses 65 "some.jsonl: no line has the key 'lable'" rec from-jsonl --text text --label lable some.jsonl -o out.mp
    printf '{"text": "a", "text": "b"}\n' >twice.jsonl
    refuses 65 "row 1: " rec from-jsonl --text text twice.jsonl
}

# ---- to text ----

@test "streams of all types written by Python are read, plain and compressed" {
    for type in example prompt tokens scores weights prediction metrics rule decision; do
        rec check "$data/$type.mp"
        rec to-json --header "$data/$type.mp" | diff - "$data/$type.json"
        rec to-json --header "$data/$type.mp.zst" | diff - "$data/$type.json"
    done
}

@test "from-json gives the bytes back that to-json --header printed, of every type" {
    for file in "$data"/{example,prompt,tokens,scores,weights,prediction,metrics,rule,decision}.mp \
        "$data"/../uq/metrics-{dirichlet,ensemble}.mp "$data"/../lora/streams/tokens.mp; do
        rec to-json --header "$file" | rec from-json | cmp - "$file"
    done
    # What programs wrote, too, and compressed.
    numbered 30 | tee numbered.mp | rec to-json --header >numbered.json
    rec from-json -z numbered.json | rec cat | rec to-json | cmp - <(rec to-json numbered.mp)
    rec from-json numbered.json | cmp - numbered.mp
    # A number that is whole, minus zero, and the smallest there is.
    printf '%s\n' '{"duq":1,"schema":"prediction"}' \
        '{"id":"a","probs":[1,0],"alpha":[1,4.9406564584124654e-324],"total":-0,"aleatoric":1,"epistemic":null}' >edge.json
    rec from-json edge.json >edge.mp
    rec check edge.mp
    rec to-json --header edge.mp | cmp - edge.json
}

@test "keys that no schema names keep their numbers through to-json and from-json" {
    printf '%s\n' '{"duq":1,"schema":"example"}' \
        '{"id":"1","text":"","whole":[1,1.0,-0.0,9007199254740993,-9223372036854775807,{"n":2.0,"label":3}],"z":-0.0,"big":9.2233720368547758e+18,"n":3.0,"p":1}' >odd.json
    rec from-json odd.json >odd.mp
    rec check odd.mp
    rec to-json --header odd.mp | cmp - odd.json
    # What msgpack's specification has for them: doubles are cb, integers the least that hold them.
    bytes=$(od -An -v -tx1 odd.mp | tr -d ' \n')
    [[ $bytes == *9601cb3ff0000000000000cb8000000000000000cf0020000000000001d3800000000000000182a16ecb4000000000000000a56c6162656c03* ]]
    [[ $bytes == *a17acb8000000000000000a3626967cb43e0000000000000a16ecb4008000000000000a17001* ]]
    # What no 64 bits hold is refused, in such keys only: a double may be written as an integer.
    printf '%s\n' '{"duq":1,"schema":"example"}' '{"id":"1","text":"","x":18446744073709551615}' >big.json
    refuses 65 "big.json: line 2: too big integer" rec from-json big.json
    printf '%s\n' '{"duq":1,"schema":"prediction"}' '{"id":"1","probs":[1,0],"alpha":[100000000000000000000,1],"total":-0}' >big.json
    rec from-json big.json | rec to-json | diff - <(echo '{"id":"1","probs":[1,0],"alpha":[1e+20,1],"total":-0}')
}

@test "from-json puts no key first that would make a header or a trailer of a record" {
    printf '%s\n' '{"duq":1,"schema":"example"}' '{"end":1,"duq":2,"text":"a","id":"1"}' '{"text":"b","end":2,"id":"2"}' >in.json
    rec from-json in.json >in.mp
    rec check in.mp
    rec to-json in.mp >out.json
    diff out.json - <<'END'
{"text":"a","end":1,"duq":2,"id":"1"}
{"text":"b","end":2,"id":"2"}
END
    printf '%s\n' '{"duq":1,"schema":"example"}' '{"end":1}' >in.json
    refuses 65 "in.json: line 2: 'id' is missing" rec from-json in.json
}

@test "from-json names the line and what is wrong with it" {
    header='{"duq":1,"schema":"prediction","classes":["no","yes"]}'
    refuses 65 "standard input: empty, not even a header" rec from-json </dev/null
    refuses 65 "line 1: not a header" rec from-json <<<'{"id":"a","probs":[1,0]}'
    refuses 65 "header: field 'schema': is none of the values" rec from-json <<<'{"duq":1,"schema":"guess"}'
    lines() { printf '%s\n' "$header" '{"id":"a","probs":[0.5,0.5]}' "$@" >bad.json; }
    lines '{"id":"b","probs":[0.5,null]}'
    refuses 65 "bad.json: line 3: field 'probs': item 2 of the list is no number" rec from-json -o out.mp bad.json
    [ ! -e out.mp ]
    lines '{"id":"b","probs":0.5}'
    refuses 65 "line 3: field 'probs' is not a list" rec from-json bad.json
    lines '{"id":"b","probs":[0.5,0.25,0.25]}'
    refuses 65 "line 3: id b: field 'probs': 3 numbers, but there are 2 classes" rec from-json bad.json
    lines '{"id":"a","probs":[0.5,0.5]}'
    refuses 65 "line 3: id 'a': so has record 1" rec from-json bad.json
    lines '{"id":"b"}'
    refuses 65 "line 3: id b: 'probs' is missing" rec from-json bad.json
    lines '{"id":"b","probs":[0.5,0.5],"label":1.5}'
    refuses 65 "line 3: id b: field 'label': is not of type" rec from-json bad.json
    lines '{"id":"b","id":"c","probs":[0.5,0.5]}'
    refuses 65 "line 3: duplicate" rec from-json bad.json
    lines '[1]'
    refuses 65 "line 3: not a JSON object" rec from-json bad.json
    printf '%s\n%s\n' '{"duq":1,"schema":"tokens"}' '{"id":"a","prompt":0,"tokens":[1,3000000000]}' >bad.json
    refuses 65 "line 2: 3000000000 is not a whole number of 32 bits" rec from-json bad.json
    refuses 64 "reads one file" rec from-json bad.json bad.json
}

# The largest difference between a field of the predictions and of what NumPy made.
npy_difference() { # NAME FIELD
    jq -n --slurpfile have <(rec to-json have.mp) --slurpfile want "$data/npy/npy.json" --arg name "$1" --arg field "$2" '
        [[$have[][$field]] | flatten, ($want[0][$name][$field] | flatten)] | transpose | map(.[0] - .[1] | fabs) | max'
}

@test "from-npy makes of arrays of any layout what NumPy makes of them" {
    for name in c-float32 fortran-float64 big-endian flat one-member; do
        weights=()
        [ ! -e "$data/npy/$name-weights.npy" ] || weights=(--weights "$data/npy/$name-weights.npy")
        rec from-npy "${weights[@]}" "$data/npy/$name.npy" >have.mp
        rec check have.mp
        [ "$(ids have.mp)" = "1 2 3 4 5" ]
        for field in $(jq -r --arg name "$name" '.[$name] | keys[]' "$data/npy/npy.json"); do
            jq -n -e "$(npy_difference "$name" "$field") < 1e-14"
        done
    done
    [ "$(rec to-json --header have.mp | head -n 1 | jq -c '[.head, .weights, .classes]')" = '["ensemble",null,null]' ]
    rec from-npy "$data/npy/flat.npy" >flat.mp
    [ "$(rec to-json --header flat.mp | head -n 1 | jq -r .head)" = softmax ]
    rec to-json flat.mp | jq -s -e 'all(.epistemic == null and (has("mean_log") | not))'
}

@test "from-npy takes ids, labels and classes of another stream, and keeps members when told to" {
    printf 'id,text,label\nx,one,0\ny,two,1\nz,three,\n' >three.csv
    rec from-csv --id id --text text --label label --classes no,yes three.csv >three.mp
    rec from-npy --like three.mp --members "$data/npy/good.npy" >have.mp
    rec check have.mp
    [ "$(ids have.mp)" = "x y z" ]
    [ "$(rec to-json have.mp | jq -c .label | paste -sd' ')" = "0 1 null" ]
    rec to-json --header have.mp | head -n 1 | jq -e '.classes == ["no", "yes"] and .weights == [0.25, 0.25, 0.25, 0.25]'
    rec to-json have.mp | jq -s -e 'all((.members | length == 8) and (has("mean_log") | not))'
    dir-eval have.mp >/dev/null
    rec head -n 2 three.mp >two.mp
    refuses 65 "two.mp: 2 records, but $data/npy/good.npy has 3 texts" rec from-npy --like two.mp -o out.mp "$data/npy/good.npy"
    numbered 4 >four.mp
    refuses 65 "four.mp: more records than the 3 texts" rec from-npy --like four.mp -o out.mp "$data/npy/good.npy"
    refuses 65 "3 classes, but three.mp names 2" rec from-npy --like three.mp -o out.mp "$data/npy/one-member.npy"
    printf '%s\n' '{"text":"","label":0}' '{"text":"","label":3}' '{"text":"","label":1}' |
        rec from-jsonl --text text --label label -o beyond.mp
    refuses 65 "beyond.mp: record 2 (id 2): label 3, but $data/npy/good.npy has" rec from-npy --like beyond.mp -o out.mp "$data/npy/good.npy"
    refuses 65 "this id comes twice" rec from-npy --like "$data/../uq/scores-good.mp" -o out.mp "$data/npy/good.npy"
    [ ! -e out.mp ]
}

@test "from-npy names the element that is no probability, and what an array is not" {
    bad() { refuses 65 "$2" rec from-npy -o out.mp "$data/npy/$1.npy" && [ ! -e out.mp ]; }
    bad bad-nan "bad-nan.npy: text 1 (id 2), member 2, class 0: nan is no probability"
    bad bad-logits "text 0 (id 1), member 0, class 0: -3.09559 is no probability"
    bad bad-sum "text 2 (id 3), member 3: the probabilities sum to 0.99, not to 1"
    bad bad-swapped "the axes in another order"
    bad bad-four "more than 3 dimensions"
    bad bad-one "1 dimensions; probabilities are [texts, classes] or [texts, classes, members]"
    bad bad-none "no texts: dimension 1 is 0"
    bad bad-whole "elements of type '<i8'"
    bad bad-half "elements of type '<f2'"
    bad bad-object "elements of type '|O'"
    for weights in "bad-weights 'the weights sum to 1.4'" "three-weights 'not one weight for each of the 4 members'"; do
        eval "set -- $weights"
        refuses 65 "$2" rec from-npy --weights "$data/npy/$1.npy" "$data/npy/good.npy"
    done
    refuses 65 "has no members to weigh" rec from-npy --members "$data/npy/flat.npy"
    head -c 100 "$data/npy/good.npy" >cut.npy
    refuses 65 "cut.npy: cut off within its header" rec from-npy cut.npy
    head -c 200 "$data/npy/good.npy" >cut.npy
    refuses 65 "72 bytes of elements, not those of its shape" rec from-npy cut.npy
    { cat "$data/npy/good.npy" && echo; } >long.npy
    refuses 65 "193 bytes of elements" rec from-npy long.npy
    sed 's/(3, 2, 4)/(3, 2, X)/' "$data/npy/good.npy" >strange.npy
    refuses 65 "its header is not that of an array" rec from-npy strange.npy
    sed 's/(3, 2, 4), }         /(3037000500, 3037000500, 9)}/' "$data/npy/good.npy" >huge.npy
    refuses 65 "more elements than can be counted" rec from-npy huge.npy
    refuses 65 "not a .npy file" rec from-npy train.csv
    refuses 64 "name it" rec from-npy
    refuses 66 "none.npy" rec from-npy none.npy
}

@test "numbers that are not finite are null in JSON, and told in CSV" {
    rec to-json "$data/not-finite.mp" | diff - <(printf '%s\n' \
        '{"id":"a","prompt":0,"logits":[null,null,null],"label":null}')
    rec to-csv "$data/not-finite.mp" | diff - <(printf '%s\n' \
        'id,prompt,logits.0,logits.1,logits.2,label,mass' 'a,0,nan,inf,-inf,,')
    rec to-csv "$data/bad/total-nan.mp" | tail -n 1 | grep -q ',nan'
    refuses 65 "record 1 (id a): field 'logits': nan is not a finite number" rec check "$data/not-finite.mp"
}

@test "streams of a type that is not known are shown where that needs no schema" {
    rec to-json "$data/bad/schema-task.mp" | diff - <(echo '{"id":"a","text":"t","label":0}')
    refuses 65 "no schema for 'task' records" rec to-csv "$data/bad/schema-task.mp"
}

@test "a table comes back through CSV as it was" {
    examples train.csv >all.mp
    rec to-csv all.mp | diff - <(printf 'id,text,label\n7,"good, very",1\n9,"bad\nindeed",0\n12,so-so,1\n')
    rec to-csv all.mp | rec from-csv --id id --text text --label label | rec to-json |
        diff - <(rec to-json all.mp)
}

@test "what to-csv wrote from-csv reads back, byte for byte, an empty label as nil" {
    printf '%s\n' '{"id":"a, b","text":" lead, \"trail\" ","label":null}' '{"id":"2","text":"","label":1}' \
        '{"id":"3","text":"cr\r lf\n crlf\r\n tab\t","label":0}' '{"id":"\"","text":"\"","label":null}' \
        '{"id":"5","text":"\u0000 nul, \u00e9 \ufeff","label":0}' '{"id":"6","text":"plain","label":null}' >in.jsonl
    rec from-jsonl --id id --text text --label label --classes no,yes in.jsonl >all.mp
    rec to-csv all.mp >all.csv
    for options in "--classes no,yes" "--labels 0,1" "--label-map 0=0,1=1" ""; do
        # shellcheck disable=SC2086 # options are words
        rec from-csv --id id --text text --label label $options all.csv >back.mp
        rec to-json back.mp | diff - <(rec to-json all.mp)
    done
    rec to-csv back.mp | cmp - all.csv
    [ "$(rec to-json all.mp | jq -c -s 'map(.label)')" = "[null,1,0,null,0,null]" ]
}

@test "arrays become columns of a table, one for each class" {
    rec to-csv "$data/prediction.mp" >table.csv
    head -n 1 table.csv | grep -qx 'id,label,probs.negative,"probs.very, very positive",alpha.negative,"alpha.very, very positive",members,total,aleatoric,epistemic,mass'
    diff <(sed -n 3p table.csv) <(echo 'b,,0.5,0.5,,,,,,,')
    rec to-csv "$data/metrics.mp" | head -n 1 | grep -qx 'set,metric,against,value,n,low,high,reason,p,deviation,seeds,definition'
}

@test "count gives the number of records, and of each label" {
    examples train.csv >all.mp
    diff <(rec count all.mp) <(printf '3\n0\t-\t1\n1\t-\t2\n')
    [ "$(rec count -q all.mp)" = 3 ]
    rec from-csv --text sentence train.csv | rec count | diff - <(printf '3\nnil\t-\t3\n')
    diff <(rec count "$data/prediction.mp") <(printf '2\nnil\t-\t1\n1\tvery, very positive\t1\n')
    diff <(rec count "$data/weights.mp") <(echo 2)
    for file in label-minus label-real; do
        refuses 65 "$file.mp: record 1: field 'label' is missing or no whole number from 0 to 2147483647" rec count "$data/bad/$file.mp"
    done
    refuses 65 "record 1: label 2, but there are 2 classes" rec count "$data/bad/label-beyond.mp"
}

# ---- streams to streams ----

@test "cat joins files and concatenations, plain and compressed, into one stream" {
    numbered 5 >a.mp
    rec cat -z a.mp >b.mp
    rec cat -o c.mp.zst a.mp
    cat a.mp c.mp.zst b.mp a.mp >d.mp
    [ "$(rec cat a.mp b.mp c.mp.zst d.mp | rec count -q)" = 35 ]
    cmp <(rec to-json a.mp) <(rec to-json b.mp)
    [ "$(head -c 4 c.mp.zst | od -An -tx1)" = " 28 b5 2f fd" ]
    zstd -dc c.mp.zst | rec to-json | cmp - <(rec to-json a.mp)
    zstd -c a.mp | rec to-json | cmp - <(rec to-json a.mp)
}

@test "every command refuses a cut stream and writes no output" {
    numbered 20 >a.mp
    head -c 400 a.mp >cut.mp
    for command in cat to-json to-csv count check "head -n 100" "sample -n 3" "sample --shuffle" \
        "split -n 2" "join a.mp"; do
        # shellcheck disable=SC2086 # options are words
        run rec $command -o out cut.mp
        [ "$status" -eq 65 ] || { echo "$command: $status"; false; }
        [[ $output == *"after record "*": the stream was cut off in the middle"* ]] ||
            { echo "$command: $output"; false; }
        [ ! -e out ]
        [ ! -e out.0.mp ]
    done
}

@test "a corrupted stream is told from a cut one" {
    numbered 20 >a.mp
    sed 's/text 12/text 13/' a.mp >changed.mp
    refuses 65 "changed.mp: after record 20: the checksum of records 1 to 20 is wrong" rec cat -o out changed.mp
    rec from-csv --text sentence --classes a,b train.csv | LC_ALL=C sed 's/classes\(..\)a/classes\1c/' >header.mp
    refuses 65 "the checksum of the header is wrong" rec cat -o out header.mp
    refuses 65 "not a duq stream" rec cat train.csv
    refuses 65 "empty, not even a header" rec cat /dev/null
}

@test "head takes records from where it is told" {
    numbered 30 >a.mp
    [ "$(rec head a.mp | ids)" = "1 2 3 4 5 6 7 8 9 10" ]
    [ "$(rec head -n 2 --skip 3 a.mp | ids)" = "4 5" ]
    [ "$(rec head --skip 28 a.mp | ids)" = "29 30" ]
    rec head -n 2 a.mp | rec check
    refuses 0 "1 records where 5 were asked for" rec head -n 5 --skip 29 -o out.mp a.mp
    refuses 65 "a.mp: holds 30 records: none is left after --skip 30" rec head --skip 30 -o none.mp a.mp
    [ ! -e none.mp ]
    # What lies behind is not read: a damaged end does not matter.
    head -c 600 a.mp | rec head -n 2 | ids
}

@test "sample picks records in the stream's order, the same for the same seed" {
    numbered 1000 >a.mp
    rec sample -n 50 --seed 7 a.mp >b.mp
    [ "$(rec count -q b.mp)" = 50 ]
    rec to-json b.mp | jq -r .id | sort -nc
    cmp <(rec to-json b.mp) <(rec sample -n 50 --seed 7 a.mp | rec to-json)
    run ! cmp -s <(rec to-json b.mp) <(rec sample -n 50 --seed 8 a.mp | rec to-json)
    rec to-json --header b.mp | head -n 1 | grep -q 'sample -n 50 --seed 7'
    refuses 0 "1000 records where 2000 were asked for" rec sample -n 2000 -o all.mp a.mp
    cmp <(rec to-json all.mp) <(rec to-json a.mp)
}

@test "sample --shuffle keeps every record, in a recorded order" {
    numbered 10 >a.mp
    rec sample --shuffle --seed 1 a.mp >b.mp
    [ "$(ids b.mp)" = "1 4 5 3 9 7 8 6 2 10" ] # made to stay the same on any machine
    cmp <(rec to-json a.mp) <(rec to-json b.mp | sort -t'"' -k4n)
    [ "$(rec sample --shuffle -n 3 --seed 1 a.mp | rec count -q)" = 3 ]
}

@test "split makes shards that are the stream again, one after another" {
    numbered 23 >a.mp
    rec split -n 4 -o shard a.mp
    diff <(ls shard*) <(printf 'shard.%s.mp\n' 0 1 2 3)
    cmp <(cat shard.?.mp | rec to-json) <(rec to-json a.mp)
    [ "$(for f in shard.?.mp; do rec count -q $f; done | paste -sd' ')" = "5 6 6 6" ]
    cmp <(rec split -n 4 --index 2 a.mp | rec to-json) <(rec to-json shard.2.mp)
    rec split -n 12 -z -o many <a.mp
    cmp <(rec to-json many.*.mp.zst) <(rec to-json a.mp)
    [ -e many.00.mp.zst ]
    [ -e many.11.mp.zst ]
    refuses 65 "23 records do not fill 24 shards" rec split -n 24 -o no a.mp
}

@test "what is made of shards does not tell how many they were" {
    numbered 23 >a.mp
    for n in 1 4 12; do
        rec split -n $n -o $n.shard a.mp
        cmp <(rec to-json --header $n.shard.*0.mp | head -n 1) <(rec to-json --header a.mp | head -n 1)
        for shard in $n.shard.*.mp; do
            rec head -n 100 <"$shard"
        done | rec cat >$n.mp
    done
    cmp 1.mp 4.mp
    cmp 1.mp 12.mp
}

@test "join adds labels and texts by id, in the first stream's order" {
    numbered 5 >a.mp
    rec from-csv --text '{text}' <(echo text && seq 5) | rec sample --shuffle >unlabelled.mp
    rec join unlabelled.mp a.mp >joined.mp
    [ "$(ids joined.mp)" = "$(ids unlabelled.mp)" ]
    rec to-json joined.mp | jq -e -s 'all((.id | tonumber) % 2 == .label and .text == .id)'
    rec check joined.mp
    rec join "$data/prediction.mp" "$data/texts.mp" >with-text.mp
    rec to-json with-text.mp | jq -e -s 'map(.text) == ["first", "second"]'
    rec join "$data/texts.mp" "$data/prediction.mp" | rec to-json | jq -e -s '.[0].probs == [0.5, 0.5]'
    rec join - a.mp <unlabelled.mp | cmp <(rec to-json) <(rec to-json joined.mp)
}

@test "join refuses ids without a partner, unless told to leave them out" {
    numbered 5 >a.mp
    rec head -n 3 a.mp >b.mp
    refuses 65 "a.mp: record 4: its id is not in b.mp" rec join a.mp b.mp
    [ "$(rec join --inner a.mp b.mp | ids)" = "1 2 3" ]
    [ "$(rec join b.mp a.mp | ids)" = "1 2 3" ]
    cat b.mp b.mp >twice.mp
    refuses 65 "twice.mp: records 1 and 4 both have id '1'" rec join a.mp twice.mp
    [ "$(rec join twice.mp a.mp | ids)" = "1 2 3 1 2 3" ]
    printf 'text,label\na,1\nb,1\n' | rec from-csv --text text --label label >other.mp
    refuses 65 "record 2 (id 2): its label differs from the one in a.mp" rec join other.mp a.mp
    refuses 65 "no id to join by" rec join "$data/weights.mp" a.mp
}

@test "a header that could not be read again is not written" {
    deep=$(printf '[%.0s' {1..30})$(printf ']%.0s' {1..30})
    printf '{"duq":1,"schema":"example","made":[],"x":%s}\n' "$deep" >deep.json
    jq -nc '{duq: 1, schema: "example", made: [], x: ([range(4097) | {"\(.)": 0}] | add)}' >keys.json
    jq -nc '{duq: 1, schema: "example", made: [], x: [range(1048577)]}' >values.json
    refuses 65 "out.mp: the header would have values nested more than 24 deep" rec from-json -o out.mp deep.json
    for file in keys values; do
        refuses 65 "out.mp: the header would have more than 1048576 values, or a map in it more than 4096 keys" \
            rec from-json -o out.mp $file.json
    done
    [ ! -e out.mp ]
}

@test "a record that could not be read again is not written" {
    with() { # JQ-PROGRAM-OF-THE-FIELDS
        echo '{"duq":1,"schema":"example"}'
        jq -nc "{id: \"1\", text: \"a\"} + $1"
    }
    values='more than 1048576 values, or a map in it more than 4096 keys'
    while IFS=$'\t' read -r fields excess; do
        refuses 65 "standard input: line 2: the record would have ${excess/VALUES/$values}" rec from-json -o out.mp < <(with "$fields")
    done <<'END'
{x: (reduce range(24) as $i ([]; [.]))}	values nested more than 24 deep
{x: [range(1048577)]}	VALUES
([range(4097) | {"\(.)": 0}] | add)	VALUES
END
    with '{x: (reduce range(22) as $i ([]; [.]))}' | rec from-json | rec check
    for key in a b; do
        with "([range(3000) | {\"$key\\(.)\": 0}] | add)" | rec from-json -o $key.mp
    done
    refuses 65 "out.mp: record 1 would have $values" rec join -o out.mp a.mp b.mp
    [ ! -e out.mp ]
}

# ---- check ----

@test "check names the record and what is wrong with it" {
    examples train.csv >a.mp
    rec check -v a.mp 2>&1 | grep -q "a.mp: 3 'example' records"
    cat a.mp a.mp >twice.mp
    refuses 65 "twice.mp: record 4: id '7': so has record 1" rec check a.mp twice.mp
    while IFS=$'\t' read -r file message; do
        refuses 65 "$file.mp: $message" rec check "$data/bad/$file.mp"
    done <"$data/bad/messages.tsv"
}

@test "check goes on after a bad file, and ends with the status of the first" {
    examples train.csv >a.mp
    head -c 100 a.mp >cut.mp
    run rec check -v cut.mp a.mp none.mp - <a.mp
    [ "$status" -eq 65 ]
    [ "${#lines[@]}" -eq 4 ]
    [[ ${lines[0]} == "rec: cut.mp: "*"cut off"* ]]
    [ "${lines[1]}" = "rec: a.mp: 3 'example' records, all as they should be" ]
    [ "${lines[2]}" = "rec: none.mp: No such file or directory" ]
    [ "${lines[3]}" = "rec: standard input: 3 'example' records, all as they should be" ]
    refuses 66 "cut.mp" rec check a.mp none.mp cut.mp
    rec check a.mp a.mp
}

# ---- all ----

@test "a full disk is status 74, for streams and text, and leaves no file" {
    numbered 5 >a.mp
    for command in cat to-json to-csv count head; do
        run bash -c "rec $command a.mp >/dev/full"
        [ "$status" -eq 74 ] || { echo "$command: $status $output"; false; }
    done
    refuses 74 "/dev/full: not written: No space left" rec cat -o /dev/full a.mp
    refuses 73 "cannot be created" rec cat -o /proc/none/out.mp a.mp
}

@test "a reader that has had enough ends a writer quietly" {
    numbered 20000 >a.mp
    rec to-json a.mp 2>errors | head -n 1 >/dev/null
    rec cat a.mp 2>>errors | head -c 1 >/dev/null
    [ ! -s errors ]
    # Also where the caller ignores SIGPIPE.
    (trap '' PIPE && rec to-json a.mp 2>errors | head -n 1 >/dev/null)
    [ ! -s errors ]
}

@test "an output file replaces the old one only when complete" {
    numbered 5 >a.mp
    echo old >out.mp
    head -c 200 a.mp >cut.mp
    run rec cat -o out.mp cut.mp
    [ "$status" -eq 65 ]
    [ "$(cat out.mp)" = old ]
    rec cat -o out.mp a.mp
    rec check out.mp
    diff <(ls) <(printf '%s\n' a.mp cut.mp out.mp train.csv)
}

@test "-v gives the closing counts, -q not even warnings" {
    numbered 5 >a.mp
    refuses 0 "rec: read 5, written 5, skipped 0" rec cat -v -o out.mp a.mp
    run rec head -q -n 9 -o out.mp a.mp
    [ "$status" -eq 0 ]
    [ -z "$output" ]
}

@test "an array that is cut while it is read ends in a message" {
    mkfifo like
    cp "$data"/npy/good.npy cut.npy
    rec from-npy --like like cut.npy -o out.mp 2>said 3>&- &
    exec 5>like
    truncate -s 0 cut.npy
    numbered 3 >&5 || true
    exec 5>&-
    status=0
    wait $! || status=$?
    [ "$status" -eq 74 ]
    [[ $(cat said) == "rec: cut.npy: cannot be read any more: it was cut while it was in use, or its disk fails" ]]
    [ -z "$(compgen -G 'out.mp*')" ]
}

# ---- what others wrote ----

@test "control characters of ids and texts are spelt out in messages, and where a terminal shows them" {
    # ESC ] 0 ; title BEL, ESC [ 2 J, a line break, CSI as one character, text that turns to the right.
    printf '%s\n' '{"id":"x\u001b]0;t\u0007\u001b[2J\nrec: all is well\u009b1m\u202ea\u200d","text":"a\u001b[1m\tb"}' >one.jsonl
    cat one.jsonl one.jsonl >two.jsonl
    run rec from-jsonl --id id --text text two.jsonl
    [ "$status" -eq 65 ]
    [ "${#lines[@]}" -eq 1 ]
    [[ $output == *'x\x1b]0;t\x07\x1b[2J\nrec: all is well\x9b1m\u202ea'$'\u200d'* ]]
    [[ ! $output =~ [[:cntrl:]] ]]
    rec from-jsonl --id id --text text one.jsonl >one.mp
    # JSON escapes them anyway, and they come back.
    rec to-json one.mp >out.json
    grep -qF '"x\u001b]0;t\u0007\u001b[2J\nrec: all is well\u009b1m' out.json
    rec to-json --header one.mp | rec from-json | rec to-json | cmp - out.json
    # A table has them as they are, but for a terminal.
    rec to-csv one.mp | grep -qF $'a\e[1m\tb'
    script -qec "rec to-csv one.mp" /dev/null </dev/null >shown
    grep -qF $'a\\x1b[1m\tb' shown && ! grep -q $'[\e\a]' shown
}

@test "an object of more values, or a map of more keys, than any of ours takes no memory" {
    header() { printf '\x82\xa3duq\x01\xa6schema\xa7example'; }
    # An array of 2^20 and one nils; maps that announce 4097 keys; and 2^26 values in a few bytes, by zstd.
    { header && printf '\x81\xa1x\xdd\x00\x10\x00\x01' && head -c 1048577 /dev/zero | tr '\0' '\300'; } >values.mp
    { header && printf '\xde\x10\x01'; } >keys.mp
    { header && printf '\x81\xa1x\xdd\x03\xff\xff\x00' && head -c 67108608 /dev/zero; } | zstd -q >packed.mp
    [ "$(stat -c %s packed.mp)" -lt 5000 ]
    for file in values keys packed; do
        refuses 65 "$file.mp: after record 0: the next has more than 1048576 values, or a map in it more than 4096 keys" rec count $file.mp
    done
    printf '\x82\xa3duq\x01\xa6schema\xdf\xff\xff\xff\xff' >header.mp
    refuses 65 "not a duq stream" rec count header.mp
}
