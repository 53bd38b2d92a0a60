#!/usr/bin/env python3
"""`moesaic gateway` as operators run it: signals, dying processes and bad clients, all under load, on real sockets.

usage: program_test.py PROGRAM SOURCE_FOLDER
"""
import asyncio
import collections
import io
import json
import os
import pathlib
import pickle
import socket
import struct
import subprocess
import sys
import tempfile
import traceback
import zipfile

try:
    import jsonschema
except ImportError:
    jsonschema = None

program, source = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
sys.path.insert(0, str(source / "tests/support"))
from serving import CONT, HUP, INT, STOP, TERM, Server, ask, get_json, log_lines, quiet, ready, stream_text, until  # noqa: E402

STEP = "step: {from: measured, fixed: 3ms}\n"


class Cluster:
    """`engines` plain engines behind a gateway."""

    def __init__(self, folder, engines=2, engine="", gateway=""):
        self.folder = folder
        self.engines = [Server(program, "emulate", f"e{i}", folder, f"engine_id: e{i}\nobey_faults: true\n{STEP}{engine}")
                        for i in range(engines)]
        for server in self.engines:
            server.pin_port()
        self.settings = gateway
        self.log = pathlib.Path(folder) / "gateway.log"
        self.gateway = Server(program, "gateway", "gateway", folder, self.yaml())
        self.port, self.admin = self.gateway.ports
        self.expected = {}

    def yaml(self, policy="jsq", extra=""):
        workers = ", ".join(f"{{name: {e.name}, url: 'http://127.0.0.1:{e.ports[0]}'}}" for e in self.engines)
        return (f"listen: {{port: 0}}\nadmin: {{port: 0}}\nworkers: [{workers}]\npolicy: {{decode: {policy}}}\n"
                f"log: {self.log}\nhealth: {{interval: 50ms, timeout: 300ms, eject_after: 0}}\n{self.settings}{extra}")

    async def __aenter__(self):
        await ready(self.admin)
        return self

    async def __aexit__(self, *_):
        for server in [self.gateway, *self.engines]:
            server.kill()
            server.err.close()

    async def text(self, prompt, tokens):
        """What an engine itself says to that prompt."""
        if (prompt, tokens) not in self.expected:
            body = {"prompt": prompt, "max_tokens": tokens, "stream": True}
            _, _, raw, _ = await ask(self.engines[0].ports[0], "POST", "/v1/completions", body)
            self.expected[prompt, tokens] = stream_text(raw)[0]
        return self.expected[prompt, tokens]

    async def stream(self, prompt, tokens, headers=()):
        """'whole', 'broken' (with notice) or the status of a refusal; anything else raises."""
        status, _, body, whole = await ask(self.port, "POST", "/v1/completions",
                                           {"prompt": prompt, "max_tokens": tokens, "stream": True}, headers)
        if status != 200:
            assert whole and b'"error"' in body, f"{status} {body[:200]}"
            return status
        assert whole, "a stream that is cut off"
        text, done, error = stream_text(body)
        if error is not None:
            assert not done
            return "broken"
        assert done and text == await self.text(prompt, tokens), "not the engine's text"
        return "whole"

    async def outcomes(self):
        return (await get_json(self.admin, "/admin/routing"))["outcomes"]


async def load(cluster, stop, tally, clients=8, tokens=30):
    async def client(number):
        i = 0
        while not stop.is_set():
            i += 1
            try:
                got = await cluster.stream(f"prompt {(number + i) % 10}", tokens)
            except (ConnectionError, OSError):
                got = "no connection"
            tally[got] = tally.get(got, 0) + 1

    await asyncio.gather(*(cluster.text(f"prompt {number}", tokens) for number in range(10)))
    await asyncio.gather(*(client(number) for number in range(clients)))


