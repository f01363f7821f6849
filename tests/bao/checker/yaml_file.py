# SPDX-License-Identifier: Apache-2.0
"""The device model's own configuration. The broker says whether it is valid. This module reads its
keys and their lines, to compare them with other files."""

import os
import re
import subprocess

from checker.problems import Unreadable, Value

_KEY = re.compile(r'^( *)(- +)?([a-z_]+):(?:\s+(?:"([^"]*)"|\'([^\']*)\'|([^#]*?)))?\s*(?:#.*)?$')


class Device:
    def __init__(self, path, line):
        self.path = path
        self.line = line
        self.keys = {}

    def number(self, key):
        """None: there is no such key, or its value is no number."""
        try:
            return int(self.keys[key][0], 0)
        except (KeyError, ValueError):
            return None

    def text(self, key):
        return self.keys[key][0] if key in self.keys else None

    def value(self, key, number=0):
        text, line = self.keys.get(key, ("", self.line))
        return Value(number, "%s: %s" % (key, text), self.path, line)


def find_broker():
    """The program that knows what is valid: BROKER in the environment, or that of a build; or None."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    candidates = [os.environ.get("BROKER", "")]
    candidates += [os.path.join(root, "build", name, "bin", "bao-virtio-broker") for name in ("release", "debug")]
    for path in candidates:
        if path and os.access(path, os.X_OK):
            return path
    return None


def read(path, broker, problems):
    """The devices of a file."""
    expected = None
    if broker:
        run = subprocess.run([broker, "--check-config", os.path.basename(path)], cwd=os.path.dirname(path) or ".",
                             capture_output=True, text=True)
        if run.returncode != 0:
            _report_invalid(path, run.stdout + run.stderr, problems)
            raise Unreadable
        expected = re.search(r"ok, (\d+) device", run.stdout)
    devices = []
    with open(path, encoding="utf-8") as file:
        for number, row in enumerate(file, 1):
            found = _KEY.match(row.rstrip("\n"))
            if not found or found.group(3) == "devices":
                continue
            if found.group(2):
                devices.append(Device(path, number))
            if devices:
                text = next((part for part in found.groups()[3:] if part is not None), "")
                devices[-1].keys[found.group(3)] = (text.strip(), number)
    if expected and int(expected.group(1)) != len(devices):
        problems.report("yaml-readable", Value(0, "%d devices can be read" % len(devices), path),
                        Value(0, expected.group(0), path), 'begin each device with "- id:" and write a key a line')
        raise Unreadable
    return devices


def _report_invalid(path, output, problems):
    for row in output.split("\n"):
        found = re.match(r"(?:.*[ :])?%s:(\d+):\d+: (?!note)(.*)$" % re.escape(os.path.basename(path)), row)
        if found:
            problems.report("yaml-valid", Value(0, found.group(2), path, int(found.group(1))), None,
                            "mend it; docs/CONFIGURATION.md has every key")
            return
    problems.report("yaml-valid", Value(0, " ".join(output.split())[:300], path), None,
                    "mend it; docs/CONFIGURATION.md has every key")
