# SPDX-License-Identifier: Apache-2.0
"""Broken copies of the project's own folders, one or more for each rule: folder, variant, and edits.
An edit is a file, a regular expression, and the text that replaces every match. Without an
expression, the text becomes the whole file."""

_Z = "zcu102-vsock"
_R = "rpi4-vsock"
_V = "qemu-riscv64-vsock"
_D = "demo-virtio"
_ZYNQMP = "../common/dts/zynqmp.dtsi"


def _zcu(*edits):
    return (_Z, "zcu102", list(edits))


def _rpi4(*edits):
    return (_R, "rpi4", list(edits))


def _demo(*edits):
    return (_D, "zcu102", list(edits))


_NO_TREES = [("demo.conf", r"backend\.dts.*?\n", "-\n"), ("demo.conf", r"frontend\.dts.*?\n", "-\n")]


def _many_devices(count):
    """One machine serves that many devices, and another machine has them. The YAML has the first 16."""
    def side(kind, number):
        registers = ".va = 0x%x, .size = 0x200, " % (0xA000000 + 0x200 * number) if kind == "FRONTEND" else ""
        return ("{ .bind_key = %d, .type = REMIO_DEV_%s, %s.interrupt = %d, "
                ".shmem = { .base = 0x%x, .size = 0x1000000, .shmem_id = %d } },"
                % (number, kind, registers, 100 + number, 0xB0000000 + 0x1000000 * number, number))

    def machine(name, kind, first_cpu):
        return ("{ .image = VM_IMAGE_BUILTIN(%s, 0x10000000), .entry = 0x10000000, .cpu_affinity = %d, .platform = {\n"
                ".cpu_num = 1, .region_num = 1, .regions = (struct vm_mem_region[]) {{ .base = 0x10000000, .size = 0x1000000 }},\n"
                ".remio_dev_num = %d,\n.remio_devs = (struct remio_dev[]) {\n%s\n},\n"
                ".dev_num = 1, .devs = (struct vm_dev_region[]) {{ .interrupt_num = 1, .interrupts = (irqid_t[]) { 27 } }},\n"
                ".arch.gic = { .gicd_addr = 0xf9010000, .gicc_addr = 0xf9020000 } } },\n"
                % (name, first_cpu, count, "\n".join(side(kind, number) for number in range(count))))

    config = ("#include <config.h>\nVM_IMAGE(backend, \"b\")\nVM_IMAGE(frontend, \"f\")\nstruct config config = {\n"
              ".shmemlist_size = %d,\n.shmemlist = (struct shmem[]) { %s },\n"
              ".vmlist_size = 2,\n.vmlist = (struct vm_config[]) {\n%s%s}, };\n"
              % (count, "{ .size = 0x1000000 }, " * count, machine("backend", "BACKEND", 1),
                 machine("frontend", "FRONTEND", 2)))
    devices = "devices:\n" + "".join("  - id: %d\n    type: rng\n    data_plane: virtio\n    mmio_addr: 0x%x\n"
                                     % (number, 0xA000000 + 0x200 * number) for number in range(min(count, 16)))
    return [("config.c", None, config), ("vsock.yaml", None, devices), ("README.md", None, "")] + _NO_TREES


_SECOND_PAIR = r"""{ .bind_key = 1, .type = REMIO_DEV_%s, .va = 0xb000000, .size = 0x200, .interrupt = 90,
    .shmem = { .base = 0xd1000000, .size = 0x1000000, .shmem_id = 1 } },
"""

