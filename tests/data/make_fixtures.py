#!/usr/bin/env python3
"""Writes tests/data/io/, tests/data/ingest/ and the seeds of fuzz/corpus/ for the readers of foreign containers.

Needs numpy, zstd and xz. Torch is not needed: the torch files are pickled here by hand, in the form of
torch.serialization (a zip of data.pkl and raw storages). Run it from anywhere; the output is the same bytes.
"""
import io
import json
import lzma
import pathlib
import pickle
import struct
import subprocess
import sys
import tarfile
import types
import zipfile
import zlib

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data" / "io"
INGEST = ROOT / "tests" / "data" / "ingest"
CORPUS = ROOT / "fuzz" / "corpus"


def put(name, data, target=None):
    path = DATA / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if target:
        assert len(data) < 5000, name
        seed = CORPUS / target / name
        seed.parent.mkdir(parents=True, exist_ok=True)
        seed.write_bytes(data)


def npy(array, version=None):
    out = io.BytesIO()
    np.lib.format.write_array(out, array, version=version, allow_pickle=False)
    return out.getvalue()


def raw_npy(header, data=b"", version=1):
    text = header.encode()
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + data


def make_zip(members, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=method)
    return out.getvalue()


def make_tar(members):
    """members: (name, bytes | None for a folder | str for a link)"""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            if data is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            elif isinstance(data, str):
                info.type, info.linkname = tarfile.SYMTYPE, data
                archive.addfile(info)
            else:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    data = out.getvalue()
    return data[: (len(data.rstrip(b"\0")) + 511) // 512 * 512 + 1024]


def zstd(data):
    return subprocess.run(["zstd", "-19", "-c", "-q"], input=data, stdout=subprocess.PIPE, check=True).stdout


def gzip(data):
    compress = zlib.compressobj(9, zlib.DEFLATED, 31)
    return compress.compress(data) + compress.flush()


# --- torch files -----------------------------------------------------------------------------------------
for module in ("torch", "torch._utils"):
    sys.modules.setdefault(module, types.ModuleType(module))


def _rebuild_tensor_v2(*_):
    raise AssertionError("only its name is pickled")


_rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
sys.modules["torch._utils"]._rebuild_tensor_v2 = _rebuild_tensor_v2
STORAGES = {"int32": "IntStorage", "int64": "LongStorage", "float32": "FloatStorage", "uint8": "ByteStorage",
            "float16": "HalfStorage", "bool": "BoolStorage"}
for storage in STORAGES.values():
    kind = type(storage, (), {"__module__": "torch"})
    setattr(sys.modules["torch"], storage, kind)


class Storage:
    def __init__(self, array, location="cpu"):
        self.array, self.location = np.ascontiguousarray(array).ravel(), location


class Tensor:
    def __init__(self, storage, shape, stride, offset=0):
        self.parts = (storage, offset, tuple(shape), tuple(stride))

    def __reduce__(self):
        import collections
        return _rebuild_tensor_v2, self.parts + (False, collections.OrderedDict())


def tensor(array, location="cpu"):
    array = np.asarray(array)
    strides = [int(np.prod(array.shape[d + 1:])) for d in range(array.ndim)]
    return Tensor(Storage(array, location), array.shape, strides)


def torch_save(value, name="fixture", protocol=2, byteorder=None, method=zipfile.ZIP_STORED):
    storages = []

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing):
            if not isinstance(thing, Storage):
                return None
            if thing not in storages:
                storages.append(thing)
            kind = getattr(sys.modules["torch"], STORAGES[thing.array.dtype.name])
            return "storage", kind, str(storages.index(thing)), thing.location, thing.array.size

    out = io.BytesIO()
    Pickler(out, protocol).dump(value)
    members = [(f"{name}/data.pkl", out.getvalue())]
    if byteorder:
        members.append((f"{name}/byteorder", byteorder))
    members += [(f"{name}/data/{i}", s.array.tobytes()) for i, s in enumerate(storages)]
    return make_zip(members + [(f"{name}/version", b"3\n")], method)


