#!/usr/bin/env bash
# The CPU's matrix products on every path of this processor, with one thread and with all.
set -eu
cd "$(dirname "$0")/../.."
make -s "${BUILD:-build}/bench/products"
DUQ_THREADS=1 "${BUILD:-build}/bench/products"
[ "$(nproc)" = 1 ] || "${BUILD:-build}/bench/products"
