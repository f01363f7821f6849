# SPDX-License-Identifier: Apache-2.0
"""Violations of rules. Each is one line: folder, rule, the two places with their values, the cure."""

import os


class Unreadable(Exception):
    """A file can't be read well enough to compare its values. This has been reported."""


def shown(path):
    """A path as a reader would write it here."""
    relative = os.path.relpath(path)
    return os.path.abspath(path) if relative.startswith("..") else relative


class Value:
    """A value and the place where it is written. text is how a reader finds it there."""

    def __init__(self, number, text, path, line=None):
        self.number = number
        self.text = text
        self.path = path
        self.line = line

    def __str__(self):
        place = shown(self.path)
        if self.line:
            place += ":%d" % self.line
        return "%s: %s" % (place, self.text)


class Problems:
    """The problems of one variant of one folder. Equal lines are kept once."""

    def __init__(self, folder, variant):
        self.where = shown(folder) + (" [%s]" % variant if variant else "")
        self.lines = []
        self.rules = []

    def report(self, rule, first, second, cure):
        """rule: a name in RULES. first, second: Values; None: there is only one place."""
        from checker.rules import RULES

        assert rule in RULES, rule
        places = "; ".join(str(place) for place in (first, second) if place is not None)
        line = "%s: %s: %s: %s" % (self.where, rule, places, cure)
        if line not in self.lines:
            self.lines.append(line)
            self.rules.append(rule)


def hexadecimal(number):
    return "0x%x" % number


def span(start, size):
    return "0x%x..0x%x" % (start, start + size)


def overlap(first, second):
    """Whether two pairs (start, size) overlap."""
    return first[1] > 0 and second[1] > 0 and first[0] < second[0] + second[1] and second[0] < first[0] + first[1]


def inside(inner, outer):
    return outer[0] <= inner[0] and inner[0] + inner[1] <= outer[0] + outer[1]
