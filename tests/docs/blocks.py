# SPDX-License-Identifier: Apache-2.0
"""The blocks of a Markdown page, and what each is: commands with their mark, YAML, JSON, or text."""

import re

# Reasons why tests/docs/run can't run a block of commands. The first word of "not run: WORD, more".
REASONS = {
    "board": "needs a board",
    "bao": "needs Bao, and what was built of its sources",
    "sources": "needs the sources of Bao, Buildroot or U-Boot, from the network",
    "network": "needs the network",
    "system": "changes the system of the machine that it runs on",
    "example": "has names in it that stand for the reader's own",
    "step": "is run by the step of tests/check that is named",
    "endless": "takes longer than a test may",
}
MARK = re.compile(r"^<!-- (run|not run)(?:: (.*?))? -->$")
STAGE = "beside a device model"
SHELL = ("sh", "bash", "shell", "console")


class Block:
    def __init__(self, page, line, kind, lines, mark):
        self.page = page
        self.line = line  # line number of its first line of text, from 1
        self.kind = kind  # "commands", "unnamed", or the word behind a fence
        self.text = "\n".join(lines) + "\n"
        self.run = None  # True, False, or None: not marked
        self.stage = False  # it needs a device model
        self.reason = None
        self.step = None  # a step of tests/check, for the reason "step"
        self.problem = None
        if kind == "commands":
            self.read_mark(mark)
        elif mark:
            self.problem = "a mark before a block that is not of commands"
        elif kind == "unnamed":
            self.problem = "a fence without a word: write ```text, ```yaml or ```sh"

    def read_mark(self, mark):
        if not mark:
            self.problem = ("not marked: put <!-- run --> or <!-- not run: REASON --> before it "
                            "(tests/docs/run --help)")
            return
        self.run = mark.group(1) == "run"
        words = mark.group(2) or ""
        if self.run:
            self.stage = words == STAGE
            if words and not self.stage:
                self.problem = "unknown mark \"run: %s\"; there is \"run: %s\"" % (words, STAGE)
            return
        self.reason, *rest = re.split(r"[ ,]+", words)
        if self.reason not in REASONS:
            self.problem = "unknown reason \"%s\"; reasons: %s" % (self.reason, ", ".join(REASONS))
        elif self.reason == "step":
            self.step = rest[0] if rest else ""

    @property
    def where(self):
        return "%s:%d" % (self.page, self.line)


def _mark_before(lines, index):
    """The mark in the last line that is not empty before a block."""
    index -= 1
    while index >= 0 and not lines[index].strip():
        index -= 1
    return MARK.match(lines[index].strip()) if index >= 0 else None


def _fence(lines, index):
    """The block after the fence at lines[index]: its lines without the fence's indentation, and the index
    after its end."""
    indent = len(lines[index]) - len(lines[index].lstrip())
    end = index + 1
    while end < len(lines) and lines[end].strip() != "```":
        end += 1
    return [line[indent:] for line in lines[index + 1:end]], end + 1


def _indented(lines, index):
    end = index
    while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
        end += 1
    while not lines[end - 1].strip():
        end -= 1
    return [line[4:] for line in lines[index:end]], end


def read(page, text):
    """All blocks of a page, in order."""
    lines = text.split("\n")
    blocks = []
    index = 0
    in_list = False
    while index < len(lines):
        line = lines[index]
        begin = index
        if line.lstrip().startswith("```"):
            word = line.strip()[3:].strip()
            kind = "commands" if word in SHELL else word or "unnamed"
            body, index = _fence(lines, index)
            blocks.append(Block(page, begin + 2, kind, body, _mark_before(lines, begin)))
            continue
        # In a list, text with four or more spaces belongs to the item.
        if re.match(r"^(- |\d+\. )", line):
            in_list = True
        elif line.strip() and not line.startswith(" "):
            in_list = False
        if line.startswith("    ") and not in_list and (index == 0 or not lines[index - 1].strip()):
            body, index = _indented(lines, index)
            blocks.append(Block(page, begin + 1, "commands", body, _mark_before(lines, begin)))
            continue
        index += 1
    return blocks