async def reload_under_load_drops_no_stream(folder):
    async with Cluster(folder) as cluster:
        stop, tally = asyncio.Event(), {}
        running = asyncio.create_task(load(cluster, stop, tally))
        for round in range(6):
            served = sum(tally.values())

            async def busy():
                return sum(tally.values()) >= served + 4

            await until(busy, "streams between two reloads")
            policy = "round-robin" if round % 2 == 0 else "p2c"
            cluster.gateway.file.write_text(cluster.yaml(policy))
            cluster.gateway.send(HUP)

            async def switched():
                return (await get_json(cluster.admin, "/admin/policy"))["decode"] == policy

            await until(switched, f"policy {policy}")
        # A worker leaves by reload while it serves: its streams end whole.
        kept = cluster.engines.pop()
        cluster.gateway.file.write_text(cluster.yaml())
        cluster.gateway.send(HUP)

        async def gone():
            return len((await get_json(cluster.admin, "/admin/workers"))["workers"]) == 1

        await until(gone, "a worker to leave")
        cluster.engines.append(kept)
        # A bad file changes nothing, and says why.
        cluster.gateway.file.write_text(cluster.yaml(extra="nonsense: 1\n"))
        cluster.gateway.send(HUP)
        err = pathlib.Path(cluster.gateway.err.name)

        async def told():
            return "not reloaded" in err.read_text() and "nonsense" in err.read_text()

        await until(told, "the refusal")
        assert (await get_json(cluster.admin, "/admin/policy"))["decode"] == "jsq"
        stop.set()
        await running
        assert set(tally) == {"whole"} and tally["whole"] >= 16, tally
        await quiet(cluster.admin)


async def drain_under_load_ends_every_stream_and_exits_0(folder):
    async with Cluster(folder) as cluster:
        stop, tally = asyncio.Event(), {}
        running = asyncio.create_task(load(cluster, stop, tally, tokens=200))

        async def busy():
            return (await get_json(cluster.admin, "/admin/routing"))["in_flight"] == 8

        await until(busy, "eight streams")
        cluster.gateway.send(TERM)
        await asyncio.to_thread(cluster.gateway.process.wait, 60)
        stop.set()
        await running
        assert cluster.gateway.process.returncode == 0
        assert tally["whole"] >= 8 and set(tally) <= {"whole", "no connection", 503}, tally
        requests = log_lines(cluster.log, "request")
        assert sum(line["outcome"] == "finished" for line in requests) == tally["whole"], "one line a stream"
        assert len({line["request_id"] for line in requests}) == len(requests)


async def a_second_signal_does_not_wait(folder):
    async with Cluster(folder) as cluster:
        asked = asyncio.create_task(ask(cluster.port, "POST", "/v1/completions",
                                        {"prompt": "x", "max_tokens": 1_000_000, "stream": True}))

        async def busy():
            return (await get_json(cluster.admin, "/admin/routing"))["in_flight"] == 1

        await until(busy, "the stream")
        cluster.gateway.send(TERM)

        async def draining():
            return (await get_json(cluster.admin, "/admin/routing"))["draining"]

        await until(draining, "the drain")
        cluster.gateway.send(TERM)
        await asyncio.to_thread(cluster.gateway.process.wait, 60)
        assert cluster.gateway.process.returncode == 0
        try:
            _, _, _, whole = await asked
            assert not whole
        except ConnectionError:
            pass


async def slow_writers_lose_their_connections_and_nobody_else_does(folder):
    limits = "limits: {head_timeout: 300ms, body_timeout: 300ms, connections: 64}\n"
    async with Cluster(folder, gateway=limits) as cluster:
        async def dribble(first, piece):
            reader, writer = await asyncio.open_connection("127.0.0.1", cluster.port)
            writer.write(first)
            answer = asyncio.create_task(reader.read(-1))
            try:
                while piece and not answer.done():
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.02)
            except ConnectionError:
                pass
            try:
                return await answer
            except ConnectionError:
                return b""
            finally:
                writer.close()

        head = b"POST /v1/completions HTTP/1.1\r\nHost: g\r\n"
        slow = asyncio.gather(*(dribble(head, b"X-More: 1\r\n") for _ in range(20)),
                              *(dribble(head + b"Content-Length: 100000\r\n\r\n", b" ") for _ in range(20)),
                              dribble(head, b""), dribble(head + b"Content-Length: 100000\r\n\r\n", b""))
        for i in range(20):
            assert await cluster.stream(f"prompt {i}", 4) == "whole"
        answers = await slow
        assert set(answers) == {b""}, answers
        await quiet(cluster.admin)
        assert (await cluster.outcomes())["finished"] == 20


