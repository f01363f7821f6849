# SPDX-License-Identifier: Apache-2.0
"""What a person is told while mutants are made and afterwards, and what a program is."""

import collections
import json
import sys
import time

from campaign import COUNTED, SAME, STANDIN, SURVIVED, UNCOMPILED, UNIT


def say(text):
    print(text, file=sys.stderr, flush=True)


def survivor(outcome):
    mutant = outcome.mutant
    return "%s:%d: %s -> %s" % (outcome.path, mutant.line, mutant.before, mutant.after)


class Report:
    """Collects outcomes. `paths`: all files; `judged`: {path: mutants that were taken out by reading}."""

    def __init__(self, total, judged, at_least):
        self.total, self.judged, self.at_least = total, judged, at_least
        self.outcomes, self.started = [], time.monotonic()
        self.counts = {path: collections.Counter() for path in judged}

    def heard(self, outcome):
        self.outcomes.append(outcome)
        self.counts[outcome.path][outcome.result] += 1
        self.counts[outcome.path]["timeout"] += outcome.timeout
        if outcome.result == SURVIVED:
            print("survived: " + survivor(outcome), flush=True)
        done = len(self.outcomes)
        left = (time.monotonic() - self.started) / done * (self.total - done)
        say("[%d/%d] %s: %s%s, about %d min left" % (done, self.total, outcome.path, outcome.result,
                                                    " (%s)" % outcome.by if outcome.by else "", (left + 59) // 60))

    def score(self, path):
        """Per cent of the counted mutants of a file that were noticed; 100 if there is none."""
        counts = self.counts[path]
        counted = sum(counts[result] for result in COUNTED)
        return 100.0 if counted == 0 else 100.0 * (counted - counts[SURVIVED]) / counted

    def is_good(self, path):
        return self.score(path) >= self.at_least

    def print_table(self):
        rows = [("file", "mutants", "unit", "stand-in", "(time-out)", "survived", "noticed", "not compiled", "same code",
                 "judged")]
        for path in sorted(self.counts):
            counts = self.counts[path]
            rows.append((path, sum(counts[result] for result in COUNTED), counts[UNIT], counts[STANDIN], counts["timeout"],
                         counts[SURVIVED], "%.0f %%" % self.score(path) + ("" if self.is_good(path) else " !"),
                         counts[UNCOMPILED], counts[SAME], self.judged[path]))
        widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
        for row in rows:
            print("  ".join([str(row[0]).ljust(widths[0])] + [str(cell).rjust(widths[i]) for i, cell in enumerate(row) if i]))

    def close(self):
        """Prints the table, the survivors and the last line. Returns the exit status."""
        print()
        self.print_table()
        survived = [outcome for outcome in self.outcomes if outcome.result == SURVIVED]
        if survived:
            print("\nNo test noticed these:")
        for outcome in sorted(survived, key=lambda outcome: (outcome.path, outcome.mutant.start)):
            print(survivor(outcome))
        failed = [path for path in sorted(self.counts) if not self.is_good(path)]
        print()
        for path in failed:
            print("FAILED %s: %.0f %% noticed, expected %d %%" % (path, self.score(path), self.at_least))
        counted = sum(self.counts[path][result] for path in self.counts for result in COUNTED)
        print("%d mutants, %d noticed, %d survived" % (counted, counted - len(survived), len(survived)))
        print("%d passed, %d failed, 0 skipped" % (len(self.counts) - len(failed), len(failed)))
        return 1 if failed else 0

    def write(self, path, options):
        files = {name: dict(counts, judged=self.judged[name], score=self.score(name)) for name, counts in self.counts.items()}
        mutants = [{"file": outcome.path, "line": outcome.mutant.line, "kind": outcome.mutant.kind,
                    "before": outcome.mutant.before, "after": outcome.mutant.after, "result": outcome.result,
                    "by": outcome.by, "timeout": outcome.timeout, "seconds": round(outcome.seconds, 2)}
                   for outcome in self.outcomes]
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"sample": options.sample, "seed": options.seed, "files": files, "mutants": mutants}, file, indent=1)
            file.write("\n")
