# Several hosts on one machine: each a real sshd in namespaces of its own (network, processes, mounts, host name)
# with its own keys, home, /tmp and programs. They share nothing with the test or with each other: neither the source
# tree nor the test's folder is there, and their only network is a bridge in one more namespace, where the test's
# commands run (on_lan). As root only.
#
#   hosts_reason       why there can be none here, or nothing
#   hosts_up N         host1 ... hostN; makes $LAN/hosts.conf for ssh -F, and for each a folder $LAN/hostI/home
#   on_lan COMMAND     runs a command where the hosts can be reached
#   host_kill I        its processes are gone, all at once
#   host_cut I         its cable is pulled: nothing comes back, not even a reset.  host_mend I plugs it in again
#   host_start I       after host_kill
#   hosts_down         for teardown_file; also after a failure half way

load until-true

hosts_reason() {
    [ "$(id -u)" = 0 ] || { echo 'namespaces need root'; return; }
    local program
    for program in sshd ssh ssh-keygen ip nsenter unshare; do
        PATH=$PATH:/usr/sbin command -v $program >/dev/null || { echo "no $program (tests/deps test)"; return; }
    done
    namespaces_reason
}

namespaces_reason() {
    unshare --net --mount --pid --uts --fork --mount-proc sh -c 'mount -t tmpfs tmpfs /run &&
        ip link add lan type bridge && ip link add one type veth peer name two' 2>/dev/null ||
        echo 'this machine allows no namespaces, or no bridge in them'
}

hosts_up() { # N
    export LAN=$BATS_FILE_TMPDIR/lan PATH=$PATH:/usr/sbin
    local i
    mkdir -p "$LAN"
    unshare --net sleep infinity 3>&- 4>&- &
    echo $! >"$LAN/pid"
    until_true 10 own_network "$(cat "$LAN/pid")"
    # With an address of its own: a bridge takes that of a port otherwise, and another when that port goes.
    on_lan sh -c 'ip link set lo up && ip link add lan address 02:00:00:00:01:00 type bridge && ip link set lan up &&
        ip address add 10.0.0.254/24 dev lan'
    ssh-keygen -q -t ed25519 -N '' -f "$LAN/key"
    printf '%s\n' 'Host *' "IdentityFile $LAN/key" "UserKnownHostsFile $LAN/known_hosts" \
        'StrictHostKeyChecking yes' 'User root' 'KexAlgorithms curve25519-sha256' >"$LAN/hosts.conf"
    for i in $(seq "$1"); do
        host_make "$i"
        host_start "$i"
    done
}

host_make() { # I
    local folder=$LAN/host$1
    mkdir -p "$folder/home/etc" "$folder/tmp" "$folder/etc"
    ssh-keygen -q -t ed25519 -N '' -f "$folder/home/etc/key"
    cp "$LAN/key.pub" "$folder/home/etc/authorized"
    printf '%s\n' 'root:x:0:0::/root:/bin/sh' 'sshd:x:74:74::/run/sshd:/usr/sbin/nologin' >"$folder/etc/passwd"
    printf '%s\n' 'root:*:19000:0:99999:7:::' 'sshd:*:19000:0:99999:7:::' >"$folder/etc/shadow"
    printf '%s\n' 'HostKey /root/etc/key' 'AuthorizedKeysFile /root/etc/authorized' 'StrictModes no' 'UsePAM no' \
        'PasswordAuthentication no' 'PermitRootLogin prohibit-password' 'PidFile none' 'UseDNS no' \
        'SetEnv DUQ_THREADS=1' >"$folder/home/etc/sshd_config"
    printf 'Host host%s\nHostName 10.0.0.%s\n' "$1" "$1" >>"$LAN/hosts.conf"
    printf '10.0.0.%s %s\n' "$1" "$(cut -d ' ' -f 1,2 "$folder/home/etc/key.pub")" >>"$LAN/known_hosts"
}

# What a host runs first, in its namespaces: $1 its folder, $2 its name, $3 the source tree, $4 the tests' folder.
# shellcheck disable=SC2016 # for that shell to expand
host_init='
    mount --bind "$1/etc/passwd" /etc/passwd && mount --bind "$1/etc/shadow" /etc/shadow &&
    mount -t tmpfs tmpfs /run && mkdir /run/sshd && hostname "$2" && ip link set lo up &&
    exec 8<"$1/home" 9<"$1/tmp" && mount -t tmpfs tmpfs "$3" && mount -t tmpfs tmpfs "$4" &&
    mount --bind /proc/self/fd/8 /root && mount --bind /proc/self/fd/9 /tmp && exec 8<&- 9<&- &&
    exec /usr/sbin/sshd -D -e -f /root/etc/sshd_config'

host_start() { # I
    local folder=$LAN/host$1 root
    root=$(realpath "$BATS_TEST_DIRNAME/../..")
    unshare --net --mount --pid --uts --fork --kill-child --mount-proc \
        sh -c "$host_init" host "$folder" "host$1" "$root" "$BATS_RUN_TMPDIR" \
        >"$folder/sshd.log" 2>&1 </dev/null 3>&- 4>&- &
    echo $! >"$folder/unshare"
    until_true 10 host_first_process "$1" || { cat "$folder/sshd.log"; return 1; }
    local pid
    pid=$(cat "$folder/pid")
    # Always the same hardware address, for the others remember it.
    on_lan sh -c "ip link add port$1 type veth peer name eth0 address 02:00:00:00:00:0$1 netns $pid &&
        ip link set port$1 master lan up"
    nsenter --target "$pid" --net ip address add "10.0.0.$1/24" dev eth0
    nsenter --target "$pid" --net ip link set eth0 up
    until_true 10 host_answers "$1" || { cat "$folder/sshd.log"; return 1; }
}

host_first_process() { # I: writes its process id, as seen from here
    pgrep -P "$(cat "$LAN/host$1/unshare")" >"$LAN/host$1/pid" && own_network "$(cat "$LAN/host$1/pid")"
}

own_network() { # PID
    [ "$(readlink "/proc/$1/ns/net")" != "$(readlink /proc/self/ns/net)" ]
}

host_answers() { # I
    on_lan ssh -F "$LAN/hosts.conf" -o ConnectTimeout=2 -o BatchMode=yes "host$1" true 2>/dev/null
}

on_lan() { # COMMAND...
    nsenter --target "$(cat "$LAN/pid")" --net "$@"
}

host_kill() { # I
    kill -KILL "$(cat "$LAN/host$1/pid")"
    # Its network goes with its last process, in the kernel's own time.
    until_true 10 host_gone "$1"
}

host_gone() { # I
    ! on_lan ip link show "port$1" >/dev/null 2>&1 && ! kill -0 "$(cat "$LAN/host$1/unshare")" 2>/dev/null
}

host_cut() { # I
    on_lan ip link set "port$1" down
}

host_mend() { # I
    on_lan ip link set "port$1" up
    until_true 10 host_answers "$1"
}

hosts_down() {
    local file
    for file in "$LAN"/host*/pid "$LAN"/host*/unshare "$LAN/pid"; do
        [ ! -s "$file" ] || kill -KILL "$(cat "$file")" 2>/dev/null || true
    done
    wait 2>/dev/null
}
