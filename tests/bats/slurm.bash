# A Slurm cluster of one node: a real munged, slurmctld and slurmd in namespaces of their own (network, processes,
# host name, /etc/hosts), with configuration, key and state in a temporary folder. Files are shared with the test, as a
# cluster's nodes share theirs. As root only. Needs hosts.bash.
#
#   slurm_reason         why there can be none here, or nothing
#   slurm_up             four processors, one job each
#   on_cluster COMMAND   runs sbatch, squeue ... there
#   slurm_down           for teardown_file; also after a failure half way; jobs end with it

slurm_reason() {
    [ "$(id -u)" = 0 ] || { echo 'namespaces need root'; return; }
    local program
    for program in munged slurmctld slurmd sbatch ip nsenter unshare; do
        PATH=$PATH:/usr/sbin command -v $program >/dev/null || { echo "no $program (tests/deps test)"; return; }
    done
    mountpoint -q /sys/fs/cgroup || { echo 'slurmd wants something mounted on /sys/fs/cgroup'; return; }
    namespaces_reason
}

# What runs first in the namespaces: $1 the folder. A bridge, for Slurm wants a network other than loopback.
# shellcheck disable=SC2016 # for that shell to expand
cluster_init='
    hostname node && mount --bind "$1/hosts" /etc/hosts &&
    ip link set lo up && ip link add lan type bridge && ip address add 10.0.0.1/24 dev lan && ip link set lan up &&
    munged --force --socket="$1/munge.socket" --key-file="$1/munge.key" --pid-file="$1/munged.pid" \
        --log-file="$1/munged.log" --seed-file="$1/munge.seed" --num-threads=1 || exit 1
    slurmctld -D & slurmd -D & wait'

slurm_up() {
    export CLUSTER=$BATS_FILE_TMPDIR/cluster PATH=$PATH:/usr/sbin
    export SLURM_CONF=$CLUSTER/slurm.conf
    mkdir -p "$CLUSTER/state" "$CLUSTER/spool"
    # --force: munged would have the folder open to all users.
    (umask 077 && head -c 1024 /dev/urandom >"$CLUSTER/munge.key")
    printf '127.0.0.1 localhost\n10.0.0.1 node\n' >"$CLUSTER/hosts"
    # cred_expire: a job that is queued again waits this long.
    # config_overrides: the node has as many processors as said here, whatever the machine has.
    cat >"$SLURM_CONF" <<END
ClusterName=test
SlurmctldHost=node(10.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$CLUSTER/munge.socket,cred_expire=5
StateSaveLocation=$CLUSTER/state
SlurmdSpoolDir=$CLUSTER/spool
SlurmctldPidFile=$CLUSTER/slurmctld.pid
SlurmdPidFile=$CLUSTER/slurmd.pid
SlurmctldLogFile=$CLUSTER/slurmctld.log
SlurmdLogFile=$CLUSTER/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1,sched_min_interval=0
NodeName=node NodeAddr=10.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
    unshare --net --mount --pid --uts --fork --kill-child --mount-proc \
        sh -c "$cluster_init" cluster "$CLUSTER" >"$CLUSTER/log" 2>&1 </dev/null 3>&- 4>&- &
    echo $! >"$CLUSTER/unshare"
    until_true 10 cluster_first_process || { cat "$CLUSTER/log"; return 1; }
    until_true 30 cluster_idle || { tail -n 20 "$CLUSTER"/*log; return 1; }
}

cluster_first_process() {
    pgrep -P "$(cat "$CLUSTER/unshare")" >"$CLUSTER/pid" && own_network "$(cat "$CLUSTER/pid")"
}

cluster_idle() {
    [ -S "$CLUSTER/munge.socket" ] && [ -s "$CLUSTER/slurmctld.pid" ] && [ -s "$CLUSTER/slurmd.pid" ] &&
        on_cluster timeout 5 sinfo --noheader --states=idle --format=%T 2>/dev/null | grep -q idle
}

on_cluster() { # COMMAND...
    nsenter --target "$(cat "$CLUSTER/pid")" --net --uts --mount --wd="$PWD" "$@"
}

slurm_down() {
    local file
    for file in "$CLUSTER/pid" "$CLUSTER/unshare"; do
        [ ! -s "$file" ] || kill -KILL "$(cat "$file")" 2>/dev/null || true
    done
    wait
}
