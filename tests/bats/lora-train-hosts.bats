# lora-train over several hosts by mpirun: two hosts with a real sshd each, that share nothing (hosts.bash). Rank 0 is on
# the first; the tokens come through mpirun's standard input.

load hosts
load adapters
load mpi

setup_file() {
    local i
    export REASON
    REASON=$(mpi_reason)
    [ -n "$REASON" ] || REASON=$(hosts_reason)
    [ -z "$REASON" ] || return 0
    hosts_up 2 || return
    for i in 1 2; do equip $i; done
}

teardown_file() {
    [ -n "$REASON" ] || hosts_down
}

setup() {
    [ -z "$REASON" ] || skip "$REASON"
    data=$BATS_TEST_DIRNAME/../data/lora/streams
    model=$BATS_TEST_DIRNAME/../data/engine/llama-tied
    teach=(--rank 4 --alpha 8 --lr 1e-3 --loss labels --batch 5 --dropout 0.3)
    export DUQ_THREADS=1
    export OMPI_MCA_plm=rsh OMPI_MCA_plm_rsh_agent="ssh -F $LAN/hosts.conf" OMPI_MCA_btl=self,tcp
    export OMPI_MCA_oob_tcp_if_include=10.0.0.0/24 OMPI_MCA_btl_tcp_if_include=10.0.0.0/24
    export PRTE_MCA_plm_ssh_agent="ssh -F $LAN/hosts.conf" PRTE_MCA_prte_if_include=10.0.0.0/24 # Open MPI 5
    unset PRTE_MCA_rmaps_default_mapping_policy                                                           # one on each
    cd "$BATS_TEST_TMPDIR" || exit 1
}

# The programs, the plugin and the model, where on_hosts expects them. Beside them nothing is there.
equip() { # I
    mkdir -p "$LAN/host$1/home/bin" "$LAN/host$1/home/lib/duq"
    cp "$BUILD/bin/lora-train" "$LAN/host$1/home/bin"
    cp "$BUILD/lib/duq/duq-mpi.so" "$LAN/host$1/home/lib/duq"
    cp -rL "$BATS_TEST_DIRNAME/../data/engine/llama-tied" "$LAN/host$1/home/model"
}

on_hosts() { # OPTION...    the adapter and the log are in /root of the first host
    on_lan timeout --kill-after 10 120 mpirun --host 10.0.0.1,10.0.0.2 --wdir /root /root/bin/lora-train --model /root/model \
        "${teach[@]}" "$@" <"$data/tokens.mp"
}

@test "two hosts train what one process does" {
    lora-train --model "$model" "${teach[@]}" --epochs 4 --log one.tsv -o one.lora "$data/tokens.mp"
    on_hosts -v --epochs 4 --log two.tsv -o two.lora 2>said
    cat said
    grep "one of 2 processes, 1 of them on this host" said
    cp -r "$LAN/host1/home/two.lora" .
    apart=$(distance one.lora two.lora)
    echo "$apart apart"
    below "$apart" 1e-6
    [ ! -e "$LAN/host2/home/two.lora" ]
}

long=(--epochs 100 --shuffle --checkpoint-every 7)

# Starts a long run and waits for its first checkpoint.
begin() {
    rm -rf "$LAN/host1/home/"cut.*
    on_hosts "${long[@]}" --log cut.tsv -o cut.lora 2>said &
    started=$!
    until_true 60 test -e "$LAN/host1/home/cut.lora.checkpoint"
}

# Its exit status is in $status, its words in `said`.
ended() {
    status=0
    wait $started || status=$?
    started=
    echo "status $status: $(tr -d '\0' <said)"
}

# As lora-train(1) says of Open MPI 5 (seen in 5.0.7).
needs_a_launcher_that_ends_all() {
    [[ $(mpirun --version) != *"Open MPI) 5"* ]] ||
        skip "Open MPI 5's mpirun ends with status 0 when it loses a host, and leaves the ranks on the others running"
}

no_ranks() { # HOST
    ! nsenter --target "$(cat "$LAN/host$1/pid")" --mount --pid pgrep -x lora-train >/dev/null
}

@test "a host that dies ends the training on the others, and what it kept is gone on with" {
    needs_a_launcher_that_ends_all
    on_hosts "${long[@]}" --log whole.tsv -o whole.lora
    begin
    host_kill 2
    ended
    [ "$status" -ne 0 ]
    [ "$status" -ne 124 ]
    until_true 10 no_ranks 1
    host_start 2
    on_hosts "${long[@]}" --log cut.tsv --resume -o cut.lora
    for file in lora/adapter_model.safetensors lora/duq.json tsv; do
        cmp "$LAN/host1/home/whole.$file" "$LAN/host1/home/cut.$file"
    done
}

# How often TCP sends again what is not acknowledged, before it gives up: some 13 seconds here, 15 minutes by default.
resend() { # TIMES
    local i
    for i in 1 2; do
        nsenter --target "$(cat "$LAN/host$i/pid")" --net sh -c "echo $1 >/proc/sys/net/ipv4/tcp_retries2"
    done
    on_lan sh -c "echo $1 >/proc/sys/net/ipv4/tcp_retries2"
}

@test "so does a host whose network is cut" {
    needs_a_launcher_that_ends_all
    resend 5
    export OMPI_MCA_oob_tcp_keepalive_time=2 OMPI_MCA_oob_tcp_keepalive_intvl=1 OMPI_MCA_oob_tcp_keepalive_probes=3
    begin
    host_cut 2
    ended
    [ "$status" -ne 0 ]
    [ "$status" -ne 124 ]
    until_true 10 no_ranks 1
}
