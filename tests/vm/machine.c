/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/vm/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tests/vm/acpi.h"

#define COM1 0x3f8u
#define COM2 0x2f8u
#define COM1_GSI 4u
#define COM2_GSI 3u
#define KEYBOARD_PORT 0x64u /* a PC restarts itself through this port */
#define KEYBOARD_RESET 0xfeu
#define TSS_ADDRESS                                                                                \
    0xfffbd000u /* three pages that the guest does not use: Intel's VMX needs them */
#define IDENTITY_MAP_ADDRESS 0xfffbc000ull
#define KICK_SIGNAL SIGUSR1
#define CPUID_ENTRIES 256
#define IOAPIC_INPUTS 24

static void end(struct machine *machine, enum machine_end why)
{
    int runs = MACHINE_RUNS;
    if (atomic_compare_exchange_strong(&machine->end, &runs, why))
        (void)eventfd_write(machine->end_fd, 1);
}

static int create_ram(struct machine *machine)
{
    machine->ram_fd = memfd_create("frontend", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (machine->ram_fd < 0)
        return -errno;
    if (ftruncate(machine->ram_fd, (off_t)machine->ram_size) < 0)
        return -errno;
    machine->ram =
        mmap(NULL, machine->ram_size, PROT_READ | PROT_WRITE, MAP_SHARED, machine->ram_fd, 0);
    if (machine->ram == MAP_FAILED)
        return -errno;
    struct kvm_userspace_memory_region region = {
        .memory_size = machine->ram_size,
        .userspace_addr = (uintptr_t)machine->ram,
    };
    return ioctl(machine->vm, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? -errno : 0;
}

/* The processor as KVM offers it, with its own APIC id and the APIC's deadline timer: Linux has no
 * other timer here with which it could measure the processor's speed. */
static int set_cpuid(struct machine *machine, struct machine_cpu *cpu)
{
    struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entries[CPUID_ENTRIES];
    } cpuid = {.head.nent = CPUID_ENTRIES};
    if (ioctl(machine->kvm, KVM_GET_SUPPORTED_CPUID, &cpuid) < 0)
        return -errno;
    for (uint32_t i = 0; i < cpuid.head.nent; i++) {
        struct kvm_cpuid_entry2 *entry = &cpuid.head.entries[i];
        if (entry->function == 1) {
            entry->ebx = (entry->ebx & 0x0000ffff) | machine->cpu_count << 16 | cpu->index << 24;
            entry->ecx |= 1u << 24; /* TSC deadline */
            entry->ecx |= 1u << 31; /* a hypervisor is present */
        } else if (entry->function == 0xb || entry->function == 0x1f) {
            entry->edx = cpu->index;
        }
    }
    return ioctl(cpu->fd, KVM_SET_CPUID2, &cpuid) < 0 ? -errno : 0;
}

static int create_cpu(struct machine *machine, unsigned int index)
{
    struct machine_cpu *cpu = &machine->cpus[index];
    *cpu = (struct machine_cpu){.machine = machine, .index = index};
    cpu->fd = ioctl(machine->vm, KVM_CREATE_VCPU, index);
    if (cpu->fd < 0)
        return -errno;
    cpu->run = mmap(NULL, machine->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu->fd, 0);
    if (cpu->run == MAP_FAILED)
        return -errno;
    return set_cpuid(machine, cpu);
}

/* Interrupts go only to the I/O APIC. By default they reach the 8259 as well. Linux on
 * hardware-reduced ACPI never sets that up, so an early interrupt would come as a processor
 * exception. */
static int route_interrupts(struct machine *machine)
{
    struct {
        struct kvm_irq_routing head;
        struct kvm_irq_routing_entry entries[IOAPIC_INPUTS];
    } routing = {.head.nr = IOAPIC_INPUTS};
    for (uint32_t i = 0; i < IOAPIC_INPUTS; i++) {
        routing.head.entries[i] = (struct kvm_irq_routing_entry){
            .gsi = i,
            .type = KVM_IRQ_ROUTING_IRQCHIP,
            .u.irqchip = {.irqchip = KVM_IRQCHIP_IOAPIC, .pin = i},
        };
    }
    return ioctl(machine->vm, KVM_SET_GSI_ROUTING, &routing) < 0 ? -errno : 0;
}

int machine_create(struct machine *machine, const int out_fds[MACHINE_PORTS], const char **ret_what)
{
    *ret_what = "/dev/kvm";
    machine->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (machine->kvm < 0)
        return -errno;
    *ret_what = "a KVM machine";
    machine->vm = ioctl(machine->kvm, KVM_CREATE_VM, 0);
    if (machine->vm < 0)
        return -errno;
    uint64_t identity_map = IDENTITY_MAP_ADDRESS;
    struct kvm_pit_config pit = {0};
    if (ioctl(machine->vm, KVM_SET_TSS_ADDR, TSS_ADDRESS) < 0 ||
        ioctl(machine->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0 ||
        ioctl(machine->vm, KVM_CREATE_IRQCHIP, 0) < 0 ||
        ioctl(machine->vm, KVM_CREATE_PIT2, &pit) < 0)
        return -errno;
    int err = route_interrupts(machine);
    if (err)
        return err;
    *ret_what = "the frontend's memory";
    err = create_ram(machine);
    if (err)
        return err;
    *ret_what = "the frontend's processors";
    int run_size = ioctl(machine->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (run_size < 0)
        return -errno;
    machine->run_size = (size_t)run_size;
    for (unsigned int i = 0; i < machine->cpu_count; i++) {
        err = create_cpu(machine, i);
        if (err)
            return err;
    }
    machine->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (machine->end_fd < 0)
        return -errno;
    uart_init(&machine->ports[0], machine->vm, COM1_GSI, out_fds[0]);
    uart_init(&machine->ports[1], machine->vm, COM2_GSI, out_fds[1]);
    return 0;
}

static int describe_machine(struct machine *machine)
{
    struct acpi_device devices[ACPI_DEVICES_MAX] = {
        {.name = "COM1", .hid = "PNP0501", .base = COM1, .interrupt = COM1_GSI},
        {.name = "COM2", .hid = "PNP0501", .base = COM2, .interrupt = COM2_GSI},
    };
    _Static_assert(ACPI_DEVICES_MAX >= MACHINE_PORTS + MACHINE_DEVICES_MAX, "all are described");
    for (size_t i = 0; i < machine->device_count; i++) {
        const struct machine_device *from = &machine->devices[i];
        struct acpi_device *to = &devices[MACHINE_PORTS + i];
        *to = (struct acpi_device){
            .hid = "LNRO0005",
            .base = (uint32_t)from->addr,
            .size = MACHINE_REGISTERS_SIZE,
            .interrupt = from->gsi,
        };
        (void)snprintf(to->name, sizeof(to->name), "VIO%zX", i & 0xf);
    }
    return acpi_build(machine->ram, machine->cpu_count, devices,
                      MACHINE_PORTS + machine->device_count);
}

static struct kvm_segment flat_segment(uint16_t selector, bool code)
{
    return (struct kvm_segment){
        .limit = 0xffffffff,
        .selector = selector,
        .type = code ? 0xb : 0x3,
        .present = 1,
        .s = 1,
        .g = 1,
        .l = code,
        .db = !code,
    };
}

/* 64-bit mode with paging on, as the boot protocol requires. */
static int enter_long_mode(struct machine_cpu *cpu, uint64_t entry)
{
    struct kvm_sregs sregs;
    if (ioctl(cpu->fd, KVM_GET_SREGS, &sregs) < 0)
        return -errno;
    sregs.cs = flat_segment(BOOT_CODE_SELECTOR, true);
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat_segment(BOOT_DATA_SELECTOR, false);
    sregs.gdt.base = BOOT_GDT;
    sregs.gdt.limit = BOOT_GDT_SIZE - 1;
    sregs.cr3 = BOOT_PAGE_TABLE;
    sregs.cr4 = 1u << 5;                      /* PAE */
    sregs.cr0 = 1u << 0 | 1u << 4 | 1u << 31; /* PE, ET, PG */
    sregs.efer = 1u << 8 | 1u << 10;          /* LME, LMA */
    if (ioctl(cpu->fd, KVM_SET_SREGS, &sregs) < 0)
        return -errno;
    struct kvm_regs regs = {.rip = entry, .rsi = BOOT_PARAMS, .rflags = 2};
    return ioctl(cpu->fd, KVM_SET_REGS, &regs) < 0 ? -errno : 0;
}

int machine_boot(struct machine *machine, const struct boot_image *image, const char **ret_what)
{
    uint64_t entry;
    int err = linux_boot_load(machine->ram, machine->ram_size, image, &entry, ret_what);
    if (err)
        return err;
    *ret_what = "the ACPI tables";
    err = describe_machine(machine);
    if (err)
        return err;
    *ret_what = "the processor's state";
    return enter_long_mode(&machine->cpus[0], entry);
}

int machine_connect_irq(struct machine *machine, const struct machine_device *device, int eventfd)
{
    struct kvm_irqfd irqfd = {.fd = (uint32_t)eventfd, .gsi = device->gsi};
    return ioctl(machine->vm, KVM_IRQFD, &irqfd) < 0 ? -errno : 0;
}

static uint8_t port_read(struct machine *machine, uint16_t port)
{
    if (port - COM1 < UART_PORTS)
        return uart_read(&machine->ports[0], port - COM1);
    if (port - COM2 < UART_PORTS)
        return uart_read(&machine->ports[1], port - COM2);
    return port == KEYBOARD_PORT || port == ACPI_SLEEP_PORT + 1 ? 0 : 0xff;
}

static void port_write(struct machine *machine, uint16_t port, uint8_t value)
{
    if (port - COM1 < UART_PORTS)
        uart_write(&machine->ports[0], port - COM1, value);
    else if (port - COM2 < UART_PORTS)
        uart_write(&machine->ports[1], port - COM2, value);
    else if (port == ACPI_SLEEP_PORT && value == ACPI_SLEEP_VALUE)
        end(machine, MACHINE_OFF);
    else if (port == KEYBOARD_PORT && value == KEYBOARD_RESET)
        end(machine, MACHINE_RESET);
}

static void port_exit(struct machine_cpu *cpu)
{
    struct kvm_run *run = cpu->run;
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
        if (run->io.direction == KVM_EXIT_IO_OUT) {
            port_write(cpu->machine, run->io.port, data[0]);
        } else {
            memset(data, 0xff, run->io.size);
            data[0] = port_read(cpu->machine, run->io.port);
        }
    }
}

static void memory_exit(struct machine_cpu *cpu)
{
    struct machine *machine = cpu->machine;
    struct kvm_run *run = cpu->run;
    uint64_t addr = run->mmio.phys_addr;
    for (size_t i = 0; i < machine->device_count; i++) {
        const struct machine_device *device = &machine->devices[i];
        if (addr < device->addr || addr - device->addr >= MACHINE_REGISTERS_SIZE)
            continue;
        uint64_t value = 0;
        if (run->mmio.is_write)
            memcpy(&value, run->mmio.data, run->mmio.len);
        int err = machine->access(machine->access_context, device, addr, run->mmio.len,
                                  run->mmio.is_write, &value);
        if (err) {
            (void)snprintf(machine->error, sizeof(machine->error),
                           "device %u: the %s of register 0x%llx was not answered: %s", device->id,
                           run->mmio.is_write ? "write" : "read",
                           (unsigned long long)(addr - device->addr), strerror(-err));
            end(machine, MACHINE_ERROR);
        }
        if (!run->mmio.is_write)
            memcpy(run->mmio.data, &value, sizeof(value));
        return;
    }
    /* Nothing is there: a read gives all ones, as on a PC. */
    if (!run->mmio.is_write)
        memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
}

static void handle_exit(struct machine_cpu *cpu)
{
    struct machine *machine = cpu->machine;
    switch (cpu->run->exit_reason) {
    case KVM_EXIT_IO:
        port_exit(cpu);
        break;
    case KVM_EXIT_MMIO:
        memory_exit(cpu);
        break;
    case KVM_EXIT_INTR:
        break;
    case KVM_EXIT_SHUTDOWN:
        (void)snprintf(machine->error, sizeof(machine->error), "triple fault");
        end(machine, MACHINE_RESET);
        break;
    default:
        (void)snprintf(machine->error, sizeof(machine->error),
                       "KVM stopped processor %u for reason %u", cpu->index, cpu->run->exit_reason);
        end(machine, MACHINE_ERROR);
        break;
    }
}

static void *run_cpu(void *argument)
{
    struct machine_cpu *cpu = argument;
    struct machine *machine = cpu->machine;
    while (atomic_load(&machine->end) == MACHINE_RUNS) {
        if (ioctl(cpu->fd, KVM_RUN, 0) == 0) {
            handle_exit(cpu);
        } else if (errno != EINTR && errno != EAGAIN) {
            (void)snprintf(machine->error, sizeof(machine->error), "KVM_RUN: %s", strerror(errno));
            end(machine, MACHINE_ERROR);
        }
    }
    return NULL;
}

static void kicked(int signal_number)
{
    (void)signal_number; /* it only ends KVM_RUN */
}

int machine_start(struct machine *machine)
{
    struct sigaction action = {.sa_handler = kicked};
    if (sigaction(KICK_SIGNAL, &action, NULL) < 0)
        return -errno;
    for (unsigned int i = 0; i < machine->cpu_count; i++) {
        int err = pthread_create(&machine->cpus[i].thread, NULL, run_cpu, &machine->cpus[i]);
        if (err)
            return -err;
    }
    return 0;
}

bool machine_stop(struct machine *machine)
{
    atomic_store(&machine->end, machine->end == MACHINE_RUNS ? MACHINE_OFF : machine->end);
    bool stopped = true;
    for (unsigned int i = 0; i < machine->cpu_count; i++) {
        struct machine_cpu *cpu = &machine->cpus[i];
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 3;
        cpu->run->immediate_exit = 1; /* in case the signal comes just before KVM_RUN */
        (void)pthread_kill(cpu->thread, KICK_SIGNAL);
        stopped &= pthread_timedjoin_np(cpu->thread, NULL, &until) == 0;
    }
    return stopped;
}