async def slow_readers_cost_a_bounded_buffer_and_stop_their_engine(folder):
    async with Cluster(folder, engines=1, gateway="limits: {write_timeout: 500ms, answer_bytes: 1073741824}\n") as cluster:
        await cluster.stream("warm", 4)
        before = cluster.gateway.resident_kib()
        readers = []
        for _ in range(16):  # each is sent half a GiB, and takes nothing
            reader = socket.create_connection(("127.0.0.1", cluster.port))
            reader.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: g\r\nX-Emulator-Fault: oversized\r\n"
                           b"Content-Length: 14\r\n\r\n" + b'{"prompt":"x"}')
            readers.append(reader)
        most = 0

        async def given_up():
            nonlocal most
            most = max(most, cluster.gateway.resident_kib())
            return (await cluster.outcomes())["client_gone"] == 16

        await until(given_up, "the readers to be given up")
        for reader in readers:
            reader.close()
        allowed = 64 * 1024 * int(os.environ.get("MOESAIC_MEMORY_FACTOR", "1"))
        assert most - before < allowed, f"{most - before} KiB for 16 readers, {allowed} allowed"
        await quiet(cluster.admin)
        assert await cluster.stream("after", 4) == "whole"


async def an_engine_killed_in_the_middle_breaks_its_streams_with_notice(folder):
    async with Cluster(folder) as cluster:
        stop, tally = asyncio.Event(), {}
        running = asyncio.create_task(load(cluster, stop, tally, tokens=100))

        async def busy():
            table = await get_json(cluster.admin, "/admin/workers")
            return table["workers"][1].get("running", 0) >= 2

        await until(busy, "streams on the victim")
        cluster.engines[1].kill()

        async def seen():
            return (await cluster.outcomes())["broken"] >= 1

        await until(seen, "the breaks")
        cluster.engines[1].start()
        await ready(cluster.admin)

        async def back():
            return (await get_json(cluster.admin, "/admin/workers"))["workers"][1]["state"] == "up"

        await until(back, "the victim to be back")
        stop.set()
        await running
        assert set(tally) <= {"whole", "broken", 502}, tally
        await quiet(cluster.admin)
        outcomes = await cluster.outcomes()
        assert outcomes["finished"] == tally["whole"] and outcomes["broken"] == tally["broken"], (outcomes, tally)
        assert sum(outcomes.values()) == sum(tally.values()), "exactly one outcome each"


async def an_engine_that_stops_answering_is_waited_for_no_longer_than_told(folder):
    """Half-open: the machine takes connections and acknowledges, the process does nothing."""
    deadlines = "deadlines: {first_byte: 400ms, between_bytes: 400ms}\n"
    async with Cluster(folder, engines=1, gateway=deadlines) as cluster:
        long = asyncio.create_task(cluster.stream("x", 100_000))

        async def busy():
            return (await get_json(cluster.admin, "/admin/workers"))["workers"][0].get("running", 0) == 1

        await until(busy, "the stream")
        cluster.engines[0].send(STOP)
        asked = [asyncio.create_task(cluster.stream(f"y{i}", 4)) for i in range(4)]
        assert await long == "broken"
        got = {await one for one in asked}
        assert got <= {503, 504}, got  # 503 once the health check has seen it

        async def down():
            return (await get_json(cluster.admin, "/admin/workers"))["workers"][0]["state"] == "down"

        await until(down, "the health check to see it")
        await quiet(cluster.admin)
        cluster.engines[0].send(CONT)
        await ready(cluster.admin)
        assert await cluster.stream("z", 4) == "whole"


