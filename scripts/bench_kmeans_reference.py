#!/usr/bin/env python3
"""The peer of bench_balanced_kmeans: the same fit with numpy and SciPy's exact assignment.

    bench_balanced_kmeans --write rows.f32
    scripts/bench_kmeans_reference.py rows.f32 > result.json
    bench_balanced_kmeans --reference result.json

SciPy solves the assignment on the cost matrix with every centroid repeated ceil(N / K) times.
"""
import json
import sys
import time

import numpy as np
from scipy.optimize import linear_sum_assignment


def main():
    with open(sys.argv[1], "rb") as file:
        n, k, d = (int(v) for v in np.fromfile(file, np.int32, 3))
        seeds = np.fromfile(file, np.int32, k)
        rows = np.fromfile(file, np.float32, n * d).reshape(n, d)
    iterations = int(sys.argv[2]) if len(sys.argv) > 2 else 9
    capacity = -(-n // k)
    begin = time.perf_counter()
    assignment = 0.0
    centroids = rows[seeds]
    for iteration in range(iterations):
        cost = 1.0 - rows @ centroids.T
        start = time.perf_counter()
        items, slots = linear_sum_assignment(np.repeat(cost, capacity, axis=1))
        assignment += time.perf_counter() - start
        cluster = np.empty(n, np.int64)
        cluster[items] = slots // capacity
        objective = float(cost[np.arange(n), cluster].sum(dtype=np.float64))
        if iteration + 1 < iterations:
            centroids = np.stack([rows[cluster == c].sum(axis=0, dtype=np.float64) for c in range(k)])
            centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
            centroids = centroids.astype(np.float32)
    fit = time.perf_counter() - begin
    json.dump({"fit_s": fit, "assignment_s": assignment, "iterations": iterations, "objective": objective},
              sys.stdout)
    print()


if __name__ == "__main__":
    main()
