#!/usr/bin/env python3
"""Do the bytes that a replay moves equal those the evaluator counts? Every algorithm and mode on whole traces
(the plan's held-out requests), 4 nodes x 2 GPUs as 8 ranks of a real mpirun. Exit 1: somewhere they do not.

usage: replay_matrix.py TRACE... [--algorithms linear eplb patterns moesaic] [--limit N] [--bin build/release/bin]
                        [--compute on|off] [--scale 64]
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

root = pathlib.Path(__file__).resolve().parent.parent
parser = argparse.ArgumentParser()
parser.add_argument("traces", nargs="+")
parser.add_argument("--algorithms", nargs="+", default=["linear", "eplb", "patterns", "moesaic"])
parser.add_argument("--limit", type=int, help="replay so many requests only")
parser.add_argument("--compute", default="off", choices=["on", "off"])
parser.add_argument("--scale", type=int, default=64)
parser.add_argument("--bin", default=str(root / "build/release/bin"))
options = parser.parse_args()
programs = pathlib.Path(options.bin).resolve()
os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")

print(f"| trace, tokens, mode | {' | '.join(options.algorithms)} | largest error |")
print("|---" * (len(options.algorithms) + 2) + "|")
held = True
with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    for trace in options.traces:
        for mode in ("dedup", "per-expert"):
            cells, worst, tokens = [], 0.0, 0
            for algorithm in options.algorithms:
                plan, out = folder / f"{algorithm}.json", folder / "replay.json"
                subprocess.run([programs / "moesaic", "plan", trace, "--nodes", "4", "--gpus-per-node", "2", "--algorithm",
                                algorithm, "--force", "-o", plan], check=True, stdout=subprocess.DEVNULL)
                words = [programs / "moesaic-mpi", "replay", plan, trace, "--mode", mode, "--compute", options.compute,
                         "--scale", str(options.scale), "--batch-tokens", "512", "--check-tokens", "2", "--json", out]
                if options.limit:
                    words += ["--limit", str(options.limit)]
                out.unlink(missing_ok=True)
                ran = subprocess.run(["mpirun", "-q", "-n", "8", "--oversubscribe", *words], stdout=subprocess.DEVNULL)
                if ran.returncode not in (0, 1) or not out.exists():
                    sys.exit(f"{trace}, {algorithm}, {mode}: the replay exits {ran.returncode}")
                result = json.loads(out.read_text())
                same = all(result[f"measured_{kind}_node_bytes"] == result[f"predicted_{kind}_node_bytes"]
                           for kind in ("inter", "intra"))
                held = held and same and result["within_tolerance"] and ran.returncode == 0
                cells.append(f"{result['measured_inter_node_bytes']:,}" + ("" if same else " DIFFERS"))
                worst, tokens = max(worst, result["max_abs_error"]), result["tokens"]
            name = pathlib.Path(trace).stem
            print(f"| {name}, {tokens:,}, {mode} | {' | '.join(cells)} | {worst:.2g} |", flush=True)
sys.exit(0 if held else 1)
