#!/usr/bin/env bash
# usage: pipelines/youtube.sh [OPTION]... [KEY=VALUE]...    see --help
exec "$(dirname "$0")/run.sh" youtube "$@"
