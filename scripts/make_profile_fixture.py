#!/usr/bin/env python3
"""Computes the statistics of `moesaic profile` from raw traces with numpy alone, independently of the program.

usage: scripts/make_profile_fixture.py SHARED_DATA_FOLDER tests/data/profile

Each file written is a part of what `moesaic profile --json` must say (moesaic.profile/1), to 1e-9; a list may be
an object of some of its places. tests/moesaic/profile_numpy_test.cpp compares. docs/profile.md has the formulas.
Not computed here: what K-means decides (clusters, groups).
"""
import heapq
import json
import lzma
import math
import pathlib
import sys

import numpy as np

EXTRAS = [0, 0.25, 0.5, 1]
GPUS, NODES, WINDOWS, STEPS = 8, 4, 8, 256


def mean(values):
    values = np.asarray(values, dtype=float)
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else math.nan


def pearson(a, b):
    a, b = np.asarray(a, float), np.asarray(b, float)
    a, b = a - a.mean(), b - b.mean()
    both = (a @ a) * (b @ b)
    return float(a @ b / math.sqrt(both)) if both > 0 else math.nan


def ranks(x):
    x = np.asarray(x, float)
    return np.array([(x < v).sum() + ((x == v).sum() - 1) / 2 for v in x])


def jsd(a, b):
    p, q = np.asarray(a, float) / np.sum(a), np.asarray(b, float) / np.sum(b)
    m = (p + q) / 2

    def entropy(x):
        return -sum(v * math.log2(v) for v in x if v > 0)

    return entropy(m) - (entropy(p) + entropy(q)) / 2


def gini(x):
    x = np.asarray(x, float)
    return float(np.abs(x[:, None] - x[None, :]).sum() / (2 * len(x) * x.sum()))


def spread(x):
    x = np.asarray(x, float)
    if x.sum() == 0:
        return None
    p = x / x.sum()
    return {
        "rows": float(x.sum()),
        "max_over_mean": float(x.max() / x.mean()),
        "gini": gini(x),
        "cv": float(x.std() / x.mean()),
        "entropy": float(-(p[p > 0] * np.log(p[p > 0])).sum() / math.log(len(x))),
        "hottest_share": float(p.max()),
        "hot": int((x > 2 * x.mean()).sum()),
        "cold": int((x < 0.1 * x.mean()).sum()),
        "unused": int((x == 0).sum()),
    }


REAL = ["max_over_mean", "gini", "cv", "entropy", "hottest_share"]


def mean_of_spreads(spreads):
    return {key: mean([s[key] for s in spreads if s]) for key in REAL}


def some(values, count):
    """Some places of a long list."""
    places = sorted({int(i) for i in np.linspace(0, len(values) - 1, count)})
    return {str(i): values[i] for i in places}


def phase_part(name, loads, layers):
    """loads: [domains, L, E]."""
    everything = loads.sum(axis=0)
    by_layer = [spread(x) for x in everything]
    out = {
        "phase": name,
        "rows": float(everything.sum()),
        "average": mean_of_spreads(by_layer),
        "layers": some(by_layer, layers),
        "hottest": [int(x.argmax()) for x in everything],
        "loads": some([[int(v) for v in x] for x in everything], 2),
        "domains": [mean_of_spreads([spread(x) for x in d]) for d in loads],
    }
    l = len(everything) // 2
    out["domain_layers"] = {str(l): [spread(d[l]) for d in loads]}
    out["hot_experts"] = {str(l): [int(e) for e in np.flatnonzero(everything[l] > 2 * everything[l].mean())]}
    return out


def linkage_heights(distance):
    """Average linkage from its definition: the mean distance of all pairs of leaves."""
    clusters, heights = [[i] for i in range(len(distance))], []
    while len(clusters) > 1:
        pairs = [
            (np.mean([distance[i][j] for i in a for j in b]), x, y)
            for x, a in enumerate(clusters) for y, b in enumerate(clusters) if x < y
        ]
        height, x, y = min(pairs)
        heights.append({"height": float(height)})
        clusters[x] += clusters[y]
        del clusters[y]
    return heights


