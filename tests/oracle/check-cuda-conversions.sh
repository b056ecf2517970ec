#!/usr/bin/env bash
# Compares the simulator's conversions to bf16 and f16 with those of NVIDIA's headers: every f32.
set -eu
cd "$(dirname "$0")/../.."
nvcc=$(command -v "${NVCC:-nvcc}") || {
    echo "conversions: not compared, nvcc is not on the PATH"
    exit 0
}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
compile() { # OUTPUT FLAG...
    local output=$1
    shift
    "${CXX:-c++}" -x c++ -std=c++17 -O2 -c -o "$dir/$output" "$@" tests/oracle/cuda_conversions.cu
}
compile nvidia.o -DHEADER=nvidia -I"$(dirname "$(readlink -f "$nvcc")")/../include"
compile simulator.o -DHEADER=simulator -DMAIN -Itests/cudasim/include
"${CXX:-c++}" -o "$dir/compare" "$dir/nvidia.o" "$dir/simulator.o"
"$dir/compare"
