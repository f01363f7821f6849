# SPDX-License-Identifier: Apache-2.0
"""Rules about a machine's device tree. It is compared with Bao's configuration of that machine."""

from checker.platforms import FIRST_SPI, TIMER
from checker.problems import inside, overlap, span
from checker.rules_bao import remio_path

POOL = "restricted-dma-pool"
CONTROLLERS = ("arm,gic-400", "arm,cortex-a15-gic", "arm,gic-v3", "sifive,plic-1.0.0", "riscv,plic0", "riscv,aplic")
EDGE = 1


def check(config, number, name, tree, problems):
    _Rules(config, number, name, tree, problems).check()


class _Rules:
    def __init__(self, config, number, name, tree, problems):
        self.config = config
        self.platform = config.platform
        self.number = number
        self.vm = config.vms[number]
        self.name = name
        self.tree = tree
        self.report = problems.report
        self.backend = [(i, dev) for i, dev in enumerate(self.vm["remio_devs"]) if dev["backend"]]
        self.frontend = [(i, dev) for i, dev in enumerate(self.vm["remio_devs"]) if not dev["backend"]]

    def check(self):
        self.cpus()
        if self.platform.gic:
            self.psci()
            self.timer()
        self.controller()
        self.sources()
        self.memory()
        self.dispatcher()
        self.virtio_nodes()
        self.reserved_memory()
        self.devices()

    def in_c(self, member, value, shown=None):
        return self.config.vm_value(self.number, member, value, shown)

    def in_remio(self, device, member, value, shown=None):
        return self.config.value(remio_path(self.number, device, member), value, shown)

    def nodes(self, *compatible):
        return [node for node in self.tree.nodes() if node.enabled and node.compatible(*compatible)]

    def intid(self, cells):
        """The number that Bao uses; None: Bao has no such interrupt."""
        if not self.platform.gic:
            return cells[0] if cells else None
        if len(cells) < 3 or cells[0] > 1:
            return None
        return cells[1] + (FIRST_SPI if cells[0] == 0 else 16)

    # ---- What every machine has ----

    def cpus(self):
        parent = self.tree.root.child("cpus")
        cpus = [node for node in parent.children if node.name.split("@")[0] == "cpu"] if parent else []
        numbers = [node.cell("reg") for node in cpus]
        where = self.tree.value(parent or self.tree.root, None, "has the CPUs %s" % numbers)
        count = self.in_c(".platform.cpu_num", self.vm["cpu_num"], str(self.vm["cpu_num"]))
        if numbers != list(range(self.vm["cpu_num"])):
            self.report("tree-cpus", where, count, "give the tree one cpu node for each, with reg from 0 on")
        for node in cpus:
            if self.platform.gic and node.strings("enable-method") != ["psci"]:
                self.report("tree-cpus", self.tree.value(node, "enable-method", str(node.strings("enable-method"))), None,
                            'set enable-method = "psci"')

    def psci(self):
        nodes = self.nodes("arm,psci-0.2", "arm,psci-1.0")
        if not nodes or nodes[0].strings("method") != ["smc"]:
            where = self.tree.value(nodes[0], "method", str(nodes[0].strings("method"))) if nodes else \
                self.tree.value(self.tree.root, None, "has no psci node")
            self.report("tree-psci", where, None, 'write psci { compatible = "arm,psci-0.2"; method = "smc"; }')

    def timer(self):
        nodes = self.nodes("arm,armv8-timer")
        numbers = [self.intid(cells) for node in nodes for cells in self.tree.interrupts(node) or []]
        if TIMER not in numbers:
            where = self.tree.value(nodes[0], "interrupts", str(numbers)) if nodes else \
                self.tree.value(self.tree.root, None, "has no timer node")
            self.report("tree-timer", where, None, "write the node with <1 13 f>, <1 14 f>, <1 11 f>, <1 10 f>")

    def controller(self):
        compatible = {"gicv2": ("arm,gic-400", "arm,cortex-a15-gic"), "gicv3": ("arm,gic-v3",),
                      "plic": ("sifive,plic-1.0.0", "riscv,plic0"), "aia": ("riscv,aplic",)}[self.platform.controller]
        members = {"gicv2": ["gicd", "gicc"], "gicv3": ["gicd", "gicr"], "plic": ["plic"], "aia": ["aplic"]}
        self.controller_at(compatible, members[self.platform.controller])
        if self.platform.controller == "aia":
            self.controller_at(("riscv,imsics",), ["imsic"])

    def controller_at(self, compatible, members):
        written = [self.vm["arch"].get(name, 0) for name in members]
        nodes = self.nodes(*compatible)
        found = [start for start, _ in self.tree.reg(nodes[0])][: len(written)] if nodes else []
        if found != written:
            where = self.tree.value(nodes[0], "reg", " ".join("0x%x" % start for start in found)) if nodes else \
                self.tree.value(self.tree.root, None, "has no " + compatible[0])
            self.report("tree-controller", where, self.in_c(".platform.arch", 0, " ".join("0x%x" % a for a in written)),
                        "make the addresses equal")
        elif self.platform.controller == "gicv2" and self.tree.reg(nodes[0])[1][1] > 0x2000:
            self.report("tree-controller", self.tree.value(nodes[0], "reg", "0x%x bytes" % self.tree.reg(nodes[0])[1][1]),
                        None, "Bao maps 0x2000 bytes of the CPU interface: write that size")

    def sources(self):
        for node, prop in [(n, "riscv,ndev") for n in self.nodes("sifive,plic-1.0.0", "riscv,plic0")] + \
                          [(n, "riscv,num-sources") for n in self.nodes("riscv,aplic")]:
            highest = node.cell(prop, 0)
            for user in self.tree.nodes():
                if not user.enabled or "interrupts" not in user.props:
                    continue
                for cells in self.tree.interrupts(user) or []:
                    if cells and cells[0] > highest and self.tree.interrupt_parent(user) is node:
                        self.report("tree-sources", self.tree.value(node, prop, str(highest)),
                                    self.tree.value(user, "interrupts", str(cells[0])),
                                    "raise %s: the kernel may refuse the interrupt" % prop)

    def interrupts_of(self, node):
        """INTIDs and flags of a node, or None after a report."""
        found = self.tree.interrupts(node)
        parent = self.tree.interrupt_parent(node)
        if found is None or not parent.compatible(*CONTROLLERS):
            self.report("tree-parent", self.tree.value(node, None, "has no interrupt controller"), None,
                        "set interrupt-parent, here or in the root, to the label of one")
            return None
        return [(self.intid(cells), cells[-1] & 0xF if len(cells) > 1 else EDGE) for cells in found]

    def devices(self):
        """Hardware in the tree: mapped by Bao, with the interrupts that Bao forwards."""
        known = [node for node in self.tree.nodes() if node.enabled and "reg" in node.props and "interrupts" in node.props
                 and not node.compatible("bao,io-dispatcher", *CONTROLLERS) and not self.is_virtio_of_bao(node)]
        owned = {interrupt for dev in self.vm["devs"] for interrupt in dev["interrupts"]}
        areas = [(dev["va"], dev["size"]) for dev in self.vm["devs"]]
        for node in known:
            where = self.tree.reg(node)
            place = self.tree.value(node, "reg", " ".join(span(*pair) for pair in where))
            if not all(any(inside(pair, area) for area in areas) for pair in where):
                self.report("tree-devices", place, self.in_c(".platform.devs", 0, "has no such device"),
                            "add it to .devs of machine %s, or leave the node out" % self.name)
            for interrupt, _ in self.interrupts_of(node) or []:
                if interrupt not in owned:
                    self.report("tree-devices", self.tree.value(node, "interrupts", "INTID %s" % interrupt),
                                self.in_c(".platform.devs", 0, "has the interrupts %s" % sorted(owned)),
                                "make them equal: an SPI in the tree is 32 less than the INTID" if self.platform.gic
                                else "make them equal")

    # ---- Memory ----

    def memory_ranges(self):
        """[((address, size), Value)] of the tree's memory."""
        return [(pair, self.tree.value(node, "reg", span(*pair))) for node in self.tree.root.children
                if node.strings("device_type") == ["memory"] for pair in self.tree.reg(node)]

    def memory(self):
        ranges = self.memory_ranges()
        if not ranges:
            self.report("tree-memory", self.tree.value(self.tree.root, None, "has no memory"), None,
                        'add memory@... { device_type = "memory"; reg = ... }')
            return
        self.windows_in_memory(ranges)
        windows = [(dev["window"], dev["window_size"]) for _, dev in self.frontend]
        backend_windows = [(dev["window"], dev["window_size"]) for _, dev in self.backend]
        regions = [(region["base"], region["size"]) for region in self.vm["regions"]]
        first = self.in_c(".platform.regions[0].base", regions[0][0]) if regions else None
        for where, value in ranges:
            if any(overlap(where, window) for window in backend_windows):
                continue
            if not _covered(where, regions + windows):
                self.report("tree-memory", value, first, "name only memory of machine %s and a frontend's windows" % self.name)
        for i, where in enumerate(regions):
            if not _covered(where, [pair for pair, _ in ranges]):
                self.report("tree-memory", ranges[0][1], self.in_c(".platform.regions[%d].size" % i, where[1]),
                            "name all of %s in the tree" % span(*where))

    def windows_in_memory(self, ranges):
        for i, dev in self.frontend:
            window = (dev["window"], dev["window_size"])
            if not _covered(window, [pair for pair, _ in ranges]):
                self.report("memory-window-frontend", ranges[-1][1], self.in_remio(i, ".shmem.base", dev["window"]),
                            "add the window %s to reg: the kernel's bounce buffers need it" % span(*window))
        for i, dev in self.backend:
            window = (dev["window"], dev["window_size"])
            for where, value in ranges:
                if overlap(where, window):
                    self.report("memory-window-backend", value, self.in_remio(i, ".shmem.base", dev["window"]),
                                "take the window out of the memory: the kernel would use it for itself")

    # ---- The backend ----

    def dispatcher(self):
        nodes = self.nodes("bao,io-dispatcher")
        if len(nodes) != (1 if self.backend else 0):
            where = self.tree.value(nodes[-1] if nodes else self.tree.root, None, "%d nodes bao,io-dispatcher" % len(nodes))
            self.report("dispatcher-node", where, None, "write one in the backend's tree, and none in another")
            return
        if not nodes:
            return
        node = nodes[0]
        written = self.tree.reg(node)
        wanted = [(dev["window"], dev["window_size"]) for _, dev in self.backend]
        for i in range(max(len(written), len(wanted))):
            if written[i : i + 1] != wanted[i : i + 1]:
                shown = "%d. is %s" % (i + 1, span(*written[i])) if i < len(written) else "has %d" % len(written)
                other = self.in_remio(self.backend[i][0], ".shmem.base", wanted[i][0]) if i < len(wanted) else \
                    self.in_c(".platform.remio_dev_num", 0, str(len(wanted)))
                self.report("dispatcher-reg", self.tree.value(node, "reg", shown), other,
                            "write the windows in the order of remio_devs")
                break
        self.dispatcher_interrupts(node)

    def dispatcher_interrupts(self, node):
        written = self.interrupts_of(node)
        if written is None:
            return
        wanted = [dev["interrupt"] for _, dev in self.backend]
        numbers = [interrupt for interrupt, _ in written]
        if numbers != wanted:
            i = next((k for k in range(len(wanted)) if numbers[k : k + 1] != wanted[k : k + 1]), 0)
            self.report("dispatcher-interrupts", self.tree.value(node, "interrupts", "INTIDs %s" % numbers),
                        self.in_remio(self.backend[i][0], ".interrupt", wanted[i], str(wanted[i])),
                        "write %s, one a device in the order of remio_devs" % wanted)
        self.edge(node, written)

    def edge(self, node, interrupts):
        for interrupt, flags in interrupts:
            if flags != EDGE:
                self.report("interrupt-edge", self.tree.value(node, "interrupts", "INTID %s has flag %d" % (interrupt, flags)),
                            None, "write 1 as its last cell")

    # ---- The frontend ----

    def is_virtio_of_bao(self, node):
        """A VirtIO device of QEMU would be mapped, so it is none of Bao's."""
        areas = [(dev["va"], dev["size"]) for dev in self.vm["devs"]]
        return node.compatible("virtio,mmio") and not all(
            any(inside(pair, area) for area in areas) for pair in self.tree.reg(node))

    def virtio_nodes(self):
        nodes = [node for node in self.nodes("virtio,mmio") if self.is_virtio_of_bao(node)]
        pools = {}
        for i, dev in self.frontend:
            wanted = (dev["va"], dev["size"])
            mine = [node for node in nodes if self.tree.reg(node) == [wanted]]
            if not mine:
                self.report("virtio-node", self.tree.value(self.tree.root, None, "has no virtio,mmio at %s" % span(*wanted)),
                            self.in_remio(i, ".va", dev["va"]), "add the node, with exactly these registers")
                continue
            self.virtio_node(mine[0], i, dev, pools)
        wanted = [[(dev["va"], dev["size"])] for _, dev in self.frontend]
        for node in nodes:
            if self.tree.reg(node) not in wanted:
                self.report("virtio-node", self.tree.value(node, "reg", " ".join(span(*p) for p in self.tree.reg(node))),
                            self.in_c(".platform.remio_devs" if self.frontend else ".platform.devs", 0, "has no such device"),
                            "take the node out, or add the device")

    def virtio_node(self, node, i, dev, pools):
        interrupts = self.interrupts_of(node)
        if interrupts is not None:
            if [number for number, _ in interrupts] != [dev["interrupt"]]:
                self.report("virtio-interrupt", self.tree.value(node, "interrupts", "INTID %s" % [n for n, _ in interrupts]),
                            self.in_remio(i, ".interrupt", dev["interrupt"], str(dev["interrupt"])),
                            "make them equal: an SPI in the tree is 32 less than the INTID" if self.platform.gic
                            else "make them equal")
            self.edge(node, interrupts)
        if self.platform.gic and "dma-coherent" not in node.props:
            self.report("dma-coherent", self.tree.value(node, None, "has no dma-coherent"), None,
                        "add it: both sides use the memory through their caches")
        self.pool(node, i, dev, pools)

    def pool(self, node, i, dev, pools):
        pool = self.tree.by_phandle(node.cell("memory-region"))
        if pool is None or not pool.compatible(POOL) or pool.parent is not self.tree.root.child("reserved-memory"):
            self.report("pool-node", self.tree.value(node, "memory-region", pool.path if pool else "is no node"), None,
                        "name a node of /reserved-memory with compatible = \"%s\": without it the driver uses memory "
                        "that the backend can't see" % POOL)
            return
        window = (dev["window"], dev["window_size"])
        if pool in pools:
            self.report("pool-once", self.tree.value(node, "memory-region", pool.path),
                        self.tree.value(pools[pool], "memory-region", pool.path), "give each device a pool of its own")
            return
        pools[pool] = node
        if self.tree.reg(pool) != [window]:
            self.report("pool-window", self.tree.value(pool, "reg", " ".join(span(*p) for p in self.tree.reg(pool))),
                        self.in_remio(i, ".shmem.base", dev["window"]), "write %s" % span(*window))

    def reserved_memory(self):
        parent = self.tree.root.child("reserved-memory")
        if parent is None:
            return
        root = self.tree.root
        for prop in ("#address-cells", "#size-cells"):
            if parent.cell(prop) != root.cell(prop):
                self.report("pool-parent", self.tree.value(parent, prop, str(parent.cell(prop))),
                            self.tree.value(root, prop, str(root.cell(prop))), "make them equal")
        if "ranges" not in parent.props:
            self.report("pool-parent", self.tree.value(parent, None, "has no ranges"), None, "add an empty one")
        for pool in parent.children:
            for prop in ("no-map", "reusable", "linux,cma-default", "linux,dma-default"):
                if pool.compatible(POOL) and prop in pool.props:
                    self.report("pool-properties", self.tree.value(pool, prop, "is there"), None,
                                "take it out: the kernel refuses the pool")


def _covered(where, ranges):
    """Whether the ranges together cover (address, size)."""
    at, end = where[0], where[0] + where[1]
    while at < end:
        reach = max((start + size for start, size in ranges if start <= at < start + size), default=at)
        if reach == at:
            return False
        at = reach
    return True
