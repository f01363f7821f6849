# SPDX-License-Identifier: Apache-2.0
"""A device tree. The blob that dtc makes gives its values (Devicetree Specification 0.4, chapter 5).
dtc's annotated source gives the lines where they are written."""

import os
import re
import struct
import subprocess
import tempfile

from checker.problems import Unreadable, Value

_BEGIN_NODE, _END_NODE, _PROP, _NOP, _END = 1, 2, 3, 4, 9


class Node:
    def __init__(self, name, parent):
        self.name = name
        self.parent = parent
        self.props = {}
        self.children = []

    @property
    def path(self):
        if self.parent is None:
            return "/"
        return (self.parent.path if self.parent.parent else "") + "/" + self.name

    def walk(self):
        yield self
        for child in self.children:
            yield from child.walk()

    def cells(self, name):
        """The 32-bit cells of a property; none if there is no such property."""
        data = self.props.get(name, b"")
        return list(struct.unpack(">%dI" % (len(data) // 4), data[: len(data) // 4 * 4]))

    def cell(self, name, default=None):
        cells = self.cells(name)
        return cells[0] if cells else default

    def strings(self, name):
        return [word.decode("latin-1") for word in self.props.get(name, b"").split(b"\0") if word]

    def compatible(self, *names):
        return any(name in self.strings("compatible") for name in names)

    @property
    def enabled(self):
        return self.strings("status") in ([], ["okay"], ["ok"])

    def child(self, name):
        """The child with that whole name, or with that name before "@"."""
        for child in self.children:
            if child.name == name or child.name.split("@")[0] == name:
                return child
        return None


def _decode(blob):
    magic, _, structure, strings = struct.unpack(">4I", blob[:16])
    assert magic == 0xD00DFEED, "dtc has written no device tree"
    root = node = None
    at = structure
    while True:
        (token,) = struct.unpack(">I", blob[at : at + 4])
        at += 4
        if token == _BEGIN_NODE:
            end = blob.index(b"\0", at)
            node = Node(blob[at:end].decode("latin-1"), node)
            if node.parent is None:
                root = node
            else:
                node.parent.children.append(node)
            at = (end + 4) & ~3
        elif token == _END_NODE:
            node = node.parent
        elif token == _PROP:
            size, offset = struct.unpack(">2I", blob[at : at + 8])
            start = strings + offset
            node.props[blob[start : blob.index(b"\0", start)].decode("latin-1")] = blob[at + 8 : at + 8 + size]
            at = (at + 8 + size + 3) & ~3
        elif token == _END:
            return root
        else:
            assert token == _NOP, "dtc has written an unknown token"


_NODE_LINE = re.compile(r"^\s*(?:[\w]+: )*(/|[\w,.+@-]+) \{(?: /\* (.*) \*/)?$")
_PROP_LINE = re.compile(r"^\s*([\w,.+#?-]+)(?: = .*)?;(?: /\* (.*) \*/)?$")
_COMPLAINT = re.compile(r"^(?:(?:Error|ERROR|Warning): )?([^\s:]+):(\d+)\.[\d.-]+:? "
                        r"((?:Warning|ERROR|syntax error|Label|.*rror).*)$", re.M)
_PLACE = re.compile(r"([^,\s]+):(\d+)$")


def _places(text, folder):
    """A map from (path of a node, property or None) to (file, line)."""
    places, names = {}, []
    for row in text.split("\n"):
        node = _NODE_LINE.match(row)
        prop = _PROP_LINE.match(row)
        if row.strip().startswith("};"):
            names.pop()
            continue
        found = node or prop
        if not found:
            continue
        if node:
            names.append(node.group(1))
        path = "/" + "/".join(names[1:])
        place = _PLACE.search(found.group(2) or "")
        if place:
            where = os.path.normpath(os.path.join(folder, place.group(1))), int(place.group(2))
            places[(path, None if node else prop.group(1))] = where
    return places


class Tree:
    def __init__(self, path, problems):
        self.path = path
        self.folder = os.path.dirname(path) or "."
        with tempfile.TemporaryDirectory() as work:
            blob = os.path.join(work, "dtb")
            run = self._dtc(["-O", "dtb", "-o", blob])
            self._report(run, problems)
            if run.returncode != 0:
                raise Unreadable
            with open(blob, "rb") as file:
                self.root = _decode(file.read())
        self._where = _places(self._dtc(["-T", "-O", "dts"]).stdout, self.folder)
        self._phandles = {node.cell("phandle"): node for node in self.nodes() if "phandle" in node.props}

    def _dtc(self, words):
        return subprocess.run(["dtc", "-I", "dts"] + words + [os.path.basename(self.path)], cwd=self.folder,
                              capture_output=True, text=True)

    def _report(self, run, problems):
        """Reports each warning of dtc; if there is only an error, reports that."""
        found = _COMPLAINT.findall(run.stderr)
        for name, line, text in found:
            problems.report("dtc-clean", Value(0, text, os.path.join(self.folder, name), int(line)), None,
                            "mend it until dtc says nothing")
        if not found and (run.returncode != 0 or run.stderr.strip()):
            problems.report("dtc-clean", Value(0, " ".join(run.stderr.split()), self.path), None,
                            "mend it until dtc says nothing")

    def nodes(self):
        return self.root.walk()

    def by_phandle(self, phandle):
        return self._phandles.get(phandle)

    def value(self, node, prop, shown, number=0):
        name, line = self._where.get((node.path, prop)) or self._where.get((node.path, None)) or (self.path, None)
        return Value(number, "%s%s %s" % (node.path, " " + prop if prop else "", shown), name, line)

    def reg(self, node):
        """Pairs (address, size), as the root counts them."""
        return [(self._translate(node.parent, start), size) for start, size in self._own_reg(node)]

    def _translate(self, bus, address):
        """An address on a bus, translated by the ranges of that bus and of the buses above it."""
        while bus is not None and bus.parent is not None:
            n_child, n_parent = bus.cell("#address-cells", 2), bus.parent.cell("#address-cells", 2)
            step = n_child + n_parent + bus.cell("#size-cells", 1)
            cells = bus.cells("ranges")
            for i in range(0, len(cells) - step + 1, step):
                child = _number(cells[i : i + n_child])
                size = _number(cells[i + n_child + n_parent : i + step])
                if child <= address < child + size:
                    address += _number(cells[i + n_child : i + n_child + n_parent]) - child
                    break
            bus = bus.parent
        return address

    def _own_reg(self, node):
        parent = node.parent
        n_address, n_size = parent.cell("#address-cells", 2), parent.cell("#size-cells", 1)
        cells, pairs = node.cells("reg"), []
        step = n_address + n_size
        for i in range(0, len(cells) - step + 1, max(step, 1)):
            pairs.append((_number(cells[i : i + n_address]), _number(cells[i + n_address : i + step])))
        return pairs

    def interrupt_parent(self, node):
        """The node of the controller; None: no node has its phandle."""
        while node is not None:
            if "interrupt-parent" in node.props:
                return self.by_phandle(node.cell("interrupt-parent"))
            node = node.parent
        return None

    def interrupts(self, node):
        """Lists of cells, one for each interrupt; None: the controller is unknown."""
        controller = self.interrupt_parent(node)
        if controller is None:
            return None
        step = controller.cell("#interrupt-cells", 1)
        cells = node.cells("interrupts")
        return [cells[i : i + step] for i in range(0, len(cells) - step + 1, max(step, 1))]


def _number(cells):
    value = 0
    for cell in cells:
        value = value << 32 | cell
    return value
