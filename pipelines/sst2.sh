#!/usr/bin/env bash
# usage: pipelines/sst2.sh [OPTION]... [KEY=VALUE]...    see --help
exec "$(dirname "$0")/run.sh" sst2 "$@"
