# Adapters' values, compared.

# One a line.
values() { # ADAPTER
    local file=$1/adapter_model.safetensors
    tail -c +$((9 + $(od -An -tu8 -N8 "$file"))) "$file" | od -An -v -w4 -tfF
}

# The largest difference between two adapters' values.
distance() { # ADAPTER ADAPTER
    paste <(values "$1") <(values "$2") | awk '
        NF != 2 { bad = 1; exit }
        { d = $1 - $2; d = d < 0 ? -d : d; if (d > worst) worst = d; n++ }
        END { print bad || n < 1000 ? "not-alike" : worst + 0 }'
}

below() { # NUMBER LIMIT
    awk -v a="$1" -v b="$2" 'BEGIN { exit !(a ~ /^[0-9.e+-]+$/ && a + 0 <= b) }'
}
