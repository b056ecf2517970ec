# make install and make uninstall, of what is built.

load refuses
bats_require_minimum_version 1.5.0

setup() {
    top=$BATS_TEST_DIRNAME/../..
    cd "$BATS_TEST_TMPDIR" || exit 1
}

@test "a folder's name with a blank is refused, not taken for two" {
    touch my
    for prefix in "PREFIX=$PWD/my files" "PREFIX=$PWD/my " "DESTDIR=$PWD/my	files"; do
        for goal in uninstall install; do
            refuses 2 'PREFIX and DESTDIR may have no blanks in them' make -n -C "$top" $goal "$(printf "$prefix")"
        done
    done
    [ -e my ]
    make -n -C "$top" uninstall PREFIX="$PWD/my" >said
    grep -q " $PWD/my/bin/rec " said
}
