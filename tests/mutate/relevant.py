# SPDX-License-Identifier: Apache-2.0
"""Which tests look at a file: unit tests by what they link, tests on the stand-in by a table."""

import os

# The first row that a path begins with. Those that notice soonest come first; see the comments at
# the head of each program.
GENERAL = ["test_startup", "test_registers", "test_block", "test_lifecycle", "test_trouble"]
STANDIN = [
    ("worker/block/flight.c", ["test_block_ring"]),
    ("worker/ring.c", ["test_block_ring"]),
    ("worker/block/", ["test_block", "test_rings", "test_block_features", "test_lifecycle"]),
    ("worker/console/", ["test_console", "test_console_socket", "test_console_deaths", "test_frontends"]),
    ("worker/net/vhost.c", ["test_startup"]),
    ("worker/net/", ["test_net", "test_net_load", "test_net_udp"]),
    ("worker/rng.c", ["test_rng"]),
    ("worker/input/", []),
    ("worker/vsock/vhost.c", ["test_startup"]),
    ("worker/vsock/", ["test_vsock_virtio", "test_vsock_connections", "test_vsock_types", "test_vsock_credit",
                       "test_vsock_hostile"]),
    ("worker/vhost/", ["test_vhost_user", "test_storage_daemon"]),
    ("worker/virtqueue/", ["test_rings", "test_block", "test_fuzz", "test_net"]),
    ("worker/sandbox/", ["test_confinement", "test_names", "test_audit"]),
    ("worker/polling.c", ["test_block_features", "test_net"]),
    ("worker/", ["test_registers", "test_block", "test_rings", "test_console", "test_lifecycle", "test_poison", "test_bounds"]),
    ("broker/config/", ["test_startup", "test_options"]),
    ("broker/backend/block.c", ["test_block", "test_block_features", "test_names"]),
    ("broker/backend/console", ["test_console", "test_console_socket", "test_console_deaths", "test_names"]),
    ("broker/backend/dialogue.c", ["test_vhost_user", "test_storage_daemon", "test_virtiofsd"]),
    ("broker/backend/vhost_user.c", ["test_vhost_user", "test_storage_daemon", "test_virtiofsd"]),
    ("broker/backend/net.c", ["test_net"]),
    ("broker/backend/tap.c", ["test_net", "test_keeper_taps"]),
    ("broker/backend/rng.c", ["test_rng"]),
    ("broker/backend/vsock_virtio.c", ["test_vsock_virtio", "test_names"]),
    ("broker/backend/", ["test_names", "test_vsock_virtio", "test_console_socket", "test_block", "test_net", "test_trouble"]),
    ("broker/keeper/cgroup.c", ["test_cgroup"]),
    ("broker/keeper/fd_", ["test_keeper_deaths", "test_outside"]),
    ("broker/keeper/kept.c", ["test_keeper_deaths", "test_keeper_taps"]),
    ("broker/keeper/notify.c", ["test_outside", "test_keeper_deaths"]),
    ("broker/keeper/", ["test_startup", "test_keeper_rules", "test_confinement", "test_keeper_deaths", "test_lifecycle"]),
    ("broker/dmctl/audit.c", ["test_audit_dmctl"]),
    ("broker/dmctl/", ["test_control", "test_several", "test_trouble"]),
    ("broker/control.c", ["test_control", "test_outside"]),
    ("broker/journal.c", ["test_journal"]),
    ("broker/log.c", ["test_journal", "test_outside", "test_trouble"]),
    ("broker/lockdown", ["test_confinement", "test_audit", "test_startup"]),
    ("broker/generations.c", ["test_generations"]),
    ("broker/dispatcher.c", ["test_startup", "test_generations", "test_lifecycle"]),
    ("broker/claims.c", ["test_alone", "test_names", "test_startup"]),
    ("broker/opener.c", ["test_alone", "test_block", "test_names"]),
    ("broker/opening.c", ["test_alone", "test_block", "test_names"]),
    ("broker/connect", ["test_alone", "test_vhost_user", "test_names"]),
    ("broker/kernel_log.c", ["test_confinement", "test_poison"]),
    ("broker/worker_messages.c", ["test_block", "test_lifecycle", "test_bounds", "test_trouble"]),
    ("broker/supervisor.c", ["test_lifecycle", "test_poison", "test_stuck", "test_trouble"]),
    ("broker/", ["test_startup", "test_lifecycle", "test_control", "test_stuck", "test_trouble", "test_outside", "test_alone",
                 "test_bounds", "test_poison"]),
    ("common/", GENERAL),
]


class Unknown(Exception):
    """The table names what there is not."""


def standin_tests(tree, path):
    """The tests on the stand-in that look at `path`, those that notice soonest first."""
    names = next((names for prefix, names in STANDIN if path.startswith(prefix)), [])
    for name in names:
        if "standin" not in tree.tests.get(name, {"labels": []})["labels"]:
            raise Unknown("tests/mutate/relevant.py: %s is no test on the stand-in" % name)
    return names


def check_table(root):
    """Each row is about a file that there is."""
    for prefix, _names in STANDIN:
        folder = os.path.join(root, os.path.dirname(prefix))
        name = os.path.basename(prefix)
        if not os.path.isdir(folder) or not any(entry.startswith(name) for entry in os.listdir(folder)):
            raise Unknown("tests/mutate/relevant.py: nothing begins with %s" % prefix)


def may_link(tree, path):
    """The unit tests that link a library with `path` in it, or need a program with it."""
    having = set(tree.objects.get(path, {}))
    return [name for name, test in tree.tests.items()
            if "unit" in test["labels"] and (name in having or having & tree.all_needs(name))]


def unit_tests(tree, path, built):
    """Of those that may, the ones that really do, if they are in `built`: they have been."""
    objects = [made for made in tree.objects[path].values()]
    symbols = set()
    for made in objects:
        symbols |= tree.symbols(made)
    found = []
    for name in may_link(tree, path):
        programs = [name] + [needed for needed in tree.all_needs(name) if tree.targets[needed].kind == "EXECUTABLE"]
        if name in built and (not symbols or any(symbols & tree.symbols(tree.targets[program].files[0])
                                                 for program in programs if tree.targets[program].files)):
            found.append(name)
    return found
