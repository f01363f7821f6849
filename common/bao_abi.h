/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ABI of Bao's kernel driver, which has four generations (docs/DRIVER.md): ioctl numbers and
 * structures, as the driver lays them out on every LP64 architecture. This file was written from
 * those numbers.
 *
 *   A  out of tree               one node for all devices; each device is selected by its id
 *   B  a misc device             as A
 *   C  a node for each device    /dev/bao-dmN; the file of the node is the device
 *   D  no device tree            /dev/bao; the user describes a device when it is created
 *
 * A to C have the ioctl type 0xA6, D has 0xA7. The structures of ATTACH, COMPLETE, IOEVENTFD and
 * IRQFD are the same in all generations.
 *
 * The obligations that follow from the driver's behaviour are in broker/dispatcher.h.
 */
#ifndef COMMON_BAO_ABI_H
#define COMMON_BAO_ABI_H

#include <stdint.h>
#include <sys/ioctl.h>

enum bao_generation { BAO_A, BAO_B, BAO_C, BAO_D, BAO_GENERATIONS };

#define BAO_DISPATCHER_NODE "/dev/bao-io-dispatcher" /* of A and B */
#define BAO_DM_NODE "/dev/bao-dm"                    /* of C; the id follows */
#define BAO_NODE "/dev/bao"                          /* of D */
#define BAO_DEVICES_MAX 16 /* ids 0..15, in the order of the device-tree node */

struct bao_dm_info {
    uint32_t id;         /* in */
    uint64_t shmem_addr; /* guest-physical base of the window, the same in both VMs */
    uint64_t shmem_size; /* bytes */
    uint32_t irq;        /* the backend's dispatcher interrupt: we do not use it */
    int32_t fd;          /* out: a new DM file, O_CLOEXEC, at each call; C lacks this field */
};

/* D: all fields are inputs of CREATE_DM, and outputs of GET_INFO. */
struct bao_d_dm_info {
    uint64_t shmem_addr; /* guest-physical base of the window */
    uint64_t shmem_size; /* bytes */
    uint32_t id;
    uint32_t irq; /* the backend's interrupt, a line of the root interrupt controller */
};

enum bao_io_op { BAO_IO_WRITE = 0, BAO_IO_READ = 1, BAO_IO_ASK = 2, BAO_IO_NOTIFY = 3 };

struct bao_io_request {
    uint64_t dm_id;
    uint64_t addr; /* guest-physical address of the register */
    uint64_t op;   /* enum bao_io_op */
    uint64_t value;
    uint64_t access_width; /* bytes: 1, 2, 4 or 8 */
    uint64_t request_id;
};

#define BAO_IOEVENTFD_DATAMATCH (1u << 1)
#define BAO_IOEVENTFD_DEASSIGN (1u << 2)

struct bao_ioeventfd {
    uint32_t fd;
    uint32_t flags;
    uint64_t addr; /* guest-physical address of QueueNotify */
    uint32_t len;  /* bytes; matches accesses up to this width */
    uint32_t reserved;
    uint64_t data; /* queue index */
};

#define BAO_IRQFD_DEASSIGN (1u << 0)

struct bao_irqfd {
    int32_t fd;
    uint32_t flags;
};

/* Type 0xA6. On BAO_DISPATCHER_NODE; returns 1 on success (A), or 0 (B). On the DM file itself in
 * C. */
#define BAO_IOCTL_DM_GET_INFO _IOWR(0xA6, 1, struct bao_dm_info)
/* On the DM file. */
#define BAO_IOCTL_IO_CLIENT_ATTACH _IOWR(0xA6, 2, struct bao_io_request)
#define BAO_IOCTL_IO_REQUEST_COMPLETE _IOW(0xA6, 3, struct bao_io_request)
#define BAO_IOCTL_IOEVENTFD _IOW(0xA6, 4, struct bao_ioeventfd)
#define BAO_IOCTL_IRQFD _IOW(0xA6, 5, struct bao_irqfd)

/* Type 0xA7. On BAO_NODE; returns the DM file. */
#define BAO_D_IOCTL_CREATE_DM _IOW(0xA7, 0, struct bao_d_dm_info)
/* On the DM file. */
#define BAO_D_IOCTL_GET_INFO _IOWR(0xA7, 1, struct bao_d_dm_info)
#define BAO_D_IOCTL_IO_CLIENT_ATTACH _IOWR(0xA7, 2, struct bao_io_request)
#define BAO_D_IOCTL_IO_REQUEST_COMPLETE _IOW(0xA7, 3, struct bao_io_request)
#define BAO_D_IOCTL_IOEVENTFD _IOW(0xA7, 4, struct bao_ioeventfd)
#define BAO_D_IOCTL_IRQFD _IOW(0xA7, 5, struct bao_irqfd)

_Static_assert(BAO_IOCTL_DM_GET_INFO == 0xC020A601, "the driver's number");
_Static_assert(BAO_IOCTL_IO_CLIENT_ATTACH == 0xC030A602, "the driver's number");
_Static_assert(BAO_IOCTL_IO_REQUEST_COMPLETE == 0x4030A603, "the driver's number");
_Static_assert(BAO_IOCTL_IOEVENTFD == 0x4020A604, "the driver's number");
_Static_assert(BAO_IOCTL_IRQFD == 0x4008A605, "the driver's number");
_Static_assert(BAO_D_IOCTL_CREATE_DM == 0x4018A700, "the driver's number");
_Static_assert(BAO_D_IOCTL_GET_INFO == 0xC018A701, "the driver's number");
_Static_assert(BAO_D_IOCTL_IO_CLIENT_ATTACH == 0xC030A702, "the driver's number");
_Static_assert(BAO_D_IOCTL_IO_REQUEST_COMPLETE == 0x4030A703, "the driver's number");
_Static_assert(BAO_D_IOCTL_IOEVENTFD == 0x4020A704, "the driver's number");
_Static_assert(BAO_D_IOCTL_IRQFD == 0x4008A705, "the driver's number");

#endif
