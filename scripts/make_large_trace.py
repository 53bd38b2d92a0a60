#!/usr/bin/env python3
"""Makes requests of a large model (58 MoE layers x 256 experts, 8 a token), as moe-trace files: what `plan` takes at scale.

    make_large_trace.py FOLDER [--requests 300] [--decode 200] [--topics 16] [--seed 0]

Each topic prefers a random set of experts in every layer, as requests of real traces do; a third of the choices are of
any expert. Every request has 16 prompt tokens. The same arguments make the same bytes.
"""
import argparse
import json
import os

import numpy as np

LAYERS, EXPERTS, TOP_K, FIRST, PROMPT = 58, 256, 8, 3, 16  # layers 0 to 2 are dense

parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("--requests", type=int, default=300)
parser.add_argument("--decode", type=int, default=200)
parser.add_argument("--topics", type=int, default=16)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

random = np.random.default_rng(args.seed)
liked = np.argsort(random.random((args.topics, LAYERS, EXPERTS)), axis=2)[:, :, :64]
for number in range(args.requests):
    topic = number % args.topics
    tokens = PROMPT + args.decode
    weight = random.random((tokens, LAYERS, EXPERTS), dtype=np.float32)
    np.put_along_axis(weight, np.broadcast_to(liked[topic], (tokens, LAYERS, 64)),
                      np.take_along_axis(weight, np.broadcast_to(liked[topic], (tokens, LAYERS, 64)), axis=2) + 0.04, axis=2)
    ids = np.argpartition(-weight, TOP_K, axis=2)[:, :, :TOP_K].tolist()

    def element(rows):
        dense = {str(layer): None for layer in range(FIRST)}
        return dense | {str(FIRST + layer): [row[layer] for row in rows] for layer in range(LAYERS)}

    folder = os.path.join(args.folder, f"topic-{topic}")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, f"{number}.json"), "w", encoding="utf-8") as file:
        steps = [element(ids[:PROMPT])] + [element([row]) for row in ids[PROMPT:]]
        json.dump(steps, file, separators=(",", ":"))
