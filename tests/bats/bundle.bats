# make bundle: one folder that runs wherever it lies, on any machine with a glibc that is new enough.

bats_require_minimum_version 1.5.0

setup_file() {
    local bundles=("$BUILD"/duq-*.tar.zst)
    [ -e "${bundles[0]}" ] || return 0
    # Not where it was made, and in a folder whose name has a blank.
    export HOME_OF=$BATS_FILE_TMPDIR/'any where' ARCHIVE=${bundles[0]}
    mkdir "$HOME_OF"
    zstd -q -dc "$ARCHIVE" | tar -x -C "$HOME_OF"
    mv "$HOME_OF"/duq-* "$HOME_OF/moved"
}

setup() {
    [ -n "${ARCHIVE-}" ] || skip "there is no bundle (make bundle); none is made with SANITIZE"
    cd "$HOME_OF/moved" || exit 1
}

is_script() {
    [ "$(head -c 2 "$1")" = '#!' ]
}

@test "the bundle is small, and asks for no newer glibc than RHEL 9 has" {
    [ "$(stat -c %s "$ARCHIVE")" -lt 20000000 ]
    asked=$(objdump -T bin/* lib/duq/*.so* 2>/dev/null | grep -o 'GLIBC_[0-9.]*' | cut -d_ -f2 | sort -Vu | tail -n 1)
    echo "asks for $asked"
    # Where glibc is 2.38 or newer, strtol and the like are later ones: what is for others is made on Debian 12.
    has=$(getconf GNU_LIBC_VERSION | cut -d' ' -f2)
    [ "$(printf '%s\n' "$has" 2.38 | sort -V | head -n 1)" = 2.38 ] || floor=2.34
    [ "$(printf '%s\n' "$asked" "${floor:-$has}" | sort -V | head -n 1)" = "$asked" ]
}

@test "whoever unpacks it, whoever made it, everybody may read it" {
    run ! grep -Ev '^(drwxr-xr-x|-rwxr-xr-x|-rw-r--r--|l)' < <(zstd -q -dc "$ARCHIVE" | tar -tv)
}

@test "every library that is not glibc's is the bundle's own, whatever LD_LIBRARY_PATH says" {
    for program in bin/*; do
        is_script "$program" && continue
        env -i LD_LIBRARY_PATH=/usr/lib:/usr/lib/x86_64-linux-gnu ldd "$program" >libraries
        run ! grep 'not found' libraries
        # That the programs need them is why they are there.
        [ "$(grep -cF "=> $PWD/bin/../lib/duq/" libraries)" -ge 4 ]
        run ! grep -vE "=> $PWD/bin/\.\./lib/duq/|linux-vdso|ld-linux|/lib[cm]\.so" libraries
    done
    # What is opened later needs nothing beside what is the machine's.
    run ! grep -vE 'lib(c|m|mpi|gcc_s|stdc\+\+|cublas|dl|pthread|rt)\.so|ld-linux' \
        < <(readelf -d lib/duq/duq-*.so | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
    # Each library has its licence beside it.
    for library in lib/duq/lib*.so.*[0-9]; do
        grep -qi copyright "$library.licence"
    done
}

@test "the demo runs from the bundle with what the smallest system has" {
    mkdir "$BATS_TEST_TMPDIR/bin"
    for program in bash dirname mkdir nproc env cat; do
        ln -s "$(command -v $program)" "$BATS_TEST_TMPDIR/bin"
    done
    env -i PATH="$BATS_TEST_TMPDIR/bin" HOME=/ bash examples/demo.sh 50 50 >said
    grep -Eq '^dirichlet  *50 ( *[01]\.[0-9]{4}){7}' said
    run ! grep -q figures said
}

@test "the programs run in a root with glibc and nothing else" {
    root=$BATS_TEST_TMPDIR/root
    mkdir -p "$root/proc" "$root/tmp"
    cp -R . "$root/duq"
    for library in $(ldd bin/rec | grep -oE '/[^ ]*/(ld-linux[^ ]*|lib[cm]\.so[^ ]*)'); do
        mkdir -p "$root$(dirname "$library")"
        cp -L "$library" "$root$library"
    done
    # shellcheck disable=SC2016 # expanded by the shell inside
    in_root() { # PROGRAM ARGUMENT...
        unshare $as --mount bash -c 'mount --rbind /proc "$0/proc" && exec chroot "$0" "$@"' "$root" "$@"
    }
    as=
    [ "$(id -u)" = 0 ] || as=--map-root-user
    in_root /duq/bin/rec --version || skip "unshare or chroot is not allowed here"
    for program in bin/*; do
        is_script "$program" && continue # it needs bash and jq
        in_root "/duq/$program" --version | grep -q "^$(basename "$program") (duq)"
    done
    in_root /duq/bin/rec from-csv --id idx --text sentence --label label --labels 0,1 --classes negative,positive \
        /duq/examples/data/sst2.csv | in_root /duq/bin/rec head -n 5 |
        in_root /duq/bin/prompt-expand --task /duq/examples/sst2/task.json --zero-shot |
        in_root /duq/bin/tok --model /duq/examples/model |
        in_root /duq/bin/lm-score -q --model /duq/examples/model >scores.mp
    [ "$(rec to-json scores.mp | wc -l)" -eq 45 ]
}
