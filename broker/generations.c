/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/generations.h"

#include <errno.h>

/* clang-format off */
#define TYPE_A6 .policy = "broker", .attach = BAO_IOCTL_IO_CLIENT_ATTACH,                          \
    .complete = BAO_IOCTL_IO_REQUEST_COMPLETE, .ioeventfd = BAO_IOCTL_IOEVENTFD,                   \
    .irqfd = BAO_IOCTL_IRQFD, .attach_interrupted = EFAULT

const struct generation generations[BAO_GENERATIONS] = {
    [BAO_A] = {.name = "A", .node = BAO_DISPATCHER_NODE, TYPE_A6},
    [BAO_B] = {.name = "B", .node = BAO_DISPATCHER_NODE, TYPE_A6},
    [BAO_C] = {.name = "C", .node = BAO_DM_NODE, TYPE_A6},
    [BAO_D] = {
        .name = "D", .node = BAO_NODE, .policy = "broker_d",
        .attach = BAO_D_IOCTL_IO_CLIENT_ATTACH, .complete = BAO_D_IOCTL_IO_REQUEST_COMPLETE,
        .ioeventfd = BAO_D_IOCTL_IOEVENTFD, .irqfd = BAO_D_IOCTL_IRQFD,
        .attach_interrupted = EINTR, .told = true,
    },
};
/* clang-format on */
