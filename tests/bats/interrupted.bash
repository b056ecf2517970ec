# shellcheck shell=bash
# Trainings that are killed. Whoever loads this has long_run FOLDER OPTION..., a training of many steps that keeps a
# checkpoint; with runner=exec, which is for the background, its process is lora-train itself.

# Both trainings came to the same.
same_training() { # whole.lora with whole.tsv, cut.lora with cut.tsv
    local file
    for file in adapter_model.safetensors adapter_config.json duq.json; do
        cmp whole.lora/$file cut.lora/$file
    done
    cmp whole.tsv cut.tsv
    [ ! -e cut.lora.checkpoint ]
}

# What is to be killed on its way gives way to the shell that looks how far it is: on a busy machine it would be over.
killable='exec nice -n 5'

# long_run in one piece, as whole.lora, and killed at any moment and resumed, as cut.lora.
killed_and_resumed() {
    local began eighth i pid kills=0
    began=$(date +%s%N)
    long_run whole.lora --log whole.tsv
    # Kills come within an eighth of the whole run's time, so that a fast machine sees several too.
    eighth=$((($(date +%s%N) - began) / 8000))
    for i in {1..120}; do
        runner=$killable long_run cut.lora --log cut.tsv --resume &
        pid=$!
        sleep "$(printf '0.%06d' $((RANDOM % 1000 * (eighth < 900000 ? eighth : 900000) / 1000)))"
        kill -9 $pid 2>/dev/null && kills=$((kills + 1))
        wait $pid || continue
        [ $kills -le 2 ] || break
        # The whole run was held up: from the start again, in less time.
        rm -r cut.lora cut.tsv
        kills=0 eighth=$((eighth / 2 + 1))
    done
    echo "$kills kills in $i tries"
    [ $kills -gt 2 ]
    long_run cut.lora --log cut.tsv --resume
    same_training
}

# Leaves half.lora.checkpoint.
interrupt() {
    local i pid
    for i in {1..200}; do
        runner=$killable long_run half.lora &
        pid=$!
        while [ ! -e half.lora.checkpoint ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
        kill -9 $pid 2>/dev/null
        wait $pid || true
        [ ! -e half.lora.checkpoint ] || return 0
    done
    echo "no checkpoint in $i tries"
    return 1
}
