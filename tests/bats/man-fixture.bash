# The files that the examples in the man pages name, made by the programs themselves from the demo's
# texts and model. Needs $BUILD/bin on PATH.

make_fixture() { # FOLDER
    local root
    root=$(realpath "$BATS_TEST_DIRNAME/../..")
    mkdir -p "$1" && cd "$1" || return 1
    ln -s "$root/pipelines" pipelines
    ln -s "$root/examples" examples
    ln -s examples/model model
    ln -s "$root/tests/data/gguf/whole.gguf" model.gguf
    cp examples/sst2/task.json task.json
    make_tables && make_examples && make_teacher && make_students
}

make_tables() {
    head -n 301 examples/data/sst2.csv >train.csv
    (head -n 1 examples/data/sst2.csv && sed -n 302,321p examples/data/sst2.csv) >test.csv
    head -n 20 examples/data/yahoo.csv >questions.csv
    head -n 21 examples/data/youtube.csv >comments.csv
    printf 'text\tlabel\nquite good\t1\nno "wit" at all\t0\n' >texts.tsv
    printf '{"id": 1, "text": "quite good", "label": "positive"}\n' >texts.jsonl
    printf '{"id": 2, "text": "no wit at all", "label": "negative"}\n' >>texts.jsonl
}

make_examples() {
    local columns=(--id idx --text sentence --label label --classes "negative,positive")
    rec from-csv "${columns[@]}" -o all.mp train.csv &&
        rec from-csv "${columns[@]}" -o test.mp test.csv &&
        rec head -n 20 -o train.mp all.mp &&
        rec head --skip 20 -n 45 -o shots.mp all.mp &&
        rec head --skip 65 -n 12 -o val.mp all.mp &&
        rec from-csv --id COMMENT_ID --text CONTENT -o ood.mp comments.csv
}

make_teacher() {
    local set
    for set in val test train ood; do
        prompt-expand --task task.json --shots shots.mp -o $set.prompts.mp $set.mp &&
            tok --model model -o $set.tokens.mp $set.prompts.mp &&
            lm-score --model model -o $set.scores.mp $set.tokens.mp || return 1
    done
    bpe-fit -o weights.mp val.scores.mp || return 1
    for set in val test train ood; do
        bpe-fit --apply weights.mp -o teacher.$set.mp $set.scores.mp || return 1
    done
}

make_students() {
    local set head
    for set in val train test ood; do
        prompt-expand --task task.json --instruction best:weights.mp --zero-shot $set.mp |
            tok --model model -o $set.student.mp || return 1
    done
    for head in softmax dirichlet; do
        lora-train --model model --teacher teacher.train.mp --loss $head --epochs 1 -o $head.lora train.student.mp ||
            return 1
        for set in test ood; do
            lm-score --model model --adapter $head.lora --head $head -o $head.$set.mp $set.student.mp ||
                return 1
        done
    done
    make_labelled
}

# Labelled texts that had no part in what came before.
make_labelled() {
    local set
    rec head --skip 77 -n 1000 -o labelled.val.mp all.mp &&
        (head -n 1 examples/data/sst2.csv && sed -n 322,391p examples/data/sst2.csv) |
        rec from-csv --id idx --text sentence --label label --classes "negative,positive" -o labelled.more.mp ||
        return 1
    for set in val more; do
        prompt-expand --task task.json --instruction best:weights.mp --zero-shot labelled.$set.mp |
            tok --model model |
            lm-score --model model --adapter dirichlet.lora --head dirichlet -o dirichlet.$set.mp || return 1
    done
}

# For a trap on ERR: ends the script, but not where a program was only cut short by a reader that
# had enough (SIGPIPE).
stop_on_failure() { # PIPESTATUS...
    local command=$BASH_COMMAND status
    for status; do
        if [ "$status" -ne 0 ] && [ "$status" -ne 141 ]; then
            echo "FAILED ($*): $command" >&2
            exit 1
        fi
    done
}

# mpirun for the examples: as root too, with more processes than processors; where it is not installed or the
# plugin not built, one process.
if command -v mpirun >/dev/null && [ -e "$BUILD/lib/duq/duq-mpi.so" ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
    export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe # Open MPI 5
else
    mpirun() { # -n N COMMAND...
        shift 2
        "$@"
    }
fi
