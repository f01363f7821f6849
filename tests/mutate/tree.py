# SPDX-License-Identifier: Apache-2.0
"""A copy of the sources with a build directory of its own, and what CMake says of its targets and tests."""

import filecmp
import glob
import json
import os
import shutil
import subprocess

import cell

# Not of a mistake's own making: what a mutant leaves unused, and parentheses that nobody would write.
FLAGS = "-Wno-unused -Wno-unused-parameter -Wno-parentheses"


class Unbuildable(Exception):
    """The sources as they are can't be built."""


class Target:
    def __init__(self, reply):
        self.name, self.kind = reply["name"], reply["type"]
        self.sources = {source["path"] for source in reply.get("sources", [])}
        self.files = [artifact["path"] for artifact in reply.get("artifacts", [])]  # in the build directory
        self.needs = {needed["id"].split("::")[0] for needed in reply.get("dependencies", [])}


class Tree:
    """`folder` is the copy, which every command of a cell sees as `at`."""

    def __init__(self, folder, at):
        self.folder, self.at = folder, at
        self.build = os.path.join(folder, "build")
        os.makedirs(folder, exist_ok=True)
        os.makedirs(at, exist_ok=True)
        self.targets, self.tests, self.objects, self._symbols = {}, {}, {}, {}

    # ---- The sources ----

    def refresh(self, root):
        """Make the copy what `root` is, and touch only what differs."""
        wanted = set()
        for folder, folders, files in os.walk(root):
            inside = os.path.relpath(folder, root)
            folders[:] = [name for name in folders if name != ".git" and not
                          (inside == "." and (name == "build" or name.startswith("build-")))]
            for name in files + [name for name in folders if os.path.islink(os.path.join(folder, name))]:
                path = os.path.normpath(os.path.join(inside, name))
                if path != ".git":
                    wanted.add(path)
                    self._copy(os.path.join(root, path), os.path.join(self.folder, path))
        for folder, folders, files in os.walk(self.folder):
            if folder == self.folder:
                folders[:] = [name for name in folders if name != "build"]
            for name in files:
                path = os.path.join(folder, name)
                if os.path.relpath(path, self.folder) not in wanted:
                    os.unlink(path)

    @staticmethod
    def _copy(source, target):
        if os.path.islink(source):
            if not os.path.lexists(target):
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.symlink(os.readlink(source), target)
        elif not os.path.exists(target) or not filecmp.cmp(source, target, shallow=False):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copyfile(source, target)
            shutil.copymode(source, target)

    def read(self, path):
        with open(os.path.join(self.folder, path), encoding="utf-8") as file:
            return file.read()

    def write(self, path, text):
        with open(os.path.join(self.folder, path), "w", encoding="utf-8") as file:
            file.write(text)

    # ---- The build ----

    def run(self, steps, seconds):
        return cell.run(self.folder, self.at, steps, seconds)

    def configure(self):
        """CMake, without a mutant; then reads what it says."""
        query = os.path.join(self.build, ".cmake/api/v1/query")
        os.makedirs(query, exist_ok=True)
        with open(os.path.join(query, "codemodel-v2"), "w", encoding="ascii"):
            pass
        command = ["cmake", "-S", self.at, "-B", os.path.join(self.at, "build"), "-DCMAKE_BUILD_TYPE=Release",
                   "-DCMAKE_C_FLAGS=" + FLAGS]
        if not os.path.exists(os.path.join(self.build, "CMakeCache.txt")) and shutil.which("ninja"):
            command += ["-G", "Ninja"]  # looks for what is to be done in a tenth of the time
        self._do(command)
        self._read_model()
        self._read_objects()
        self._read_tests()

    def build_step(self, targets, jobs=1, seconds=600):
        return {"do": "run", "seconds": seconds,
                "argv": ["cmake", "--build", os.path.join(self.at, "build"), "-j%d" % jobs, "--target"] + list(targets)}

    def make(self, targets, jobs):
        self._do(self.build_step(targets, jobs, 36000)["argv"], 36000)

    def _do(self, command, seconds=600):
        result = self.run([{"do": "run", "argv": command, "seconds": seconds}], seconds + 60)
        if result["why"]:
            raise Unbuildable("%s: %s\n%s" % (" ".join(command[:4]), result["why"], result["output"]))

    def _read_model(self):
        reply = os.path.join(self.build, ".cmake/api/v1/reply")
        index = sorted(glob.glob(reply + "/index-*.json"))[-1]
        with open(index, encoding="utf-8") as file:
            model = json.load(file)["reply"]["codemodel-v2"]["jsonFile"]
        with open(os.path.join(reply, model), encoding="utf-8") as file:
            entries = json.load(file)["configurations"][0]["targets"]
        self.targets = {}
        for entry in entries:
            with open(os.path.join(reply, entry["jsonFile"]), encoding="utf-8") as file:
                self.targets[entry["name"]] = Target(json.load(file))

    def _read_objects(self):
        """self.objects[source]: {target that compiles it: its object file, in the build directory}"""
        self.objects = {}
        with open(os.path.join(self.build, "compile_commands.json"), encoding="utf-8") as file:
            for entry in json.load(file):
                words = entry["command"].split()
                made = os.path.join(entry["directory"], words[words.index("-o") + 1])
                source = os.path.relpath(os.path.join(entry["directory"], entry["file"]), self.at)
                made = os.path.relpath(made, os.path.join(self.at, "build"))
                target = made.split(".dir/")[0].split("/")[-1]
                self.objects.setdefault(source, {})[target] = made

    def _read_tests(self):
        """self.tests[name]: of the tests that are a target of the same name, their labels, and how to run them."""
        listed = subprocess.run(["ctest", "--test-dir", self.build, "--show-only=json-v1"], check=True, stdout=subprocess.PIPE)
        self.tests = {}
        for test in json.loads(listed.stdout)["tests"]:
            properties = {entry["name"]: entry["value"] for entry in test.get("properties", [])}
            if test["name"] in self.targets:
                self.tests[test["name"]] = {
                    "argv": [os.path.join(self.at, "build", self.targets[test["name"]].files[0])],
                    "folder": "build",
                    "environment": dict(entry.split("=", 1) for entry in properties.get("ENVIRONMENT", [])),
                    "labels": properties.get("LABELS", []),
                }

    def test_step(self, name, seconds):
        return dict(self.tests[name], do="run", seconds=seconds)

    # ---- What is linked ----

    def all_needs(self, name):
        """The targets that `name` needs, those of theirs included."""
        found, todo = set(), [name]
        while todo:
            for needed in self.targets[todo.pop()].needs:
                if needed in self.targets and needed not in found:
                    found.add(needed)
                    todo.append(needed)
        return found

    def symbols(self, file):
        """The global functions and objects that a file of the build directory defines. It is read once: a mutant has the same."""
        if file not in self._symbols:
            listed = subprocess.run(["nm", "--defined-only", "--extern-only", os.path.join(self.build, file)],
                                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
            self._symbols[file] = {line.split()[-1] for line in listed.stdout.decode().splitlines() if line}
        return self._symbols[file]
