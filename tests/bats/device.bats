# --device: what is opened, and what is said where it cannot be. The plugins here are no devices; the
# CUDA plugin's own tests are cuda.bats's.

load refuses

setup() {
    data=$BATS_TEST_DIRNAME/../data
    model=$data/engine/llama-tied
    export DUQ_THREADS=1 DUQ_CUDA_PLUGIN=$BATS_TEST_TMPDIR/nowhere.so
    cd "$BATS_TEST_TMPDIR" || exit 1
}

score() { # OPTION...
    lm-score --model "$model" -o scores.mp "$@" "$data/engine/good.mp"
}

train() { # OPTION...
    lora-train --model "$model" --rank 4 --loss labels --epochs 1 -o a.lora "$@" "$data/lora/streams/tokens.mp"
}

# A plugin of this C code.
plugin() { # CODE
    printf '%s\n' "$1" >plugin.c
    "${CC:-cc}" -shared -fPIC -o plugin.so plugin.c
    export DUQ_CUDA_PLUGIN=$PWD/plugin.so
}

@test "other devices than auto, cpu and cuda are wrong usage" {
    refuses 64 "'tpu' is none of auto, cpu, cuda, cuda:N" score --device tpu
    refuses 64 "'cudax' is none of" score --device cudax
    refuses 64 "--device cuda:N" score --device cuda:
    refuses 64 "--device cuda:N" score --device cuda:-1
    refuses 64 "--device cuda:N" score --device cuda:1x
    refuses 64 "'tpu' is none of" train --device tpu
}

@test "without a plugin cuda is not to be had, and auto is the processor" {
    for program in score train; do
        refuses 69 "--device cuda:1: there is no CUDA plugin $PWD/nowhere.so: build duq with CUDA" \
            $program --device cuda:1
        refuses 69 "or use --device cpu" $program --device cuda
    done
    [ ! -e scores.mp ]
    [ ! -e a.lora ]
    refuses 0 "computing on the processor: there is no CUDA plugin" score -v --device auto
    [[ $output == *"on cpu (1 thread, "* ]]
    rec check scores.mp
}

@test "the plugin is looked for in ../lib/duq beside the program's folder" {
    unset DUQ_CUDA_PLUGIN
    mkdir bin
    cp "$(command -v lm-score)" bin
    refuses 69 "there is no CUDA plugin $PWD/bin/../lib/duq/duq-cuda.so" \
        bin/lm-score --model "$model" --device cuda "$data/engine/good.mp"
    mkdir -p lib/duq
    printf 'not a shared object' >lib/duq/duq-cuda.so
    refuses 69 "the CUDA plugin cannot be opened" \
        bin/lm-score --model "$model" --device cuda "$data/engine/good.mp"
}

@test "auto does without a plugin where no driver is installed" {
    ! ldconfig -p | grep -q libcuda.so.1 || skip "a driver is installed"
    unset DUQ_CUDA_PLUGIN
    refuses 0 "computing on the processor: no NVIDIA driver (libcuda.so.1) is installed" score -v
}

@test "where a driver is installed, auto says unasked that it computes on the processor" {
    unset DUQ_CUDA_PLUGIN
    mkdir bin drivers
    cp "$(command -v lm-score)" bin
    echo 'int cuInit(unsigned flags) { return (int)flags; }' >driver.c
    "${CC:-cc}" -shared -fPIC -o drivers/libcuda.so.1 driver.c
    export LD_LIBRARY_PATH=$PWD/drivers${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    refuses 0 "computing on the processor: there is no CUDA plugin" \
        bin/lm-score --model "$model" -o scores.mp "$data/engine/good.mp"
    for quiet in "-q --device auto" "--device cpu"; do
        # shellcheck disable=SC2086 # options are words
        run bin/lm-score --model "$model" -o scores.mp $quiet "$data/engine/good.mp"
        [ "$status" -eq 0 ]
        [[ $output != *"computing on the processor"* ]]
    done
}

@test "a plugin that is none, or of another program, is refused" {
    export DUQ_CUDA_PLUGIN=$PWD/text.so
    printf 'not a shared object' >text.so
    refuses 69 "the CUDA plugin cannot be opened ($PWD/text.so" score --device cuda
    refuses 0 "computing on the processor: the CUDA plugin cannot be opened" score -v
    plugin 'int other(void) { return 0; }'
    refuses 69 "plugin.so is no CUDA plugin of this duq" score --device cuda
    refuses 0 "computing on the processor" score -v
}

@test "a plugin that finds no GPU is passed over by auto alone" {
    plugin '#include <stdio.h>
        #include <stdlib.h>
        int cuda_device_count(void) { return 0; }
        void *cuda_device_open(int compute, int index) { printf("asked for GPU %d\n", index); exit(69); }'
    refuses 0 "computing on the processor: the CUDA plugin finds no GPU that it can use" score -v
    refuses 69 "asked for GPU 0" score --device cuda
    refuses 69 "asked for GPU 3" train --device cuda:3
}

@test "the plugin that nvcc built opens, and says that there is no driver" {
    [ -e "$BUILD/lib/duq/duq-cuda.so" ] || skip "built without nvcc"
    [ ! -e /dev/nvidiactl ] || skip "there is a driver"
    export DUQ_CUDA_PLUGIN=$BUILD/lib/duq/duq-cuda.so
    refuses 69 "no NVIDIA driver is installed; compute on the processor (cpu)" score --device cuda
    refuses 0 "the CUDA plugin finds no GPU that it can use" score -v --device auto
    rec check scores.mp
}
