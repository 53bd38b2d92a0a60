#!/usr/bin/env python3
"""Makes tests/data/ingest/: one tiny good file a JSON or frame format. Same bytes at every run."""
import base64
import io
import json
import os
import struct

import numpy

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ingest")


def write(name, data):
    with open(os.path.join(HERE, name), "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())


def routing(rows, layers, k, experts):
    """Ids [rows, layers, k], different in a layer, the same at every run."""
    out = numpy.zeros((rows, layers, k), dtype=numpy.int32)
    for row in range(rows):
        for layer in range(layers):
            for j in range(k):
                out[row, layer, j] = (7 * row + 5 * layer + 3 * j + 1) % experts
    return out


def moe_trace(ids, prefill, model_layers, moe):
    def element(rows):
        return {str(l): rows[:, moe.index(l)].tolist() if l in moe else None for l in range(model_layers)}

    return [element(ids[:prefill])] + [element(ids[i : i + 1]) for i in range(prefill, len(ids))]


def npy(array):
    file = io.BytesIO()
    numpy.save(file, array)
    return base64.b64encode(file.getvalue()).decode()


def main():
    os.makedirs(HERE, exist_ok=True)
    ids = routing(5, 2, 2, 8)
    trace = moe_trace(ids, 3, 4, [1, 3])
    write("moe-trace.json", json.dumps(trace, indent=4))
    write("moe-trace-compact.json", json.dumps(trace, separators=(",", ":")))

    planes = numpy.zeros((5, 4, 2), dtype="<i4")
    planes[:, [1, 3]] = ids
    usage = {"prompt_tokens": 3, "completion_tokens": 3}
    sglang = {"text": "", "meta_info": {"id": "r1", **usage, "routed_experts": base64.b64encode(planes.tobytes()).decode()}}
    write("sglang-generate.json", json.dumps(sglang))
    schema = {"num_layers": 4, "top_k": 2, "moe_layer_ids": [1, 3], "dtype": "int32", "layout": "row_major",
              "id_space": "logical_global", "input_num_rows": 2, "input_start_position": 0,
              "output_num_rows": 3, "output_start_position": 2}
    parts = {"id": "r2", "input_expert_ids": base64.b64encode(planes[:2].tobytes()).decode(),
             "output_expert_ids": base64.b64encode(planes[2:].tobytes()).decode(), "expert_ids_schema": schema}
    write("sglang-partitions.json", json.dumps([{"text": "", "meta_info": parts}]))

    vllm = {"id": "c1", "choices": [{"index": 0, "routed_experts": npy(ids.astype(numpy.uint8))}], "usage": usage}
    write("vllm-npy.jsonl", json.dumps(vllm) + "\n" + json.dumps(vllm) + "\n")
    nested = {"id": "c2", "prompt_routed_experts": ids[:3].tolist(),
              "choices": [{"index": 0, "routed_experts": ids[3:].tolist()}], "usage": usage}
    write("vllm-nested.json", json.dumps(nested))

    counts = [[0] * 8, [3, 1, 0, 2, 0, 1, 1, 2], [0] * 8, [1] * 6 + [4, 0]]
    write("prefill_in16.json", json.dumps({"logical_count": counts}))

    meta = {"record_type": "eplb_load_meta", "version": 1, "model": "m", "num_ranks": 2, "num_layers": 2}
    lines = [json.dumps(meta)]
    for step in (1, 2):
        lines.append(json.dumps({"record_type": "eplb_load_stats", "version": 1, "step": step,
                                 "expert_load": [[step, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, step]],
                                 "p2l_map": [[0, 1, 2, 3, 0, 1], [3, 2, 1, 0, 3, 3]]}))
    write("vllm-eplb.jsonl", "\n".join(lines) + "\n")

    frame = numpy.array([[3, 1, 0, 2], [2, 2, 2, 0], [6, 0, 0, 0]], dtype="<i2")
    frames = b""
    for n in range(1, 4):
        data = (n * frame).astype("<i2").tobytes()
        frames += struct.pack("<I", len(data)) + data
    write("eldr-capture.bin", frames)


main()