CASES = {
    "folder": [_zcu(("demo.conf", r"vsock\.yaml", "other.yaml")), _zcu(("demo.conf", r"platform zcu102", "platform zcu")),
               (_Z, "zcu102", [("demo.conf", r"vm backend.*?\n", "")])],
    "c-compiles": [_zcu(("config.c", r"\.entry = 0x10000000,", ".entry = 0x10000000")),
                   _zcu(("config.c", r"#include <config.h>", "#include <config.h>\n#define UNUSED 1"))],
    "c-fields": [_zcu(("config.c", r"\.bind_key", ".id"))],
    "c-compiles-older": [_zcu(("config.c", r"#include <config.h>", "#include <config.h>\n#ifdef bind_key\n#error no\n#endif"))],
    "list-length": [_zcu(("config.c", r"\.dev_num = 2", ".dev_num = 1")), _zcu(("config.c", r"\.dev_num = 2", ".dev_num = 3")),
                    _zcu(("config.c", r"\.shmemlist_size = 1", ".shmemlist_size = 2")),
                    _zcu(("config.c", r"\.interrupt_num = 1,(?=[^}]*53)", ".interrupt_num = 2,"))],
    "image-name": [_zcu(("config.c", r"(VM_IMAGE|VM_IMAGE_BUILTIN)\(frontend", r"\1(guest"))],
    "dtc-clean": [_zcu(("frontend.dts", r"virtio@a003e00", "virtio")), _zcu(("backend.dts", r"\{\n\tchosen", "{\n\tchosen;"))],
    "yaml-valid": [_zcu(("vsock.yaml", r"guest_cid: 3", "guest_cid: 2"))],
    "yaml-readable": [_zcu(("vsock.yaml", None, "devices: [{id: 0, type: rng, data_plane: virtio, mmio_addr: 0xa003e00}]\n"))],
    "cpu-count": [_demo(("vms.h", r"(0x2,.*?)\.cpu_num = 1", r"\1.cpu_num = 2")),
                  _demo(("vms.h", r"(0x2,.*?)\.cpu_num = 1", r"\1.cpu_num = 0"))],
    "cpu-affinity": [_zcu(("config.c", r"\.cpu_affinity = 0xc", ".cpu_affinity = 0x6")),
                     _zcu(("config.c", r"\.cpu_affinity = 0xc", ".cpu_affinity = 0x4")),
                     _zcu(("config.c", r"\.cpu_affinity = 0xc", ".cpu_affinity = 0x30"))],
    "ram-in-pool": [_zcu(("config.c", r"\.phys = 0x10000000", ".phys = 0x70000000")),
                    _rpi4(("config.c", r"\.phys = 0x40000000", ".phys = 0x38000000"))],
    "ram-clear-of-bao": [_zcu(("config.c", r"\.phys = 0x10000000", ".phys = 0x4000000"))],
    "ram-fits": [(_Z, "zcu104", [("config.c", r"\{ \.base = 0x10000000, \.size = 0x20000000 \}",
                                  "{ .base = 0x10000000, .size = 0x70000000 }"),
                                 ("frontend.dts", r"0x10000000 0 0x20000000", "0x10000000 0 0x70000000")])],
    "ram-overlap": [_zcu(("config.c", r"\.size = 0x20000000 \}", ".size = 0x20000000, .place_phys = true, .phys = 0x20000000 }"))],
    "guest-overlap": [_demo(("zcu102.c", r"\.va = 0xff000000", ".va = 0xf9010000")),
                      _demo(("zcu102.c", r"\.va = 0xff000000", ".va = 0x7fff000"))],
    "page-aligned": [_demo(("vms.h", r"0x8000000 \}", "0x8000100 }"))],
    "entry-in-image": [_zcu(("config.c", r"\.entry = 0x10000000", ".entry = 0x8000000")),
                       _demo(("vms.h", r"\.entry = 0x0", ".entry = 0x8000000"))],
    "device-known": [_demo(("zcu102.c", r"\{ 53 \}", "{ 55 }")),
                     _zcu(("config.c", r"\.va = 0xff000000,", ".va = 0xff000000, .id = 0x877,"))],
    "device-dma": [(_D, "qemu-aarch64", [("vms.h", r", \.place_phys = true, \.phys = BACKEND_BASE", "")])],
    "interrupt-one-vm": [_demo(("zcu102.c", r"\.pa = 0xff000000", ".pa = 0xff020000"), ("zcu102.c", r"\{ 53 \}", "{ 54 }"))],
    "timer": [_zcu(("config.c", r"\{ 27 \}", "{ 28 }"))],
    "controller-kind": [_demo(("zcu102.c", r"(FREERTOS_GIC .*?)\.gicc_addr", r"\1.gicr_addr"))],
    "one-backend": [(_Z, "zcu102", _NO_TREES + [
        ("config.c", r"\.shmemlist_size = 1", ".shmemlist_size = 2"),
        ("config.c", r"(\[0\] = \{ \.size = 0x1000000 \},)", r"\1 { .size = 0x1000000 },"),
        ("config.c", r"\.remio_dev_num = 1", ".remio_dev_num = 2"),
        ("config.c", r"(shmem_id = 0 \},\s*\},\n)(?=.*FRONTEND)", r"\1" + _SECOND_PAIR % "FRONTEND"),
        ("config.c", r"(FRONTEND,\s*\.va = 0xa003e00.*?shmem_id = 0 \},\s*\},\n)", r"\1" + _SECOND_PAIR % "BACKEND")])],
    "devices-max": [(_Z, "zcu102", _many_devices(17))],
    "bind-key-pair": [_demo(("vms.h", r"(freertos, .*?)\.remio_dev_num = 1,.*?\n\n", r"\1\n"))],
    "bind-key-uint8": [_zcu(("config.c", r"\.bind_key = 0", ".bind_key = 256"))],
    "window-sides": [_zcu(("config.c", r"(FRONTEND.*?)\.base = 0xd0000000", r"\1.base = 0xd8000000"),
                          ("frontend.dts", r"d0000000", "d8000000"))],
    "window-size": [_zcu(("config.c", r"\[0\] = \{ \.size = 0x1000000 \}", "[0] = { .size = 0x10000 }"))],
    "window-once": [_demo(("vms.h", r"\.shmem_id = 1", ".shmem_id = 0"))],
    "shmem-known": [_zcu(("config.c", r"\.shmem_id = 0", ".shmem_id = 7"))],
    "registers-size": [_zcu(("config.c", r"\.size = 0x200,", ".size = 0x100,"), ("frontend.dts", r"0 0x200>", "0 0x100>"))],
    "registers-overlap": [_rpi4(("config.c", r"0xa003c00", "0xa003e00"), ("vsock.yaml", r"0xa003c00", "0xa003e00"), *_NO_TREES)],
    "registers-page": [_demo(("zcu102.c", r"\.va = 0xff000000", ".va = 0xa003000"))],
    "interrupt-uint8": [_zcu(("config.c", r"= 79", "= 300"), ("frontend.dts", r"<0 47 1>", "<0 268 1>"))],
    "interrupt-range": [_zcu(("config.c", r"= 79", "= 200"), ("frontend.dts", r"<0 47 1>", "<0 168 1>"))],
    "interrupt-free": [_zcu(("config.c", r"= 79", "= 54"), ("frontend.dts", r"<0 47 1>", "<0 22 1>")),
                       _rpi4(("config.c", r"= 53", "= 52"), ("backend.dts", r"<0 21 1>", "<0 20 1>"))],
    "tree-cpus": [_zcu(("frontend.dts", r"\Z", "\n/delete-node/ &cpu1;\n")),
                  _zcu((_ZYNQMP, r'enable-method = "psci"', 'enable-method = "spin-table"'))],
    "tree-psci": [_zcu((_ZYNQMP, r'"smc"', '"hvc"'))],
    "tree-timer": [_zcu((_ZYNQMP, r"<1 11 0xf08>", "<1 12 0xf08>"))],
    "tree-controller": [_zcu((_ZYNQMP, r"0xf9020000 0 0x2000", "0xf9030000 0 0x2000")),
                        _zcu((_ZYNQMP, r"0xf9020000 0 0x2000", "0xf9020000 0 0x20000")),
                        (_V, "aia", [("../common/dts/qemu-riscv64-aia.dtsi", r"0x28000000 0", "0x29000000 0")])],
    "tree-parent": [_zcu(("frontend.dts", r"\tvirtio@", "\tpic: pic {\n\t\t#address-cells = <0>;\n\t\t#interrupt-cells = <3>;\n"
                          "\t\tinterrupt-controller;\n\t};\n\n\tvirtio@"),
                         ("frontend.dts", r"<0 47 1>;", "<0 47 1>;\n\t\tinterrupt-parent = <&pic>;"))],
    "tree-sources": [(_V, "plic", [("../common/dts/qemu-riscv64-plic.dtsi", r"<96>", "<60>")]),
                     (_V, "aia", [("../common/dts/qemu-riscv64-aia.dtsi", r"<96>", "<60>")])],
    "tree-memory": [_zcu(("backend.dts", r"0 0x20000000>", "0 0x30000000>")), _zcu(("backend.dts", r"0 0x20000000>", "0 0x10000000>"))],
    "memory-window-frontend": [_zcu(("frontend.dts", r", <0 0xd0000000 0 0x1000000>", ""))],
    "memory-window-backend": [_zcu(("backend.dts", r"0 0x20000000>", "0 0x20000000>, <0 0xd0000000 0 0x1000000>"))],
    "tree-devices": [_zcu(("backend.dts", r"&uart0 \{", "&uart1 {")), _zcu((_ZYNQMP, r"<0 21 4>", "<0 22 4>"))],
    "dispatcher-node": [(_V, "plic", [("backend-plic.dts", r"&dispatcher \{.*?\};", "/delete-node/ &dispatcher;")])],
    "dispatcher-reg": [_rpi4(("backend.dts", r"(<0 0xd0000000 0 0x1000000>), (<0 0xd1000000 0 0x1000000>)", r"\2, \1"),
                             ("backend.dts", r"dispatcher@d0000000", "dispatcher@d1000000"))],
    "dispatcher-interrupts": [_rpi4(("backend.dts", r"(<0 20 1>), (<0 21 1>)", r"\2, \1")),
                              _rpi4(("backend.dts", r", <0 21 1>", "")),
                              (_V, "plic", [("backend-plic.dts", r"<36>", "<4>")])],
    "virtio-node": [_zcu(("frontend.dts", r"a003e00", "a003a00"))],
    "virtio-interrupt": [_zcu(("frontend.dts", r"<0 47 1>", "<0 79 1>")), (_V, "aia", [("frontend-aia.dts", r"<78 1>", "<77 1>")])],
    "interrupt-edge": [_zcu(("frontend.dts", r"<0 47 1>", "<0 47 4>")), _zcu(("backend.dts", r"<0 20 1>", "<0 20 4>")),
                       (_V, "aia", [("frontend-aia.dts", r"<78 1>", "<78 4>")])],
    "pool-node": [_zcu(("frontend.dts", r"\t\tmemory-region = <&window0>;\n", "")),
                  _zcu(("frontend.dts", r"restricted-dma-pool", "shared-dma-pool"))],
    "pool-window": [_zcu(("frontend.dts", r"(restricted-dma-pool.*?0xd0000000 0 )0x1000000", r"\g<1>0x800000"))],
    "pool-once": [_rpi4(("frontend.dts", r"<&window1>", "<&window0>"))],
    "pool-properties": [_zcu(("frontend.dts", r'"restricted-dma-pool";', '"restricted-dma-pool";\n\t\t\tno-map;'))],
    "pool-parent": [_zcu(("frontend.dts", r"\t\tranges;\n", ""))],
    "dma-coherent": [_zcu(("frontend.dts", r"\t\tdma-coherent;\n", ""))],
    "yaml-id": [_zcu(("vsock.yaml", r"\Z", "\n  - id: 1\n    type: rng\n    data_plane: virtio\n    mmio_addr: 0xa003c00\n"))],
    "yaml-all": [_rpi4(("vsock.yaml", r"\n  - id: 1.*", "\n"))],
    "yaml-registers": [_zcu(("vsock.yaml", r"0xa003e00", "0xa003c00"))],
    "yaml-window": [_zcu(("vsock.yaml", r"guest_cid", "shmem_addr: 0x80000000\n    shmem_size: 0x1000000\n    guest_cid")),
                    _zcu(("vsock.yaml", r"guest_cid", "shmem_addr: 0xd0000000\n    shmem_size: 0x10000\n    guest_cid"))],
    "cid-once": [_rpi4(("vsock.yaml", r"\n  - id: 1.*", "\n"), ("demo.conf", r"yaml vsock.yaml", "yaml vsock.yaml second.yaml"),
                       ("second.yaml", None, "devices:\n  - id: 1\n    type: vsock\n    data_plane: vhost\n"
                        "    mmio_addr: 0xa003c00\n    guest_cid: 3\n"))],
    "cid-agrees": [_rpi4(("README.md", r"VSOCK-CONNECT:3", "VSOCK-CONNECT:4"))],
    "backend-once": [_demo(("config-virtio-demo-vm3.yaml", r"tap1", "tap0")),
                     _demo(("config-virtio-demo-vm3.yaml", r"vm2_image", "vm1_image"))],
    "kernel-options": [_zcu(("frontend.config", r"CONFIG_VIRTIO_VSOCKETS=y\n", "")),
                       _zcu(("../common/kernel/frontend.config", r"CONFIG_DMA_RESTRICTED_POOL=y", "# CONFIG_DMA_RESTRICTED_POOL is not set")),
                       _zcu(("backend.config", r"CONFIG_VHOST_VSOCK=y\n", ""))],
    "kernel-no-prompt": [_zcu(("backend.config", r"\Z", "CONFIG_VHOST=y\n"))],
}
