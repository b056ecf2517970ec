#!/bin/sh
# Stands where GNU parallel expects ssh, and runs the command here: parallel says which host a shard is for (in
# $PARALLEL_SSHLOGIN), counts what each host has at a time, and tries elsewhere what failed; how a shard gets there
# and back is host-shard.sh's.
# usage: near.sh [-p PORT] [-l USER] HOST -- COMMAND...
while [ "$1" != -- ]; do shift; done
shift
exec sh -c "$*"
