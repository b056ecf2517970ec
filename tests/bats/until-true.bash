# shellcheck shell=bash
# until_true SECONDS COMMAND...: polls, with a deadline: six times the seconds that a machine with nothing else to do takes
# at most.
until_true() {
    local end=$((SECONDS + 6 * $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || { echo "not in time: $*" >&2; return 1; }
        sleep 0.05
    done
}
