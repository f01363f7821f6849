# SPDX-License-Identifier: Apache-2.0
"""demo.conf, which says which files of a folder belong together; and the check of a whole folder."""

import os

from checker import rules_bao, rules_other, rules_tree, yaml_file
from checker.bao_config import BaoConfig
from checker.platforms import PLATFORMS
from checker.problems import Problems, Unreadable, Value
from checker.tree import Tree

FORMAT = """\
A folder has a file demo.conf, with a line for each fact; "#" begins a comment:

  variant NAME                   begins a set of files that belong together; several may follow
  platform NAME                  one of: %s
  config FILE                    Bao's configuration in C
  yaml FILE...                   the device model's configuration; several for several processes
  vm NAME TREE [FRAGMENT...]     a virtual machine, in the order of Bao's configuration: the name of
                                 its image there, its device tree or "-", its kernel fragments
""" % ", ".join(sorted(PLATFORMS))


class Machine:
    def __init__(self, name, tree, fragments, source):
        self.name = name
        self.tree = tree
        self.fragments = fragments
        self.source = source


class Variant:
    def __init__(self, name, line):
        self.name = name
        self.line = line
        self.platform = None
        self.config = None
        self.yaml = []
        self.machines = []


def _wrong(problems, path, line, text, cure):
    problems.report("folder", Value(0, text, path, line), None, cure)
    raise Unreadable


def read_demo(folder, problems):
    """The variants of a folder."""
    path = os.path.join(folder, "demo.conf")
    if not os.path.exists(path):
        _wrong(problems, path, None, "is not there", "write it: see tests/configs --help")
    variants = []
    with open(path, encoding="utf-8") as file:
        for number, row in enumerate(file, 1):
            words = row.split("#")[0].split()
            if not words:
                continue
            if words[0] == "variant" and len(words) == 2:
                variants.append(Variant(words[1], number))
            elif not variants:
                _wrong(problems, path, number, row.strip(), 'begin with "variant NAME"')
            else:
                _read_line(folder, path, number, words, variants[-1], problems)
    for variant in variants:
        if not (variant.platform and variant.config and variant.yaml and variant.machines):
            _wrong(problems, path, variant.line, "variant " + variant.name, "give it platform, config, yaml and vm lines")
    return variants


def _read_line(folder, path, number, words, variant, problems):
    def there(name):
        full = os.path.normpath(os.path.join(folder, name))
        if not os.path.exists(full):
            _wrong(problems, path, number, name, "there is no such file: mend the name, or add the file")
        return full

    if words[0] == "platform" and " ".join(words[1:]) in PLATFORMS:
        variant.platform = PLATFORMS[" ".join(words[1:])]
    elif words[0] == "config" and len(words) == 2:
        variant.config = there(words[1])
    elif words[0] == "yaml" and len(words) > 1:
        variant.yaml += [there(word) for word in words[1:]]
    elif words[0] == "vm" and len(words) > 2:
        tree = None if words[2] == "-" else there(words[2])
        variant.machines.append(Machine(words[1], tree, [there(word) for word in words[3:]], path))
    else:
        _wrong(problems, path, number, " ".join(words), "write a line as tests/configs --help has it")


def _attempt(function, *arguments):
    """None: the file can't be read, and this has been reported."""
    try:
        return function(*arguments)
    except Unreadable:
        return None


def _check_variant(folder, variant, broker, problems):
    config = _attempt(BaoConfig, variant.config, variant.platform, problems)
    trees = [machine.tree and _attempt(Tree, machine.tree, problems) for machine in variant.machines]
    files = [_attempt(yaml_file.read, path, broker, problems) for path in variant.yaml]
    if config is None or None in files:
        return
    if len(config.vms) != len(variant.machines):
        problems.report("folder", Value(0, "%d vm lines" % len(variant.machines), os.path.join(folder, "demo.conf"),
                                        variant.line),
                        config.value(".vmlist_size", 0, str(len(config.vms))), "write one a machine, in the same order")
        return
    rules_bao.check(config, [machine.name for machine in variant.machines], problems)
    for number, tree in enumerate(trees):
        if tree:
            rules_tree.check(config, number, variant.machines[number].name, tree, problems)
    devices = [device for file in files for device in file]
    rules_other.check_yaml(config, devices, problems)
    rules_other.check_once(devices, problems)
    rules_other.check_readme(folder, devices, problems)
    rules_other.check_kernels(config, variant.machines, devices, problems)


def check_folder(folder, broker, only=None):
    """[Problems], one for each variant; if a variant is named, only that one."""
    problems = Problems(folder, "")
    variants = _attempt(read_demo, folder, problems)
    if variants is None:
        return [problems]
    checked = []
    for variant in variants:
        if only not in (None, variant.name):
            continue
        checked.append(Problems(folder, variant.name))
        _check_variant(folder, variant, broker, checked[-1])
    return checked
