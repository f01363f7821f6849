/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bao-dmctl check-board: can bao-virtio-dm work on this backend VM, and what does not work on it?
 * board_facts.c finds the facts, board_findings.c judges them, and board.c has the command.
 */
#ifndef BROKER_DMCTL_BOARD_H
#define BROKER_DMCTL_BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/config/config.h"
#include "broker/driver_module.h"
#include "broker/generations.h"

struct board_window {
    uint32_t id;
    uint64_t addr, size;
};

struct board_facts {
    unsigned int kernel_major, kernel_minor;
    char release[65];
    bool is_root;
    /* What the kernel has. */
    bool seccomp, deny_write_execute, kcmp, checkpoint_restore, cgroup2;
    unsigned int landlock_abi; /* as far as it is used; 0: no Landlock */
    bool pid_namespaces, user_namespaces;
    bool io_uring,
        io_uring_forbidden; /* the kernel has it; /proc/sys/kernel/io_uring_disabled is 2 */
    bool vhost_vsock, vhost_net, tun; /* nodes */
    /* Bao's driver: one node, if all is well. */
    size_t node_count;
    struct generation_node nodes[BAO_GENERATIONS];
    struct driver_module driver;
    /* The driver's devices in the device tree: one node for all devices, or one node for each, with
     * its "bao,id". */
    bool device_tree; /* there is a device tree */
    bool in_device_tree;
    size_t window_count;
    struct board_window windows[BAO_DEVICES_MAX];
    /* The machine. */
    bool random_ready, random_device;
    uint64_t memory_available; /* KiB; 0: not known */
    unsigned int processors;
    bool root_is_initramfs;
};

/* `root`: the prefix of /proc, /sys, /dev and /lib; "": this machine. */
void board_facts(const char *root, struct board_facts *ret);

enum board_level {
    BOARD_OK,
    BOARD_NOTE,    /* it works, but something is lost */
    BOARD_MISSING, /* it can't work */
};

struct board_finding {
    enum board_level level;
    const char *check;
    char found[160]; /* in words */
    char cure[272];  /* "": nothing has to be done */
};

#define BOARD_FINDINGS_MAX 96

struct board_report {
    size_t count;
    struct board_finding items[BOARD_FINDINGS_MAX];
};

/* `config`: what has to run here; NULL: not known, and then everything that can be configured is
 * checked. Pure, except that it looks at the files and interfaces that `config` names. */
void board_judge(const struct board_facts *facts, const struct config *config,
                 struct board_report *ret);

#define BOARD_CONFIG "/etc/bao-virtio-dm.yaml"

/* The command, for a file; NULL: for BOARD_CONFIG if that exists. Prints, and returns the exit
 * status: 1 if anything is missing. */
int board_run(const char *config_path, bool json);

#endif
