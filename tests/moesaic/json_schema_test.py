#!/usr/bin/env python3
"""The main job on the sample, each --json checked against its schema in docs/schemas.

usage: json_schema_test.py PROGRAM SOURCE_FOLDER    (exit 77: python3-jsonschema is missing)
"""
import functools
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

try:
    import jsonschema
except ImportError:
    print("skipped: needs python3-jsonschema")
    sys.exit(77)

program, source = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()


@functools.cache
def validator(name):
    schema = json.loads((source / "docs/schemas" / f"{name}.schema.json").read_text())
    of_version = jsonschema.validators.validator_for(schema)
    of_version.check_schema(schema)
    return of_version(schema)


def check(document, name):
    whole = validator(name)
    whole.validate(document)
    # A schema that takes anything proves nothing: a stray key beside those it lists must be refused.
    keys = {key: value if key != "properties" else dict.fromkeys(value, True)
            for key, value in whole.schema.items() if key in ("properties", "additionalProperties")}
    if type(whole)(keys).is_valid(dict(document, stray_key=1)):
        sys.exit(f"docs/schemas/{name}.schema.json accepts a stray key")


def run(name, *arguments):
    out = subprocess.run([program, *arguments, "--json", "result.json"], capture_output=True, text=True)
    if out.returncode != 0:
        sys.exit(f"moesaic {' '.join(arguments)} exits {out.returncode}: {out.stderr}")
    document = json.loads(pathlib.Path("result.json").read_text())
    check(document, name)
    return document


def serve(command, yaml):
    """Starts a server; returns it and the ports it says it listens on."""
    pathlib.Path(f"{command}.yaml").write_text(yaml)
    server = subprocess.Popen([program, command, f"{command}.yaml"], stdout=subprocess.PIPE, text=True)
    return server, [int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)", server.stdout.readline())]


def check_gateway():
    step = "{from: measured, fixed: 1ms, per_expert_ns: 1000}"
    servers = []
    try:
        engine, (port,) = serve("emulate", "trace: t.zarr\n")
        servers.append(engine)
        gateway, (front, admin) = serve(
            "gateway", f"listen: {{port: 0}}\nadmin: {{port: 0}}\nlog: none\n"
            f"workers: [{{name: e, url: 'http://127.0.0.1:{port}'}}]\n"
            f"policy: {{decode: marginal, trace: t.zarr, step: {step}}}\n")
        servers.append(gateway)
        for _ in range(600):  # the first health check decides; it takes milliseconds
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{admin}/ready")
                break
            except urllib.error.HTTPError:
                time.sleep(0.01)
        ask = urllib.request.Request(f"http://127.0.0.1:{front}/v1/completions", b'{"prompt":"a","max_tokens":4,"stream":true}')
        if not urllib.request.urlopen(ask).read().endswith(b"data: [DONE]\n\n"):
            sys.exit("the gateway's stream is not whole")
        for what in ("workers", "decisions", "routing", "policy", "latency"):
            answer = json.load(urllib.request.urlopen(f"http://127.0.0.1:{admin}/admin/{what}"))
            check(answer, f"gateway-{what}")
    finally:
        for server in servers:
            server.kill()
            server.wait()


with tempfile.TemporaryDirectory() as folder:
    import os

    os.chdir(folder)
    where = ["--nodes", "2", "--gpus-per-node", "2"]
    run("import", "import", str(source / "samples/moesaic-mini"), "-o", "t.zarr")
    run("info", "info", "t.zarr")
    run("profile", "profile", "t.zarr")
    run("profile-compare", "profile", "--compare", "t.zarr", "t.zarr")
    planned = run("plan-result", "plan", "t.zarr", *where, "--extra-slots", "8", "-o", "plan.json")
    check(json.loads(pathlib.Path("plan.json").read_text()), "plan")
    changed = run("plan-result", "plan", "t.zarr", *where, "--extra-slots", "8", "--from", "plan.json",
                  "--max-moves", "3", "--seed", "1", "-o", "changed.json")
    if changed["change"]["moves"] > 3:
        sys.exit(f"--max-moves 3 moved {changed['change']['moves']}")
    robust = run("plan-result", "plan", "t.zarr", *where, "--robust", "domains", "--missing-gpus", "0,3", "-o", "robust.json")
    check(json.loads(pathlib.Path("robust.json").read_text()), "plan")
    if len(robust["robust"]["parts"]) < 5:
        sys.exit(f"--robust domains has the parts {robust['robust']['parts']}")
    fast = run("plan-result", "plan", "t.zarr", *where, "--optimize", "time", "--batch", "16", "-o", "fast.json")
    if fast["dedup"]["node_copies_per_token_layer"] <= 0:
        sys.exit("--optimize time sends nothing")
    evaluated = run("evaluate", "evaluate", "plan.json", "t.zarr", "--layers", "--time", "--batch", "16")
    run("verify", "verify", "plan.json", "t.zarr")
    run("plan-sweep", "plan", "t.zarr", *where, "--sweep", "--sweep-slots", "0,8", "--sweep-imbalance", "1.1", "--time",
        "--batch", "16")
    compared = run("compare", "compare", "t.zarr", *where, "--splits", "2", "-a", "linear,metis,moesaic@metis")
    if set(compared["algorithms"]) != {"linear", "metis", "moesaic@metis"}:
        sys.exit(f"compare has {sorted(compared['algorithms'])}")
    across = run("compare", "compare", "t.zarr", *where, "--splits", "1", "-a", "linear,patterns", "--across")
    if set(across["planned_on_scored_domains"]) != {"linear", "patterns"}:
        sys.exit(f"compare --across has {sorted(across)}")
    run("export", "export", "plan.json", "--to", "sglang", "-o", "sglang.json")
    run("fit", "fit", "t.zarr", "--decoders", "4", "--layers", "best", "-o", "router.json")
    check(json.loads(pathlib.Path("router.json").read_text()), "router")
    kinds = json.loads((source / "samples/moesaic-mini/index.json").read_text())["requests"]
    lines = [json.dumps({"id": f"moesaic-mini/{i}", "text": f"speaks {r['domain']}"}) for i, r in enumerate(kinds)]
    pathlib.Path("prompts.jsonl").write_text("\n".join(lines))
    fitted = run("fit", "fit", "t.zarr", "--decoders", "4", "--prompts", "prompts.jsonl", "-o", "prompted.json")
    check(json.loads(pathlib.Path("prompted.json").read_text()), "router")
    if fitted["prompts"]["accuracy"] <= fitted["prompts"]["chance"]:
        sys.exit("a prompt that names its domain tells no more than chance")
    run("simulate", "simulate", str(source / "samples/clusters/moesaic-mini-4d.yaml"), "--trace", "t.zarr")
    run("microbatch", "microbatch", "t.zarr", "--pool", "40", "--seeds", "2", "--batches", "50")
    run("microbatch", "microbatch", "t.zarr", "--pool", "40", "--seeds", "2", "--batches", "50", "--plan", "plan.json")
    # evaluate, told nothing, must print what plan printed: same split, same homes, same objective.
    for key in ("dedup", "per_expert", "node_max_over_mean", "gpu_max_over_mean", "home_max_over_mean", "tokens"):
        if planned[key] != evaluated[key]:
            sys.exit(f"plan says {key} = {planned[key]}, evaluate says {evaluated[key]}")
    check_gateway()
for name, fixture in (("plan", "artifact/plan-v1"), ("router", "artifact/router-v1"), ("profile", "profile/profile-v1")):
    check(json.loads((source / f"tests/data/{fixture}.json").read_text()), name)
print("every --json fits its schema")
