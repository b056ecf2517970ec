#!/usr/bin/env bash
# The tables of man/duq-gpu.7, computed by lm-plan: bounds for Mistral-7B by stage, data set and GPU.
# Prompts are made up, of the lengths below; scoring passes have the tokens that lm-score chooses there.
# usage: tests/gpu/plan.sh [score|train|student]
set -eu
cd "$(dirname "$0")/../.."
lm_plan=${BUILD:-build}/bin/lm-plan
config=tests/data/plan/mistral-7b.json
gpus="a100-40 a100-80 h100"

# shellcheck source=tests/gpu/lengths.sh
source tests/gpu/lengths.sh

plan() { # GPU OPTION...
    local gpu=$1
    shift
    "$lm_plan" --config "$config" --gpu "$gpu" --json "$@"
}

row() { # SET RECORDS OPTION...    scales the plan to so many records
    local set=$1 records=$2 gpu line="" work="" memory
    shift 2
    for gpu in $gpus; do
        plan=$(plan "$gpu" "$@")
        [ -n "$work" ] || work=$(jq -r --argjson n "$records" '($n / .records) as $k |
            "\($n) Ta \(.computed_tokens * $k / 1e4 | round / 100) Ta \(.total.flops * $k / 1e13 | round / 100)"' <<<"$plan")
        memory=$(jq -r '.memory.taken / 1e8 | round / 10' <<<"$plan")
        line+=$(jq -r --argjson n "$records" '($n / .records) as $k |
            " Ta \(.bound_seconds * $k * 10 | round / 10) (\(.launched_seconds * $k * 10 | round / 10))"' <<<"$plan")
    done
    echo ".It $set Ta $work$line Ta $memory"
}

for stage in ${1:-score train student}; do
    for set in Amazon SST-2 Yahoo YouTube; do
        read -r shots own zero zero_own test train batch <<<"$(lengths $set)"
        case $stage in
        score) row $set $((9 * test)) --batch-tokens 16384 --synthetic "$test,9,$shots,$own" ;;
        train) row $set "$train" --stage train --batch "$batch" --synthetic "48,1,$zero,$zero_own" ;;
        student) row $set "$test" --batch-tokens 16384 --rank 16 --synthetic "$test,1,$zero,$zero_own" ;;
        *) echo "usage: $0 [score|train|student]" >&2 && exit 64 ;;
        esac
    done
done
