# SPDX-License-Identifier: Apache-2.0
"""What tests/configs knows about the boards: the figures of Bao's own platform descriptions."""

MIB = 1 << 20
GIB = 1 << 30


class Device:
    """Hardware that a VM may own. stream: its number at the SMMU. dma: it reads and writes RAM."""

    def __init__(self, name, size, interrupts, stream=0, dma=False):
        self.name = name
        self.size = size
        self.interrupts = interrupts
        self.stream = stream
        self.dma = dma


class Platform:
    """pools: physical memory that Bao hands out. bao: where the boot loader puts Bao and the images
    that are linked to it. controller: "gicv2", "gicv3", "plic" or "aia". interrupts: a VM's
    numbers are lower than this. smmu: Bao keeps DMA of a VM inside its memory."""

    def __init__(self, arch, cpus, pools, bao, controller, interrupts, devices, smmu=False):
        self.arch = arch
        self.cpus = cpus
        self.pools = pools
        self.bao = bao
        self.controller = controller
        self.interrupts = interrupts
        self.devices = devices
        self.smmu = smmu

    @property
    def gic(self):
        return self.controller.startswith("gic")


# U-Boot loads Bao at 2 MiB; U-Boot itself is at 128 MiB.
_U_BOOT = (0x200000, 0x8000000)

_ZYNQMP_DEVICES = {
    0xFF000000: Device("UART0", 0x1000, [53]),
    0xFF010000: Device("UART1", 0x1000, [54]),
    0xFF0E0000: Device("GEM3", 0x1000, [95, 96], stream=0x877, dma=True),
    0xFF170000: Device("SD1", 0x1000, [81], stream=0x871, dma=True),
}
_RPI4_DEVICES = {
    0xFE215000: Device("mini UART", 0x1000, [125]),
    0xFD580000: Device("GENET", 0x10000, [189, 190], dma=True),
}
_VIRT_ARM_DEVICES = {0x9000000: Device("UART", 0x1000, [33])}
for _page in range(0xA000000, 0xA004000, 0x1000):
    _first = 48 + (_page - 0xA000000) // 0x200
    _VIRT_ARM_DEVICES[_page] = Device("QEMU's VirtIO", 0x1000, list(range(_first, _first + 8)), dma=True)
_VIRT_RISCV_DEVICES = {0x10000000: Device("UART", 0x1000, [10])}
for _slot in range(8):
    _VIRT_RISCV_DEVICES[0x10001000 + 0x1000 * _slot] = Device("QEMU's VirtIO", 0x1000, [1 + _slot], dma=True)


def _virt_riscv(controller):
    return Platform("riscv64", 4, [(0x80200000, 0x180000000)], (0x80200000, 0x88000000), controller, 1024,
                    _VIRT_RISCV_DEVICES)


PLATFORMS = {
    "zcu102": Platform("aarch64", 4, [(0, 0x7FFEA000), (0x800000000, 0x800000000 + 2 * GIB)], _U_BOOT, "gicv2", 192,
                       _ZYNQMP_DEVICES, smmu=True),
    "zcu104": Platform("aarch64", 4, [(0x80000, 0x7FF6A000)], _U_BOOT, "gicv2", 192, _ZYNQMP_DEVICES, smmu=True),
    "rpi4": Platform("aarch64", 4, [(0x80000, 0x3B400000), (0x40000000, 0xFC000000)], _U_BOOT, "gicv2", 256,
                     _RPI4_DEVICES),
    "qemu-aarch64-virt": Platform("aarch64", 4, [(0x40000000, 0x40000000 + 4 * GIB)],
                                  (0x40000000, 0x40000000 + 256 * MIB + 128 * MIB), "gicv3", 288, _VIRT_ARM_DEVICES),
    "qemu-riscv64-virt PLIC": _virt_riscv("plic"),
    "qemu-riscv64-virt AIA": _virt_riscv("aia"),
}

TIMER = 27
"""The INTID of a VM's timer on Arm: private to each CPU, so that every VM may have it."""

FIRST_SPI = 32
"""Lower INTIDs are private to a CPU. A device tree counts shared ones from here."""
