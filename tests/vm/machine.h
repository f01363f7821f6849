/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A frontend VM on KVM: memory, processors, interrupt controllers, two serial ports, and the
 * register windows of virtio-mmio devices. It knows nothing of the device model: a function gets
 * the accesses to a device's registers.
 *
 * Memory is guest-physical 0 to ram_size, so it must end below the first device.
 */
#ifndef TESTS_VM_MACHINE_H
#define TESTS_VM_MACHINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/vm/linux_boot.h"
#include "tests/vm/uart.h"

#define MACHINE_CPUS_MAX 4
#define MACHINE_DEVICES_MAX 16
#define MACHINE_REGISTERS_SIZE 0x200u /* of one virtio-mmio device */
#define MACHINE_PORTS 2               /* serial ports: 0 is the console, 1 the command channel */

struct machine_device {
    unsigned int id; /* its dispatcher id */
    uint64_t addr;   /* guest-physical address of the registers */
    uint32_t gsi;    /* interrupt line: an input of the I/O APIC, 5 to 23 */
};

/* Why the machine stopped. */
enum machine_end {
    MACHINE_RUNS,
    MACHINE_OFF,   /* the guest switched itself off */
    MACHINE_RESET, /* the guest restarted itself: usually a panic */
    MACHINE_ERROR, /* KVM or a device access failed: `error` says what */
};

struct machine;

/* Carry out a register access of the guest. For a read, *value is the answer. Returns 0 or -errno.
 */
typedef int machine_access_fn(void *context, const struct machine_device *device, uint64_t addr,
                              unsigned int width, bool is_write, uint64_t *value);

struct machine_cpu {
    struct machine *machine;
    unsigned int index;
    int fd;
    struct kvm_run *run;
    pthread_t thread;
};

struct machine {
    int kvm, vm;
    int ram_fd; /* a memfd of ram_size bytes: the window of every device */
    uint8_t *ram;
    size_t ram_size;
    size_t run_size;
    unsigned int cpu_count;
    struct machine_cpu cpus[MACHINE_CPUS_MAX];
    size_t device_count;
    struct machine_device devices[MACHINE_DEVICES_MAX];
    machine_access_fn *access;
    void *access_context;
    struct uart ports[MACHINE_PORTS];
    int end_fd; /* an eventfd, signalled when `end` leaves MACHINE_RUNS */
    _Atomic int end;
    char error[160];
};

/* Make the machine with its memory. The caller has set devices, access and their context before.
 * Returns 0 or -errno; *ret_what names the step. */
int machine_create(struct machine *machine, const int out_fds[MACHINE_PORTS],
                   const char **ret_what);

/* Load a kernel and put the first processor at its entry. */
int machine_boot(struct machine *machine, const struct boot_image *image, const char **ret_what);

/* Make an eventfd raise the interrupt line of a device. Returns 0 or -errno. */
int machine_connect_irq(struct machine *machine, const struct machine_device *device, int eventfd);

/* Start the processors, one thread each; returns 0 or -errno. */
int machine_start(struct machine *machine);

/* Stop the processors. Returns false if one is stuck in a register access. */
bool machine_stop(struct machine *machine);

#endif