def domain_part(names, tokens, loads):
    n, layers = len(names), loads.shape[1]
    bits = [[0.0 if a == b else mean([jsd(loads[a][l], loads[b][l]) for l in range(layers)]) for b in range(n)] for a in range(n)]
    cosine = [[float(mean([x @ y / math.sqrt((x @ x) * (y @ y)) for x, y in zip(loads[a].astype(float), loads[b].astype(float))]))
               for b in range(n)] for a in range(n)]
    everything = loads.sum(axis=0)
    over = []
    for d in range(n):
        own, others = loads[d], everything - loads[d]
        difference = own / own.sum(axis=1, keepdims=True) - others / others.sum(axis=1, keepdims=True)
        order = np.argsort(-difference, axis=None, kind="stable")[:5]
        found = []
        for l, e in zip(*np.unravel_index(order, difference.shape)):
            found.append({"expert": int(e), "share": float(own[l, e] / own[l].sum()), "others": float(others[l, e] / others[l].sum())})
        over.append(found)
    quarter = loads.shape[2] // 4
    generic, share = [], []
    for l in range(layers):
        sets = [set(np.argsort(-loads[d][l], kind="stable")[:quarter]) for d in range(n)]
        common = sorted(int(e) for e in set.intersection(*sets))
        generic.append(common)
        share.append(everything[l][common].sum() / everything[l].sum() if common else 0.0)
    return {
        "names": names, "tokens": tokens, "jensen_shannon_bits": bits, "cosine": cosine,
        "over_used": over, "generic": {"share": mean(share), "experts": generic}, "merges": linkage_heights(bits),
    }


def copies(load, slots, gpus):
    n = [1] * len(load)
    for _ in range(slots - len(load)):
        able = [(-load[e] / n[e], e) for e in range(len(load)) if n[e] < gpus]
        if not able:
            break
        n[min(able)[1]] += 1
    return n


def quick_plan(load, gpus, slots):
    n = copies(load, gpus * slots, gpus)
    total, used, where = [0.0] * gpus, [0] * gpus, [[] for _ in load]
    for e in sorted(range(len(load)), key=lambda e: -load[e] / n[e]):
        for _ in range(n[e]):
            free = [g for g in range(gpus) if used[g] < slots]
            apart = [g for g in free if g not in where[e]]
            g = min(apart or free, key=lambda g: (total[g], g))
            where[e].append(g)
            total[g] += load[e] / n[e]
            used[g] += 1
    return where


def imbalance(where, load, gpus):
    total = [0.0] * gpus
    for e, on in enumerate(where):
        for g in on:
            total[g] += load[e] / len(on)
    return max(total) * gpus / sum(total)


def contiguous(load, gpus):
    return float(np.asarray(load, float).reshape(gpus, -1).sum(axis=1).max() * gpus / np.sum(load))


def drift_part(windows, arrivals):
    """windows: [W, L, E]."""
    count, layers, experts = windows.shape
    between = [[0.0 if a == b else mean([jsd(windows[a][l], windows[b][l]) for l in range(layers)]) for b in range(count)]
               for a in range(count)]
    by_lag = [mean([between[w][w + lag] for w in range(count - lag)]) for lag in range(1, count)]
    half, before, half_life = max(by_lag) / 2, 0.0, math.nan
    for lag, bits in enumerate(by_lag, 1):
        if bits >= half:
            half_life = lag - 1 + (half - before) / (bits - before)
            break
        before = bits
    following = []
    for w in range(count - 1):
        a, b = windows[w].astype(float), windows[w + 1].astype(float)
        slots = experts // GPUS
        following.append({
            "carried": mean([imbalance(quick_plan(x, GPUS, slots), y, GPUS) for x, y in zip(a, b)]),
            "own": mean([imbalance(quick_plan(y, GPUS, slots), y, GPUS) for y in b]),
            "contiguous": mean([contiguous(y, GPUS) for y in b]),
        })
    return {"windows": count, "arrivals": arrivals, "gpus": GPUS, "between": between, "by_lag": by_lag, "half_life": half_life,
            "next": following, "lost": mean([f["carried"] / f["own"] - 1 for f in following])}


