# shellcheck shell=bash disable=SC2154 # the settings and the like are run.sh's
# The stamps that make compares beside the files of a run: settings, version, model and data, each a file below
# .settings/ that is written when it is another one.

# put NAME: standard input becomes $out/NAME, unless it is that already.
put() {
    local new=$out/$1.new
    cat >"$new"
    if cmp -s "$new" "$out/$1"; then rm -f "$new"; else mv -f "$new" "$out/$1"; fi
}

# Every setting, also into the environment of what the run starts.
put_settings() {
    local file key
    # Another version may have had other settings.
    for file in "$out"/.settings/[A-Z]*; do
        [ -n "${value[${file##*/}]+known}" ] || rm -f "$file"
    done
    for key in "${keys[@]}"; do
        case $key in MODEL | OUT) continue ;; esac
        printf '%s\n' "${value[$key]}" | put ".settings/$key"
        export "$key=${value[$key]}"
    done
    put task.json <"$task"
    { [ ! -e "$folder/published.json" ] || cat "$folder/published.json"; } | put .settings/published
    cat "$pipelines"/report/* | sha256sum | put .settings/page # what makes it, versions apart
    changed_settings | put .settings/changed
    rec --version | sed 's/.* //' | put .settings/version
}

# The digests of the model's tokenizer and chat template: of their files, or of what a GGUF file says of them.
tokenizer_sums() {
    local sums=
    [ ! -d "${value[MODEL]}" ] || sums=$(
        cd "${value[MODEL]}" || exit
        find -L . -maxdepth 2 \( -path './tokenizer*' -o -path './special_tokens_map.json' -o -path './chat_template*' \
            -o -path './additional_chat_templates/*' \) -type f -exec sha256sum {} + | sort -k 2
    )
    if [ -n "$sums" ]; then
        printf '%s\n' "$sums"
    else
        echo "$(tok --model "${value[MODEL]}" --digest)  tokenizer"
    fi
}

# The link ./model, the model's digest and those of its tokenizer and chat template.
put_model() {
    [ "$(readlink "$out/model" || true)" = "${value[MODEL]}" ] || ln -sfT "${value[MODEL]}" "$out/model" ||
        die 73 "$out/model: is not a link that an earlier run made: choose another folder (OUT=)"
    {
        echo "$digest"
        tokenizer_sums
    } | put .settings/model
}

# Which files DATA holds now, by content.
put_data() {
    if [ -n "${value[DATA]}" ]; then
        "$pipelines/run/target.sh" files
    else
        echo "${value[SOURCE]}"
    fi | put .settings/data
}

# What the manifest's run had and this one has not is said.
compare_with_manifest() {
    changed duq "$(was .version)" "$(cat "$out/.settings/version")"
    changed 'the task' "$(was .task)" "sha256:$(sha256sum <"$out/task.json" | cut -d' ' -f1)"
    [ -z "$digest" ] || changed 'the model' "$(was .model.digest)" "$digest"
    [ -z "${value[DATA]}" ] || changed 'the data' "$(was '[.data[] | ltrimstr("sha256:")] | join(" ")')" \
        "$(cut -d' ' -f1 "$out/.settings/data" | paste -sd' ')"
}

was() { # FILTER
    jq -r "$1" "$manifest"
}

changed() { # WHAT THEN NOW
    [ "$2" = "$3" ] || printf 'run.sh: %s: %s is another one now: %s, then %s\n' "$manifest" "$1" "$3" "$2" >&2
}
