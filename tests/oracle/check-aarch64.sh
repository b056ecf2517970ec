#!/usr/bin/env bash
# The CPU's operations on 64-bit Arm, in an emulator, give the bytes that they give here, on every
# path. Needs gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user (Debian's names).
set -eu
cd "$(dirname "$0")/../.."
for program in aarch64-linux-gnu-gcc qemu-aarch64; do
    command -v "$program" >/dev/null || { echo "skipped: there is no $program"; exit 0; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sources=(tests/oracle/path_sum.c kernels/cpu/*.c common/math/loss.c common/math/special.c
    common/util/{mem,diag,threads,processors,progress}.c)
flags=(-std=c11 -D_GNU_SOURCE -DDUQ_VERSION='""' -I. -O3 -ffp-contract=off -fno-strict-aliasing
    -fno-math-errno -fno-trapping-math -Wall -Wextra -Werror -Wno-psabi -pthread)
aarch64-linux-gnu-gcc "${flags[@]}" -static -o "$work/arm" "${sources[@]}" -lm
make -s "${BUILD:-build}/oracle/path_sum"
{
    qemu-aarch64 "$work/arm" | sed 's/$/, 64-bit Arm/'
    "${BUILD:-build}/oracle/path_sum"
} | tee "$work/sums"
[ "$(cut -d ' ' -f 1 "$work/sums" | sort -u | wc -l)" = 1 ] || { echo "the sums differ"; exit 1; }
