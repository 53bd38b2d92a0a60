#!/usr/bin/env python3
"""Makes samples/moesaic-mini from the full moesaic-mini trace: some domains, the first requests of each.

usage: scripts/make_sample.py FULL_TRACE_FOLDER samples/moesaic-mini
"""
import json
import lzma
import pathlib
import sys

DOMAINS = ["math", "code", "en", "zh", "ru", "ja", "ar", "de"]
REQUESTS_A_DOMAIN = 25

source, target = map(pathlib.Path, sys.argv[1:3])
index = json.loads((source / "index.json").read_text())
tokens = lzma.decompress((source / "experts.u8.bin.xz").read_bytes())
token_bytes = index["shape"][1] * index["shape"][2]

taken = {domain: 0 for domain in DOMAINS}
requests, parts, start = [], [], 0
for request in index["requests"]:
    domain = request["domain"]
    if taken.get(domain, REQUESTS_A_DOMAIN) >= REQUESTS_A_DOMAIN:
        continue
    taken[domain] += 1
    begin = request["start"] * token_bytes
    parts.append(tokens[begin : begin + request["n"] * token_bytes])
    requests.append(dict(request, start=start))
    start += request["n"]

index["shape"][0] = start
index["requests"] = requests
target.mkdir(parents=True, exist_ok=True)
(target / "index.json").write_text(json.dumps(index) + "\n")
(target / "experts.u8.bin.xz").write_bytes(lzma.compress(b"".join(parts), preset=9 | lzma.PRESET_EXTREME))
print(len(requests), "requests,", start, "tokens")
