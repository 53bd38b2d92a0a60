"""Gateways and emulated engines as processes, and clients that check every byte they get. For tests and soaks."""
import asyncio
import json
import pathlib
import re
import signal
import subprocess


class Server:
    """moesaic gateway|emulate, started with a configuration; killed with the `with` block."""

    def __init__(self, program, command, name, folder, yaml):
        self.name, self.file, self.log = name, pathlib.Path(folder) / f"{name}.yaml", pathlib.Path(folder) / f"{name}.log"
        self.err = open(pathlib.Path(folder) / f"{name}.err", "a")
        self.command = [program, command, str(self.file)]
        self.file.write_text(yaml)
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=self.err, text=True)
        line = self.process.stdout.readline()
        self.ports = [int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)", line)]
        if not self.ports:
            raise RuntimeError(f"{self.name} did not start: {pathlib.Path(self.err.name).read_text()}")

    def pin_port(self):
        """A later start() takes the same port."""
        self.file.write_text(f"port: {self.ports[0]}\n" + self.file.read_text())

    def send(self, what):
        self.process.send_signal(what)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def resident_kib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        self.err.close()


async def ask(port, method, path, body=None, headers=()):
    """One request on a connection of its own: (status, headers, body, whole)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        data = b"" if body is None else (body if isinstance(body, bytes) else json.dumps(body).encode())
        head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", f"Content-Length: {len(data)}"]
        head += [f"{name}: {value}" for name, value in headers]
        writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + data)
        await writer.drain()
        raw = await reader.read(-1)
    finally:
        writer.close()
    head, _, rest = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    got = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    status = int(lines[0].split()[1]) if lines[0].startswith("HTTP/1.1 ") else 0
    if got.get("transfer-encoding") == "chunked":
        text, whole = dechunk(rest)
    else:
        text, whole = rest, len(rest) == int(got.get("content-length", -1))
    return status, got, text, whole


def dechunk(rest):
    text = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        if not size:
            return text, False
        length = int(size, 16)
        if length == 0:
            return text, rest == b"\r\n"
        if len(rest) < length + 2:
            return text + rest[:length], False
        text, rest = text + rest[:length], rest[length + 2:]


def stream_text(body):
    """(text, done, error) of a stream's events; raises where an event is not whole."""
    text, done, error = "", False, None
    if body and not body.endswith(b"\n\n"):
        raise ValueError("half an event")
    for event in body.split(b"\n\n")[:-1]:
        payload = event.removeprefix(b"data: ")
        if payload == b"[DONE]":
            done = True
            continue
        if done:
            raise ValueError("something after the last word")
        parsed = json.loads(payload)
        if "error" in parsed:
            error = parsed["error"]
        for choice in parsed.get("choices", []):
            text += choice.get("text") or ""
    return text, done, error


async def until(what, name, seconds=30):
    """Waits for an awaitable condition; a limit far beyond what a busy machine needs."""
    for _ in range(int(seconds / 0.01)):
        if await what():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"waited {seconds} s for {name}")


async def get_json(port, path):
    status, _, body, whole = await ask(port, "GET", path)
    if status != 200 or not whole:
        raise AssertionError(f"{path} answers {status}: {body[:200]}")
    return json.loads(body)


async def ready(admin):
    async def is_ready():
        return (await ask(admin, "GET", "/ready"))[0] == 200

    await until(is_ready, "the gateway to be ready")


async def quiet(admin):
    """Counters back to zero."""

    async def is_quiet():
        routing, table = await asyncio.gather(get_json(admin, "/admin/routing"), get_json(admin, "/admin/workers"))
        return routing["in_flight"] == 0 and routing["handoffs"]["open"] == 0 and all(
            worker["in_flight"] == 0 for worker in table["workers"])

    await until(is_quiet, "the gateway's counters to be back at zero")


def log_lines(path, message=None):
    lines = [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]
    return [line for line in lines if message is None or line["message"] == message]


HUP, INT, TERM, STOP, CONT = signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGSTOP, signal.SIGCONT
