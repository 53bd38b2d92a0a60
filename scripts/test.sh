#!/usr/bin/env bash
# Installs what it needs, builds the release preset and runs the default suite.
set -euo pipefail
cd "$(dirname "$0")/.."
# Property tests draw the same cases each time; scripts/nightly.sh draws others.
export RC_PARAMS="${RC_PARAMS:-seed=1}"
scripts/install-packages.sh
cmake --preset release >/dev/null
cmake --build --preset release
# The outside reader of the store, npm's zarrita.
if [ -f tests/zarrita/package-lock.json ]; then
  npm ci --loglevel=error --no-audit --no-fund --prefix tests/zarrita
fi
# The official client of the API that the gateway serves.
npm ci --loglevel=error --no-audit --no-fund --prefix tests/openai
# Not by preset: a preset's excluded labels are not replaced by the command line's. Many tests wait for sockets.
ctest --test-dir build/release --label-exclude 'slow|browser' --output-on-failure --no-tests=error \
  -j "$(($(nproc) + 1))"
