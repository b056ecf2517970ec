#!/usr/bin/env bash
# usage: pipelines/yahoo.sh [OPTION]... [KEY=VALUE]...    see --help
exec "$(dirname "$0")/run.sh" yahoo "$@"
