# SPDX-License-Identifier: Apache-2.0
"""Proves that tests/configs can fail. For each rule there is a copy of a good folder with a small
edit. Exactly that rule must be reported."""

import os
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor

from checker.cases import CASES
from checker.folder import check_folder
from checker.rules import RULES

_LINE = re.compile(r"^(\S+) \[\w[\w-]*\]: ([\w-]+): (\S+?)(?::(\d+))?: .+: .+$")

# For these the place is a whole file: the problem is a sum, or something that is missing.
_WITHOUT_LINE = {"ram-fits", "kernel-options", "yaml-readable"}


def _edit(root, folder, edits):
    for name, old, new in edits:
        path = os.path.join(root, folder, name)
        if old is None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(new)
            continue
        with open(path, encoding="utf-8") as file:
            text = file.read()
        changed, count = re.subn(old, new, text, flags=re.S)
        assert count > 0, "%s: %s has no %s" % (folder, name, old)
        with open(path, "w", encoding="utf-8") as file:
            file.write(changed)


def _complaint(rule, case, own, broker):
    """What is wrong with the judgement of a broken copy; "" if nothing is wrong."""
    folder, variant, edits = case
    with tempfile.TemporaryDirectory() as work:
        root = os.path.join(work, "configs")
        for name in ("common", folder):
            shutil.copytree(os.path.join(own, name), os.path.join(root, name))
        _edit(root, folder, edits)
        only = None if rule == "folder" else variant
        checked = check_folder(os.path.join(root, folder), broker, only)
    found = {name for problems in checked for name in problems.rules}
    lines = [line for problems in checked for line in problems.lines]
    if found != {rule}:
        return "found %s\n    %s" % (sorted(found) or "nothing", "\n    ".join(lines))
    for line in lines:
        parts = _LINE.match(line)
        if rule != "folder" and (not parts or parts.group(4) is None) and rule not in _WITHOUT_LINE:
            return "the line has no place in a file: " + line
    return ""


def run(own, broker):
    """(passed, failed)."""
    passed = failed = 0

    def one(item):
        rule, case = item
        if rule == "yaml-valid" and not broker:
            return "needs bao-virtio-broker"
        return _complaint(rule, case, own, broker)

    cases = [(rule, case) for rule in RULES for case in CASES.get(rule, [])]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for (rule, _), complaint in zip(cases, pool.map(one, cases)):
            if complaint:
                failed += 1
                print("FAILED: a folder that breaks %s: %s" % (rule, complaint))
            else:
                passed += 1
    for rule in RULES:
        if rule not in CASES:
            failed += 1
            print("FAILED: no broken copy for the rule %s" % rule)
    return passed, failed
