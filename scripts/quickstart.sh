#!/usr/bin/env bash
# From nothing to a placement an engine can load: installs packages, builds, and runs the main job on the
# sample trace. Results go to out/quickstart (replaced on every run).
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install-packages.sh
cmake --preset release >/dev/null
cmake --build --preset release --target moesaic

moesaic=build/release/bin/moesaic
out=out/quickstart
mkdir -p "$out"

echo
echo "== import: what the router of a model did -> a trace store"
$moesaic import samples/moesaic-mini -o "$out/mini.zarr" --force
echo
echo "== plan: lay out experts and requests on 2 nodes x 2 GPUs, score it on requests it has not seen"
$moesaic plan "$out/mini.zarr" --nodes 2 --gpus-per-node 2 --extra-slots 16 --dispatch sglang \
  -o "$out/plan.json" --force
echo
echo "== export: the file SGLang loads"
$moesaic export "$out/plan.json" --to sglang -o "$out/sglang.json" --force
echo
echo "trace store  $out/mini.zarr"
echo "plan         $out/plan.json"
echo "engine file  $out/sglang.json"
