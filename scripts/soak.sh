#!/usr/bin/env bash
# Ten minutes of load on a gateway whose workers die and come back.
#   scripts/soak.sh [SECONDS]
set -euo pipefail
cd "$(dirname "$0")/.."
MOESAIC_SOAK_SECONDS=${1:-600} build/release/gateway_test --gtest_filter='SlowSoak.*'
