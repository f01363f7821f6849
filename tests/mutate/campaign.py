# SPDX-License-Identifier: Apache-2.0
"""Makes mutants, one after the other, and lets the tests look at each."""

import collections
import queue
import random
import shutil
import threading
import time

import cell
import places
import relevant

# What became of a mutant. COUNTED are those that the score is made of.
UNIT, STANDIN, SURVIVED, UNCOMPILED, SAME, JUDGED = "unit", "standin", "survived", "does not compile", "same code", "equivalent"
COUNTED = (UNIT, STANDIN, SURVIVED)
SLACK = 20  # seconds that a test may take with a mutant, beyond five times those without one

Outcome = collections.namedtuple("Outcome", "path mutant result by timeout seconds")


class Refused(Exception):
    """The campaign can't begin: in words."""


def choose(mutants, sample, seed):
    """At most `sample` of each file, always the same for the same seed. `mutants`: {path: list}"""
    chosen = {}
    for path, found in mutants.items():
        picked = range(len(found))
        if sample is not None and sample < len(found):
            picked = sorted(random.Random("%s %s" % (seed, path)).sample(picked, sample))
        chosen[path] = [found[i] for i in picked]
    return chosen


class Campaign:
    """
    `trees`: copies of the same sources, the first of them configured. A test that takes longer than
    `longest` seconds without a mutant is left out, and each that is not named in `only`; None: none is.
    `say(text)` tells a person how far it has come.
    """

    def __init__(self, trees, say, unit_only=False, longest=None, only=None):
        self.trees, self.say, self.unit_only, self.longest, self.only = trees, say, unit_only, longest, only
        self.seconds = {}  # of each test, without a mutant
        self.unit, self.standin = {}, {}  # path: names of tests
        self.first = {}  # path: (target, its object file)
        self.known = {}  # path: hashes of object files that have been seen
        self.caught = collections.Counter()  # (path, test): mutants
        self.lock = threading.Lock()

    # ---- Without a mutant ----

    def prepare(self, paths, jobs):
        tree = self.trees[0]
        names = set()
        for path in paths:
            if path not in tree.objects:
                raise Refused("%s: no target compiles it" % path)
            self.unit[path] = self.wanted(relevant.may_link(tree, path))
            self.standin[path] = [] if self.unit_only else self.wanted(relevant.standin_tests(tree, path))
            names.update(self.unit[path] + self.standin[path])
            target = next(iter(sorted(tree.objects[path], key=lambda name: name in tree.tests)))
            self.first[path] = (target, tree.objects[path][target])
        self.say("building %d tests in a copy of the sources" % len(names))
        tree.make(sorted(names | {target for target, _made in self.first.values()}), jobs)
        for i, name in enumerate(sorted(names)):
            self.say("[%d/%d] %s, without a mutant" % (i + 1, len(names), name))
            self.baseline(tree, name)
        for path in paths:
            self.unit[path] = relevant.unit_tests(tree, path, self.seconds)
            self.standin[path] = [name for name in self.standin[path] if name in self.seconds]
            self.known[path] = set(self.hashes(tree, path))
        for other in self.trees[1:]:
            shutil.rmtree(other.folder, ignore_errors=True)
            shutil.copytree(tree.folder, other.folder, symlinks=True)
            other.targets, other.tests, other.objects = tree.targets, tree.tests, tree.objects

    def wanted(self, names):
        return [name for name in names if self.only is None or name in self.only]

    def baseline(self, tree, name):
        limit = 3600 if self.longest is None else self.longest
        result = tree.run([tree.test_step(name, limit)], limit + 60)
        if result["why"] == "timeout" and self.longest is not None:
            self.say("%s takes longer than %g s: it is left out" % (name, limit))
            return
        if result["why"]:
            raise Refused("%s %s without any mutant; nothing could be told from it:\n%s" %
                          (name, "had no end" if result["why"] == "timeout" else "failed", result["output"]))
        self.seconds[name] = result["seconds"][0]

    def hashes(self, tree, path):
        result = tree.run([{"do": "new", "file": "build/" + self.first[path][1], "known": []}], 60)
        return result["hashes"]

    # ---- With one ----

    def order(self, path):
        """The tests for the next mutant: those that noticed the most of this file's in the least time come first."""
        def worth(name):
            return -(0.2 + self.caught[path, name]) / (0.5 + self.seconds[name])
        return sorted(self.unit[path], key=worth) + sorted(self.standin[path], key=lambda name: -self.caught[path, name])

    def steps(self, tree, path):
        """What is done with a mutant, and for each step the test that it is, or None."""
        target, made = self.first[path]
        with self.lock:
            names, known = self.order(path), sorted(self.known[path])
        steps = [tree.build_step([target]), {"do": "new", "file": "build/" + made, "known": known}]
        of = [None, None]
        for name in names:
            steps += [tree.build_step([name]), tree.test_step(name, 5 * self.seconds[name] + SLACK)]
            of += [None, name]
        return steps, of

    def try_one(self, tree, path, text, mutant):
        started = time.monotonic()
        steps, of = self.steps(tree, path)
        tree.write(path, places.apply(text, mutant))
        try:
            result = tree.run(steps, sum(step.get("seconds", 1) for step in steps) + 60)
        finally:
            tree.write(path, text)
        at, by = result["passed"], None
        if result["why"] is None:
            outcome = SURVIVED
        elif result["why"] == "known":
            outcome = SAME
        elif at >= len(of) or of[at] is None:
            if at >= len(of) or result["why"] == "timeout":
                raise cell.Broken("building %s: %s" % (path, result["output"]))
            outcome = UNCOMPILED
        else:
            by = of[at]
            outcome = UNIT if by in self.unit[path] else STANDIN
        with self.lock:
            self.known[path].update(result["hashes"])
            if by:
                self.caught[path, by] += 1
        return Outcome(path, mutant, outcome, by, result["why"] == "timeout", time.monotonic() - started)

    def run(self, chosen, heard):
        """Tries all of `chosen`, {path: mutants}, and calls heard(outcome) after each."""
        todo, errors = queue.Queue(), []
        for path, mutants in chosen.items():
            for mutant in mutants:
                todo.put((path, mutant))

        def work(tree):
            try:
                while not errors:
                    path, mutant = todo.get_nowait()
                    outcome = self.try_one(tree, path, tree.read(path), mutant)
                    with self.lock:
                        heard(outcome)
            except queue.Empty:
                pass
            except BaseException as error:  # told to the main thread
                errors.append(error)

        threads = [threading.Thread(target=work, args=(tree,), daemon=True) for tree in self.trees]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