def torch_zip(pickled, storages=()):
    return make_zip([("x/data.pkl", pickled)] + [(f"x/data/{k}", v) for k, v in storages], zipfile.ZIP_STORED)


def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def make_npy():
    small = np.arange(24).reshape(2, 3, 4)
    for kind in ("?", "i1", "u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8"):
        put(f"{np.dtype(kind).name}.npy", npy(small.astype(kind)), "npy")
    put("fortran.npy", npy(np.asfortranarray(small.astype("<i4"))), "npy")
    put("big-endian.npy", npy(small.astype(">i4")), "npy")
    put("big-endian-fortran.npy", npy(np.asfortranarray(small.astype(">f8"))), "npy")
    put("version-2.npy", npy(small.astype("<i2"), (2, 0)), "npy")
    put("version-3.npy", npy(small.astype("<i2"), (3, 0)), "npy")
    put("scalar.npy", npy(np.array(7, "<i4")), "npy")
    put("empty.npy", npy(np.zeros((0, 5), "<f4")), "npy")
    put("unicode.npy", npy(np.array(["math", "中文", "😀", ""], "<U4")), "npy")
    put("unicode-big-endian.npy", npy(np.array(["math", "é"], ">U4")), "npy")
    put("bytes.npy", npy(np.array([b"ab", b"c"], "S3")), "npy")
    put("halves.npy", npy(np.array([0, 1, -2, 0.5, 65504, 6e-8, np.inf, -np.inf, np.nan], "<f2")), "npy")
    put("huge-shape.npy", raw_npy("{'descr': '<i4', 'fortran_order': False, 'shape': (1152921504606846976,), }\n"), "npy")
    put("overflowing-shape.npy", raw_npy(
        "{'descr': '<i8', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4294967296), }\n"), "npy")
    put("objects.npy", raw_npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", b"\x80\x02N."), "npy")


def make_npz():
    members = [("counts.npy", npy(np.arange(12, dtype="<i4").reshape(3, 4))), ("names.npy", npy(np.array(["a", "bc"])))]
    put("two.npz", make_zip(members), "npz")
    put("two-stored.npz", make_zip(members, zipfile.ZIP_STORED), "npz")
    put("not-npy.npz", make_zip([("readme.txt", b"hello")]), "npz")
    put("twice.npz", make_zip(members[:1] + members[:1]), "npz")


def make_torch():
    counts = np.arange(24, dtype="<i4").reshape(2, 3, 4)
    shared = Storage(counts)
    tree = {"rank": 0, "none": None, "yes": True, "no": False, "pi": 3.25, "negative": -5, "big": 2**40,
            "text": "zwölf", "bytes": b"\x00\xff", "list": [1, [2, 3], ()], "tuple": (1, 2, 3, 4),
            "counts": tensor(counts, "cuda:3"), "view": Tensor(shared, (4, 3), (1, 4), 12),
            "expanded": Tensor(shared, (5, 2), (0, 1), 1), "same storage": Tensor(shared, (24,), (1,)),
            "half": tensor(np.array([0.5, 1.5], "<f2")), "scalar": Tensor(Storage(np.array([9], "<i8")), (), ())}
    for protocol in (2, 3, 4, 5):
        # Protocol 2 has no bytes: Python writes them as a call of _codecs.encode.
        part = {k: v for k, v in tree.items() if k != "bytes" or protocol > 2}
        put(f"tree-{protocol}.pt", torch_save(part, protocol=protocol), "torch_file")
    put("codecs.pt", torch_save({"bytes": b"\xff"}), "torch_file")
    put("little.pt", torch_save({"a": tensor(counts)}, byteorder=b"little"), "torch_file")
    put("big.pt", torch_save({"a": tensor(counts)}, byteorder=b"big"), "torch_file")
    put("system.pt", torch_zip(b"cos\nsystem\n(S'id'\ntR."), "torch_file")
    put("eval.pt", torch_zip(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93(\x8c\x011tR."), "torch_file")
    put("nested.pt", torch_zip(b"\x80\x02" + b"(" * 4000), "torch_file")
    put("lists.pt", torch_zip(b"\x80\x02" + b"]" * 2000 + b"a" * 1999 + b"."), "torch_file")
    # A list that holds itself, and 2^60 references made of 60 lists: both are small graphs.
    put("cycle.pt", torch_zip(b"\x80\x02]q\x00h\x00a."), "torch_file")
    laughs = b"\x80\x02]q\x00" + b"".join(b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(60))
    put("laughs.pt", torch_zip(b"\x80\x02(" + laughs[2:] + b"t."), "torch_file")

    def rebuilt(shape, stride, count=4, offset=b"K\x00"):
        return (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nIntStorage\n"
                b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu\x8a\x08" + struct.pack("<q", count) + b"tQ" + offset + shape +
                stride + b"\x89)tR.")

    def long(value):
        return b"\x8a\x08" + struct.pack("<q", value)

    four = ("0", bytes(16))
    put("beyond-storage.pt", torch_zip(rebuilt(b"K\x05\x85", b"K\x01\x85"), [four]), "torch_file")
    put("overflowing-view.pt", torch_zip(rebuilt(long(2**62) + b"\x85", long(2**62) + b"\x85"), [four]), "torch_file")
    put("expanded-bomb.pt", torch_zip(rebuilt(long(2**60) + b"\x85", b"K\x00\x85"), [four]), "torch_file")
    put("lying-storage.pt", torch_zip(rebuilt(b"K\x04\x85", b"K\x01\x85", 2**60), [four]), "torch_file")
    put("missing-storage.pt", torch_zip(rebuilt(b"K\x04\x85", b"K\x01\x85")), "torch_file")


def make_safetensors():
    data = np.arange(6, dtype="<i8").tobytes() + np.array([0.5, 2], "<f2").tobytes()
    good = {"__metadata__": {"by": "test"}, "a": {"dtype": "I64", "shape": [2, 3], "data_offsets": [0, 48]},
            "b": {"dtype": "F16", "shape": [2], "data_offsets": [48, 52]}}
    put("two.safetensors", safetensors(good, data), "safetensors")
    put("long-header.safetensors", struct.pack("<Q", 2**60) + b"{}", "safetensors")
    put("nested.safetensors", safetensors(b'{"a":' + b"[" * 3000), "safetensors")


def make_archives():
    files = [("run/", None), ("run/0.json", b'{"1": null}'), ("run/sub/1.json", b"[]" * 40), ("./top.txt", b"x")]
    tar = make_tar(files)
    put("three.tar", tar)
    put("three.tar.gz", gzip(tar), "archive")
    put("three.tar.xz", lzma.compress(tar), "archive")
    put("three.tar.zst", zstd(tar), "archive")
    put("three.zip", make_zip([(n, d) for n, d in files if d is not None]), "archive")
    put("absolute.tar.gz", gzip(make_tar([("/etc/passwd", b"x")])), "archive")
    put("climbing.tar.gz", gzip(make_tar([("a/../../b", b"x")])), "archive")
    put("climbing.zip", make_zip([("../b", b"x")]), "archive")
    put("backslash.tar.gz", gzip(make_tar([("..\\b", b"x")])), "archive")
    put("link.tar.gz", gzip(make_tar([("a", "/etc/passwd")])), "archive")
    put("twice-packed.tar.gz", gzip(gzip(tar)), "archive")
    huge = bytearray(make_tar([("huge.json", b"x")]))
    huge[124:136] = b"\x80" + struct.pack(">Q", 2**60).rjust(11, b"\0")
    huge[148:156] = b"        "
    huge[148:156] = b"%06o\0 " % sum(huge[:512])
    put("huge-claim.tar.gz", gzip(bytes(huge)), "archive")
    bomb = b"\1" * (200 << 20)
    put("bomb.tar.zst", zstd(make_tar([("zeros.json", bomb)])))
    put("bomb.bin.zst", zstd(bomb))
    text = b"the quick brown fox " * 50
    put("fox.txt", text)
    put("fox.txt.gz", gzip(text), "archive")
    put("fox.txt.xz", lzma.compress(text), "archive")
    put("fox.txt.zst", zstd(text), "archive")


def put_ingest(name, data):
    path = INGEST / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def make_sglang():
    """A model of 3 layers (0 dense), 4 experts, k 2, in 6 slots: slots 4 and 5 are replicas of 0 and 1."""
    to_logical = np.array([[0, 1, 2, 3, 0, 1]] * 3, "<i8")

    def passed(number, rank, counts):
        full = np.zeros((3, 6), "<i4")
        full[1:] = counts
        return {"forward_pass_id": number, "rank": rank, "gatherer_key": "primary", "global_physical_count": tensor(full)}

    first, second = np.arange(12).reshape(2, 6), np.full((2, 6), 2)
    for rank, records in enumerate(([passed(7, 0, first), passed(8, 0, second)], [passed(8, 1, first)])):
        put_ingest(f"per-pass/rank{rank}.pt", torch_save(
            {"records": records, "last_physical_to_logical_map": tensor(to_logical)}, f"rank{rank}"))
    put_ingest("per-pass-other-map.pt", torch_save(
        {"records": [passed(7, 1, first)], "last_physical_to_logical_map": tensor(to_logical[:, ::-1].copy())}))

    def tokens(number, ids, lengths, positions):
        topk = np.full((3, len(ids), 8), -1, "<i4")
        for layer in (1, 2):
            topk[layer, :, :2] = ids
        return {"forward_pass_id": number, "rank": 0, "gatherer_key": "primary",
                "global_physical_count": tensor(np.zeros((3, 6), "<i4")), "input_ids": list(range(len(ids))),
                "positions": positions, "extend_seq_lens": lengths, "forward_mode": 1 if lengths else 2,
                "topk_ids_of_layer": tensor(topk), "misc_objects": [{"rid": "unreliable"}]}

    extend = tokens(1, [[0, 1], [2, 5], [4, 3]], [2, 1], [0, 1, 5])
    decode = tokens(2, [[5, 4], [3, -1]], None, [2, 6])
    for name, records in (("per-token/rank0.pt", [extend, decode]), ("per-token/rank1.pt", [extend]),
                          ("per-token-bad-lengths.pt", [tokens(1, [[0, 1]], [2], [0])]),
                          ("per-token-bad-slot.pt", [tokens(1, [[0, 6]], [1], [0])]),
                          ("per-token-empty.pt", [])):
        put_ingest(name, torch_save({"records": records, "last_physical_to_logical_map": tensor(to_logical)}, "dump"))
    full = np.zeros((2, 2, 4), "<i4")
    full[:, 1] = [[1, 2, 3, 4], [5, 6, 7, 8]]
    put_ingest("stat-full.pt", torch_save({"rank": 0, "logical_count": tensor(full)}))
    put_ingest("stat-negative.pt", torch_save({"rank": 0, "logical_count": tensor(full - 1)}))
    put_ingest("stat-matrix.pt", torch_save({"rank": 0, "logical_count": tensor(full[0])}))


def make_trtllm():
    meta = json.dumps({"num_experts": 4, "num_experts_per_token": 2}).encode()
    counts = np.arange(4, dtype="<i8").tobytes()

    def file(entries, data):
        return safetensors({n: {"dtype": "I64", "shape": s, "data_offsets": o} for n, s, o in entries}, data)

    put_ingest("trtllm-raw/meta_info.json", meta)
    put_ingest("trtllm-raw/rank0.safetensors", file([("5_1", [4], [0, 32])], counts))
    ids = np.array([[0, 1], [2, 3], [3, 1]], "<i8").tobytes()
    put_ingest("trtllm-raw/rank0_raw.safetensors",
               file([("5_1", [3, 2], [0, 48]), ("5_3", [3, 2], [48, 96])], ids + ids))
    put_ingest("trtllm-gap/meta_info.json", meta)
    put_ingest("trtllm-gap/rank0.safetensors",
               file([("5_1", [4], [0, 32]), ("5_3", [4], [32, 64]), ("6_1", [4], [64, 96])], counts * 3))
    put_ingest("trtllm-width/meta_info.json", meta)
    put_ingest("trtllm-width/rank0.safetensors", file([("5_1", [2], [0, 16])], counts[:16]))
    put_ingest("trtllm-name/meta_info.json", meta)
    put_ingest("trtllm-name/rank0.safetensors", file([("total", [4], [0, 32])], counts))


def make_arrays():
    ids = np.array([[[0, 1], [2, 3]], [[3, 1], [0, 2]], [[1, 2], [255, 255]]], "<u1")
    put_ingest("numpy/ids.npy", npy(ids))
    put_ingest("numpy/matrix.npy", npy(np.array([[1, 2, 3], [3, 2, 1]], "<i4")))
    put_ingest("numpy/windows.npy", npy(np.arange(12, dtype="<i4").reshape(2, 2, 3)))
    put_ingest("numpy/fraction.npy", npy(np.full((2, 2, 4), 0.25, "<f4")))
    put_ingest("numpy/negative.npy", npy(np.full((2, 2), -1, "<i4")))
    index = {"model": "tiny", "shape": [3, 2, 2], "axes": ["token", "layer(2..3)", "k"], "dtype": "uint8", "experts": 4,
             "phase": "decode", "requests": [{"start": 0, "n": 1, "topic": "a", "id": "first", "arrival": 0.5},
                                             {"start": 2, "n": 1, "prefill": 1, "topic": "b", "category": "c",
                                              "arrival": 1.5}]}
    put_ingest("array-folder/index.json", json.dumps(index).encode())
    put_ingest("array-folder/experts.u8.bin.xz", lzma.compress(ids.tobytes()))
    n, layers, experts = 2, 2, 3
    prefill = np.array([[[2, 0, 2], [1, 1, 2]], [[0, 2, 0], [1, 1, 0]]], "<i4")
    metadata = np.array(json.dumps({"format": "eldr-calibration-v1", "top_k": 2}))

    def calibration(**changes):
        members = {"request_ids": np.array(["x", "y"]), "prefill_counts": prefill,
                   "gate_probabilities": np.zeros((n, layers, experts), "<f4"), "decode_counts": prefill[::-1],
                   "prompt_tokens": np.array([2, 1]), "decode_tokens": np.array([1, 2]), "metadata": metadata}
        members.update(changes)
        return make_zip([(k + ".npy", npy(v)) for k, v in members.items() if v is not None])

    put_ingest("eldr.npz", calibration())
    put_ingest("eldr-sums.npz", calibration(prompt_tokens=np.array([3, 1])))
    put_ingest("eldr-no-decode.npz", calibration(decode_counts=None))
    put_ingest("eldr-short.npz", calibration(decode_tokens=np.array([1])))
    put_ingest("eldr-version.npz", calibration(metadata=np.array(json.dumps({"format": "eldr-calibration-v9"}))))
    put_ingest("eldr-shape.npz", calibration(decode_counts=prefill[:, :, :2]))


if __name__ == "__main__":
    make_sglang()
    make_trtllm()
    make_arrays()
    make_npy()
    make_npz()
    make_torch()
    make_safetensors()
    make_archives()
