#!/usr/bin/env bash
# Makes one file of a run. Started by make (rules.mk, rules.sh) in the run's folder, with the settings in the
# environment; what the functions are is in recipes.sh.
# usage: target.sh make STAGE TARGET PREREQUISITES FUNCTION [ARGUMENT]...    the function writes the file
#        target.sh make-folder ...                the same; the function makes the folder that TARGET is in
#        target.sh sum STAMP FILE | files | missing FILE | manifest
# shellcheck disable=SC2153,SC2317 # settings are in the environment; functions are called by name
set -euo pipefail
# shellcheck source=pipelines/spread/spread.sh
source "$PIPELINES/spread/spread.sh"
# shellcheck source=pipelines/run/fetch.sh
source "$PIPELINES/run/fetch.sh"
# shellcheck source=pipelines/run/split.sh
source "$PIPELINES/run/split.sh"
# shellcheck source=pipelines/recipes.sh
source "$PIPELINES/recipes.sh"
read -ra students <<<"${STUDENTS:-}"

say() { # MESSAGE
    [ -n "${QUIET:-}" ] || printf '%s: %s\n' "$NAME" "$1" >&2
}

fail() { # STATUS MESSAGE
    printf '%s: %s\n' "$NAME" "$2" >&2
    exit "$1"
}

digest() { # FILE...
    cat "$@" | sha256sum | cut -c1-64
}

manifest() {
    local folder
    # Shards of what was finished by a stage that did not live to remove them.
    for folder in shards/*/; do
        [ ! -e "$folder/target" ] || [ ! "$(cat "$folder/target")" -nt "$folder/inputs" ] || rm -rf "$folder"
    done
    "$PIPELINES/report/manifest.sh" >manifest.json.new
    mv -f manifest.json.new manifest.json
    [ "${LAST_STAGE:-}" != report ] || say "the report: $(realpath report/index.html)"
}

# What a function writes is put in place when it is whole.
write_target() { # FUNCTION [ARGUMENT]...
    "$@" >"$target.part"
    mv -f "$target.part" "$target"
}

# Ends the job and all that it started, and only then this script. TERM twice, for parallel waits for its jobs at the
# first one.
end() { # STATUS
    local i
    trap '' TERM HUP INT
    for ((i = 0; i < 50; i++)); do
        case $i in
        0 | 1) kill -TERM -- "-$job" 2>/dev/null || break ;;
        49) kill -KILL -- "-$job" 2>/dev/null || break ;;
        esac
        kill -0 -- "-$job" 2>/dev/null || break
        sleep 0.1
    done
    rm -f "$target.part"
    exit "$1"
}

make_target() { # STAGE TARGET PREREQUISITES COMMAND...
    stage=$1 target=$2
    local prerequisites=$3 began status=0 job
    shift 3
    mkdir -p "$(dirname "$target")" "$(dirname ".made/$target")" log
    # shellcheck disable=SC2086 # names are words
    signature=$(digest $prerequisites)
    if [ -e "$target" ] && [ "$(cat ".made/$target" 2>/dev/null)" = "$signature" ]; then
        touch "$target"
        return
    fi
    rm -f ".made/$target"
    say "$stage: $target"
    began=$EPOCHREALTIME
    # In a process group of its own, so that everything in it can be ended at once.
    set -m
    (
        set +m
        "$@"
        touch "$target"
    ) </dev/null & # which this shell does not see to itself under -m: who reads from a terminal there stops
    job=$!
    set +m
    trap 'end 143' TERM HUP
    trap 'end 130' INT
    wait $job || status=$?
    trap - TERM HUP INT
    [ $status = 0 ] || rm -f "$target.part"
    case $status in
    0) note_made "$began" ;;
    "$cut_only") say "$stage: $target is cut into $(find "shards/${target//\//.}" -name 'in.*.mp' | wc -l) shards" ;;
    64 | 65) fail $status "$stage: $target was not made; once that is put right the same command goes on from here" ;;
    *) fail $status "$stage: $target was not made; the same command goes on from here" ;;
    esac
}

# Of what, and how long it took: the target is done with.
note_made() { # SECONDS-SINCE-1970
    local tenths
    echo "$signature" >".made/$target"
    rm -rf "shards/${target//\//.}"
    tenths=$(((${EPOCHREALTIME/./} - ${1/./} + 50000) / 100000))
    printf '%s\t%s\t%s\t%s\n' "$stage" "$target" "$(date -u -d "@${1%.*}" +%FT%TZ)" \
        "$((tenths / 10)).$((tenths % 10))" >>log/times.tsv
}

# The digest of a file, or of the adapter that it stands for, into a stamp that changes with it alone.
sum() { # STAMP FILE
    case $2 in
    */adapter_config.json) digest "$(dirname "$2")"/*.json "$(dirname "$2")"/*.safetensors ;;
    *) digest "$2" ;;
    esac >"$1.new"
    if cmp -s "$1.new" "$1"; then rm -f "$1.new"; else mv -f "$1.new" "$1"; fi
}

# A function that ends in exit was read as a whole: a script that is replaced while it runs does no harm.
main() {
    local command=$1
    shift
    case $command in
    make) make_target "${@:1:3}" write_target "${@:4}" ;;
    make-folder) make_target "$@" ;;
    sum) sum "$@" ;;
    files) files ;;
    missing) fail 66 "$OUT/$1 is not there: begin with an earlier stage" ;;
    manifest) manifest ;;
    esac
    exit
}

main "$@"
