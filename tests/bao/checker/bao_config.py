# SPDX-License-Identifier: Apache-2.0
"""A VM configuration of Bao. A program that is compiled against the stand-in headers gives its
values; the preprocessed text gives the lines where they are written."""

import os
import re

from checker.compile import compiled
from checker.problems import Unreadable, Value, hexadecimal

# A list, and the member that holds its length.
_COUNTERS = {"shmemlist": "shmemlist_size", "vmlist": "vmlist_size", "regions": "region_num", "devs": "dev_num",
             "remio_devs": "remio_dev_num", "ipcs": "ipc_num", "interrupts": "interrupt_num", "groups": "group_num"}

_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|[A-Za-z_]\w*|0[xX][0-9a-fA-F]+\w*|\d+\w*|->|[^\s]')
_MARKER = re.compile(r'# (\d+) "([^"]*)"')


def _tokens(text, folder):
    """(token, file, line) of the output of a preprocessor."""
    name, line = "", 0
    for row in text.split("\n"):
        marker = _MARKER.match(row)
        if marker:
            line, name = int(marker.group(1)), marker.group(2)
            continue
        for token in _TOKEN.findall(row):
            yield token, os.path.normpath(os.path.join(folder, name)), line
        line += 1


class _Initialiser:
    """Where the members of "struct config config = { ... }" are written, and how many elements each
    list has. A path is written as in C: ".vmlist[0].platform.devs[1].va"."""

    def __init__(self, tokens):
        self.tokens = tokens
        self.at = 0
        self.places = {}
        self.counts = {}
        self._find()

    def _find(self):
        words = [token for token, _, _ in self.tokens]
        for i in range(len(words) - 4):
            if words[i : i + 4] == ["struct", "config", "config", "="]:
                self.at = i + 4
                self._braces("")
                return

    def _word(self, ahead=0):
        at = self.at + ahead
        return self.tokens[at][0] if at < len(self.tokens) else ""

    def _place(self, path):
        if self.at < len(self.tokens):
            self.places.setdefault(path, self.tokens[self.at][1:])

    def _skip_cast(self):
        """Skips the "(type[])" of a compound literal."""
        if self._word() != "(":
            return
        ahead, depth = 1, 1
        while depth > 0 and self._word(ahead):
            depth += {"(": 1, ")": -1}.get(self._word(ahead), 0)
            ahead += 1
        if self._word(ahead) == "{":
            self.at += ahead

    def _expression(self):
        depth = 0
        while self._word() and not (depth == 0 and self._word() in (",", "}")):
            depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(self._word(), 0)
            self.at += 1

    def _designators(self):
        path = ""
        while self._word() in (".", "["):
            if self._word() == ".":
                path += "." + self._word(1)
                self.at += 2
            else:
                path += "[%s]" % self._word(1)
                self.at += 3
        if self._word() == "=":
            self.at += 1
        return path

    def _braces(self, path):
        self._place(path)
        self.at += 1
        index = count = 0
        while self._word() not in ("}", ""):
            place = self.at
            member = self._designators()
            designated = re.fullmatch(r"\[(\d+)\]", member)
            if designated:
                index = int(designated.group(1))
            if not member or designated:
                member = "[%d]" % index
                index += 1
                count = max(count, index)
            if self.at > place:
                end, self.at = self.at, place
                self._place(path + member)
                self.at = end
            else:
                self._place(path + member)
            self._skip_cast()
            if self._word() == "{":
                self._braces(path + member)
            else:
                self._expression()
            if self._word() == ",":
                self.at += 1
        self.at += 1
        self.counts[path] = count


class BaoConfig:
    """vms and shmems have the form in which tests/bao/print.c prints them."""

    def __init__(self, path, platform, problems):
        self.path = path
        self.folder = os.path.dirname(path) or "."
        self.platform = platform
        build = compiled(path, platform)
        if build.fault:
            rule, cure = build.fault
            text, name, line = build.error
            where = os.path.normpath(os.path.join(self.folder, name)) if name else path
            problems.report(rule, Value(0, text, where, line), None, cure)
        if not build.usable:
            raise Unreadable
        self._initialiser = _Initialiser(list(_tokens(build.text, self.folder)))
        self._check_counts(problems)
        printed = build.printed()
        if printed is None:
            problems.report("c-compiles", Value(0, "it does not link", path), None,
                            'define one object "struct config config" in it')
            raise Unreadable
        self.vms = printed["vms"]
        self.shmems = printed["shmems"]

    def value(self, member, number, shown=None):
        """A Value for the member with that path. Its number has the form that a reader would search for."""
        name, line = self._place(member)
        last = re.search(r"[^.]*$", member).group(0)
        return Value(number, "%s = %s" % (last, shown or hexadecimal(number)), name, line)

    def _place(self, member):
        """The place of a member; if it is not written, the place of a part of it, or of what contains it."""
        places = self._initialiser.places
        if member in places:
            return places[member]
        for path in places:
            if path.startswith(member + "."):
                return places[path]
        parent = re.sub(r"[.\[][^.\[]*$", "", member)
        return self._place(parent) if parent else (self.path, None)

    def vm_value(self, vm, member, number, shown=None):
        return self.value(".vmlist[%d]%s" % (vm, member), number, shown)

    def _check_counts(self, problems):
        """If a count is too large, Bao and print.c read beyond the end of the list."""
        wrong = False
        for path in list(self._initialiser.places):
            name = re.search(r"\w*$", path).group(0)
            if name not in _COUNTERS and name not in _COUNTERS.values():
                continue
            parent = path[: -len(name)]
            member = name if name in _COUNTERS else next(key for key, value in _COUNTERS.items() if value == name)
            count = self._initialiser.counts.get(parent + member, 0)
            written = self._number_at(parent + _COUNTERS[member])
            if written is not None and written != count:
                wrong = True
                problems.report("list-length", self.value(parent + _COUNTERS[member], written, str(written)),
                                self.value(parent + member, count, "a list of %d" % count),
                                "make the number that of the list")
        if wrong:
            raise Unreadable

    def _number_at(self, path):
        """The integer that is written for a member; 0: nothing is written; None: it is not an integer."""
        if path not in self._initialiser.places:
            return 0
        words = self._initialiser.tokens
        name, line = self._initialiser.places[path]
        member = re.search(r"\w*$", path).group(0)
        for i in range(len(words) - 4):
            if words[i][0] == "." and words[i + 1][0] == member and words[i][1:] == (name, line):
                if words[i + 4][0] not in (",", "}"):
                    return None
                try:
                    return int(words[i + 3][0].rstrip("uUlL"), 0)
                except ValueError:
                    return None
        return None
