#!/usr/bin/env python3
"""Load at 80 % of what the engines can do, for a long time, while engines are killed (SIGKILL) and come back.

Two emulated prefillers and three decoders behind `moesaic gateway` (ELDR's handoff), a worker killed every 20 s and
revived 5 s later. Every request has an id that is accounted for in three places: what the client got, the gateway's log,
the decoders' logs. Fails when an id is lost or doubled, an answer is not the engine's, a counter does not come back to
zero, or the gateway's memory grows.
  scripts/soak-gateway.py [--seconds 45] [--program build/release/bin/moesaic] [--json FILE]
"""
import argparse
import asyncio
import collections
import json
import pathlib
import sys
import tempfile
import time

root = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root / "tests/support"))
from serving import Server, ask, get_json, log_lines, quiet, ready, stream_text  # noqa: E402

options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
options.add_argument("--seconds", type=float, default=45)
options.add_argument("--kill-every", type=float, default=20)
options.add_argument("--dead-for", type=float, default=5)
options.add_argument("--program", default=str(root / "build/release/bin/moesaic"))
options.add_argument("--json")
options = options.parse_args()

TOKENS, PROMPTS = 40, 50
STEP = "step: {from: measured, fixed: 12ms}\n"


class Soak:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.servers = []
        for role, count in (("prefill", 2), ("decode", 3)):
            for i in range(count):
                name = f"{role}{i}"
                self.servers.append(Server(options.program, "emulate", name, folder,
                    f"role: {role}\nhandoff: eldr\nengine_id: {name}\nmax_running: 8\nhandoff_lifetime: 3s\n"
                    f"prefill: {{fixed: 5ms}}\nlog: {folder}/{name}.jsonl\n{STEP}"))
                self.servers[-1].pin_port()
        workers = "".join(f"  - {{name: {s.name}, url: 'http://127.0.0.1:{s.ports[0]}', role: {s.name[:-1]}}}\n"
                          for s in self.servers)
        self.log = self.folder / "gateway.jsonl"
        self.gateway = Server(options.program, "gateway", "gateway", folder,
            f"listen: {{port: 0}}\nadmin: {{port: 0}}\nprotocol: eldr\nworkers:\n{workers}log: {self.log}\n"
            "health: {interval: 500ms, timeout: 400ms, eject_after: 0}\n")
        self.port, self.admin = self.gateway.ports
        self.reference = Server(options.program, "emulate", "reference", folder, "engine_id: reference\n")
        self.texts, self.got, self.resident, self.kills = [], {}, [], 0

    def close(self):
        for server in [self.gateway, self.reference, *self.servers]:
            server.kill()
            server.err.close()

    def body(self, number):
        return {"prompt": f"prompt {number % PROMPTS}", "max_tokens": TOKENS, "stream": number % 4 != 0}

    async def learn_texts(self):
        for number in range(PROMPTS):
            body = dict(self.body(number), stream=True)
            _, _, raw, _ = await ask(self.reference.ports[0], "POST", "/v1/completions", body)
            self.texts.append(stream_text(raw)[0])

    async def request(self, number):
        """What became of it, as its client sees it."""
        body, name = self.body(number), f"soak-{number}"
        try:
            status, headers, answer, whole = await ask(self.port, "POST", "/v1/completions", body, [("X-Request-Id", name)])
        except (ConnectionError, OSError) as error:
            self.got[name] = f"no answer: {error}"
            return
        text = self.texts[number % PROMPTS]
        if headers.get("x-request-id") != name:
            self.got[name] = "another id"
        elif status != 200:
            self.got[name] = "refused" if whole and b'"error"' in answer else f"{status} without a word"
        elif not whole:
            self.got[name] = "cut off"
        elif not body["stream"]:
            self.got[name] = "whole" if json.loads(answer)["choices"][0]["text"] == text else "another text"
        else:
            told, done, error = stream_text(answer)
            if error is not None:
                self.got[name] = "broken with notice" if not done and text.startswith(told) else "another text"
            else:
                self.got[name] = "whole" if done and told == text else "another text"

    async def measure(self, first):
        """Requests a second with every batch full."""
        number, end, done = first, time.monotonic() + 5, 0

        async def client():
            nonlocal number, done
            while time.monotonic() < end:
                number += 1
                await self.request(number - 1)
                done += 1

        began = time.monotonic()
        await asyncio.gather(*(client() for _ in range(3 * 8 + 4)))
        return done / (time.monotonic() - began), number

    async def kill_and_revive(self, end):
        for turn in range(10**9):
            if time.monotonic() + options.kill_every + options.dead_for > end:
                return
            await asyncio.sleep(options.kill_every - (options.dead_for if turn else options.kill_every / 2))
            victim = self.servers[(2 + turn) % len(self.servers)]  # decoders first
            victim.kill()
            self.kills += 1
            await asyncio.sleep(options.dead_for)
            victim.start()

    async def watch_memory(self, end):
        while time.monotonic() < end:
            self.resident.append(self.gateway.resident_kib())
            await asyncio.sleep(0.5)

    async def run(self):
        await ready(self.admin)
        await self.learn_texts()
        capacity, number = await self.measure(0)
        rate, begin = 0.8 * capacity, time.monotonic()
        end, running, most = begin + options.seconds, set(), 0
        beside = asyncio.gather(self.kill_and_revive(end), self.watch_memory(end))
        sent = 0
        while time.monotonic() < end:
            while sent < (time.monotonic() - begin) * rate:  # an open loop: who waits does not slow the others
                task = asyncio.create_task(self.request(number + sent))
                running.add(task)
                task.add_done_callback(running.discard)
                sent += 1
            most = max(most, len(running))
            await asyncio.sleep(0.005)
        await beside
        await asyncio.gather(*running)
        await quiet(self.admin)
        return self.judge(capacity, number + sent, most, await get_json(self.admin, "/admin/routing"))

    def judge(self, capacity, sent, most, routing):
        wrong = []
        seen = collections.Counter(self.got.values())
        for kind in seen.keys() - {"whole", "refused", "broken with notice"}:
            wrong.append(f"{seen[kind]} requests got: {kind}")
        if len(self.got) != sent:
            wrong.append(f"{sent} requests sent, {len(self.got)} accounted for")
        logged = collections.Counter(line["request_id"] for line in log_lines(self.log, "request"))
        outcome = {line["request_id"]: line["outcome"] for line in log_lines(self.log, "request")}
        begun, finished = collections.Counter(), collections.Counter()
        for server in self.servers:
            for line in (self.folder / f"{server.name}.jsonl").read_text().splitlines():
                entry = json.loads(line)
                if entry["event"] == "decode":
                    begun[entry["request_id"]] += 1
                if entry["event"] == "finished":
                    finished[entry["request_id"]] += 1
                    if entry["tokens"] != TOKENS:
                        wrong.append(f"{entry['request_id']}: {entry['tokens']} tokens made")
        unlogged = []
        kind_of = {"finished": {"whole", "refused"}, "broken": {"broken with notice"}}
        for name, got in self.got.items():
            if logged[name] != 1:
                wrong.append(f"{name}: {logged[name]} lines in the gateway's log")
            elif got not in kind_of.get(outcome[name], {"refused"}):
                wrong.append(f"{name}: the client got {got}, the gateway says {outcome[name]}")
            if begun[name] > 1:
                wrong.append(f"{name}: decoded {begun[name]} times")
            if got == "whole" and (begun[name], finished[name]) == (1, 0):
                unlogged.append(name)  # an engine killed between its last byte and its line in the log
            elif got == "whole" and (begun[name], finished[name]) != (1, 1):
                wrong.append(f"{name}: whole, but begun {begun[name]} and finished {finished[name]} times")
        if len(unlogged) > self.kills:
            wrong.append(f"{len(unlogged)} requests whole, but not finished by an engine's log, at {self.kills} kills")
        for name in logged.keys() | begun.keys():
            if name.startswith("soak-") and name not in self.got:
                wrong.append(f"{name}: nobody sent it")
        if sum(routing["outcomes"].values()) != sent:
            wrong.append(f"{sum(routing['outcomes'].values())} outcomes of {sent} requests")
        if self.kills == 0:
            wrong.append("nobody was killed: give more seconds")
        if seen["whole"] < 0.9 * sent:
            wrong.append(f"only {seen['whole']} of {sent} whole")
        third = len(self.resident) // 3
        first = sum(self.resident[:third]) / third
        last = sum(self.resident[-third:]) / third
        if last > 1.05 * first + 4096:
            wrong.append(f"memory grows: {first:.0f} KiB in the first third, {last:.0f} in the last")
        result = {"seconds": options.seconds, "capacity_per_second": round(capacity, 1), "sent": sent,
                  "whole": seen["whole"], "refused": seen["refused"], "broken": seen["broken with notice"],
                  "kills": self.kills, "most_in_flight": most, "resident_first_third_kib": round(first),
                  "resident_last_third_kib": round(last), "handoffs": routing["handoffs"], "wrong": wrong}
        print(f"{sent} requests in {options.seconds:.0f} s (80 % of {capacity:.0f}/s), {self.kills} kills: {seen['whole']} whole, "
              f"{seen['refused']} refused, {seen['broken with notice']} broken with notice; gateway {first:.0f} KiB in the first "
              f"third, {last:.0f} in the last; handoffs {routing['handoffs']}")
        for line in wrong[:20]:
            print(f"WRONG: {line}")
        if options.json:
            pathlib.Path(options.json).write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")
        return 1 if wrong else 0


with tempfile.TemporaryDirectory() as folder:
    soak = Soak(folder)
    try:
        code = asyncio.run(soak.run())
    finally:
        soak.close()
sys.exit(code)
