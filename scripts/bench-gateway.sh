#!/usr/bin/env bash
# POSTs a second through the gateway beside nginx, to the same upstream, one thread each, interleaved pairs.
# Needs nginx and wrk (scripts/install-packages.sh nightly).
#   scripts/bench-gateway.sh [PAIRS] [SECONDS] [CONNECTIONS]
set -euo pipefail
cd "$(dirname "$0")/.."
pairs=${1:-7} seconds=${2:-3} connections=${3:-64}
work=$(mktemp -d "${TMPDIR:-/tmp}/moesaic-bench.XXXXXX")
pids=()
stop() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap stop EXIT

# The upstream answers a completion of the usual size at once.
answer='{"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":" hello","finish_reason":"length"}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}'
cat >"$work/nginx.conf" <<CONF
worker_processes 1;
daemon off;
pid $work/nginx.pid;
error_log $work/error.log;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path $work/body; proxy_temp_path $work/proxy; fastcgi_temp_path $work/fastcgi;
  uwsgi_temp_path $work/uwsgi; scgi_temp_path $work/scgi;
  keepalive_requests 1000000000;
  upstream engine { server 127.0.0.1:18181; keepalive 256; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:18182;
    location / { proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}
CONF
sed "s,$work/nginx.pid,$work/engine.pid,; s,listen 127.0.0.1:18182,listen 127.0.0.1:18181,; s,location / .*,location / { default_type application/json; return 200 '$answer'; }," \
  "$work/nginx.conf" >"$work/engine.conf"
cat >"$work/gateway.yaml" <<YAML
listen: {port: 18183}
admin: {port: 0}
workers: [{name: engine, url: "http://127.0.0.1:18181"}]
health: {read_load: false}
log: none
YAML
nginx -c "$work/engine.conf" & pids+=($!)
nginx -c "$work/nginx.conf" & pids+=($!)
build/release/bin/moesaic gateway "$work/gateway.yaml" >"$work/out" & pids+=($!)
cat >"$work/post.lua" <<'LUA'
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"model":"m","prompt":"' .. string.rep("word ", 100) .. '","max_tokens":16}'
LUA
for _ in $(seq 100); do
  [ "$(curl -s -o "$work/got" -w '%{http_code}' -X POST -d '{"prompt":"x"}' http://127.0.0.1:18183/v1/completions)" = 200 ] && break
  sleep 0.1
done
# Equality first: both must give what the upstream gives.
for port in 18182 18183; do
  [ "$(curl -s -X POST -d '{"prompt":"x"}' http://127.0.0.1:$port/v1/completions)" = "$answer" ] ||
    { echo "port $port answers something else" >&2; exit 1; }
done
run() { wrk -t1 -c"$connections" -d"${seconds}s" -s "$work/post.lua" "http://127.0.0.1:$1/v1/completions" >"$work/wrk"
  grep -q 'Non-2xx' "$work/wrk" && { cat "$work/wrk" >&2; exit 1; }
  awk '/Requests\/sec/ {print $2}' "$work/wrk"; }
run 18182 >/dev/null; run 18183 >/dev/null
for pair in $(seq "$pairs"); do
  a=$(run 18182) b=$(run 18183)
  echo "$pair $a $b" | awk '{printf "pair %d: nginx %.0f, gateway %.0f POST/s, ratio %.3f\n", $1, $2, $3, $3 / $2}' | tee -a "$work/pairs"
done
sed 's/.*ratio //' "$work/pairs" | sort -n | awk '{r[NR] = $1} END {printf "ratio: median %.3f, from %.3f to %.3f\n", r[int((NR + 1) / 2)], r[1], r[NR]}'
