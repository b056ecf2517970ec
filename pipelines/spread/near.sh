#!/bin/sh
# Stands where GNU parallel expects ssh, and runs the command here: parallel says which host a shard is for (in
# $PARALLEL_SSHLOGIN), counts what each host has at a time, and tries elsewhere what failed; how a shard gets there
# and back is host-shard.sh's.
# What parallel runs on a host ends its shard when its parent there is gone, as sshd would be. So it is not in the
# process group that parallel ends, which would leave the shard; its parent, setsid, is, and ends with parallel, too.
# usage: near.sh [-p PORT] [-l USER] HOST -- COMMAND...
while [ "$1" != -- ]; do shift; done
shift
exec setpriv --pdeathsig TERM setsid --wait sh -c "$*"
