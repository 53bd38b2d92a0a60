#!/usr/bin/env python3
"""The Python package before the real program: package_test.py MOESAIC SOURCE_FOLDER."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

PROGRAM, SOURCE = sys.argv[1], sys.argv[2]
sys.path.insert(0, os.path.join(SOURCE, "python"))
import moesaic  # noqa: E402


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        os.environ["MOESAIC"] = PROGRAM
        cls.folder = tempfile.TemporaryDirectory(prefix="moesaic-python-")
        cls.trace = cls.at("t.zarr")
        cls.imported = moesaic.run("import", os.path.join(SOURCE, "samples/moesaic-mini"), output=cls.trace)
        cls.planned = moesaic.run("plan", cls.trace, nodes=2, gpus_per_node=2, extra_slots=4, output=cls.at("plan.json"))
        cls.plan = moesaic.load_plan(cls.at("plan.json"))

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def at(cls, name):
        return os.path.join(cls.folder.name, name)

    def test_answers_are_what_json_writes(self):
        self.assertTrue(self.imported)
        self.assertTrue(self.planned)
        self.assertGreater(self.imported.json["requests"], 0)
        self.assertEqual(self.planned.json["dedup"], self.plan.score["dedup"])
        self.assertIn("moesaic", self.planned.text)
        self.assertIsNone(moesaic.run("algorithms").json)

    def test_options_are_those_of_the_command_line(self):
        compared = moesaic.run("compare", self.trace, nodes=2, gpus_per_node=2, algorithms=["linear", "eplb"], splits=2,
                               json=False, force=None)
        self.assertIsNone(compared.json)
        self.assertIn("mean of 2 splits", compared.text)
        self.assertIn("eplb", compared.text)
        self.assertNotIn("moesaic  ", compared.text)
        with self.assertRaises(moesaic.MoesaicError) as refused:
            moesaic.run("plan", self.trace, nodes=2, gpus_per_node=2, output=self.at("plan.json"))
        self.assertEqual(refused.exception.exit_code, 2)
        self.assertIn("--force", str(refused.exception))
        again = moesaic.run("plan", self.trace, nodes=2, gpus_per_node=2, extra_slots=4, output=self.at("plan.json"), force=True)
        self.assertTrue(again)

    def test_an_answer_of_no_is_false(self):
        missed = moesaic.run("plan", self.trace, nodes=2, gpus_per_node=2, max_imbalance=1.0001, output=self.at("even.json"))
        self.assertFalse(missed)
        self.assertEqual(missed.exit_code, 1)
        self.assertFalse(moesaic.load_plan(self.at("even.json")).constraints_met)

    def test_the_map_is_the_one_that_engines_load(self):
        moesaic.run("export", self.at("plan.json"), to="sglang", output=self.at("sglang.json"))
        with open(self.at("sglang.json"), encoding="utf-8") as file:
            self.assertEqual(self.plan.physical_to_logical, json.load(file)["physical_to_logical_map"])
        slots = self.plan.nodes * self.plan.gpus_per_node * self.plan.slots_per_gpu
        self.assertEqual(len(self.plan.physical_to_logical), len(self.plan.layers))
        for row, copies in zip(self.plan.physical_to_logical, self.plan.logical_to_physical()):
            self.assertEqual(len(row), slots)
            self.assertEqual(sorted(slot for of_expert in copies for slot in of_expert), list(range(slots)))
            self.assertTrue(all(row[slot] == e for e, of_expert in enumerate(copies) for slot in of_expert))
        layer = self.plan.layers[0]
        gpus = self.plan.gpus_of(layer, self.plan.physical_to_logical[0][-1])
        self.assertEqual(gpus[-1], self.plan.nodes * self.plan.gpus_per_node - 1)
        self.assertIsNone(self.plan.home("nobody"))
        request, home = next(iter(self.plan.homes.items()))
        self.assertEqual(self.plan.home(request), home)

    def test_what_is_no_plan_is_refused(self):
        for name, text in (("half.json", "{"), ("list.json", "[]"), ("other.json", '{"schema": "moesaic.plan/9"}')):
            with open(self.at(name), "w", encoding="utf-8") as file:
                file.write(text)
            with self.assertRaisesRegex(ValueError, name):
                moesaic.load_plan(self.at(name))
        with self.assertRaisesRegex(moesaic.MoesaicError, "nowhere.zarr"):
            moesaic.run("info", "nowhere.zarr")

    def test_its_version_is_the_programs(self):
        with open(os.path.join(SOURCE, "python/pyproject.toml"), encoding="utf-8") as file:
            declared = [line for line in file if line.startswith("version")]
        version = subprocess.run([PROGRAM, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()[1]
        self.assertEqual(declared, [f'version = "{version}"\n'])

    def test_without_the_program_it_says_how_to_get_it(self):
        kept, os.environ["PATH"] = os.environ["PATH"], ""
        del os.environ["MOESAIC"]
        try:
            with self.assertRaisesRegex(moesaic.MoesaicError, "cmake --install"):
                moesaic.run("algorithms")
        finally:
            os.environ["PATH"], os.environ["MOESAIC"] = kept, PROGRAM


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
