# shellcheck shell=bash
# until_true SECONDS COMMAND...: polls, with a deadline.
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || { echo "not in time: $*" >&2; return 1; }
        sleep 0.05
    done
}
