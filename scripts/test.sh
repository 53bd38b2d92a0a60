#!/usr/bin/env bash
# Installs what it needs, builds the release preset and runs the default suite.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install-packages.sh
cmake --preset release >/dev/null
cmake --build --preset release
# The outside reader of the store, npm's zarrita.
if [ -f tests/zarrita/package-lock.json ]; then
  npm ci --loglevel=error --no-audit --no-fund --prefix tests/zarrita
fi
# The official client of the API that the gateway serves.
npm ci --loglevel=error --no-audit --no-fund --prefix tests/openai
ctest --preset release --label-exclude 'slow|browser' -j "$(($(nproc) + 1))"  # many wait for sockets
