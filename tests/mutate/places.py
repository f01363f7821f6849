# SPDX-License-Identifier: Apache-2.0
"""
Where a C file can be changed by one small mistake, and into what.

Only the bodies of functions are looked at, and in these only what is executed: no declaration but its
initialiser, no size of an array, no static_assert, and no ENSURE, whose condition always holds.
"""

import collections
import re

import lexer

# text[start:end] becomes `new`. before and after are the lines that it touches, as one line each.
Mutant = collections.namedtuple("Mutant", "kind start end new line before after")

SWAPS = {
    "<": ("relation", "<="), "<=": ("relation", "<"), ">": ("relation", ">="), ">=": ("relation", ">"),
    "==": ("relation", "!="), "!=": ("relation", "=="),
    "&&": ("logic", "||"), "||": ("logic", "&&"),
    "&": ("mask", "|"), "|": ("mask", "&"), "&=": ("mask", "|="), "|=": ("mask", "&="),
}
ASSIGNMENTS = {"=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="}
CLOSING = {"(": ")", "[": "]", "{": "}"}
OF_TYPES = {"static", "const", "struct", "enum", "union", "unsigned", "signed", "int", "char", "long", "short", "void", "bool",
            "float", "double", "volatile", "register", "extern", "typedef", "_Atomic", "_Alignas", "_Thread_local"}
# What stands in their parentheses is a type, or can't be otherwise.
NOT_EXECUTED = {"sizeof", "_Alignof", "offsetof", "typeof", "__typeof__", "ENSURE", "static_assert", "_Static_assert",
                "__attribute__"}


def mutants(text):
    """All mutants of the C file `text`, in the order of their places."""
    return _Parser(text).file()


def apply(text, mutant):
    """`text` with the mutant's change."""
    return text[:mutant.start] + mutant.new + text[mutant.end:]


def _value(number):
    """(value, suffix, base) of an integer, or None."""
    match = re.fullmatch(r"(0[xX][0-9a-fA-F]+|[0-9]+)([uUlL]*)", number)
    if not match:
        return None
    digits, suffix = match.groups()
    if digits[:2] in ("0x", "0X"):
        return int(digits, 16), suffix, 16
    octal = len(digits) > 1 and digits[0] == "0"
    return int(digits, 8 if octal else 10), suffix, 8 if octal else 10


