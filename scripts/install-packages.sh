#!/usr/bin/env bash
# Installs the Debian packages that building and testing need, where they are missing. Debian 12.
# usage: scripts/install-packages.sh [browser | nightly]
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache mold pkg-config git ca-certificates
  libzstd-dev libxxhash-dev libsimdjson-dev nlohmann-json3-dev libarchive-dev libyaml-cpp-dev
  libcli11-dev libfmt-dev libexpected-dev libopenblas-dev libboost1.81-dev libssl-dev libmetis-dev
  libgtest-dev librapidcheck-dev libbenchmark-dev
  clang-format-19 python3 python3-jsonschema xz-utils nodejs npm
)
case "${1:-}" in
  browser) packages+=(chromium) ;;
  nightly)
    packages+=(
      chromium python3-numpy clang-19 clang-tidy-19 libclang-rt-19-dev valgrind strace time
      nginx-light wrk curl procps libopenmpi-dev openmpi-bin iproute2
    ) ;;
esac

missing=()
for package in "${packages[@]}"; do
  # A program that is there by other means (a newer node, say) is as good as its package.
  case "$package" in
    nodejs) command -v node >/dev/null && continue ;;
    npm | git | cmake) command -v "$package" >/dev/null && continue ;;
  esac
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "needs root, or sudo, to install: ${missing[*]}" >&2; exit 3; }
  as_root=(sudo)
fi
echo "installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
