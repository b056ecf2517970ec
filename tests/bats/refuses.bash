# shellcheck shell=bash disable=SC2154 # status and output are set by run
# refuses STATUS TEXT COMMAND...: the command ends with this status, and what it says holds the text.
refuses() { # STATUS TEXT COMMAND...
    local status_wanted=$1 text=$2
    shift 2
    run "$@"
    echo "status $status: $output"
    [ "$status" -eq "$status_wanted" ] && [[ $output == *"$text"* ]]
}
