# SPDX-License-Identifier: Apache-2.0
"""Rules about the YAML files, the README's commands and the kernel fragments. They are compared
with Bao's configuration and with each other."""

import os
import re

from checker.problems import Value
from checker.rules_bao import DEVICES_MAX, remio_path


def check_yaml(config, devices, problems):
    backend = next((n for n, vm in enumerate(config.vms) if any(d["backend"] for d in vm["remio_devs"])), None)
    if backend is None:
        return
    served = config.vms[backend]["remio_devs"]
    fronts = {}
    for number, vm in enumerate(config.vms):
        for i, dev in enumerate(vm["remio_devs"]):
            if not dev["backend"]:
                fronts.setdefault(dev["bind_key"], (number, i, dev))
    seen = {}
    for device in devices:
        number = device.number("id")
        if number is None or number >= len(served) or not served[number]["backend"]:
            problems.report("yaml-id", device.value("id"),
                            config.vm_value(backend, ".platform.remio_dev_num", 0, str(len(served))),
                            "take an index of remio_devs, from 0 to %d" % (len(served) - 1))
            continue
        if number in seen:
            problems.report("yaml-id", device.value("id"), seen[number].value("id"), "give each device an id of its own")
            continue
        seen[number] = device
        _compare(config, backend, number, device, fronts, problems)
    for i, dev in enumerate(served):
        if dev["backend"] and i not in seen and i < DEVICES_MAX:
            problems.report("yaml-all", config.value(remio_path(backend, i, ".bind_key"), dev["bind_key"], str(dev["bind_key"])),
                            Value(0, "ids %s" % sorted(seen), devices[0].path, devices[0].line) if devices else None,
                            "add the device with id %d: a frontend that uses it waits for ever" % i)


def _compare(config, backend, number, device, fronts, problems):
    dev = config.vms[backend]["remio_devs"][number]
    front = fronts.get(dev["bind_key"])
    if front and device.number("mmio_addr") != front[2]["va"]:
        problems.report("yaml-registers", device.value("mmio_addr"),
                        config.value(remio_path(front[0], front[1], ".va"), front[2]["va"]), "make them equal")
    for key, name, member in (("shmem_addr", "window", ".base"), ("shmem_size", "window_size", ".size")):
        if key in device.keys and device.number(key) != dev[name]:
            problems.report("yaml-window", device.value(key),
                            config.value(remio_path(backend, number, ".shmem" + member), dev[name]),
                            "make them equal, or leave the key out")


_BACKEND_KEYS = ("tap_name", "file_path", "socket_path", "pty_alias", "log_path", "mac_addr")


def check_once(devices, problems):
    seen = {}
    for device in devices:
        for key in ("guest_cid",) + _BACKEND_KEYS:
            text = device.text(key)
            if text is None or (key == "socket_path" and text.endswith("/")):
                continue
            if key == "file_path" and device.text("read_only") in ("true", "True", "TRUE"):
                continue
            other = seen.setdefault((key, text), device)
            if other is not device:
                problems.report("cid-once" if key == "guest_cid" else "backend-once", device.value(key), other.value(key),
                                "give each device another one")


_CID = re.compile(r"(?:VSOCK-CONNECT:|--vsock[ =](?:-c[ =])?|iperf3 .*--vsock.* -c )(\d+)")


def check_readme(folder, devices, problems):
    path = os.path.join(folder, "README.md")
    cids = {device.number("guest_cid"): device for device in devices if device.number("guest_cid") is not None}
    if not cids or not os.path.exists(path):
        return
    with open(path, encoding="utf-8") as file:
        for number, row in enumerate(file, 1):
            for found in _CID.findall(row):
                # 2 is the backend itself.
                if int(found) != 2 and int(found) not in cids:
                    problems.report("cid-agrees", Value(0, "CID %s" % found, path, number),
                                    next(iter(cids.values())).value("guest_cid"), "make them equal")


NO_PROMPT = ("VIRTIO", "VIRTIO_ANCHOR", "VHOST", "VHOST_IOTLB", "VHOST_TASK", "BLK_MQ_VIRTIO", "VIRTIO_VSOCKETS_COMMON",
             "VIRTIO_PCI_LIB", "BAO_SHMEM")

_BACKEND_ALWAYS = ("SECCOMP", "SECCOMP_FILTER", "NAMESPACES", "USER_NS", "EVENTFD", "SIGNALFD", "TIMERFD", "MEMFD_CREATE",
                   "MODULES", "UNIX")
_BACKEND_NEEDS = {("vsock", "vhost"): ("VSOCKETS", "VHOST_MENU", "VHOST_VSOCK"), ("net", "virtio"): ("TUN",),
                  ("net", "vhost"): ("TUN", "VHOST_MENU", "VHOST_NET"), ("input", "virtio"): ("INPUT_EVDEV",)}
_FRONTEND_ALWAYS = ("VIRTIO_MENU", "VIRTIO_MMIO", "DMA_RESTRICTED_POOL")
_FRONTEND_NEEDS = {"vsock": ("VSOCKETS", "VIRTIO_VSOCKETS"), "block": ("VIRTIO_BLK",), "net": ("VIRTIO_NET",),
                   "console": ("VIRTIO_CONSOLE",), "rng": ("HW_RANDOM", "HW_RANDOM_VIRTIO"), "fs": ("FUSE_FS", "VIRTIO_FS"),
                   "input": ("VIRTIO_INPUT",)}
_OPTION = re.compile(r"^(?:CONFIG_(\w+)=(.*)|# CONFIG_(\w+) is not set)$")


def check_kernels(config, machines, devices, problems):
    """machines: one for each virtual machine, with .tree and .fragments."""
    keys = {}
    for vm in config.vms:
        for i, dev in enumerate(vm["remio_devs"]):
            if dev["backend"]:
                keys[dev["bind_key"]] = i
    for number, machine in enumerate(machines):
        if machine.tree is None:
            continue
        remio = config.vms[number]["remio_devs"]
        ids = {keys.get(dev["bind_key"]) for dev in remio}
        mine = [device for device in devices if device.number("id") in ids]
        needs = []
        if any(dev["backend"] for dev in remio):
            needs += [(option, None) for option in _BACKEND_ALWAYS]
            for device in mine:
                kind = (device.text("type"), device.text("data_plane"))
                needs += [(option, device) for option in _BACKEND_NEEDS.get(kind, ())]
        if any(not dev["backend"] for dev in remio):
            needs += [(option, None) for option in _FRONTEND_ALWAYS]
            for device in mine:
                needs += [(option, device) for option in _FRONTEND_NEEDS.get(device.text("type"), ())]
        _check_options(machine, needs, problems)


def _check_options(machine, needs, problems):
    options = {}
    for path in machine.fragments:
        with open(path, encoding="utf-8") as file:
            for number, row in enumerate(file, 1):
                found = _OPTION.match(row.strip())
                if not found:
                    continue
                name = found.group(1) or found.group(3)
                options[name] = Value(found.group(2) or "n", row.strip(), path, number)
                if name in NO_PROMPT:
                    problems.report("kernel-no-prompt", options[name], None, "take it out: other options select it")
    last = machine.fragments[-1] if machine.fragments else machine.source
    for option, device in needs:
        value = options.get(option)
        if value is None or value.number not in ("y", "m"):
            problems.report("kernel-options", value or Value(0, "no CONFIG_%s" % option, last),
                            device.value("type") if device else None, "set CONFIG_%s=y for machine %s" % (option, machine.name))
