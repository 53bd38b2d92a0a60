#!/usr/bin/env python3
"""moesaic-mpi under a real mpirun: what it computes, and how it ends when something is wrong.

usage: mpi_test.py MOESAIC MOESAIC_MPI SOURCE_FOLDER    (exit 77: there is no mpirun or no moesaic-mpi)
Needs no network and no shared traces: it works on samples/. With MOESAIC_SHARED it also replays the public traces.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

moesaic, moesaic_mpi, source = (pathlib.Path(p).resolve() for p in sys.argv[1:4])
if shutil.which("mpirun") is None or not moesaic_mpi.exists():
    print("skipped: needs mpirun and moesaic-mpi (packages openmpi-bin, libopenmpi-dev)")
    sys.exit(77)
os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_rmaps_base_oversubscribe="1")
os.environ.setdefault("MOESAIC_SHARED", str(source.parent / "shared"))


def run(*words):
    return subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=600)


def ranks(n, *words):
    return run("mpirun", "-q", "-n", n, "--oversubscribe", moesaic_mpi, *words)


def ours(text):
    """The lines that are ours: mpirun may add its own."""
    return [line for line in text.splitlines() if line.startswith("moesaic-mpi:")]


class WithSample(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        cls.trace = cls.folder / "t.zarr"
        done = run(moesaic, "import", source / "samples/moesaic-mini", "-o", cls.trace)
        assert done.returncode == 0, done.stderr
        cls.plan = cls.make_plan("moesaic")

    @classmethod
    def make_plan(cls, algorithm, *more):
        path = cls.folder / f"{algorithm}.json"
        done = run(moesaic, "plan", cls.trace, "--nodes", 2, "--gpus-per-node", 2, "-a", algorithm, "-o", path, "--force",
                   *more)
        assert done.returncode == 0, done.stderr
        return path

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def replay(self, n=4, plan=None, trace=None, more=()):
        out = self.folder / "r.json"
        out.unlink(missing_ok=True)
        return ranks(n, "replay", plan or self.plan, trace or self.trace, "--hidden", 32, "--intermediate", 16, "--json",
                     out, *more), out

    def one_message(self, done, code, *parts):
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(len(ours(done.stderr)), 1, done.stderr)
        for part in parts:
            self.assertIn(part, ours(done.stderr)[0])


class Replay(WithSample):
    def test_measured_bytes_are_the_evaluators_and_outputs_the_references(self):
        for algorithm in ("linear", "eplb", "patterns", "moesaic"):
            plan = self.make_plan(algorithm, "--extra-slots", 8)
            for mode in ("dedup", "per-expert"):
                for wire in ("f32", "bf16"):
                    with self.subTest(algorithm=algorithm, mode=mode, wire=wire):
                        done, out = self.replay(plan=plan, more=["--mode", mode, "--wire", wire])
                        self.assertEqual(done.returncode, 0, done.stderr)
                        result = json.loads(out.read_text())
                        self.assertGreater(result["measured_inter_node_bytes"], 0)
                        for kind in ("inter", "intra"):
                            self.assertEqual(result[f"measured_{kind}_node_bytes"],
                                             result[f"predicted_{kind}_node_bytes"])
                        self.assertTrue(result["within_tolerance"])
                        self.assertGreater(result["checked_tokens"], 0)

    def test_requests_that_share_experts_in_step_ask_for_fewer_and_move_the_same_bytes(self):
        results = {}
        for picked in ("fifo", "grouped"):
            done, out = self.replay(more=["--micro-batches", picked, "--batch-requests", 8, "--batch-tokens", 8,
                                          "--requests", "all", "--assign", "random"])
            self.assertEqual(done.returncode, 0, done.stderr)
            results[picked] = json.loads(out.read_text())
        fifo, grouped = results["fifo"], results["grouped"]
        self.assertEqual(fifo["measured_inter_node_bytes"], grouped["measured_inter_node_bytes"])
        self.assertEqual(fifo["batches"], grouped["batches"])
        self.assertLess(grouped["asked_experts_per_gpu_and_batch"], fifo["asked_experts_per_gpu_and_batch"])

    def test_a_group_of_one_is_refused(self):
        done, out = self.replay(more=["--micro-batches", "grouped"])
        self.one_message(done, 2, "--batch-requests")
        self.assertFalse(out.exists())

    def test_the_json_fits_its_schema(self):
        try:
            import jsonschema
        except ImportError:
            self.skipTest("needs python3-jsonschema")
        done, out = self.replay()
        self.assertEqual(done.returncode, 0, done.stderr)
        schema = json.loads((source / "docs/schemas/replay.schema.json").read_text())
        result = json.loads(out.read_text())
        jsonschema.validate(result, schema)
        with self.assertRaises(jsonschema.ValidationError):
            jsonschema.validate(dict(result, stray_key=1), schema)

    def test_a_wrong_rank_count_is_refused_with_the_right_one(self):
        done, out = self.replay(n=3)
        self.one_message(done, 2, "has 3 ranks, the plan 4 GPUs", "mpirun -n 4")
        self.assertFalse(out.exists())

    def test_ranks_that_read_different_files_are_told_so(self):
        again = self.folder / "again.zarr"
        if not again.exists():
            run(moesaic, "import", source / "samples/moesaic-mini", "--domain", "x", "-o", again)
        for words in (["replay", self.plan], ["profile"], ["plan", "--nodes", 2, "--gpus-per-node", 2, "-o", self.folder / "p"]):
            n, before = (3, 2) if words[0] == "replay" else (1, 1)

            def job(n, trace):
                return ["-n", n, moesaic_mpi, *words[:before], trace, *words[before:]]
            done = run("mpirun", "-q", "--oversubscribe", *job(n, self.trace), ":", *job(1, again))
            self.one_message(done, 3, f"rank {n} sees another trace than rank 0")

    def test_a_trace_of_another_model_is_refused(self):
        other = self.folder / "other.zarr"
        done = run(moesaic, "import", source / "tests/data/ingest/moe-trace.json", "-o", other)
        self.assertEqual(done.returncode, 0, done.stderr)
        done, out = self.replay(trace=other)
        self.one_message(done, 2, "traces of its own model")
        self.assertFalse(out.exists())

    def test_a_missing_shard_ends_all_ranks_with_one_message(self):
        broken = self.folder / "broken.zarr"
        shutil.rmtree(broken, ignore_errors=True)
        shutil.copytree(self.trace, broken)
        (broken / "experts/c.0.0.0").unlink()
        done, out = self.replay(trace=broken)
        self.one_message(done, 2, "c.0.0.0")
        self.assertFalse(out.exists())

    def test_a_full_disk_is_one_message_and_leaves_nothing(self):
        small = self.folder / "small"
        small.mkdir(exist_ok=True)
        if os.geteuid() != 0 or run("mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", small).returncode != 0:
            self.skipTest("needs the right to mount a small tmpfs")
        try:
            (small / "filler").write_bytes(b"x" * 12000)
            done = ranks(4, "replay", self.plan, self.trace, "--hidden", 32, "--intermediate", 16, "--json",
                         small / "r.json")
            self.one_message(done, 3, "r.json")
            self.assertEqual([p.name for p in small.iterdir()], ["filler"])
        finally:
            run("umount", small)

    def test_a_killed_rank_ends_the_job_and_leaves_nothing(self):
        out = self.folder / "killed.json"
        job = subprocess.Popen(["mpirun", "-n", "4", "--oversubscribe", moesaic_mpi, "replay", self.plan, self.trace,
                                "--hidden", "2048", "--intermediate", "2048", "--batch-tokens", "1", "--json", out],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        victim, deadline = None, time.monotonic() + 60
        while victim is None and time.monotonic() < deadline and job.poll() is None:
            children = pathlib.Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
            for child in children:
                # One that has computed for a second is past its start and far from its end.
                try:
                    name, _, rest = pathlib.Path(f"/proc/{child}/stat").read_text().partition("(")[2].rpartition(")")
                except OSError:
                    continue
                if name == "moesaic-mpi" and int(rest.split()[11]) >= os.sysconf("SC_CLK_TCK"):
                    victim = int(child)
        self.assertIsNotNone(victim)
        os.kill(victim, 9)
        _, err = job.communicate(timeout=120)
        self.assertNotEqual(job.returncode, 0)
        self.assertIn("signal 9", err)
        self.assertLessEqual(len(ours(err)), 1, err)
        self.assertFalse(out.exists())


class SharedWork(WithSample):
    """What several ranks make is what one makes, byte for byte."""

    def test_a_plan(self):
        # moesaic without extra slots: its layers share a budget of imbalance, in two passes.
        for algorithm, extra in (("moesaic", 8), ("moesaic", 0), ("patterns", 8), ("eplb", 8)):
            alone, shared = self.folder / "alone.json", self.folder / "shared.json"
            words = ["plan", self.trace, "--nodes", 2, "--gpus-per-node", 2, "-a", algorithm, "--extra-slots", extra,
                     "--force", "-o"]
            done = run(moesaic, *words, alone)
            self.assertEqual(done.returncode, 0, done.stderr)
            for n in (1, 2, 3):
                done = ranks(n, *words, shared)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(alone.read_bytes(), shared.read_bytes(), f"{algorithm} + {extra}, {n} ranks")

    def test_a_profile(self):
        alone, shared = self.folder / "alone.json", self.folder / "shared.json"
        done = run(moesaic, "profile", self.trace, "--json", alone)
        self.assertEqual(done.returncode, 0, done.stderr)
        text = done.stdout
        for n in (1, 2, 3):
            done = ranks(n, "profile", self.trace, "--json", shared)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(alone.read_bytes(), shared.read_bytes(), f"{n} ranks")
            self.assertEqual(text, done.stdout, "printed once, as one rank prints it")

    def test_a_changed_plan_and_ranks_that_read_different_running_ones(self):
        running, other, alone, shared = (self.folder / f"{name}.json" for name in ("running", "other", "alone", "shared"))
        words = ["plan", self.trace, "--nodes", 2, "--gpus-per-node", 2, "--force"]
        for path, algorithm in ((running, "linear"), (other, "round-robin")):
            done = run(moesaic, *words, "-a", algorithm, "-o", path)
            self.assertEqual(done.returncode, 0, done.stderr)
        words += ["--max-moves", 20]
        done = run(moesaic, *words, "--from", running, "-o", alone)
        self.assertEqual(done.returncode, 0, done.stderr)
        done = ranks(2, *words, "--from", running, "-o", shared)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(alone.read_bytes(), shared.read_bytes())
        shared.unlink()

        def job(n, path):
            return ["-n", n, moesaic_mpi, *words, "-o", shared, "--from", path]
        done = run("mpirun", "-q", "--oversubscribe", *job(1, running), ":", *job(1, other))
        self.one_message(done, 3, "rank 1 sees another running plan (--from) than rank 0")
        done = run("mpirun", "-q", "--oversubscribe", *job(1, running), ":", *job(1, self.folder / "none.json"))
        self.one_message(done, 2, "rank 1", "none.json")
        self.assertFalse(shared.exists())

    def test_an_existing_plan_is_refused_once_and_kept(self):
        before = self.plan.read_bytes()
        done = ranks(2, "plan", self.trace, "--nodes", 2, "--gpus-per-node", 2, "-o", self.plan)
        self.one_message(done, 2, "exists; give --force")
        self.assertEqual(self.plan.read_bytes(), before)

    def killed(self, *words):
        """Kills the last of two ranks as soon as it runs; returns what the job then says and its exit code."""
        job = subprocess.Popen(["mpirun", "-n", "2", "--oversubscribe", moesaic_mpi, *map(str, words)],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        victims, deadline = [], time.monotonic() + 60
        while len(victims) < 2 and time.monotonic() < deadline and job.poll() is None:
            victims = []
            for child in pathlib.Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split():
                try:
                    if "moesaic-mpi" in pathlib.Path(f"/proc/{child}/comm").read_text():
                        victims.append(int(child))
                except OSError:
                    continue
        self.assertEqual(len(victims), 2)
        os.kill(victims[-1], 9)
        _, err = job.communicate(timeout=120)
        return job.returncode, err

    def test_a_killed_rank_leaves_neither_plan_nor_profile(self):
        out = self.folder / "killed.json"
        for words in (["plan", self.trace, "--nodes", 2, "--gpus-per-node", 2, "--effort", 50, "-o", out],
                      ["profile", self.trace, "--json", out]):
            code, err = self.killed(*words)
            self.assertNotEqual(code, 0)
            self.assertIn("signal 9", err)
            self.assertLessEqual(len(ours(err)), 1, err)
            self.assertEqual([p.name for p in self.folder.iterdir() if "killed" in p.name], [])

    def test_a_full_disk_is_one_message_and_leaves_neither(self):
        small = self.folder / "full"
        small.mkdir(exist_ok=True)
        if os.geteuid() != 0 or run("mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", small).returncode != 0:
            self.skipTest("needs the right to mount a small tmpfs")
        try:
            (small / "filler").write_bytes(b"x" * 12000)
            for words in (["plan", self.trace, "--nodes", 2, "--gpus-per-node", 2, "-o", small / "o.json"],
                          ["profile", self.trace, "--json", small / "o.json"]):
                self.one_message(ranks(2, *words), 3, "o.json")
                self.assertEqual([p.name for p in small.iterdir()], ["filler"])
        finally:
            run("umount", small)

    def test_a_missing_shard_is_one_message_and_no_profile(self):
        broken, out = self.folder / "broken-profile.zarr", self.folder / "none.json"
        shutil.copytree(self.trace, broken)
        (broken / "experts/c.0.0.0").unlink()
        self.one_message(ranks(2, "profile", broken, "--json", out), 2, "c.0.0.0")
        self.assertFalse(out.exists())

    def test_a_missing_shard_is_one_message_and_no_plan(self):
        broken, out = self.folder / "broken-plan.zarr", self.folder / "none.json"
        shutil.copytree(self.trace, broken)
        (broken / "experts/c.0.0.0").unlink()
        done = ranks(2, "plan", broken, "--nodes", 2, "--gpus-per-node", 2, "-o", out)
        self.one_message(done, 2, "c.0.0.0")
        self.assertFalse(out.exists())


def files_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


class Import(WithSample):
    """Several ranks import one store: the bytes of one rank, or nothing."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        cls.sources = cls.folder / "requests"
        done = run("python3", source / "scripts/make_corpus.py", cls.sources, "--gib", "0.12", "--largest-mib", "2")
        assert done.returncode == 0, done.stderr
        cls.alone = cls.folder / "alone.zarr"
        done = run(moesaic, "import", cls.sources, "-o", cls.alone)
        assert done.returncode == 0, done.stderr
        cls.said = done.stdout

    def setUp(self):
        self.out = self.folder / "out.zarr"
        for path in (self.out, self.partial()):
            shutil.rmtree(path, ignore_errors=True)

    def partial(self):
        return self.out.with_name(self.out.name + ".partial")

    def rows(self, text):
        """What is said, but for the store's own name and the width of the table."""
        return [line.split() for line in text.splitlines() if not line.startswith(("store", "---"))]

    def imported(self, n, *words):
        return ranks(n, "import", *(words or [self.sources]), "--threads", 1, "-o", self.out)

    def test_the_store_and_what_is_said_are_those_of_one_rank(self):
        for n in (1, 2, 3):
            done = self.imported(n)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(files_of(self.out), files_of(self.alone), f"{n} ranks")
            self.assertEqual(self.rows(done.stdout), self.rows(self.said))
            shutil.rmtree(self.out)

    def test_an_existing_store_is_refused_once_and_kept(self):
        shutil.copytree(self.alone, self.out)
        self.one_message(self.imported(2), 2, "exists already")
        self.assertEqual(files_of(self.out), files_of(self.alone))

    def test_a_damaged_document_is_one_message_and_leaves_nothing(self):
        broken = self.folder / "broken"
        shutil.rmtree(broken, ignore_errors=True)
        shutil.copytree(self.sources, broken)
        last = sorted(broken.rglob("*.json"))[-1]
        last.write_bytes(last.read_bytes()[:-200])
        self.one_message(self.imported(2, broken), 2, last.name)
        self.assertFalse(self.out.exists() or self.partial().exists())

    def test_a_format_that_one_rank_reads_is_said_to_be(self):
        counts = self.folder / "counts.csv"
        counts.write_text("layer,expert,count\n1,0,5\n1,1,7\n")
        done = self.imported(2, counts)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("one rank read these sources", done.stderr)
        self.assertTrue(self.out.exists())

    def test_a_full_disk_is_one_message_and_no_store(self):
        small = self.folder / "small"
        small.mkdir(exist_ok=True)
        if os.geteuid() != 0 or run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small).returncode != 0:
            self.skipTest("needs the right to mount a small tmpfs")
        try:
            done = ranks(2, "import", self.sources, "--threads", 1, "-o", small / "full.zarr")
            self.one_message(done, 3, "full.zarr.partial", "No space left")
            self.assertFalse((small / "full.zarr").exists())
        finally:
            run("umount", small)

    def test_a_killed_rank_leaves_no_store_and_another_run_makes_it(self):
        job = subprocess.Popen(["mpirun", "-n", "2", "--oversubscribe", moesaic_mpi, "import", self.sources, "--threads",
                                "1", "-o", self.out], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while not self.partial().exists() and job.poll() is None and time.monotonic() < deadline:
            pass
        children = [int(c) for c in pathlib.Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()]
        victims = [c for c in children if "moesaic-mpi" in pathlib.Path(f"/proc/{c}/comm").read_text()]
        self.assertEqual(len(victims), 2)
        os.kill(victims[1], 9)
        _, err = job.communicate(timeout=120)
        self.assertNotEqual(job.returncode, 0)
        self.assertIn("signal 9", err)
        self.assertLessEqual(len(ours(err)), 1, err)
        self.assertFalse(self.out.exists())
        done = self.imported(2)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(files_of(self.out), files_of(self.alone))


class PublicTraces(unittest.TestCase):
    """gpt-oss and Llama-4 on 4 nodes x 2 GPUs: a bounded number of requests."""

    def check(self, sources):
        if not all(s.exists() for s in sources) or not sources:
            self.skipTest("needs the shared traces; set MOESAIC_SHARED")
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            trace = folder / "t.zarr"
            done = run(moesaic, "import", *sources, "-o", trace)
            self.assertEqual(done.returncode, 0, done.stderr)
            for algorithm in ("linear", "eplb", "patterns", "moesaic"):
                plan = folder / f"{algorithm}.json"
                done = run(moesaic, "plan", trace, "--nodes", 4, "--gpus-per-node", 2, "-a", algorithm, "-o", plan)
                self.assertEqual(done.returncode, 0, done.stderr)
                for mode in ("dedup", "per-expert"):
                    with self.subTest(algorithm=algorithm, mode=mode):
                        done = ranks(8, "replay", plan, trace, "--mode", mode, "--limit", 8, "--scale", 64,
                                     "--batch-tokens", 256, "--check-tokens", 2, "--json", folder / "r.json")
                        self.assertEqual(done.returncode, 0, done.stderr)
                        result = json.loads((folder / "r.json").read_text())
                        self.assertEqual(result["measured_inter_node_bytes"], result["predicted_inter_node_bytes"])
                        self.assertTrue(result["within_tolerance"])

    def test_gpt_oss(self):
        folder = pathlib.Path(os.environ["MOESAIC_SHARED"]) / "data/traces/gpt-oss-20b-decode"
        self.check([folder])

    def test_llama_4(self):
        folder = pathlib.Path(os.environ["MOESAIC_SHARED"]) / "data/traces/llama4-maverick-mmlu"
        self.check(sorted(folder.glob("*.tar.xz")))


class Nodes(WithSample):
    """scripts/mpi-nodes.sh: nodes of their own host names, gone at the end."""

    script = source / "scripts/mpi-nodes.sh"

    def spaces(self):
        return [line for line in run("ip", "netns", "list").stdout.splitlines() if line.startswith("moesaic-")]

    def test_ranks_see_the_host_names_of_their_nodes_and_nothing_stays(self):
        if os.geteuid() != 0 or shutil.which("ip") is None:
            self.skipTest("needs root and iproute2")
        before = self.spaces()
        done = run(self.script, "--nodes", 3, "--ranks-per-node", 2, "--", "hostname")
        self.assertEqual(done.returncode, 0, done.stderr)
        names = sorted(done.stdout.split())
        if "no right to make" in done.stderr:
            self.skipTest(done.stderr.strip())
        self.assertEqual(names, ["node0", "node0", "node1", "node1", "node2", "node2"])
        self.assertEqual(self.spaces(), before)

    def test_the_plans_nodes_are_held_against_the_hosts(self):
        if os.geteuid() != 0 or shutil.which("ip") is None:
            self.skipTest("needs root and iproute2")
        before = self.spaces()
        job = ["--", moesaic_mpi, "replay", self.plan, self.trace, "--hidden", 32, "--intermediate", 16, "--limit", 4]
        out = self.folder / "nodes.json"
        done = run(self.script, "--nodes", 2, "--ranks-per-node", 2, *job, "--json", out)
        if "no right to make" in done.stderr:
            self.skipTest(done.stderr.strip())
        self.assertEqual(done.returncode, 0, done.stderr)
        result = json.loads(out.read_text())
        self.assertEqual(result["hosts"], ["node0", "node0", "node1", "node1"])
        self.assertEqual(result["measured_inter_node_bytes"], result["predicted_inter_node_bytes"])
        done = run(self.script, "--nodes", 4, "--ranks-per-node", 1, *job)
        self.one_message(done, 2, "Node 0 of the plan has ranks 0 to 1, but rank 0 runs on host node0 and rank 1 on node1")
        self.assertEqual(self.spaces(), before)

    def test_a_job_that_fails_is_cleaned_up_and_its_code_handed_on(self):
        if os.geteuid() != 0 or shutil.which("ip") is None:
            self.skipTest("needs root and iproute2")
        before = self.spaces()
        done = run(self.script, "--nodes", 2, "--ranks-per-node", 1, "--", "sh", "-c", "exit 7")
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertEqual(self.spaces(), before)

    def test_without_the_right_it_says_so_and_runs(self):
        if os.geteuid() != 0 or shutil.which("setpriv") is None:
            self.skipTest("needs root to give up rights")
        done = run("setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--ambient-caps", "-all", self.script,
                   "--nodes", 2, "--ranks-per-node", 1, "--", "echo", "ran")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("no right to make network namespaces", done.stderr)
        self.assertEqual(done.stdout.split(), ["ran", "ran"])


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]], verbosity=2)
