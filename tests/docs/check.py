# SPDX-License-Identifier: Apache-2.0
"""Checks whether a page is true. Its commands are run, or checked as far as possible. Its YAML is
valid. Its links lead somewhere."""

import glob
import json
import os
import re
import shlex
import subprocess
import tempfile

import blocks

TIMEOUT = 300  # seconds, for a block; most take less than one

# The surroundings of a block: nothing of the machine's /run and /tmp, and only its own network.
CELL = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private",
        "bash", "-euc", 'for place in /tmp /var/tmp /run; do mount -t tmpfs none "$place"; done\n'
        'ip link set lo up\nexec "$@"', "cell"]
# For root, sudo does nothing, and it may not be installed.
SHELL = ["bash", "-euo", "pipefail", "-c"]
PROLOGUE = 'sudo() { "$@"; }\n'

# The device model of a stage: kinds that work on any kernel.
STAGE_DEVICES = """\
devices:
  - { id: 0, type: block, data_plane: virtio, mmio_addr: 0xa003e00, file_path: /tmp/disk.img }
  - { id: 1, type: rng, data_plane: virtio, mmio_addr: 0xa004000 }
  - { id: 2, type: console, data_plane: virtio, mmio_addr: 0xa004200, pty_alias: /run/frontend-console }
"""
STAGE_PROLOGUE = "truncate -s 1M /tmp/disk.img; cat >/tmp/stage.yaml <<'STAGE'\n" + STAGE_DEVICES + "STAGE\n"

OURS = ("bao-virtio-dm", "bao-dmctl", "bao-seccomp", "bao-policy")
# A path in the project, as a word of a command. On the pages of the demonstrations, $demo is
# configs/.
PATH = re.compile(r"^(?:\./|\$demo/)?((?:\.ci|broker|common|configs|docs|policy|tests|worker)/[\w./*-]+)$")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# In the text: a file or folder of the project, and a function. Capitals stand for what the reader
# fills in.
NAMED_PATH = re.compile(r"`((?:\.ci|broker|common|configs|docs|policy|tests|worker)/[a-z0-9_./*-]*)`")
NAMED_FUNCTION = re.compile(r"`([a-z_0-9]+)\(\)`")
SOURCES = [folder + "/**/*." + ending for folder in ("broker", "common", "policy", "worker") for ending in "ch"]


class Result:
    def __init__(self, where, what, problem=None, output=""):
        self.where = where
        self.what = what
        self.problem = problem
        self.output = output


def _words(text):
    """The commands of a block, each a list of words; none if it is no shell."""
    text = text.replace("\\\n", " ")
    for line in text.split("\n"):
        try:
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words = list(lexer)
        except ValueError:
            continue
        command = []
        for word in words + [";"]:
            if word and set(word) <= set("();<>|&"):
                if command:
                    yield command
                command = []
            else:
                command.append(word)


def _slug(heading):
    """The name that a heading has in links, as forges make it."""
    heading = re.sub(r"[`*]", "", heading.strip().lower())
    return re.sub(r" ", "-", re.sub(r"[^\w\- ]", "", heading))


def _headings(text):
    """The names of a page's headings; a second one of the same words gets -1."""
    seen = {}
    fence = False
    for line in text.split("\n"):
        if line.lstrip().startswith("```"):
            fence = not fence
        found = re.match(r"^#+ (.*)$", line)
        if found and not fence:
            name = _slug(found.group(1))
            count = seen.get(name, 0)
            seen[name] = count + 1
            yield name if count == 0 else "%s-%d" % (name, count)


