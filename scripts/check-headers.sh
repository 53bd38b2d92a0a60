#!/usr/bin/env bash
# Compiles every header of src/ alone: a header must bring what it needs.
set -euo pipefail
cd "$(dirname "$0")/.."
headers=$(git ls-files 'src/*.hpp' | sed 's,^src/,,')
echo "$headers" | xargs -P "$(nproc)" -I{} sh -c \
  'echo "#include \"{}\"" | g++ -std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -Werror -Isrc -x c++ -'
echo "$(echo "$headers" | wc -l) headers compile alone"
