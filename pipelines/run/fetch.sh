# shellcheck shell=bash disable=SC2153 # settings are in the environment
# The data set's files: those in the folder DATA, or downloaded from SOURCE and held against CHECKSUM.

# The first alternative of which all files are in one of the folders, as paths.
find_files() { # ALTERNATIVES FOLDER...
    local alternatives=$1 alternative folder file
    local -a files paths
    shift
    while IFS= read -r alternative; do
        read -ra files <<<"$alternative"
        [ ${#files[@]} -gt 0 ] || continue
        for folder; do
            paths=()
            for file in "${files[@]}"; do
                [ -f "$folder/$file" ] && paths+=("$folder/$file")
            done
            [ ${#paths[@]} -lt ${#files[@]} ] || { printf '%s\n' "${paths[@]}"; return; }
        done
    done < <(tr '|' '\n' <<<"$alternatives")
    return 1
}

# data/archive/, with the files of SOURCE. What was fetched in part is gone on with.
download() {
    local archive=data/${SOURCE##*/} status=0
    local wanted="DATA=FOLDER with ${TRAIN_FILES//|/or}${TEST_FILES:+, ${TEST_FILES//|/or}}"
    [ -n "$SOURCE" ] || fail 66 "no SOURCE is known for the texts: give $wanted"
    # Another source may call it the same.
    [ ! -e data/source ] || [ "$(cat data/source)" = "$SOURCE" ] || rm -f "$archive" "$archive.part"
    echo "$SOURCE" >data/source
    if [ ! -e "$archive" ]; then
        command -v curl >/dev/null || fail 69 "curl is not installed: install it, or fetch $SOURCE and give $wanted"
        say "fetch: $SOURCE"
        curl_to "$archive.part" || status=$?
        case $status in
        22 | 33 | 36) # what is there in part cannot be gone on with
            rm -f "$archive.part"
            status=0
            curl_to "$archive.part" || status=$?
            ;;
        esac
        [ "$status" = 0 ] || fail 75 "$SOURCE cannot be fetched from here. Fetch it elsewhere, and give $wanted"
        mv "$archive.part" "$archive"
    fi
    case $CHECKSUM in
    '') ;;
    md5:* | sha256:*)
        [ "$("${CHECKSUM%%:*}sum" <"$archive" | cut -d' ' -f1)" = "${CHECKSUM#*:}" ] || {
            mv "$archive" "$archive.bad"
            fail 65 "$SOURCE does not have its checksum $CHECKSUM; what came is in $OUT/$archive.bad"
        }
        ;;
    *) fail 64 "CHECKSUM is md5:... or sha256:..., not $CHECKSUM" ;;
    esac
    rm -rf data/archive
    mkdir data/archive
    case $archive in
    *.zip) unzip -q "$archive" -d data/archive >&2 ;;
    *) tar -xf "$archive" -C data/archive ;;
    esac || fail 65 "$SOURCE cannot be unpacked: if it did not come whole, remove $OUT/$archive"
}

curl_to() { # FILE
    curl --fail --location --silent --show-error --retry 2 --continue-at - --output "$1" --url "$SOURCE" >&2
}

# Lines: train or test, path.
table_files() { # FOLDER...
    local set name path paths
    for set in train test; do
        name=${set^^}_FILES
        [ -n "${!name}" ] || continue
        paths=$(find_files "${!name}" "$@") || {
            # In a folder of the user's own one file may hold them all.
            [ $set = train ] || [ -z "$DATA" ] || break
            fail 66 "there is no ${!name//|/or} in ${*/%//}. ${SOURCE:+The official source is $SOURCE. }DATA=FOLDER says where the files are"
        }
        while IFS= read -r path; do
            echo "$set $path"
        done <<<"$paths"
    done
}

# data/train.N.ENDING and data/test.N.ENDING, links to the files; the target lists their digests.
fetch() {
    local set path link last='' number
    local -a folders=("$DATA" "$DATA/$NAME")
    rm -f data/train.[0-9]* data/test.[0-9]*
    if [ -z "$DATA" ]; then
        download
        folders=(data/archive data/archive/*/)
    fi
    table_files "${folders[@]}" >data/found
    while read -r set path; do
        [ "$set" = "$last" ] || number=0
        number=$((number + 1)) last=$set
        # What is in the run's folder moves with it.
        case $path in data/*) link=${path#data/} ;; *) link=$(realpath "$path") ;; esac
        ln -s "$link" "data/$set.$number.${path##*.}"
        printf '%s  %s %s\n' "$(digest "$path")" "$set" "$(basename "$path")"
    done <data/found
    rm data/found
    [ -n "$DATA" ] || printf '%s  archive %s\n' "$(digest "data/${SOURCE##*/}")" "$SOURCE"
}

# What DATA holds: digests and paths.
files() {
    [ -d "$DATA" ] || fail 66 "$DATA: no such folder (DATA=)"
    table_files "$DATA" "$DATA/$NAME" | while read -r _ path; do
        sha256sum "$path"
    done
}

