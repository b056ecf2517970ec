# shellcheck shell=bash
# What the tests of pipelines/ share: small runs on the embedded model, and programs that stop or die at a
# given call.

top=$BATS_TEST_DIRNAME/../..
export DUQ_THREADS=1

# few OUT [OPTION]...: the SST-2 example's run on few texts.
few() {
    local out=$1
    shift
    "$top/pipelines/run.sh" "$top/examples/sst2" OUT="$out" N_TRAIN=24 N_TEST=20 VALIDATION=16 EPOCHS=1 BOOTSTRAP=20 \
        DEVICE=cpu "$@"
}

# With detection of comments.
whole() {
    few "$1" --ood "$top/examples/youtube" "${@:2}"
}

# The targets that a run said it made.
made() { # SAID
    sed -n 's/^sst2: [a-z]*: //p' "$1" | grep -v ' was not made' | sort
}

# wrap PROGRAM CODE: in ./bin, the programs, of which PROGRAM is a script that begins with CODE; $real is the
# program itself, $call which call this is, from 1.
wrap() {
    local program
    rm -rf bin calls
    mkdir bin calls
    for program in "$BUILD"/bin/*; do
        ln -s "$program" bin
    done
    rm "bin/$1"
    cat >"bin/$1" <<END
#!/usr/bin/env bash
real=$BUILD/bin/$1 folder=$PWD call=1
until mkdir "\$folder/calls/\$call" 2>/dev/null; do call=\$((call + 1)); done
$2
exec "\$real" "\$@"
END
    chmod +x "bin/$1"
}

# wrap_shards CODE: the same of lm-score, whose CODE comes before each shard that it is given: $tokens and $scores are its
# files, $shard is which of all shards this is, from 1, $call which start of lm-score has it.
# shellcheck disable=SC2016 # for that script to expand
wrap_shards() {
    wrap lm-score 'case "$*" in *--list*)
        while IFS=$'"'\\t'"' read -r tokens scores; do
            shard=1
            until mkdir "$folder/calls/shard.$shard" 2>/dev/null; do shard=$((shard + 1)); done
            '"$1"'
            printf "%s\t%s\n" "$tokens" "$scores" | "$real" "$@" || exit
        done
        exit ;;
    esac'
}

# wrap_together CODE: the same of lm-score, which begins with CODE, and to score when as many have been started as the
# file slots says: no slot is so late that others have scored all there is.
# shellcheck disable=SC2016 # for that script to expand
wrap_together() {
    wrap lm-score "$1"'
        case "$*" in *--list*)
            for ((i = 0; i < 2400; i++)); do
                [ ! -d "$folder/calls/$(($(cat "$folder/slots") + 1))" ] || break # the first call was for the digest
                sleep 0.05
            done ;;
        esac'
}

# How often lm-score was started to score, and how many shards it was given.
starts() {
    echo $(($(find calls -mindepth 1 ! -name 'shard.*' | wc -l) - 1)) # the first one is asked for the model's digest
}

shards_given() {
    find calls -name 'shard.*' | wc -l
}

# Shards of a target in the order they ended, with host and exit status.
tries() { # RUN TARGET
    awk -F '\t' 'NR > 1 { print $2, $5, $1 }' "$1/log/shards.$2.tsv"
}

# holds COMMAND...: within two minutes, which is long for a machine that is busy.
soon() {
    local i
    for ((i = 0; i < 2400; i++)); do
        ! "$@" || return 0
        sleep 0.05
    done
    echo "not within two minutes: $*"
    return 1
}

# What the first run has made, the second has too, in the same bytes.
same_results() { # RUN RUN
    local file
    [ ! -e "$1/report" ] || diff -r "$1/report" "$2/report"
    (cd "$1" && find . -type f -name '*.mp' -o -name '*.safetensors' | grep -v '^\./\.\|^\./others/\|^\./shards/') >files
    [ "$(wc -l <files)" -ge 7 ]
    while read -r file; do
        cmp "$1/$file" "$2/$file"
    done <files
}
