#!/usr/bin/env bash
# moesaic import on a large corpus must stay within 256 MiB + 3 x the largest document.
#   scripts/memory_check.sh [GIB] [PROGRAM]
set -euo pipefail
cd "$(dirname "$0")/.."
gib=${1:-5}
program=${2:-build/release/bin/moesaic}
largest_mib=64
work=$(mktemp -d "${TMPDIR:-/tmp}/moesaic-memory.XXXXXX")
trap 'rm -rf "$work"' EXIT
python3 scripts/make_corpus.py "$work/corpus" --gib "$gib" --largest-mib "$largest_mib"
largest_kib=$(find "$work/corpus" -name '*.json' -printf '%s\n' | sort -n | tail -n 1 | awk '{print int($1 / 1024) + 1}')
/usr/bin/time -v "$program" import "$work/corpus" -o "$work/corpus.zarr" >"$work/out" 2>"$work/time"
used_kib=$(awk '/Maximum resident set size/ {print $NF}' "$work/time")
seconds=$(awk '/Elapsed/ {print $NF}' "$work/time")
allowed_kib=$((256 * 1024 + 3 * largest_kib))
echo "import of ${gib} GiB: $((used_kib / 1024)) MiB at most, allowed $((allowed_kib / 1024)) MiB, took $seconds"
[ "$used_kib" -le "$allowed_kib" ]
