#!/usr/bin/env bash
# One shard on the host that GNU parallel chose: sends it, takes what comes back, checks that it is whole, and only
# then puts it in its place.
# usage: host-shard.sh FOLDER SHARD      in the run's folder; the host is $PARALLEL_SSHLOGIN
set -uo pipefail
# shellcheck source=pipelines/spread/hosts.sh
source "$PIPELINES/spread/hosts.sh"
# shellcheck source=pipelines/spread/progress.sh
source "$PIPELINES/spread/progress.sh"
folder=$1 shard=$2 login=$PARALLEL_SSHLOGIN
in=$folder/in.$shard.mp out=$folder/out.$shard.mp part=$folder/part.$shard.mp
failed=$folder/failed.$shard said=$folder/said.$shard host=$folder/hosts/$login

# What bad input or a wrong option brings about comes again on every host.
[ ! -e "$failed" ] || exit "$(cat "$failed")"
# A host that was lost gets nothing more: the shard goes to another one at once.
[ ! -e "$host/lost" ] || exit 75

# Which of the host's places this is, as long as anything of this shard runs.
IFS=$'\t' read -r places gpus <"$host/places"
for ((place = 1; place < places; place++)); do
    exec 8>"$host/place.$place"
    ! flock -n 8 || break
done

connection=
trap 'kill -TERM "$connection" 2>/dev/null; rm -f "$part"; exit 143' TERM INT HUP
exchange "$login" "$in" "$place" "$places" "$gpus" >"$part" 2>"$said"
status=$?
if [ $status = 0 ] && ! rec check "$part" 2>>"$said"; then
    status=75
fi
if [ $status = 0 ]; then
    mv -f "$part" "$out"
    shard_done "$folder"
    exit
fi
rm -f "$part"
sed "s/^/shard $shard on $login: /" "$said" >&2
case $status in
64 | 65 | 70) echo $status >"$failed" ;;
124) echo "shard $shard on $login: ended after $TIMEOUT seconds (TIMEOUT)" >&2 ;;
255)
    # ssh failed, or lost the host. A host that answers again gets other shards.
    if (remote "$login" true) </dev/null 2>/dev/null; then
        echo "shard $shard on $login: the connection broke; the shard is tried again" >&2
    elif (set -o noclobber && : >"$host/lost") 2>/dev/null; then
        echo "$login is lost, at shard $shard; what it had goes to the others" >&2
    fi
    ;;
esac
exit $status
