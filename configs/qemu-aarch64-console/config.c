/* SPDX-License-Identifier: Apache-2.0 */
/* The machine and its two VMs are the same for every kind of device. */
#include "../common/qemu-aarch64/vms.h"