class _Parser:
    def __init__(self, text):
        self.text = text
        self.tokens = lexer.tokens(text)
        self.found = []
        self.match = {}  # the index of an opening bracket: that of its closing one
        stack = []
        for i, token in enumerate(self.tokens):
            if token.kind != "op":
                continue
            if token.text in CLOSING:
                stack.append(i)
            elif token.text in CLOSING.values():
                if not stack or CLOSING[self.tokens[stack[-1]].text] != token.text:
                    raise lexer.Unreadable("line %d: no match for %s" % (token.line, token.text))
                self.match[stack.pop()] = i
        if stack:
            raise lexer.Unreadable("line %d: is not closed" % self.tokens[stack[-1]].line)

    def is_op(self, i, *texts):
        return i < len(self.tokens) and self.tokens[i].kind == "op" and self.tokens[i].text in texts

    def is_word(self, i, *texts):
        return i < len(self.tokens) and self.tokens[i].kind == "word" and (not texts or self.tokens[i].text in texts)

    def add(self, kind, start, end, new):
        old = self.text[start:end]
        new += "\n" * (old.count("\n") - new.count("\n"))  # the lines after it keep their numbers
        first = self.text.rfind("\n", 0, start) + 1
        last = self.text.find("\n", end)
        last = len(self.text) if last < 0 else last
        before = " ".join(self.text[first:last].split())
        after = " ".join((self.text[first:start] + new + self.text[end:last]).split())
        self.found.append(Mutant(kind, start, end, new, self.text.count("\n", 0, start) + 1, before, after))

    # ---- Outside functions ----

    def file(self):
        i, initialiser = 0, False
        while i < len(self.tokens):
            if self.is_op(i, "{"):
                if not initialiser and i > 0 and self.is_op(i - 1, ")"):
                    self.block(i)
                i = self.match[i]
                if not initialiser and not self.is_op(i + 1, ";"):
                    initialiser = False
            elif self.is_op(i, "(", "["):
                i = self.match[i]
            elif self.is_op(i, "="):
                initialiser = True
            elif self.is_op(i, ";"):
                initialiser = False
            i += 1
        return sorted(self.found, key=lambda mutant: (mutant.start, mutant.end, mutant.new))

    # ---- Statements: each returns the index after it ----

    def block(self, i):
        end = self.match[i]
        i += 1
        while i < end:
            i = self.statement(i)
        return end + 1

    def end_of(self, i):
        """The index of the semicolon that ends the simple statement at i."""
        while not self.is_op(i, ";"):
            i = self.match[i] + 1 if i in self.match else i + 1
        return i

    def statement(self, i):
        word = self.tokens[i].text if self.is_word(i) else None
        if self.is_op(i, "{"):
            return self.block(i)
        if self.is_op(i, ";"):
            return i + 1
        if word in ("case", "default"):
            return self.label(i)
        if word and self.is_op(i + 1, ":"):
            return i + 2
        if word == "else":
            return self.statement(i + 1)
        if word == "do":
            return self.statement(i + 1)  # its "while (...);" is taken for a loop with an empty body
        if word in ("if", "while"):
            self.condition(i + 2, self.match[i + 1])
            return self.statement(self.match[i + 1] + 1)
        if word == "for":
            return self.loop(i + 1)
        if word and self.is_op(i + 1, "(") and self.is_op(self.match[i + 1] + 1, "{"):
            self.expression(i, self.match[i + 1])  # switch, and macros that are loops
            return self.block(self.match[i + 1] + 1)
        end = self.end_of(i)
        if word == "return":
            self.returned(i + 1, end)
        elif word not in ("goto", "break", "continue"):
            self.simple(i, end, True)
        return end + 1

    def label(self, i):
        end = i + 1
        while not self.is_op(end, ":"):
            end = self.match[end] + 1 if end in self.match else end + 1
        self.expression(i + 1, end)
        return end + 1

    def condition(self, first, end):
        if first == end:
            return
        start, stop = self.tokens[first].start, self.tokens[end - 1].end
        self.add("condition", start, stop, "!(" + self.text[start:stop] + ")")
        self.expression(first, end)

    def loop(self, i):
        close = self.match[i]
        second = self.end_of(i + 1)
        third = self.end_of(second + 1)
        self.simple(i + 1, second, False)
        self.condition(second + 1, third)
        self.expression(third + 1, close)
        return self.statement(close + 1)

    def returned(self, first, end):
        if first == end:
            return
        start, stop = self.tokens[first].start, self.tokens[end - 1].end
        whole = self.text[start:stop]
        if whole in ("true", "false"):
            self.add("return", start, stop, "false" if whole == "true" else "true")
        elif whole != "NULL" and not (end == first + 1 and self.tokens[first].kind == "number"):
            self.add("return", start, stop, "0")
        self.expression(first, end)

    def simple(self, first, end, removable):
        """A declaration, a call, an assignment or another expression, without its semicolon."""
        if first == end or self.is_word(first, *NOT_EXECUTED):
            return
        assigned = next((i for i in self.flat(first, end) if self.is_op(i, *ASSIGNMENTS)), None)
        if self.declares(first, end if assigned is None else assigned):
            if assigned is not None:
                self.expression(assigned + 1, end)
            return
        steps = self.is_op(first, "++", "--") or self.is_op(end - 1, "++", "--")
        if removable and (assigned is not None or steps):
            self.add("assignment", self.tokens[first].start, self.tokens[end].end, "{}")
        elif removable and self.is_op(end - 1, ")") and not self.operates(first, end):
            self.add("call", self.tokens[first].start, self.tokens[end].end, "{}")
        self.expression(first, end)

    def flat(self, i, end):
        """The indices from i to end that are in no bracket."""
        while i < end:
            yield i
            i = self.match[i] + 1 if i in self.match else i + 1

    def declares(self, first, end):
        if self.is_word(first, *OF_TYPES):
            return True
        before = None
        for i in self.flat(first, end):
            if before is not None and self.is_word(before) and self.is_word(i):
                return True  # type name
            if self.is_op(i, "*") and before is not None and self.is_word(before) and not self.binary(i):
                return True  # type *name
            before = i
        return False

    def operates(self, first, end):
        return any(self.tokens[i].kind == "op" and self.tokens[i].text not in "()[].->" for i in self.flat(first, end))

    # ---- Expressions ----

    def binary(self, i):
        """Is the operator one of two operands? The layout, which another test watches, tells: it has space on both sides."""
        token = self.tokens[i]
        return self.text[token.start - 1] in " \n" and self.text[token.end] in " \n"

    def expression(self, i, end):
        while i < end:
            token = self.tokens[i]
            if token.kind == "word" and token.text in NOT_EXECUTED and self.is_op(i + 1, "("):
                i = self.match[i + 1] + 1
                continue
            if token.kind == "op" and token.text in SWAPS and self.binary(i):
                kind, new = SWAPS[token.text]
                self.add(kind, token.start, token.end, new)
            elif token.kind == "number":
                self.number(token)
            i += 1

    def number(self, token):
        value = _value(token.text)
        if value is None:
            return
        value, suffix, base = value
        for other in sorted({value + 1, max(value - 1, 0), 0} - {value}):
            digits = {8: "0%o" % other if other else "0", 10: "%d" % other, 16: "%#x" % other if other else "0"}[base]
            self.add("constant", token.start, token.end, digits + suffix)
