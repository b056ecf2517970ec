# A student of a few texts, for what concerns how it is asked.

# texts.mp (24 labelled texts), shots.mp (45) and label.lora, a student by instruction 2.
make_student() { # FOLDER
    local root=$BATS_TEST_DIRNAME/../..
    mkdir -p "$1" && cd "$1" || return 1
    ln -s "$(realpath "$root/examples/model")" model
    cp "$root/examples/sst2/task.json" task.json
    rec from-csv --id idx --text sentence --label label --classes negative,positive -o all.mp \
        "$root/examples/data/sst2.csv" &&
        rec head -n 24 -o texts.mp all.mp && rec head --skip 24 -n 45 -o shots.mp all.mp &&
        student_tokens --instruction 2 --student texts.mp >student.mp &&
        lora-train --model model --loss edl --rank 2 --epochs 1 --lr 1e-3 -o edl.lora student.mp
}

student_tokens() { # OPTION-OF-PROMPT-EXPAND... TEXTS
    prompt-expand --task task.json "$@" | tok --model model
}

# Each test begins in a copy of it.
setup_file() {
    export DUQ_THREADS=1
    (make_student "$BATS_FILE_TMPDIR/student") || return 1
}

setup() {
    cp -r "$BATS_FILE_TMPDIR/student/." "$BATS_TEST_TMPDIR"
    cd "$BATS_TEST_TMPDIR" || exit 1
    unset COLUMNS
}
