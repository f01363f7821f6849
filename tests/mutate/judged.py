# SPDX-License-Identifier: Apache-2.0
"""The list of mutants that somebody has read and found equivalent: tests/mutate/equivalent."""

import collections
import os

import places

KEYS = ["file", "before", "after", "why"]
Entry = collections.namedtuple("Entry", KEYS + ["line"])


class Wrong(Exception):
    """What is wrong with the list, in words."""


def read(path):
    """Its entries: paragraphs of four lines "KEY: TEXT". Lines that begin with # are comments."""
    entries, paragraph, first = [], {}, 0
    with open(path, encoding="utf-8") as file:
        lines = file.read().split("\n") + [""]
    for number, line in enumerate(lines, 1):
        if line.startswith("#"):
            continue
        if not line.strip():
            if paragraph:
                missing = [key for key in KEYS if not paragraph.get(key)]
                if missing:
                    raise Wrong("%s:%d: no %s; an entry has %s" % (path, first, missing[0], ", ".join(KEYS)))
                entries.append(Entry(line=first, **paragraph))
            paragraph = {}
            continue
        key, colon, text = line.partition(": ")
        if not colon or key not in KEYS or key in paragraph:
            raise Wrong("%s:%d: expected a line 'KEY: TEXT', each once, of %s" % (path, number, ", ".join(KEYS)))
        first = first if paragraph else number
        paragraph[key] = text.strip()
    return entries


def check(path, entries, root):
    """Each entry is about a mutant that can still be made."""
    made = {}
    for entry in entries:
        if entry.file not in made:
            try:
                with open(os.path.join(root, entry.file), encoding="utf-8") as file:
                    made[entry.file] = {(mutant.before, mutant.after) for mutant in places.mutants(file.read())}
            except OSError as error:
                raise Wrong("%s:%d: %s: %s; take the entry out" % (path, entry.line, entry.file, error.strerror)) from None
        if (entry.before, entry.after) not in made[entry.file]:
            raise Wrong("%s:%d: nothing in %s can become this any more: '%s' -> '%s'; take the entry out, or see what has "
                        "become of the line" % (path, entry.line, entry.file, entry.before, entry.after))


def without(mutants, entries, path):
    """(those of `mutants`, all of file `path`, that nobody has judged, how many were)"""
    judged = {(entry.before, entry.after) for entry in entries if entry.file == path}
    left = [mutant for mutant in mutants if (mutant.before, mutant.after) not in judged]
    return left, len(mutants) - len(left)
