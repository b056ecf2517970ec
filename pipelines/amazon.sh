#!/usr/bin/env bash
# usage: pipelines/amazon.sh [OPTION]... [KEY=VALUE]...    see --help
exec "$(dirname "$0")/run.sh" amazon "$@"
