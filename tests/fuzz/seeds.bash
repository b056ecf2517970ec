# Sourced by what runs the fuzz targets: what each of them begins with, and within what bounds.
# shellcheck shell=bash disable=SC2034 # the bounds are for who sources this

# What hours of fuzzing have found to reach a place that nothing else here does; tests/fuzz/keep makes it.
reached=tests/fuzz/reached.tar.zst

# Where there is no room for an allocation the program gets NULL, as it would.
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
# The most that an allocation may take, all of them, and an input in seconds.
limits=(-malloc_limit_mb=256 -rss_limit_mb=2048 -timeout=20 -max_len=65536)

# Puts into FOLDER files of tests/data that are too large to stand in a corpus a second time; a target's first byte says
# how it is read.
more_seeds() { # NAME FOLDER
    local file how
    case $1 in
    gguf)
        for file in tests/data/gguf/*.gguf; do
            for how in m t c; do
                { printf %s $how && cat "$file"; } >"$2/$(basename "$file").$how"
            done
        done
        ;;
    tokenizer_json) cp tests/data/tok/*.json "$2" ;;
    tokenizer_model) cp tests/data/tok/*.model "$2" ;;
    esac
}

# Puts what was reached into a folder of each target's in FOLDER.
unpack_reached() { # FOLDER
    [ ! -e $reached ] || zstd -qdc $reached | tar -xC "$1"
}
