#!/usr/bin/env python3
"""Makes a large corpus of moe-trace files (MoE_expert_selection_trace), for memory and throughput checks.

    make_corpus.py FOLDER [--gib 5] [--from SOURCE_FOLDER] [--largest-mib 64]

Files of SOURCE_FOLDER (unpacked .json, e.g. of the Llama-4 traces) are repeated with their expert ids
perturbed; without it, files of the same form are made up. One file of about --largest-mib MiB is among them,
since what an import may take is bounded by the largest document. The same arguments make the same bytes.
"""
import argparse
import glob
import json
import os
import re


def made_up(number, prompt, steps, layers=48, experts=128):
    """A request of a model whose odd layers are MoE, k = 1, as json.dump(..., indent=4) writes it."""
    def element(step, rows):
        return {str(layer): None if layer % 2 == 0 else
                [[(number * 31 + step * 17 + layer * 7 + row * row) % experts] for row in range(rows)]
                for layer in range(layers)}

    return json.dumps([element(0, prompt)] + [element(1 + step, 1) for step in range(steps)], indent=4)


class Template:
    """A file whose ids, which stand alone on their lines, can be moved."""

    def __init__(self, text):
        parts = re.split(r"^( +)(\d+)$", text, flags=re.M)  # text, blanks, id, text, blanks, id, ...
        self.pieces = [text + blanks for text, blanks in zip(parts[0::3], parts[1::3] + [""])]
        self.ids = [int(number) for number in parts[2::3]]

    def moved(self, step, experts=128):
        """Every id moved by a fixed step below `experts`."""
        names = [str((number + step) % experts) for number in range(experts)]
        out = [""] * (2 * len(self.ids) + 1)
        out[0::2] = self.pieces
        out[1::2] = [names[number % experts] for number in self.ids]
        return "".join(out)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--gib", type=float, default=5.0)
    parser.add_argument("--from", dest="source")
    parser.add_argument("--largest-mib", type=int, default=64)
    args = parser.parse_args()
    os.makedirs(args.folder)
    wanted = int(args.gib * 2**30)

    # A prompt row takes about 67 bytes in each of 24 MoE layers.
    largest = made_up(0, max(1, args.largest_mib * 2**20 // (24 * 67)), 8)
    written = 0
    sources = sorted(glob.glob(os.path.join(args.source, "**", "*.json"), recursive=True)) if args.source else []
    texts = [open(path, encoding="utf-8").read() for path in sources] or [made_up(n, 25, 120) for n in range(64)]
    templates = [Template(text) for text in texts]
    number = 0
    while written < wanted:
        text = largest if number == 0 else templates[number % len(texts)].moved(number // len(texts))
        folder = os.path.join(args.folder, f"part-{number // 1000:03d}")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, f"{number}.json"), "w", encoding="utf-8") as file:
            file.write(text)
        written += len(text)
        number += 1
    print(f"{number} files, {written / 2**30:.2f} GiB, largest {len(largest) / 2**20:.1f} MiB")


main()
