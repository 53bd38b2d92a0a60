#!/usr/bin/env bash
# Runs an MPI job on "nodes" that are network namespaces of this machine: own host names, joined by a bridge
# of veth pairs, rate-limited by tbf, so that ranks of different nodes speak TCP over a network of known speed.
#
#   scripts/mpi-nodes.sh --nodes 4 --ranks-per-node 1 [--mbit 200] [--delay-us 100] -- PROGRAM ARGUMENTS...
#
# --each FILE instead of "-- PROGRAM ...": runs every line of FILE as one job on the same nodes, in order.
# Needs root (namespaces); without that right it says so and runs the job on plain processes. Whatever happens,
# the namespaces are gone at the end. Exit code: that of the job (of the first that fails).
set -euo pipefail

nodes=4 per_node=1 mbit=200 delay_us=0 each=""
while [ $# -gt 0 ]; do
  case "$1" in
    --nodes) nodes=$2; shift 2 ;;
    --ranks-per-node) per_node=$2; shift 2 ;;
    --mbit) mbit=$2; shift 2 ;;
    --delay-us) delay_us=$2; shift 2 ;;
    --each) each=$2; shift 2 ;;
    --) shift; break ;;
    *) sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
done
if [ -z "$each" ] && [ $# -eq 0 ]; then
  echo "mpi-nodes: give a program after --, or --each FILE." >&2
  exit 2
fi
command -v mpirun >/dev/null || { echo "mpi-nodes: no mpirun; install openmpi-bin." >&2; exit 3; }
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# Runs all jobs with the mpirun options given.
run_jobs() {
  local status=0 code line
  if [ -z "$each" ]; then
    mpirun "$@" "${job[@]}" || status=$?
    return $status
  fi
  while IFS= read -r line <&3; do
    [ -n "$line" ] || continue
    # shellcheck disable=SC2086
    mpirun "$@" $line </dev/null || { code=$?; [ $status -ne 0 ] || status=$code; }
  done 3<"$each"
  return $status
}
job=("$@")
ranks=$((nodes * per_node))

# Names carry the process id, so that two runs do not meet.
id=$$ bridge=mb$$ work=$(mktemp -d)
space() { echo "moesaic-$id-$1"; }
cleanup() {
  local n pid
  for n in $(seq 0 $((nodes - 1))); do
    if [ -e "/run/netns/$(space "$n")" ]; then
      for pid in $(ip netns pids "$(space "$n")" 2>/dev/null); do kill -9 "$pid" 2>/dev/null || true; done
      ip netns del "$(space "$n")" 2>/dev/null || true
    fi
    ip link del "mv$id.$n" 2>/dev/null || true
  done
  ip link del "$bridge" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

if ! { ip netns add "$(space 0)" && ip link add "$bridge" type bridge; } 2>"$work/why"; then
  echo "mpi-nodes: no right to make network namespaces ($(tail -n 1 "$work/why")): running without; all ranks" \
    "are processes of one host and times are not those of a network." >&2
  cleanup
  trap - EXIT
  run_jobs -q -n "$ranks" --oversubscribe
  exit $?
fi

# The launching mpirun lives on the bridge at .254; node n at .(n + 1).
net=10.$((200 + id % 50)).$((id / 50 % 250))
ip link set "$bridge" up
ip addr add "$net.254/24" dev "$bridge"
delay_said=0
for n in $(seq 0 $((nodes - 1))); do
  s=$(space "$n")
  [ "$n" -eq 0 ] || ip netns add "$s"
  ip link add "mv$id.$n" type veth peer name eth0 netns "$s"
  ip link set "mv$id.$n" master "$bridge" up
  ip -n "$s" link set lo up
  ip -n "$s" addr add "$net.$((n + 1))/24" dev eth0
  ip -n "$s" link set eth0 up
  # Both directions: what the node sends (its eth0) and what it receives (the bridge's end).
  for where in "-n $s qdisc add dev eth0" "qdisc add dev mv$id.$n"; do
    # shellcheck disable=SC2086
    tc $where root handle 1: tbf rate "${mbit}mbit" burst 32kb latency 200ms
    if [ "$delay_us" -gt 0 ]; then
      # shellcheck disable=SC2086
      if ! tc $where parent 1:1 netem delay "${delay_us}us" limit 10000 2>/dev/null && [ $delay_said -eq 0 ]; then
        echo "mpi-nodes: this kernel has no netem: running without a delay of $delay_us us." >&2
        delay_said=1
      fi
    fi
  done
  # MPI tells nodes apart by host name; the daemon of a node and its ranks see this one.
  echo "$net.$((n + 1)) slots=$per_node" >>"$work/hosts"
  echo "$net.$((n + 1)) $s node$n" >>"$work/spaces"
done

# What mpirun calls instead of ssh: agent HOST COMMAND..., run in the namespace of HOST under its own name.
cat >"$work/agent" <<AGENT
#!/bin/sh
host=\$1
shift
while read -r address space name; do
  [ "\$address" = "\$host" ] || continue
  exec ip netns exec "\$space" unshare --uts sh -c 'hostname "\$0" && exec sh -c "\$*"' "\$name" "\$@"
done <"$work/spaces"
echo "mpi-nodes: no node \$host" >&2
exit 1
AGENT
chmod +x "$work/agent"

echo "mpi-nodes: $nodes nodes x $per_node ranks, $mbit Mbit/s a node each way (tbf)" >&2
run_jobs -q -n "$ranks" --hostfile "$work/hosts" --map-by "ppr:$per_node:node" --bind-to none \
  --mca plm_rsh_agent "$work/agent" --mca plm_rsh_no_tree_spawn 1 --mca pml ob1 --mca btl tcp,self,vader \
  --mca btl_tcp_if_include "$net.0/24" --mca oob_tcp_if_include "$net.0/24" \
  --mca orte_keep_fqdn_hostnames 1 --mca mpi_yield_when_idle 1
