#!/usr/bin/env bash
# POSTs a second through the gateway beside nginx, to the same upstream, one thread each, interleaved pairs; or, on any
# machine, the instructions and allocations of a POST (user space, by callgrind), or its system calls. Needs nginx and wrk
# (scripts/install-packages.sh nightly), and valgrind or strace for the latter.
#   scripts/bench-gateway.sh [PAIRS] [SECONDS] [CONNECTIONS]
#   scripts/bench-gateway.sh --instructions [SECONDS] [CONNECTIONS]
#   scripts/bench-gateway.sh --syscalls [SECONDS] [CONNECTIONS]
set -euo pipefail
cd "$(dirname "$0")/.."
count=no
case "${1:-}" in
  --instructions) count=yes; set -- 0 "${2:-5}" "${3:-64}" ;;
  --syscalls) count=calls; set -- 0 "${2:-5}" "${3:-64}" ;;
esac
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
observed() { # NAME COMMAND...: under callgrind, which begins to count when told
  local name=$1
  shift
  if [ $count = yes ]; then
    exec valgrind -q --tool=callgrind --instr-atstart=no --callgrind-out-file="$work/$name.callgrind" "$@"
  fi
  exec "$@"
}
server() { # NAME PORT LOCATION: an nginx of one worker
  mkdir -p "$work/$1"
  cat >"$work/$1.conf" <<CONF
worker_processes 1;
daemon off;
$([ $count = no ] || echo 'master_process off;')
pid $work/$1.pid;
error_log $work/$1.log;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path $work/$1/body; proxy_temp_path $work/$1/proxy; fastcgi_temp_path $work/$1/fastcgi;
  uwsgi_temp_path $work/$1/uwsgi; scgi_temp_path $work/$1/scgi;
  keepalive_requests 1000000000;
  upstream engine { server 127.0.0.1:18181; keepalive 256; keepalive_requests 1000000000; }
  server { listen 127.0.0.1:$2; location / { $3 } }
}
CONF
  observed "$1" nginx -c "$work/$1.conf" & pids+=($!)
}
server engine 18181 "default_type application/json; return 200 '$answer';"
server proxy 18182 'proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection "";'
cat >"$work/gateway.yaml" <<YAML
listen: {port: 18183}
admin: {port: 0}
workers: [{name: engine, url: "http://127.0.0.1:18181"}]
health: {read_load: false, timeout: 5s}
log: none
YAML
observed gateway build/release/bin/moesaic gateway "$work/gateway.yaml" >"$work/out" & pids+=($!)
cat >"$work/post.lua" <<'LUA'
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"model":"m","prompt":"' .. string.rep("word ", 100) .. '","max_tokens":16}'
LUA
for _ in $(seq 300); do
  [ "$(curl -s -o "$work/got" -w '%{http_code}' -X POST -d '{"prompt":"x"}' http://127.0.0.1:18183/v1/completions)" = 200 ] && break
  sleep 0.1
done
# Equality first: both must give what the upstream gives.
for port in 18182 18183; do
  [ "$(curl -s -X POST -d '{"prompt":"x"}' http://127.0.0.1:$port/v1/completions)" = "$answer" ] ||
    { echo "port $port answers something else" >&2; exit 1; }
done
if [ $count = yes ]; then
  instructions() { # NAME PORT PID
    wrk -t1 -c"$connections" -d1s -s "$work/post.lua" "http://127.0.0.1:$2/v1/completions" >/dev/null
    callgrind_control -i on "$3" >/dev/null
    wrk -t1 -c"$connections" -d"${seconds}s" -s "$work/post.lua" "http://127.0.0.1:$2/v1/completions" >"$work/wrk"
    callgrind_control -i off "$3" >/dev/null
    kill "$3"
    wait "$3" || true
    # A function's name stands where its number is first used.
    awk -v name="$1" '/requests in/ {n = $1} /^(summary|totals):/ && !total {total = $2}
      /^c?fn=/ {split($1, part, "="); if (NF > 1) known[part[2]] = $2; called = known[part[2]]}
      /^calls=/ && called ~ /^(malloc|calloc|realloc)$/ {split($1, part, "="); memory += part[2]}
      END {printf "%s: %.0f instructions, %.1f allocations a POST (%d POSTs)\n", name, total / n, memory / n, n}' \
      "$work/wrk" "$work/$1.callgrind"
  }
  instructions proxy 18182 "${pids[1]}"
  instructions gateway 18183 "${pids[2]}"
  exit
fi
if [ $count = calls ]; then
  calls() { # NAME PORT PID
    local tracer
    wrk -t1 -c"$connections" -d1s -s "$work/post.lua" "http://127.0.0.1:$2/v1/completions" >/dev/null
    strace -f -c -o "$work/$1.calls" -p "$3" 2>"$work/strace.log" & tracer=$!
    sleep 0.5
    wrk -t1 -c"$connections" -d"${seconds}s" -s "$work/post.lua" "http://127.0.0.1:$2/v1/completions" >"$work/wrk"
    kill -INT $tracer
    wait $tracer || true
    awk -v name="$1" '/requests in/ {n = $1} $NF == "total" {total = $(NF - 1) == $4 ? $4 : $(NF - 2)}
      END {printf "%s: %.2f system calls a POST (%d POSTs)\n", name, total / n, n}' "$work/wrk" "$work/$1.calls"
  }
  calls proxy 18182 "${pids[1]}"
  calls gateway 18183 "${pids[2]}"
  exit
fi
proxy=$(pgrep -P "${pids[1]}" | head -n 1) gateway=${pids[2]}
ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; }
# Prints POSTs a second and microseconds of the proxy's CPU time a POST: the second holds on a busy machine too.
run() { # PORT PID
  local before
  before=$(ticks "$2")
  wrk -t1 -c"$connections" -d"${seconds}s" -s "$work/post.lua" "http://127.0.0.1:$1/v1/completions" >"$work/wrk"
  if grep -q 'Non-2xx' "$work/wrk"; then cat "$work/wrk" >&2; exit 1; fi
  awk -v ticks=$(($(ticks "$2") - before)) -v hz="$(getconf CLK_TCK)" \
    '/requests in/ {n = $1} /Requests\/sec/ {print $2, 1e6 * ticks / hz / n}' "$work/wrk"
}
run 18182 "$proxy" >/dev/null
run 18183 "$gateway" >/dev/null
for pair in $(seq "$pairs"); do
  echo "$pair $(run 18182 "$proxy") $(run 18183 "$gateway")" |
    awk '{printf "pair %d: nginx %.0f, gateway %.0f POST/s, ratio %.3f; CPU %.1f and %.1f us, ratio %.3f\n",
          $1, $2, $4, $4 / $2, $3, $5, $5 / $3}' | tee -a "$work/pairs"
done
median() { sort -n | awk -v what="$1" '{r[NR] = $1} END {
  printf "%s: median %.3f, from %.3f to %.3f\n", what, r[int((NR + 1) / 2)], r[1], r[NR]}'; }
sed 's/.*s, ratio \([0-9.]*\); CPU.*/\1/' "$work/pairs" | median "POST/s, gateway to nginx"
sed 's/.*us, ratio //' "$work/pairs" | median "CPU a POST, gateway to nginx"
