# SPDX-License-Identifier: Apache-2.0
"""Compiles a VM configuration of Bao against the stand-in headers of tests/bao, for today's Bao and
for older versions. Then runs the program that prints its values."""

import json
import os
import re
import subprocess
import tempfile
import threading

TESTS = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
STRICT = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wunused-macros", "-Wno-missing-field-initializers"]
OLDER = ["-DSTUB_OLDER"]
RENAMED = ["-Dbind_key=id"]

_ERROR = re.compile(r"^([^\n:]+):(\d+):(?:\d+:)? (?:fatal )?error: (.*)$", re.M)


def _cc(words, folder="."):
    return subprocess.run([os.environ.get("CC", "cc")] + words, cwd=folder, capture_output=True, text=True)


def _first_error(run):
    """(text, file, line) of a compiler's message; file and line may be None."""
    found = _ERROR.search(run.stderr)
    if found:
        return found.group(3), found.group(1), int(found.group(2))
    return "the compiler fails: " + " ".join(run.stderr.split())[:200], None, None


class Build:
    """usable: there is something to print. fault: (rule, cure) or None, with error as the compiler's
    words. text: the preprocessed configuration."""

    def __init__(self, folder, name, flags, text):
        self.text = text
        self.usable = True
        self.fault = None
        self.error = None
        self._flags = flags
        self._object = None
        self._printed = None
        with tempfile.TemporaryDirectory() as work:
            self._compile(folder, name, os.path.join(work, "config.o"))

    def _compile(self, folder, name, output):
        def attempt(extra):
            return _cc(STRICT + self._flags + extra + ["-c", name, "-o", output], folder)

        older = attempt(OLDER + RENAMED)
        today = attempt([])
        if today.returncode == 0:
            self._variant = []
            if older.returncode != 0:
                self.fault = "c-compiles-older", "write it so that it compiles with -Dbind_key=id, as for an older Bao"
                self.error = _first_error(older)
        elif attempt(OLDER).returncode == 0:
            self._variant = OLDER
            self.fault = "c-fields", "write the fields as Bao 2.0.0 has them: .bind_key in struct remio_dev, not .id"
            self.error = _first_error(today)
        else:
            self.usable = False
            self.fault = "c-compiles", "mend it: Bao's own build takes warnings for errors, too"
            self.error = _first_error(today)
            return
        with open(output, "rb") as file:
            self._object = file.read()

    def printed(self):
        """The output of print.c, as Python objects; None: it can't be linked."""
        if self._printed is None:
            with tempfile.TemporaryDirectory() as work:
                program, config = os.path.join(work, "print"), os.path.join(work, "config.o")
                with open(config, "wb") as file:
                    file.write(self._object)
                run = _cc(["-std=gnu11", "-I", os.path.dirname(TESTS)] + self._flags + self._variant +
                          [os.path.join(TESTS, "bao", "print.c"), config, "-o", program])
                if run.returncode != 0:
                    return None
                output = subprocess.run([program], check=True, capture_output=True, text=True).stdout
                self._printed = json.loads(output)
        return self._printed


_builds = {}
_lock = threading.Lock()


def compiled(path, platform):
    """The Build of a configuration. If nothing has changed, it is that of an earlier call."""
    folder, name = os.path.dirname(path) or ".", os.path.basename(path)
    flags = ["-I", os.path.join(TESTS, "bao")]
    if platform.arch == "riscv64":
        flags += ["-DSTUB_RISCV", "-DIRQC=" + platform.controller.upper()]
    with open(path, encoding="utf-8") as file:
        source = file.read()
    text = _cc(flags + ["-E", name], folder).stdout
    key = (source, text, tuple(flags))
    with _lock:
        build = _builds.get(key)
    if build is None:
        build = Build(folder, name, flags, text)
        with _lock:
            _builds[key] = build
    return build
