# The losses that PyTorch had on tests/data/lora/streams, beside a log of lora-train.

# The worst relative difference of the losses in a log from a column of PyTorch's.
worst_difference() { # LOG COLUMN
    paste "$1" "${data:?}/curves.tsv" | awk -v name="$2" '
        NR == 1 { for (i = 4; i <= NF; i++) if ($i == name) column = i; next }
        { d = ($2 - $column) / $column; d = d < 0 ? -d : d; if (d > worst) worst = d; steps++ }
        END { if (steps != 50) worst = "not-50-steps"; print worst }'
}
