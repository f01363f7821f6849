# SPDX-License-Identifier: Apache-2.0
"""Rules about Bao's configuration alone: virtual machines and the two sides of VirtIO devices."""

from checker.platforms import FIRST_SPI, TIMER
from checker.problems import Value, inside, overlap, span

PAGE = 0x1000
REGISTERS = 0x200
DEVICES_MAX = 16


def check(config, names, problems):
    _Rules(config, names, problems).check()


def remio_path(vm, device, member=""):
    return ".vmlist[%d].platform.remio_devs[%d]%s" % (vm, device, member)


class _Rules:
    def __init__(self, config, names, problems):
        self.config = config
        self.platform = config.platform
        self.names = names
        self.report = problems.report

    def check(self):
        self.images()
        self.cpus()
        self.placement()
        self.physical_overlaps()
        self.pools_suffice()
        self.backends()
        self.bind_keys()
        self.windows()
        self.hardware_interrupts()
        for number, vm in enumerate(self.config.vms):
            self.entry(number, vm)
            self.alignment(number, vm)
            self.guest_overlaps(number, vm)
            self.devices(number, vm)
            self.dma(number, vm)
            self.controller(number, vm)
            self.registers(number, vm)
            self.virtio_interrupts(number, vm)

    def in_vm(self, number, member, value, shown=None):
        return self.config.vm_value(number, member, value, shown)

    # ---- Virtual machines ----

    def images(self):
        for number, vm in enumerate(self.config.vms):
            image = vm["image"]
            if not image["loaded"] and image["name"] != self.names[number]:
                self.report("image-name", self.in_vm(number, ".image", 0, 'the image "%s"' % image["name"]), None,
                            'demo.conf calls machine %d "%s": name the image so, or mend the order there'
                            % (number, self.names[number]))

    def cpus(self):
        total = sum(vm["cpu_num"] for vm in self.config.vms)
        taken = {}
        for number, vm in enumerate(self.config.vms):
            count, mask = vm["cpu_num"], vm["cpu_affinity"]
            written = self.in_vm(number, ".platform.cpu_num", count, str(count))
            affinity = self.in_vm(number, ".cpu_affinity", mask)
            if count == 0 or total > self.platform.cpus:
                self.report("cpu-count", written, None, "give each machine a CPU, and all together at most the board's %d"
                            % self.platform.cpus)
            elif bin(mask).count("1") != count:
                self.report("cpu-affinity", affinity, written, "set one bit for each CPU of the machine")
            if mask >> self.platform.cpus:
                self.report("cpu-affinity", affinity, None, "name only CPUs 0 to %d" % (self.platform.cpus - 1))
            for cpu in range(self.platform.cpus):
                if mask >> cpu & 1 and cpu in taken:
                    self.report("cpu-affinity", affinity, taken[cpu], "give CPU %d to one of the two machines" % cpu)
                    break
            taken.update({cpu: affinity for cpu in range(self.platform.cpus) if mask >> cpu & 1})

    def placed(self):
        """(machine, region, (physical address, size), Value) of each region with a fixed place."""
        for number, vm in enumerate(self.config.vms):
            for i, region in enumerate(vm["regions"]):
                if region["placed"]:
                    value = self.in_vm(number, ".platform.regions[%d].phys" % i, region["phys"])
                    yield number, i, (region["phys"], region["size"]), value

    def placement(self):
        for number, i, where, value in self.placed():
            size = self.in_vm(number, ".platform.regions[%d].size" % i, where[1])
            if not any(inside(where, (start, end - start)) for start, end in self.platform.pools):
                pools = " or ".join("0x%x..0x%x" % pool for pool in self.platform.pools)
                self.report("ram-in-pool", value, size, "place it inside " + pools)
            start, end = self.platform.bao
            loaded = self.config.vms[number]["image"]["loaded"]
            if not loaded and overlap(where, (start, end - start)):
                self.report("ram-clear-of-bao", value, size, "keep clear of 0x%x..0x%x" % (start, end))

    def physical_overlaps(self):
        placed = list(self.placed())
        for at, (_, _, where, value) in enumerate(placed):
            for _, _, other, place in placed[:at]:
                if overlap(where, other):
                    self.report("ram-overlap", value, place, "place one of the two elsewhere")

    def pools_suffice(self):
        available = sum(end - start for start, end in self.platform.pools)
        wanted = sum(region["size"] for vm in self.config.vms for region in vm["regions"])
        wanted += sum(shmem["size"] for shmem in self.config.shmems)
        if wanted > available:
            self.report("ram-fits", Value(0, "0x%x bytes in regions and windows" % wanted, self.config.path), None,
                        "the board has 0x%x: make the machines smaller" % available)

    def entry(self, number, vm):
        base, entry = vm["image"]["base"], vm["entry"]
        for region in vm["regions"]:
            where = (region["base"], region["size"])
            if entry >= base and inside((base, 1), where) and inside((entry, 1), where):
                return
        self.report("entry-in-image", self.in_vm(number, ".entry", entry),
                    self.in_vm(number, ".image", base),
                    "put image and entry into one region of the machine's memory")

    def areas(self, number, vm):
        """Everything that is mapped in a machine: ((address, size), Value)."""
        for i, region in enumerate(vm["regions"]):
            yield (region["base"], region["size"]), self.in_vm(number, ".platform.regions[%d].base" % i, region["base"])
        for i, dev in enumerate(vm["devs"]):
            if dev["size"]:
                yield (dev["va"], dev["size"]), self.in_vm(number, ".platform.devs[%d].va" % i, dev["va"])
        for i, ipc in enumerate(vm["ipcs"]):
            yield (ipc["base"], ipc["size"]), self.in_vm(number, ".platform.ipcs[%d].base" % i, ipc["base"])
        for i, dev in enumerate(vm["remio_devs"]):
            yield (dev["window"], dev["window_size"]), self.config.value(
                remio_path(number, i, ".shmem.base"), dev["window"])
        yield from self.controller_areas(number, vm)

    def controller_areas(self, number, vm):
        arch = vm["arch"]
        sizes = {"gicd": 0x1000 if self.platform.controller == "gicv2" else 0x10000, "gicc": 0x2000, "gicr": 0x20000 * max(vm["cpu_num"], 1), "plic": 0x4000000,
                 "aplic": 0x8000, "imsic": PAGE * max(vm["cpu_num"], 1)}
        members = {"gicd": ".gic.gicd_addr", "gicc": ".gic.gicc_addr", "gicr": ".gic.gicr_addr", "plic": ".irqc.plic.base",
                   "aplic": ".irqc.aia.aplic.base", "imsic": ".irqc.aia.imsic.base"}
        for name in self.controller_parts():
            if arch.get(name):
                yield (arch[name], sizes[name]), self.in_vm(number, ".platform.arch" + members[name], arch[name])

    def controller_parts(self):
        return {"gicv2": ["gicd", "gicc"], "gicv3": ["gicd", "gicr"], "plic": ["plic"],
                "aia": ["aplic", "imsic"]}[self.platform.controller]

    def alignment(self, number, vm):
        for (start, size), value in self.areas(number, vm):
            if start % PAGE or size % PAGE or size == 0:
                self.report("page-aligned", value, Value(0, "0x%x bytes from there" % size, value.path, value.line),
                            "make both multiples of 0x1000")
        for i, shmem in enumerate(self.config.shmems):
            if number == 0 and (shmem["size"] % PAGE or shmem["size"] == 0):
                self.report("page-aligned", self.config.value(".shmemlist[%d].size" % i, shmem["size"]), None,
                            "make it a multiple of 0x1000")

    def guest_overlaps(self, number, vm):
        areas = list(self.areas(number, vm))
        for at, (where, value) in enumerate(areas):
            for other, place in areas[:at]:
                if overlap(where, other):
                    self.report("guest-overlap", value, place, "%s and %s overlap in machine %s: move one of them"
                                % (span(*where), span(*other), self.names[number]))

    def known_devices(self, dev):
        """Hardware of the board that an entry of devs maps."""
        mapped = (dev["pa"], dev["size"])
        return [known for start, known in self.platform.devices.items() if inside((start, known.size), mapped)]

    def devices(self, number, vm):
        for i, dev in enumerate(vm["devs"]):
            known = self.known_devices(dev)
            if not known:
                continue
            path = ".platform.devs[%d]" % i
            address = self.in_vm(number, path + ".pa", dev["pa"])
            names = " and ".join(one.name for one in known)
            interrupts = [interrupt for one in known for interrupt in one.interrupts]
            if not set(dev["interrupts"]) <= set(interrupts):
                written = self.in_vm(number, path + ".interrupts", 0, "%s" % dev["interrupts"])
                self.report("device-known", written, address, "%s: the interrupts are %s" % (names, interrupts))
            if dev["id"] not in [one.stream for one in known]:
                written = self.in_vm(number, path + ".id", dev["id"])
                self.report("device-known", written, address, "%s: the stream is 0x%x" % (names, known[0].stream))

    def dma(self, number, vm):
        if self.platform.smmu:
            return
        for i, dev in enumerate(vm["devs"]):
            if not any(known.dma for known in self.known_devices(dev)):
                continue
            for j, region in enumerate(vm["regions"]):
                if not region["placed"] or region["phys"] != region["base"]:
                    self.report("device-dma", self.in_vm(number, ".platform.regions[%d].base" % j, region["base"]),
                                self.in_vm(number, ".platform.devs[%d].pa" % i, dev["pa"]),
                                "set .place_phys = true and .phys = .base")

    def hardware_interrupts(self):
        owner = {}
        for number, vm in enumerate(self.config.vms):
            numbers = []
            for i, dev in enumerate(vm["devs"]):
                value = self.in_vm(number, ".platform.devs[%d].interrupts" % i, 0, str(dev["interrupts"]))
                numbers += dev["interrupts"]
                for interrupt in dev["interrupts"]:
                    if self.platform.gic and interrupt < FIRST_SPI:
                        continue
                    if interrupt in owner:
                        self.report("interrupt-one-vm", value, owner[interrupt], "Bao stops at interrupt %d: leave it with "
                                    "one device of one machine" % interrupt)
                    owner[interrupt] = value
            if self.platform.gic and TIMER not in numbers:
                self.report("timer", self.in_vm(number, ".platform.dev_num", len(vm["devs"]), str(len(vm["devs"]))), None,
                            "add { .interrupt_num = 1, .interrupts = (irqid_t[]) { %d } } to .devs" % TIMER)

    def controller(self, number, vm):
        parts = self.controller_parts()
        missing = [name for name in parts if not vm["arch"].get(name)]
        others = [name for name in ("gicc", "gicr") if vm["arch"].get(name) and name not in parts]
        if missing or others:
            self.report("controller-kind", self.in_vm(number, ".platform.arch", 0, "no " + ", ".join(missing) if missing
                                                      else ", ".join(others)), None,
                        "the board has %s: set %s" % (self.platform.controller, " and ".join(parts)))

    # ---- VirtIO devices ----

    def backends(self):
        first = None
        for number, vm in enumerate(self.config.vms):
            served = [i for i, dev in enumerate(vm["remio_devs"]) if dev["backend"]]
            if not served:
                continue
            value = self.config.value(remio_path(number, served[0], ".type"), 1, "REMIO_DEV_BACKEND")
            if first is not None:
                self.report("one-backend", value, first, "let one machine serve all devices")
            first = first or value
            if len(served) > DEVICES_MAX:
                self.report("devices-max", self.in_vm(number, ".platform.remio_dev_num", len(served), str(len(served))),
                            None, "leave out devices until there are %d: the dispatcher's driver takes no more" % DEVICES_MAX)

    def sides(self):
        """A map from bind key to [(machine, index, device)]."""
        keys = {}
        for number, vm in enumerate(self.config.vms):
            for i, dev in enumerate(vm["remio_devs"]):
                keys.setdefault(dev["bind_key"], []).append((number, i, dev))
        return keys

    def bind_keys(self):
        for key, sides in self.sides().items():
            values = [self.config.value(remio_path(number, i, ".bind_key"), key, str(key)) for number, i, _ in sides]
            if key > 255:
                self.report("bind-key-uint8", values[0], None, "take a key from 0 to 255")
            kinds = sorted(dev["backend"] for _, _, dev in sides)
            if kinds != [0, 1]:
                self.report("bind-key-pair", values[0], values[1] if len(values) > 1 else None,
                            "%d backends and %d frontends have key %d: give it to one of each"
                            % (kinds.count(1), kinds.count(0), key))

    def windows(self):
        users = {}
        for key, sides in self.sides().items():
            for number, i, dev in sides:
                self.window(number, i, dev, users, key)
            (first, i, one), (second, j, other) = sides[0], sides[-1]
            for name, member in (("window", ".shmem.base"), ("window_size", ".shmem.size"), ("shmem_id", ".shmem.shmem_id")):
                if one[name] != other[name]:
                    self.report("window-sides", self.config.value(remio_path(first, i, member), one[name]),
                                self.config.value(remio_path(second, j, member), other[name]),
                                "give both sides of bind key %d the same: Bao refuses another one" % key)
        for number, vm in enumerate(self.config.vms):
            for i, ipc in enumerate(vm["ipcs"]):
                if ipc["shmem_id"] in users:
                    self.report("window-once", self.in_vm(number, ".platform.ipcs[%d].shmem_id" % i, ipc["shmem_id"]),
                                users[ipc["shmem_id"]][1], "give the IPC an entry of its own")

    def window(self, number, i, dev, users, key):
        entry = self.config.value(remio_path(number, i, ".shmem.shmem_id"), dev["shmem_id"], str(dev["shmem_id"]))
        if dev["shmem_id"] >= len(self.config.shmems):
            self.report("shmem-known", entry, self.config.value(".shmemlist_size", 0, str(len(self.config.shmems))),
                        "add the entry to .shmemlist, or name one that is there")
            return
        other = users.setdefault(dev["shmem_id"], (key, entry))
        if other[0] != key:
            self.report("window-once", entry, other[1], "give each device an entry of .shmemlist of its own")
        size = self.config.shmems[dev["shmem_id"]]["size"]
        if dev["window_size"] != size:
            self.report("window-size", self.config.value(remio_path(number, i, ".shmem.size"), dev["window_size"]),
                        self.config.value(".shmemlist[%d].size" % dev["shmem_id"], size),
                        "make them equal: Bao maps the smaller one, and the driver believes the larger")

    def registers(self, number, vm):
        frontends = [(i, dev) for i, dev in enumerate(vm["remio_devs"]) if not dev["backend"]]
        areas = list(self.areas(number, vm))
        for at, (i, dev) in enumerate(frontends):
            value = self.config.value(remio_path(number, i, ".va"), dev["va"])
            if dev["size"] != REGISTERS or dev["va"] % 4:
                self.report("registers-size", value, self.config.value(remio_path(number, i, ".size"), dev["size"]),
                            "the device model answers for 0x200 bytes at a multiple of 4")
            for j, other in frontends[:at]:
                if overlap((dev["va"], dev["size"]), (other["va"], other["size"])):
                    self.report("registers-overlap", value, self.config.value(remio_path(number, j, ".va"), other["va"]),
                                "move one of them by 0x200")
            first = dev["va"] // PAGE * PAGE
            last = (dev["va"] + max(dev["size"], 1) - 1) // PAGE * PAGE + PAGE
            for where, place in areas:
                if overlap((first, last - first), where):
                    self.report("registers-page", value, place, "an access there never reaches Bao: leave the page free")

    def virtio_interrupts(self, number, vm):
        used = {}
        for i, dev in enumerate(vm["devs"]):
            for interrupt in dev["interrupts"]:
                used[interrupt] = self.in_vm(number, ".platform.devs[%d].interrupts" % i, 0, str(dev["interrupts"]))
        for i, ipc in enumerate(vm["ipcs"]):
            for interrupt in ipc["interrupts"]:
                used[interrupt] = self.in_vm(number, ".platform.ipcs[%d].interrupts" % i, 0, str(ipc["interrupts"]))
        lowest = FIRST_SPI if self.platform.gic else 1
        for i, dev in enumerate(vm["remio_devs"]):
            interrupt = dev["interrupt"]
            value = self.config.value(remio_path(number, i, ".interrupt"), interrupt, str(interrupt))
            if interrupt > 255:
                self.report("interrupt-uint8", value, None, "take one up to 255: it arrives as %d" % (interrupt & 255))
            elif interrupt < lowest or interrupt >= self.platform.interrupts:
                self.report("interrupt-range", value, None, "take one from %d to %d" %
                            (lowest, min(self.platform.interrupts - 1, 255)))
            if interrupt in used:
                self.report("interrupt-free", value, used[interrupt], "take one that nothing in machine %s uses"
                            % self.names[number])
            used[interrupt] = value