def balance_part(windows):
    all_time, early = windows.sum(axis=0).astype(float), windows[: len(windows) // 2].sum(axis=0).astype(float)
    late, out = windows[len(windows) // 2 :].sum(axis=0).astype(float), []
    experts = windows.shape[2]
    for extra in EXTRAS:
        slots = math.ceil(experts * (1 + extra) / GPUS - 1e-9)
        bound = [max(1.0, max(v / c for v, c in zip(x, copies(x, slots * GPUS, GPUS))) * GPUS / x.sum()) for x in all_time]
        out.append({
            "extra": extra, "slots_per_gpu": slots, "bound": mean(bound),
            "in_sample": mean([imbalance(quick_plan(x, GPUS, slots), x, GPUS) for x in all_time]),
            "held_out": mean([imbalance(quick_plan(x, GPUS, slots), y, GPUS) for x, y in zip(early, late)]),
        })
    return {"gpus": GPUS, "contiguous": mean([contiguous(x, GPUS) for x in all_time]), "balance": out}


def splitmix64(x):
    mask = (1 << 64) - 1
    x = (x + 0x9E3779B97F4A7C15) & mask
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return x ^ (x >> 31)


def fnv1a(text):
    out = 0xCBF29CE484222325
    for byte in text.encode():
        out = ((out ^ byte) * 0x100000001B3) & ((1 << 64) - 1)
    return out


def expected_largest(p, batch):
    """E[max of independent binomials] = sum over m of P(max > m)."""
    below, out = np.zeros(len(p)), 0.0
    for m in range(batch):
        below = below + math.comb(batch, m) * p**m * (1 - p) ** (batch - m)
        out += 1 - float(np.prod(np.minimum(below, 1)))
    return out


def step_part(ids, spans, keys, experts, k, batch):
    """spans: (first token, tokens) of requests; keys: what they are started by."""
    order = sorted(range(len(spans)), key=lambda r: keys[r])
    if len(order) < batch:
        return {"steps": 0}
    lanes, start = [0] * batch, {}
    for r in order:
        start[r] = heapq.heappop(lanes)
        heapq.heappush(lanes, start[r] + spans[r][1])
    busy = min(lanes)
    looked = min(STEPS, busy)
    times = [(2 * s + 1) * busy // (2 * looked) for s in range(looked)]
    distinct, ratio = [], []
    for time in times:
        tokens = [spans[r][0] + time - start[r] for r in order if start[r] <= time < start[r] + spans[r][1]]
        count = np.stack([np.bincount(ids[tokens, l].ravel(), minlength=experts) for l in range(ids.shape[1])])
        distinct.append((count > 0).sum(axis=1))
        ratio.append(count.max(axis=1) * experts / count.sum(axis=1))
    distinct, ratio = np.array(distinct, float), np.array(ratio, float)
    everything = np.concatenate([ids[a : a + n] for a, n in spans])
    chance_distinct, chance_ratio = [], []
    for l in range(ids.shape[1]):
        p = np.bincount(everything[:, l].ravel(), minlength=experts) / len(everything)
        chance_distinct.append(float((1 - (1 - p) ** batch).sum()))
        chance_ratio.append(expected_largest(p, batch) * experts / (batch * k))
    return {
        "steps": looked, "distinct": mean(distinct.mean(axis=0)), "max_over_mean": mean(ratio.mean(axis=0)),
        "distinct_p95": mean(np.quantile(distinct, 0.95, axis=0)), "max_over_mean_p95": mean(np.quantile(ratio, 0.95, axis=0)),
        "distinct_independent": mean(chance_distinct), "max_over_mean_independent": mean(chance_ratio),
    }


def correlation_part(ids, pictures, experts, stand_in):
    """pictures: (begin, cut, end) of requests."""
    layers = ids.shape[1]
    histogram = lambda a, b, l: np.bincount(ids[a:b, l].ravel(), minlength=experts)
    out = {"requests": len(pictures), "stand_in": stand_in}
    pooled_p, pooled_s, of_request_p, of_request_s = [], [], [], []
    after, counts = [[] for _ in range(13)], [0] * 13
    for l in range(layers):
        first = [histogram(a, c, l) for a, c, _ in pictures]
        rest = [histogram(c, b, l) for _, c, b in pictures]
        pooled_p.append(pearson(sum(first), sum(rest)))
        pooled_s.append(pearson(ranks(sum(first)), ranks(sum(rest))))
        of_request_p.append([pearson(x, y) for x, y in zip(first, rest)])
        of_request_s.append([pearson(ranks(x), ranks(y)) for x, y in zip(first, rest)])
        for power in range(13):
            found = [pearson(histogram(a, a + 2**power, l), y) for (a, c, _), y in zip(pictures, rest) if a + 2**power <= c]
            after[power].append(mean(found))
            counts[power] = max(counts[power], int(np.sum(~np.isnan(found))))

    def distribution(values):
        r = np.array([mean(x) for x in np.array(values).T])
        r = r[~np.isnan(r)]
        return {"mean": mean(r), **{f"p{q}": float(np.quantile(r, q / 100)) for q in (10, 50, 90)}}

    out.update(layer_pearson=pooled_p, layer_spearman=pooled_s, pooled_pearson=mean(pooled_p), pooled_spearman=mean(pooled_s),
               request_pearson=distribution(of_request_p), request_spearman=distribution(of_request_s),
               after=[{"tokens": 2**i, "requests": n, "pearson": mean(after[i])} for i, n in enumerate(counts) if n > 0])
    return out


def structure_part(ids, spans, experts, k):
    layers = ids.shape[1]
    reuse, per_request, independent, gaps, first, rows = [], [], [], np.zeros(16), 0, 0
    for l in range(layers):
        again = able = 0
        shares = []
        for a, n in spans:
            last, same = {}, 0
            for t, token in enumerate(ids[a : a + n, l]):
                for e in token:
                    gap = t - last[e] if e in last else 0
                    if gap:
                        gaps[min(15, (gap - 1).bit_length())] += 1
                        same += gap == 1
                    else:
                        first += 1
                    last[e] = t
            rows += n * k
            if n > 1:
                again, able = again + same, able + (n - 1) * k
                shares.append(same / ((n - 1) * k))
        reuse.append(again / able)
        per_request.append(mean(shares))
    everything = np.concatenate([ids[a : a + n] for a, n in spans])
    tokens = len(everything)
    single = [np.bincount(everything[:, l].ravel(), minlength=experts) for l in range(layers)]
    independent = [float(((s / tokens) ** 2).sum() / k) for s in single]
    hot = np.zeros((layers, tokens, experts), dtype=np.float32)
    for l in range(layers):
        hot[l, np.arange(tokens)[:, None], everything[:, l]] = 1
    together, following = [], []
    enough = max(16, tokens / 1000)
    for l in range(layers):
        both = np.rint(hot[l].T @ hot[l]).astype(float)
        upper = np.triu(both, 1)
        chance = np.outer(single[l], single[l]) / tokens
        lift = np.divide(upper, chance, out=np.zeros_like(upper), where=chance > 0)
        strongest = np.sort(lift[upper >= enough])[::-1][:5]
        together.append({"tokens": tokens, "mean_lift": float((upper * lift).sum() / upper.sum()),
                         "strongest": [{"lift": float(v)} for v in strongest]})
        if l + 1 == layers:
            break
        joint = np.rint(hot[l].T @ hot[l + 1]).astype(float)
        share = joint / joint.sum()
        chance = np.outer(share.sum(axis=1), share.sum(axis=0))
        following.append({
            "tokens": tokens, "information_bits": float((share[share > 0] * np.log2(share[share > 0] / chance[share > 0])).sum()),
            "followed": float(joint.max(axis=1).sum() / single[l].sum()), "followed_independent": float(single[l + 1].max() / tokens),
        })
    out = {
        "reuse": mean(reuse), "reuse_by_layer": reuse, "reuse_per_request": mean(per_request), "reuse_independent": mean(independent),
        "gaps": [float(g / rows) for g in gaps], "first_uses": first / rows,
        "mean_lift": mean([t["mean_lift"] for t in together]), "uniform_lift": (k - 1) * experts / (k * (experts - 1)),
        "followed": mean([f["followed"] for f in following]), "information_bits": mean([f["information_bits"] for f in following]),
        "followed_independent": mean([f["followed_independent"] for f in following]), "co_activation": together, "next_layer": following,
    }
    sampled = [(a, n) for a, n in spans if n >= 4]
    wanted = min(192, len(sampled))
    chosen = [s for i, s in enumerate(sampled) if i * wanted // len(sampled) < (i + 1) * wanted // len(sampled)]
    cosines = []
    upper = np.triu_indices(len(chosen), 1)
    for l in range(layers):
        usage = np.stack([np.bincount(ids[a : a + n, l].ravel(), minlength=experts) for a, n in chosen]).astype(float)
        dot = (usage @ usage.T)[upper].astype(np.float32)  # the program keeps cosines as 32-bit floats
        length = np.sqrt((usage**2).sum(axis=1)).astype(np.float32)
        cosines.append((dot / np.outer(length, length)[upper]).astype(float))
    similarity = [[1.0 if a == b else pearson(cosines[a], cosines[b]) for b in range(layers)] for a in range(layers)]
    out["layer_similarity"] = some(similarity, 4)
    return out


def own_experts(ids, spans, experts):
    kept, rows = np.zeros((len(EXTRAS), ids.shape[1])), 0
    for a, n in spans:
        if n < 4:
            continue
        for l in range(ids.shape[1]):
            usage = np.sort(np.bincount(ids[a : a + n, l].ravel(), minlength=experts))[::-1]
            for i, extra in enumerate(EXTRAS):
                kept[i, l] += usage[: min(experts, math.ceil(experts * (1 + extra) / NODES - 1e-9))].sum()
        rows += n * ids.shape[2]
    return [{"extra": x, "bound": mean(1 - kept[i] / rows)} for i, x in enumerate(EXTRAS)]


def of_tokens(folder, key):
    index = json.loads((folder / "index.json").read_text())
    data = lzma.decompress((folder / "experts.u8.bin.xz").read_bytes())
    ids = np.frombuffer(data, np.uint8).reshape(index["shape"]).astype(np.int64)
    experts, k = index["experts"], index["shape"][2]
    requests = index["requests"]
    prefill = [r.get("prefill", 0) for r in requests]
    begin = [r["start"] for r in requests]
    end = [r["start"] + r["n"] for r in requests]
    names = list(dict.fromkeys(r[key] for r in requests))
    weight = {n: sum(r["n"] for r in requests if r[key] == n) for n in names}
    names.sort(key=lambda n: -weight[n])
    has_prefill = sum(prefill) > 0
    loads = {phase: np.zeros((len(names), ids.shape[1], experts), dtype=np.int64) for phase in ("prefill", "decode")}
    for r, a, p, b in zip(requests, begin, prefill, end):
        for phase, x, y in (("prefill", a, a + p), ("decode", a + p, b)):
            for l in range(ids.shape[1]):
                loads[phase][names.index(r[key]), l] += np.bincount(ids[x:y, l].ravel(), minlength=experts)
    spans = [(a + p, b - a - p) for a, p, b in zip(begin, prefill, end)]
    total, before = sum(n for _, n in spans), 0
    windows = np.zeros((WINDOWS, ids.shape[1], experts), dtype=np.int64)
    for a, n in spans:
        w = min(WINDOWS - 1, (before + n // 2) * WINDOWS // total)
        for l in range(ids.shape[1]):
            windows[w, l] += np.bincount(ids[a : a + n, l].ravel(), minlength=experts)
        before += n
    if has_prefill:
        pictures = [(a, a + p, b) for a, p, b in zip(begin, prefill, end) if p > 0 and b > a + p]
    else:
        pictures = [(a, a + min(48, (b - a) // 3), b) for a, b in zip(begin, end) if b - a >= 3]
    # Without arrival times requests start in the order of a hash of their ids (docs/decisions/0002).
    keys = [splitmix64(fnv1a(f"{folder.name}/{i}")) for i in range(len(requests))]
    tokens = [sum(n for r, (_, n) in zip(requests, spans) if r[key] == name) for name in names]
    return {
        "experts": experts, "top_k": k, "requests": len(requests), "tokens": int(ids.shape[0]), "main_phase": "decode",
        "phases": [phase_part(p, loads[p], 4) for p in ("prefill", "decode") if loads[p].any()],
        "domains": domain_part(names, tokens, loads["decode"]),
        "steps": [{"batch": b, "mixed": step_part(ids, spans, keys, experts, k, b)} for b in (32, 64, 128, 256)],
        "prefill_decode": correlation_part(ids, pictures, experts, not has_prefill),
        "drift": drift_part(windows, False),
        "structure": structure_part(ids, spans, experts, k),
        "gains": {**balance_part(windows), "nodes": NODES, "random_homes": 1 - 1 / NODES, "grouping": own_experts(ids, spans, experts)},
    }


def of_counts(path):
    """Members <domain>_calib_<window>, [L, E] each."""
    members = np.load(path)
    domains = list(dict.fromkeys(name.rsplit("_calib_", 1)[0] for name in members.files))
    rows = {d: sorted(n for n in members.files if n.rsplit("_calib_", 1)[0] == d) for d in domains}
    counts = np.stack([np.stack([members[n] for n in rows[d]]) for d in domains]).astype(np.int64)  # [D, W, L, E]
    loads, windows = counts.sum(axis=1), counts.sum(axis=0)
    part = domain_part(domains, [float(x.sum() / (x.shape[0] * 8)) for x in loads], loads)
    part["generic"]["experts"] = some(part["generic"]["experts"], 5)
    return {"experts": int(loads.shape[2]), "phases": [phase_part("prefill", loads, 4)], "domains": part,
            "drift": drift_part(windows, True), "gains": balance_part(windows)}


def plain(value):
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (np.floating, float)):
        return None if math.isnan(value) else float(f"{value:.13g}")
    return int(value) if isinstance(value, np.integer) else value


shared, target = map(pathlib.Path, sys.argv[1:3])
target.mkdir(parents=True, exist_ok=True)
root = pathlib.Path(__file__).resolve().parent.parent
for name, fixture in (
    ("moesaic-mini", lambda: of_tokens(root / "samples/moesaic-mini", "domain")),
    ("gpt-oss-20b", lambda: of_tokens(shared / "traces/gpt-oss-20b-decode", "topic")),
    ("glm-5.2", lambda: of_counts(shared / "traces/glm-5.2-prefill-counts/shard_counts.npz")),
):
    (target / f"{name}.json").write_text(json.dumps(plain(fixture()), sort_keys=True) + "\n")
    print(name, (target / f"{name}.json").stat().st_size, "bytes")
