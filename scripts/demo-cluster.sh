#!/usr/bin/env bash
# Two emulated prefillers and four decoders behind the gateway, a load of recorded requests that no policy has learnt
# from, and what each decode policy makes of it: distinct experts a step and time per token. Everything on loopback, stopped at the end.
#   scripts/demo-cluster.sh [REQUESTS] [CONCURRENCY]
set -euo pipefail
cd "$(dirname "$0")/.."
requests=${1:-160} concurrency=${2:-24}
moesaic=build/release/bin/moesaic
[ -x "$moesaic" ] || { cmake --preset release >/dev/null && cmake --build --preset release --target moesaic; }
work=$(mktemp -d "${TMPDIR:-/tmp}/moesaic-demo.XXXXXX")
pids=()
stop() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap stop EXIT
$moesaic import samples/moesaic-mini -o "$work/mini.zarr" >/dev/null
# Policies learn from four fifths of the requests; the engines replay the others.
$moesaic fit "$work/mini.zarr" --decoders 4 -o "$work/router.json" >/dev/null

start() { # NAME ARGUMENTS...: starts the program and waits for the line that says where it listens
  local name=$1
  shift
  "$moesaic" "$@" >"$work/$name.out" 2>"$work/$name.err" &
  pids+=($!)
  for _ in $(seq 200); do
    grep -q http "$work/$name.out" && return
    kill -0 "${pids[-1]}" 2>/dev/null || { cat "$work/$name.err" >&2; exit 3; }
    sleep 0.05
  done
  echo "$name did not start" >&2
  exit 3
}
port_of() { sed -n 's,.*http://[0-9.]*:\([0-9]*\).*,\1,p' "$work/$1.out" | head -n 1; }

step='{from: measured, fixed: 4ms, per_token_ns: 20000, per_expert_ns: 150000}'
workers=""
for role in prefill prefill decode decode decode decode; do
  name=$role${#pids[@]}
  cat >"$work/$name.yaml" <<YAML
role: $role
handoff: eldr
engine_id: $name
trace: $work/mini.zarr
trace_requests: heldout
eldr_signature: true
prefill: {fixed: 2ms, per_token: 10us}
step: $step
YAML
  start "$name" emulate "$work/$name.yaml"
  workers+="  - {name: $name, url: \"http://127.0.0.1:$(port_of "$name")\", role: $role}"$'\n'
done
cat >"$work/gateway.yaml" <<YAML
listen: {port: 0}
admin: {port: 0}
protocol: eldr
workers:
$workers
policy: {decode: jsq, router: "$work/router.json", trace: "$work/mini.zarr", trace_requests: train, step: $step}
health: {interval: 200ms}
log: none
YAML
start gateway gateway "$work/gateway.yaml"
gateway=$(sed -n 's,^gateway on http://[0-9.]*:\([0-9]*\).*,\1,p' "$work/gateway.out")
admin=$(sed -n 's,.*admin on http://[0-9.]*:\([0-9]*\).*,\1,p' "$work/gateway.out")
decoders=$(printf '%s' "$workers" | sed -n 's|.*url: "http://127.0.0.1:\([0-9]*\)", role: decode.*|\1|p' | paste -sd,)
node scripts/demo_load.mjs --gateway "$gateway" --admin "$admin" --decoders "$decoders" \
  --requests "$requests" --concurrency "$concurrency"
