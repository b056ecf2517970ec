#!/usr/bin/env bash
mkdir -p "$1"; echo hi >"$1/index.html"