async def sglangs_recorder_is_driven_and_its_dump_imported(folder):
    folder = pathlib.Path(folder)
    store = folder / "mini.zarr"
    subprocess.run([program, "import", source / "samples/moesaic-mini", "-o", store], check=True, capture_output=True)
    (folder / "dumps").mkdir()
    (folder / "dumps" / "expert_distribution_recorder_1_0.pt").write_bytes(b"of another day")
    engine = Server(program, "emulate", "e", folder, f"trace: {store}\nrecorder_folder: {folder}/dumps\n{STEP}")
    mute = Server(program, "emulate", "mute", folder, STEP)
    try:
        url = f"http://127.0.0.1:{engine.ports[0]}"
        recorder = subprocess.Popen([program, "record", url, "--folder", folder / "dumps", "-o", folder / "r.zarr", "--seconds",
                                     "3600", "--json", folder / "r.json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

        # It counts from its start on; the engine's metrics tell when.
        for _ in range(100):
            for i in range(4):
                body = {"prompt": f"trace:{i} x", "max_tokens": 10}
                assert (await ask(engine.ports[0], "POST", "/v1/completions", body))[0] == 200
            _, _, metrics, _ = await ask(engine.ports[0], "GET", "/metrics")
            if b"emulator:recorded_tokens" in metrics and float(metrics.split(b"emulator:recorded_tokens{")[1].split()[1]) > 400:
                break
        recorder.send_signal(INT)  # Ctrl-C ends the recording, not the command
        out, err = await asyncio.to_thread(recorder.communicate, None, 60)
        assert recorder.returncode == 0, err
        summary = json.loads((folder / "r.json").read_text())
        if jsonschema is not None:
            jsonschema.validate(summary, json.loads((source / "docs/schemas/import.schema.json").read_text()))
        assert summary["format"] == "sglang-stat" and summary["documents"] == 1, summary
        (dump,) = [path for path in (folder / "dumps").glob("*.pt") if "_1_0" not in path.name]
        counts = read_stat(dump)
        # Ten decode tokens a request, each of them k experts in every layer, and the prompts.
        assert sum(counts) > 400 * len(summary["layers"]), (sum(counts), summary)
        info = subprocess.run([program, "info", folder / "r.zarr", "--verify"], capture_output=True, text=True)
        assert info.returncode == 0, info.stderr
        # An engine without a recorder is an error that says what to switch on; so is a folder without the dump.
        for where, words in ((f"http://127.0.0.1:{mute.ports[0]}", "--expert-distribution-recorder-mode"), (url, "RECORDER_DIR")):
            failed = subprocess.run([program, "record", where, "--folder", folder, "-o", folder / "n.zarr", "--seconds", "0",
                                     "--patience", "0.6"], capture_output=True, text=True)
            assert failed.returncode == 3 and words in failed.stderr, failed
            assert not (folder / "n.zarr").exists()
    finally:
        engine.kill()
        mute.kill()


def read_stat(path):
    """The counts of a dump, by Python's own zip and pickle readers."""
    archive = zipfile.ZipFile(path)
    assert archive.testzip() is None
    (name,) = [name for name in archive.namelist() if name.endswith("data.pkl")]

    class Reader(pickle.Unpickler):
        def find_class(self, module, name):
            assert (module, name) in {("torch._utils", "_rebuild_tensor_v2"), ("torch", "IntStorage"), ("collections", "OrderedDict")}
            return collections.OrderedDict if name == "OrderedDict" else (lambda *given: given) if name != "IntStorage" else name

        def persistent_load(self, pid):
            return pid

    root = Reader(io.BytesIO(archive.read(name))).load()
    (kind, _, entry, _, count), offset, shape, stride, *_ = root["logical_count"]
    raw = archive.read(name.replace("data.pkl", f"data/{entry}"))
    assert kind == "storage" and len(raw) == 4 * count == 4 * shape[0] * shape[1] * shape[2] and offset == 0
    assert stride == (shape[1] * shape[2], shape[2], 1)
    return struct.unpack(f"<{count}i", raw)


async def recorded_requests_are_stores_that_info_and_plan_read(folder):
    folder = pathlib.Path(folder)
    subprocess.run([program, "import", source / "samples/moesaic-mini", "-o", folder / "mini.zarr"], check=True, capture_output=True)
    shadow = Server(program, "emulate", "shadow", folder, f"trace: {folder}/mini.zarr\nrouted_experts: vllm\n")
    (folder / "model.yaml").write_text("name: a-mini\nmodel_layers: 6\nexperts: 32\ntop_k: 4\nhidden_size: 128\n"
                                       "expert_intermediate_size: 128\n")
    learning = (f"model: {folder}/model.yaml\nrecord: {{folder: {folder}/requests}}\n"
                f"shadow: {{url: 'http://127.0.0.1:{shadow.ports[0]}', rate: 1, queue: 100}}\n")
    try:
        async with Cluster(folder, gateway=learning) as cluster:
            for number in range(40):
                assert await cluster.stream(f"trace:{number} abracadabra", 8) == "whole"

            async def read():
                status = await get_json(cluster.admin, "/admin/routing")
                if jsonschema is not None:
                    jsonschema.validate(status, json.loads((source / "docs/schemas/gateway-routing.schema.json").read_text()))
                return status["learning"]["answers"]["known"] == 40

            await until(read, "the shadow's answers to be read")
            cluster.gateway.send(TERM)
            assert await asyncio.to_thread(cluster.gateway.process.wait, 30) == 0
        (store,) = (folder / "requests").iterdir()
        assert not any(b"abracadabra" in file.read_bytes() for file in store.rglob("*") if file.is_file()), "text was recorded"
        for command in (["info", store, "--verify"], ["plan", store, "--nodes", "2", "--gpus-per-node", "2", "-o", folder / "plan.json"]):
            done = subprocess.run([program, *command], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
    finally:
        shadow.kill()


async def files_that_are_no_good_are_refused_at_the_start(folder):
    folder = pathlib.Path(folder)
    (folder / "router.json").write_text('{"schema": "moesaic.router/1", "model": 7}')
    subprocess.run([program, "import", source / "samples/moesaic-mini", "-o", folder / "mini.zarr"], check=True, capture_output=True)
    subprocess.run([program, "plan", folder / "mini.zarr", "--nodes", "1", "--gpus-per-node", "4", "-o", folder / "plan.json"],
                   check=True, capture_output=True)
    workers = "workers: [{name: a, url: 'http://127.0.0.1:9', ranks: 3}]\n"
    for policy, words in ((f"{{decode: eldr, router: {folder}/router.json}}", "router.json"),
                          (f"{{decode: group, plan: {folder}/none.json}}", "none.json"),
                          ("{decode: group}", "policy.plan"),
                          ("{decode: jsq}\nmodel: nobody", "describe another model in a YAML file"),
                          (f"{{decode: jsq}}\nmodel: {folder}/none.yaml", "none.yaml"),
                          (f"{{decode: group, plan: {folder}/plan.json}}", "leave home 3 of the plan's 4 without one")):
        (folder / "bad.yaml").write_text(f"listen: {{port: 0}}\nadmin: {{port: 0}}\nlog: none\n{workers}policy: {policy}\n")
        refused = subprocess.run([program, "gateway", folder / "bad.yaml"], capture_output=True, text=True, timeout=30)
        assert refused.returncode in (2, 3) and words in refused.stderr, (policy, refused)


TESTS = [reload_under_load_drops_no_stream, drain_under_load_ends_every_stream_and_exits_0, a_second_signal_does_not_wait,
         slow_writers_lose_their_connections_and_nobody_else_does,
         slow_readers_cost_a_bounded_buffer_and_stop_their_engine,
         an_engine_killed_in_the_middle_breaks_its_streams_with_notice,
         an_engine_that_stops_answering_is_waited_for_no_longer_than_told, sglangs_recorder_is_driven_and_its_dump_imported,
         recorded_requests_are_stores_that_info_and_plan_read, files_that_are_no_good_are_refused_at_the_start]

failed = 0
for test in TESTS:
    if len(sys.argv) > 3 and test.__name__ not in sys.argv[3:]:
        continue
    with tempfile.TemporaryDirectory() as folder:
        try:
            asyncio.run(asyncio.wait_for(test(folder), 90))
            print(f"ok      {test.__name__}")
        except Exception:
            failed += 1
            print(f"FAILED  {test.__name__}\n{traceback.format_exc()}")
sys.exit(1 if failed else 0)
