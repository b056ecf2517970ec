#!/usr/bin/env bash
# What each kernel takes of a multiprocessor on each architecture, as ptxas says it: registers of a
# thread, bytes of static shared memory of a block, and bytes of a thread's local memory: its stack,
# and the loads and stores of registers that spilled there. Spills are an error.
# usage: tests/gpu/kernels.sh FILE.ptxas ...    what nvcc -Xptxas -v said as it compiled FILE.cu
set -eu
export LC_ALL=C
for file; do
    name=$(basename "$file" .ptxas)
    c++filt <"$file" | awk -v source="$name.cu" '
        /Compiling entry function/ {
            split($0, part, "\047")
            kernel = part[2]
            sub(/^void /, "", kernel)
            sub(/\(.*/, "", kernel)
            gsub(/__nv_bfloat16/, "bf16", kernel)
            gsub(/__half/, "f16", kernel)
            gsub(/, /, ",", kernel)
            architecture = part[4]
        }
        kernel && /bytes stack frame/ { stack = $1; spilled = $5 + $9 }
        kernel && /Used [0-9]+ registers/ {
            shared = 0
            for (i = 3; i <= NF; i++) {
                if ($i ~ /^smem/)
                    shared = $(i - 2)
                if ($i ~ /^registers/)
                    registers = $(i - 1)
            }
            print source, kernel, architecture, registers, shared, stack, spilled
            kernel = ""
        }'
done | sort -s -k1,1 -k2,2 -k3,3 | awk '
    BEGIN { printf "%-22s %-34s %s\n", "file", "kernel", "architecture: registers, shared, stack, spilled" }
    {
        if ($1 != file || $2 != kernel) {
            printf "%s%-22s %-34s", kernel ? "\n" : "", $1 == file ? "" : $1, $2
            kernels++
        }
        printf " %s: %3d %6d %4d %3d", $3, $4, $5, $6, $7
        file = $1
        kernel = $2
        spilling += $7 > 0
    }
    END {
        printf "\n"
        if (!kernels || spilling)
            print "FAILED: " (kernels ? "registers spill to memory" : "there are no kernels")
        else
            print kernels " kernels; none spills"
        exit !kernels || spilling
    }'
