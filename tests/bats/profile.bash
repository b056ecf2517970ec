# What holds for the table of --profile, whatever made it.

# Whether a log holds a table that names the operations and whose shares add up to the whole.
is_profile() { # LOG OPERATION...
    local log=$1 name
    shift
    for name in "$@" "the rest"; do
        grep -Eq "^$name +[0-9 ]*[0-9]+\.[0-9]+ +[0-9.]+ %" "$log" || { echo "no line of $name in:" && cat "$log"; return 1; }
    done
    [[ $(tail -n 1 "$log") == "the rest "* ]] || { echo "the last line is not the rest" && cat "$log"; return 1; }
    sed -n 's/.* \([0-9.]*\) %.*/\1/p' "$log" | awk '{ sum += $1 } END { exit !(sum >= 99 && sum <= 101) }' ||
        { echo "the shares do not add up" && cat "$log"; return 1; }
    # The longest first, the rest aside.
    sed -n 's/.* \([0-9.]*\) %.*/\1/p' "$log" | sed '$d' | sort -c -g -r
}
