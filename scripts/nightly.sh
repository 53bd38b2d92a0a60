#!/usr/bin/env bash
# Everything the default suite leaves out: slow tests, clang 19, thread sanitizer, clang-tidy, fuzzing.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install-packages.sh nightly
seconds=${MOESAIC_FUZZ_SECONDS:-60}

echo "== release: the default suite, then what is labelled slow"
scripts/test.sh
npm ci --loglevel=error --no-audit --no-fund --prefix tests/web
ctest --preset release -L browser
ctest --test-dir build/release -L slow --output-on-failure --no-tests=ignore

echo "== memory of an import of a 5 GiB corpus"
scripts/memory_check.sh 5

echo "== clang 19"
cmake -S . -B build/clang -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_COMPILER=clang++-19 \
  -DMOESAIC_BENCHMARKS=OFF >/dev/null
cmake --build build/clang
ctest --test-dir build/clang -LE slow --output-on-failure -j "$(nproc)"

echo "== thread sanitizer"
cmake --preset tsan >/dev/null
cmake --build --preset tsan
ctest --preset tsan

echo "== clang-tidy"
cmake --preset tidy >/dev/null
cmake --build --preset tidy

echo "== fuzzing, $seconds s a target"
cmake --preset fuzz >/dev/null
cmake --build --preset fuzz
for program in build/fuzz/fuzz_*; do
  [ -x "$program" ] && [ -f "$program" ] || continue
  target=$(basename "$program")
  echo "-- $target"
  work=$(mktemp -d)
  "$program" -max_total_time="$seconds" -rss_limit_mb=2048 "$work" "fuzz/corpus/${target#fuzz_}" 2>&1 | tail -n 3
  rm -rf "$work"
done

echo "== the gateway beside nginx"
scripts/bench-gateway.sh
