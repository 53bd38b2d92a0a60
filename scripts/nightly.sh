#!/usr/bin/env bash
# Everything the default suite leaves out. Every step is run whatever the others say; the failed ones are named at
# the end, exit 1. On 2 cores it takes hours: name steps to run those alone.
#   scripts/nightly.sh [STEP...]     STEP: suite slow memory clang tsan asan tidy fuzz gateway
# MOESAIC_FUZZ_SECONDS (60) a fuzz target. Tests that skip are listed by ctest at the end of their step.
set -euo pipefail
cd "$(dirname "$0")/.."

# Property tests draw other cases each night; a failing one prints what repeats it.
export RC_PARAMS="${RC_PARAMS:-seed=$((RANDOM * 32768 + RANDOM))}"
echo "RC_PARAMS=$RC_PARAMS"

build_release() {
  cmake --preset release >/dev/null
  cmake --build --preset release
}

step_suite() { # the default suite, then the pages in a browser
  scripts/test.sh
  npm ci --loglevel=error --no-audit --no-fund --prefix tests/web
  ctest --preset release -L browser
}

step_slow() { # what is labelled slow
  build_release
  ctest --test-dir build/release -L slow --output-on-failure --no-tests=error
}

step_memory() { # memory of an import of a 5 GiB corpus
  build_release
  scripts/memory_check.sh 5
}

step_clang() { # clang 19
  cmake -S . -B build/clang -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_COMPILER=clang++-19 \
    -DMOESAIC_BENCHMARKS=OFF >/dev/null
  cmake --build build/clang
  ctest --test-dir build/clang --label-exclude 'slow|browser' --output-on-failure --no-tests=error -j "$(nproc)"
}

step_tsan() { # thread sanitizer
  cmake --preset tsan >/dev/null
  cmake --build --preset tsan
  ctest --preset tsan
}

step_asan() { # address and undefined-behaviour sanitizer, all modules (.ci/run has the parsers')
  cmake --preset asan >/dev/null
  cmake --build --preset asan
  ctest --test-dir build/asan --label-exclude 'slow|browser' --output-on-failure --no-tests=error -j "$(nproc)"
}

step_tidy() { # clang-tidy
  cmake --preset tidy >/dev/null
  cmake --build --preset tidy
}

step_fuzz() { # fuzzing; what breaks a target is left in build/fuzz/found/
  cmake --preset fuzz >/dev/null
  local source target work failed=()
  # shellcheck disable=SC2046
  cmake --build --preset fuzz --target $(for source in fuzz/*.cpp; do echo "fuzz_$(basename "$source" .cpp)"; done)
  for source in fuzz/*.cpp; do
    target=$(basename "$source" .cpp)
    mkdir -p "build/fuzz/found/$target"
    work=$(mktemp -d "${TMPDIR:-/tmp}/moesaic-fuzz.XXXXXX")
    if "build/fuzz/fuzz_$target" -max_total_time="${MOESAIC_FUZZ_SECONDS:-60}" -rss_limit_mb=2048 -timeout=20 \
      -artifact_prefix="build/fuzz/found/$target/" "$work" "fuzz/corpus/$target" >"build/fuzz/found/$target.log" 2>&1; then
      echo "$target: $(tail -n 1 "build/fuzz/found/$target.log")"
    else
      echo "$target: found"
      tail -n 60 "build/fuzz/found/$target.log"
      failed+=("$target")
    fi
    rm -rf "$work"
  done
  [ ${#failed[@]} -eq 0 ] || { echo "broken by the fuzzer: ${failed[*]}" >&2; return 1; }
}

step_gateway() { # the gateway beside nginx
  build_release
  scripts/bench-gateway.sh
}

known=" $(declare -F | sed -n 's/^declare -f step_//p' | xargs) "
for step in "$@"; do
  [[ "$known" == *" $step "* ]] || { echo "nightly.sh: no step $step; there are$known" >&2; exit 2; }
done

# One step: here and now, so that its first failing command ends it.
if [ $# -eq 1 ]; then
  scripts/install-packages.sh nightly
  "step_$1"
  exit
fi

[ $# -gt 0 ] || set -- suite slow memory clang tsan asan tidy fuzz gateway
failed=()
for step in "$@"; do
  echo "== $step"
  started=$SECONDS
  "scripts/nightly.sh" "$step" || failed+=("$step")
  echo "== $step took $((SECONDS - started)) s"
done
[ ${#failed[@]} -eq 0 ] || { echo "nightly: failed: ${failed[*]}" >&2; exit 1; }
echo "nightly: all steps passed: $*"
