#!/usr/bin/env python3
"""Does a plan's reduction in node copies show as time on a network? Replays plans of one trace, interleaved,
on network namespaces with a rate limit (scripts/mpi-nodes.sh), and prints medians with their spread.

usage: bench_replay_nodes.py TRACE [--nodes 4] [--mbit 100] [--rounds 7] [--algorithms linear eplb moesaic]
                             [--scale 4] [--limit 40] [--batch-tokens 64] [--bin build/release/bin]
The last algorithm is the one compared with the others. Exit 1: it gains less than half of what it saves.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

root = pathlib.Path(__file__).resolve().parent.parent
parser = argparse.ArgumentParser()
parser.add_argument("trace")
parser.add_argument("--nodes", type=int, default=4)
parser.add_argument("--mbit", type=int, default=100)
parser.add_argument("--rounds", type=int, default=7)
parser.add_argument("--algorithms", nargs="+", default=["linear", "eplb", "moesaic"])
parser.add_argument("--scale", type=int, default=4)
parser.add_argument("--limit", type=int, default=40)
parser.add_argument("--batch-tokens", type=int, default=64)
parser.add_argument("--mode", default="dedup")
parser.add_argument("--bin", default=str(root / "build/release/bin"))
options = parser.parse_args()
programs = pathlib.Path(options.bin).resolve()
trace = str(pathlib.Path(options.trace).resolve())

with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    for name in options.algorithms:
        subprocess.run([programs / "moesaic", "plan", trace, "--nodes", str(options.nodes), "--gpus-per-node", "1",
                        "--algorithm", name, "-o", f"{name}.json"], check=True, stdout=subprocess.DEVNULL)
    jobs = []
    for turn in range(options.rounds):
        for name in options.algorithms:
            jobs.append(f"{programs / 'moesaic-mpi'} replay {folder}/{name}.json {trace} --compute off"
                        f" --mode {options.mode} --scale {options.scale} --limit {options.limit}"
                        f" --batch-tokens {options.batch_tokens} --json {folder}/{name}.{turn}.out")
    pathlib.Path("jobs").write_text("\n".join(jobs) + "\n")
    ran = subprocess.run([root / "scripts/mpi-nodes.sh", "--nodes", str(options.nodes), "--ranks-per-node", "1",
                          "--mbit", str(options.mbit), "--each", f"{folder}/jobs"], stdout=subprocess.DEVNULL)
    if ran.returncode != 0:
        sys.exit(f"a replay exits {ran.returncode}")
    seconds, copies = {}, {}
    for name in options.algorithms:
        runs = [json.loads(pathlib.Path(f"{name}.{turn}.out").read_text()) for turn in range(options.rounds)]
        if len(set(runs[0]["hosts"])) != options.nodes:
            print("note: nodes share a host; these are not times of a network")
        seconds[name] = sorted(run["seconds"]["slowest_dispatch_combine"] for run in runs)
        copies[name] = runs[0]["measured_inter_node_bytes"]
        assert all(run["measured_inter_node_bytes"] == run["predicted_inter_node_bytes"] for run in runs)
    print(f"{options.nodes} nodes, {options.mbit} Mbit/s, {options.mode}, {options.rounds} rounds, interleaved;"
          f" {runs[0]['tokens']} tokens x {len(runs[0]['layers'])} layers, hidden {runs[0]['hidden']}")
    print("| placement | MB between nodes | dispatch + combine, median s | min-max s |")
    print("|---|---|---|---|")
    for name in options.algorithms:
        times = seconds[name]
        print(f"| {name} | {copies[name] / 1e6:.1f} | {statistics.median(times):.2f} |"
              f" {times[0]:.2f}-{times[-1]:.2f} |")
    best, held = options.algorithms[-1], True
    for name in options.algorithms[:-1]:
        saved = 1 - copies[best] / copies[name]
        gained = 1 - statistics.median(seconds[best]) / statistics.median(seconds[name])
        print(f"{best} against {name}: node copies -{saved:.1%}, time -{gained:.1%}, ratio {gained / saved:.2f}")
        held = held and gained >= 0.5 * saved
sys.exit(0 if held else 1)