class Checker:
    def __init__(self, root, build):
        self.root = root
        self.build = build
        self.helps = {}
        self.functions = None

    def program(self, name):
        return os.path.join(self.build, "bin", name)

    def help(self, name):
        if name not in self.helps:
            done = subprocess.run([self.program(name), "--help"], capture_output=True, text=True, check=True)
            self.helps[name] = done.stdout
        return self.helps[name]

    def pages(self, pages):
        for page in pages:
            with open(page, encoding="utf-8") as file:
                text = file.read()
            for block in blocks.read(page, text):
                yield self.block(block)
            yield from self.links(page, text)
            yield from self.names(page, text)

    def block(self, block):
        if block.problem:
            return Result(block.where, "", block.problem, block.text)
        if block.run:
            return self.run(block)
        if block.kind == "commands":
            problem = self.look_at(block)
            return Result(block.where, "not run (%s)" % block.reason, problem, block.text)
        if block.kind == "json":
            return self.json(block)
        if block.kind == "yaml" and re.search(r"^devices:", block.text, re.M):
            return self.yaml(block)
        return Result(block.where, block.kind)

    def run(self, block):
        command, prologue = list(CELL), PROLOGUE
        if block.stage:
            # The stage's files are made before the device model starts, since it reads them.
            command += SHELL + [STAGE_PROLOGUE + 'exec "$0" 3 "$@"', os.path.join(self.build, "tests", "bao-stage")]
        environment = dict(os.environ, STAGE_CONFIG="/tmp/stage.yaml",
                           PATH=os.path.join(self.build, "bin") + ":" + os.environ["PATH"])
        try:
            done = subprocess.run(command + SHELL + [prologue + block.text], cwd=self.root, env=environment,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  timeout=TIMEOUT, check=False)
        except subprocess.TimeoutExpired as late:
            return Result(block.where, "", "not done after %d s" % TIMEOUT, (late.output or b"").decode(errors="replace"))
        problem = None if done.returncode == 0 else "exit status %d" % done.returncode
        return Result(block.where, "run", problem, block.text + done.stdout.decode(errors="replace"))

    def look_at(self, block):
        """What is wrong with commands that can't be run, or None."""
        done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return "no shell: " + done.stderr.strip()
        if block.reason == "step" and not self.has_step(block.step):
            return "tests/check has no step \"%s\"" % block.step
        for command in _words(block.text):
            problem = self.options(command) or self.paths(command)
            if problem:
                return problem
        return None

    def has_step(self, name):
        with open(os.path.join(self.root, "tests", "check"), encoding="utf-8") as file:
            steps = re.search(r"^steps=\((.*?)\)", file.read(), re.M | re.S)
        return name in steps.group(1).split()

    def options(self, words):
        """Options and verbs of our programs that they do not have."""
        while words and (words[0] in ("sudo", "nohup", "exec", "time") or re.match(r"^\w+=", words[0])):
            words = words[1:]
        name = os.path.basename(words[0]) if words else ""
        if name not in OURS:
            return None
        if "--" in words:
            words = words[:words.index("--")]
        for word in words[1:]:
            option = word.split("=")[0]
            if option.startswith("-") and not re.search(r"(?<![\w-])%s(?![\w-])" % re.escape(option), self.help(name)):
                return "%s has no option %s" % (name, option)
        rest = [word for before, word in zip(words, words[1:]) if not word.startswith("-") and before != "--control"]
        if name != "bao-virtio-dm" and rest and not re.search(r"^  %s\b" % re.escape(rest[0]), self.help(name), re.M):
            return "%s has no command %s" % (name, rest[0])
        return None

    def paths(self, words):
        for word in words:
            if word.startswith("$demo/"):
                word = "configs/" + word[len("$demo/"):]
            found = PATH.match(word)
            if found and not glob.glob(os.path.join(self.root, found.group(1))):
                return "the project has no %s" % found.group(1)
        return None

    def json(self, block):
        try:
            json.loads(block.text)
        except ValueError as error:
            return Result(block.where, "", "no JSON: %s" % error, block.text)
        return Result(block.where, "json")

    def yaml(self, block):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(block.text)
            file.flush()
            done = subprocess.run([self.program("bao-virtio-dm"), "--check-config", "--config", file.name],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        problem = None if done.returncode == 0 else "--check-config refuses it"
        return Result(block.where, "yaml, checked", problem, block.text + done.stdout)

    def links(self, page, text):
        """One result for all links of a page; or one for each link that leads nowhere."""
        wrong = 0
        for number, line in enumerate(text.split("\n"), 1):
            for target in LINK.findall(line):
                if re.match(r"^[a-z]+:", target):
                    continue
                problem = self.link(page, text, *target.partition("#")[::2])
                if problem:
                    wrong += 1
                    yield Result("%s:%d" % (page, number), "", "%s: %s" % (target, problem), line)
        if not wrong:
            yield Result(page, "links")

    def names(self, page, text):
        """A result for each file and each function that a page's text names and that does not exist."""
        wrong = 0
        for number, line in enumerate(text.split("\n"), 1):
            missing = [path for path in NAMED_PATH.findall(line) if not self.is_there(path)]
            missing += [name + "()" for name in NAMED_FUNCTION.findall(line) if name not in self.all_functions()]
            for name in missing:
                wrong += 1
                yield Result("%s:%d" % (page, number), "", "the project has no %s" % name, line)
        if not wrong:
            yield Result(page, "names of files and functions")

    def is_there(self, path):
        """A file, a folder, or a program that is named by its source without .c."""
        path = os.path.join(self.root, path)
        return glob.glob(path) or os.path.exists(path + ".c")

    def all_functions(self):
        """What the sources define or call."""
        if self.functions is None:
            self.functions = set()
            for pattern in SOURCES:
                for path in glob.glob(os.path.join(self.root, pattern), recursive=True):
                    with open(path, encoding="utf-8") as file:
                        self.functions.update(re.findall(r"\b([a-z_0-9]+)\(", file.read()))
        return self.functions

    def link(self, page, text, path, heading):
        if path:
            full = os.path.join(self.root, os.path.dirname(page), path)
            if not os.path.exists(full):
                return "no such file"
            if not heading:
                return None
            with open(full, encoding="utf-8") as file:
                text = file.read()
        return None if heading in _headings(text) else "no such heading"
