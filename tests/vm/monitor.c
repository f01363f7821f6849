/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bao-monitor plays the Bao hypervisor for real Linux frontends. Each frontend is a virtual machine
 * on KVM. Its memory is the shared-memory window of its devices. Its accesses to virtio-mmio
 * registers go through the dispatcher stand-in to an unmodified bao-virtio-dm.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/standin/standin.h"
#include "tests/vm/machine.h"
#include "tests/vm/probe.h"

#define MIB ((size_t)1 << 20)
#define MEMORY_DEFAULT_MIB 160 /* ends where the demonstration's device page begins, 0xa000000 */
#define FRONTENDS_MAX 4
#define FIRST_DEVICE_GSI 5u
#define LAST_GSI 23u
#define START_TIMEOUT_MS 600000 /* for the device model to register its interrupts */
#define ACCESS_TIMEOUT_MS 60000 /* for a register access: if it takes longer, the vCPU hangs */

enum status {
    STATUS_OFF = 0,
    STATUS_FAILED = 1, /* or the device model's own */
    STATUS_USAGE = 2,
    STATUS_RESET = 3,
};

struct monitor;

struct frontend {
    struct machine machine;
    struct boot_image image;
    struct monitor *monitor;
    const char *console, *command_in, *command_out;
    int command_fd;
};

struct monitor {
    struct frontend frontends[FRONTENDS_MAX];
    size_t frontend_count;
    struct standin *standin;
    const char *const *dm_argv;
    int dm_pidfd;
    int signal_fd;
};

static const char usage[] =
    "usage: bao-monitor [OPTION]... [-- DEVICE-MODEL ARGUMENT...]\n"
    "Runs Linux frontend VMs against a device model, in Bao's place. Needs root and KVM.\n"
    "  --kernel FILE            bzImage\n"
    "  --initrd FILE            initial RAM file system\n"
    "  --append TEXT            kernel command line\n"
    "  --memory MIB             memory, which is the window too (160)\n"
    "  --cpus N                 processors (1)\n"
    "  --device ID,ADDRESS,LINE a virtio-mmio device: its id at the dispatcher, the address of\n"
    "                           its registers, its interrupt line (5 to 23); may be repeated\n"
    "  --console FILE           output of the frontend's first serial port (stdout)\n"
    "  --command-in FIFO        input of its second serial port\n"
    "  --command-out FIFO       output of its second serial port\n"
    "  --next                   the options that follow are another frontend's; kernel, initrd,\n"
    "                           append, memory and cpus are as before unless given again\n"
    "  --probe                  only say by the exit status whether KVM can run a guest\n"
    "  --probe-counter          only print the frequency of the time stamp counter, in kHz\n"
    "Exit status: 0 all frontends switched themselves off, 3 one restarted itself; the device\n"
    "model's own if that ended first; 1 anything else.\n";

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)fputs("bao-monitor: ", stderr);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
}

static bool parse_device(struct machine *machine, const char *text)
{
    if (machine->device_count == MACHINE_DEVICES_MAX)
        return false;
    char *at;
    unsigned long id = strtoul(text, &at, 0);
    if (at == text || *at++ != ',' || id >= STANDIN_DEVICES_MAX)
        return false;
    const char *address = at;
    unsigned long addr = strtoul(address, &at, 0);
    if (at == address || *at++ != ',' || addr > UINT32_MAX - MACHINE_REGISTERS_SIZE)
        return false;
    const char *line = at;
    unsigned long gsi = strtoul(line, &at, 0);
    if (at == line || *at != '\0' || gsi < FIRST_DEVICE_GSI || gsi > LAST_GSI)
        return false;
    machine->devices[machine->device_count++] = (struct machine_device){
        .id = (unsigned int)id,
        .addr = addr,
        .gsi = (uint32_t)gsi,
    };
    return true;
}

static bool parse_number(const char *text, unsigned long max, unsigned long *ret)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (end == text || *end != '\0' || value == 0 || value > max)
        return false;
    *ret = value;
    return true;
}

enum option_code {
    OPTION_KERNEL = 256,
    OPTION_INITRD,
    OPTION_APPEND,
    OPTION_MEMORY,
    OPTION_CPUS,
    OPTION_DEVICE,
    OPTION_CONSOLE,
    OPTION_COMMAND_IN,
    OPTION_COMMAND_OUT,
    OPTION_NEXT,
    OPTION_PROBE,
    OPTION_PROBE_COUNTER,
    OPTION_HELP,
};

static const struct option options[] = {
    {"kernel", required_argument, NULL, OPTION_KERNEL},
    {"initrd", required_argument, NULL, OPTION_INITRD},
    {"append", required_argument, NULL, OPTION_APPEND},
    {"memory", required_argument, NULL, OPTION_MEMORY},
    {"cpus", required_argument, NULL, OPTION_CPUS},
    {"device", required_argument, NULL, OPTION_DEVICE},
    {"console", required_argument, NULL, OPTION_CONSOLE},
    {"command-in", required_argument, NULL, OPTION_COMMAND_IN},
    {"command-out", required_argument, NULL, OPTION_COMMAND_OUT},
    {"next", no_argument, NULL, OPTION_NEXT},
    {"probe", no_argument, NULL, OPTION_PROBE},
    {"probe-counter", no_argument, NULL, OPTION_PROBE_COUNTER},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

/* Add another frontend. It is like the last one, except for what each has of its own. */
static bool add_frontend(struct monitor *monitor)
{
    if (monitor->frontend_count == FRONTENDS_MAX)
        return false;
    struct frontend *frontend = &monitor->frontends[monitor->frontend_count++];
    *frontend = (struct frontend){
        .machine = {.ram_size = MEMORY_DEFAULT_MIB * MIB, .cpu_count = 1},
        .image = {.command_line = "console=ttyS0"},
    };
    if (monitor->frontend_count > 1) {
        const struct frontend *before = frontend - 1;
        frontend->machine.ram_size = before->machine.ram_size;
        frontend->machine.cpu_count = before->machine.cpu_count;
        frontend->image = before->image;
    }
    return true;
}

static bool parse_option(struct frontend *frontend, int code, const char *value)
{
    unsigned long number;
    switch (code) {
    case OPTION_KERNEL:
        frontend->image.kernel = value;
        return true;
    case OPTION_INITRD:
        frontend->image.initrd = value;
        return true;
    case OPTION_APPEND:
        frontend->image.command_line = value;
        return true;
    case OPTION_MEMORY:
        if (!parse_number(value, 1024, &number))
            return false;
        frontend->machine.ram_size = number * MIB;
        return true;
    case OPTION_CPUS:
        if (!parse_number(value, MACHINE_CPUS_MAX, &number))
            return false;
        frontend->machine.cpu_count = (unsigned int)number;
        return true;
    case OPTION_DEVICE:
        return parse_device(&frontend->machine, value);
    case OPTION_CONSOLE:
        frontend->console = value;
        return true;
    case OPTION_COMMAND_IN:
        frontend->command_in = value;
        return true;
    case OPTION_COMMAND_OUT:
        frontend->command_out = value;
        return true;
    default:
        return false;
    }
}

static void check_devices(const struct monitor *monitor)
{
    bool used[STANDIN_DEVICES_MAX] = {false};
    for (size_t i = 0; i < monitor->frontend_count; i++) {
        const struct machine *machine = &monitor->frontends[i].machine;
        for (size_t j = 0; j < machine->device_count; j++) {
            const struct machine_device *device = &machine->devices[j];
            if (used[device->id]) {
                say("device %u is given twice", device->id);
                exit(STATUS_USAGE);
            }
            used[device->id] = true;
            if (device->addr < machine->ram_size) {
                say("the registers of device %u lie inside the frontend's memory: --memory",
                    device->id);
                exit(STATUS_USAGE);
            }
        }
    }
}

/* Ends the program on --help, on a probe, and on arguments that it does not understand. */
static void parse_command_line(struct monitor *monitor, int argc, char **argv)
{
    int code;
    (void)add_frontend(monitor);
    while ((code = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (code == OPTION_HELP) {
            (void)fputs(usage, stdout);
            exit(STATUS_OFF);
        }
        if (code == OPTION_PROBE)
            exit(probe_kvm());
        if (code == OPTION_PROBE_COUNTER)
            exit(probe_counter());
        if (code == '?')
            exit(STATUS_USAGE);
        if (code == OPTION_NEXT) {
            if (!add_frontend(monitor)) {
                say("more than %d frontends", FRONTENDS_MAX);
                exit(STATUS_USAGE);
            }
        } else if (!parse_option(&monitor->frontends[monitor->frontend_count - 1], code, optarg)) {
            say("'%s' is not a valid value here; see --help", optarg);
            exit(STATUS_USAGE);
        }
    }
    if (!monitor->frontends[0].image.kernel) {
        say("no kernel given: --kernel FILE");
        exit(STATUS_USAGE);
    }
    check_devices(monitor);
    if (optind < argc)
        monitor->dm_argv = (const char *const *)(argv + optind);
}

static int open_output(const char *name, int otherwise)
{
    if (!name)
        return otherwise;
    /* It is opened for reading, too, so that a FIFO without a reader is no error. */
    int fd = open(name, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0600);
    return fd < 0 ? -errno : fd;
}

static int access_device(void *context, const struct machine_device *device, uint64_t addr,
                         unsigned int width, bool is_write, uint64_t *value)
{
    struct standin *standin = ((struct frontend *)context)->monitor->standin;
    if (!standin)
        return -ENODEV;
    if (is_write)
        return standin_write(standin, device->id, addr, width, *value, ACCESS_TIMEOUT_MS);
    return standin_read(standin, device->id, addr, width, value, ACCESS_TIMEOUT_MS);
}

static int create_frontend(struct monitor *monitor, struct frontend *frontend)
{
    int out[MACHINE_PORTS] = {open_output(frontend->console, STDOUT_FILENO),
                              open_output(frontend->command_out, -1)};
    if (out[0] < 0 || (frontend->command_out && out[1] < 0)) {
        say("cannot open %s: %s", out[0] < 0 ? frontend->console : frontend->command_out,
            strerror(out[0] < 0 ? -out[0] : -out[1]));
        return STATUS_FAILED;
    }
    frontend->command_fd = -1;
    if (frontend->command_in) {
        frontend->command_fd = open(frontend->command_in, O_RDWR | O_CLOEXEC | O_NONBLOCK);
        if (frontend->command_fd < 0) {
            say("cannot open %s: %s", frontend->command_in, strerror(errno));
            return STATUS_FAILED;
        }
    }
    frontend->monitor = monitor;
    frontend->machine.access = access_device;
    frontend->machine.access_context = frontend;
    const char *what;
    int err = machine_create(&frontend->machine, out, &what);
    if (!err)
        err = machine_boot(&frontend->machine, &frontend->image, &what);
    if (err) {
        say("cannot set up %s: %s", what, strerror(-err));
        return STATUS_FAILED;
    }
    return 0;
}

static int create_frontends(struct monitor *monitor)
{
    int status = 0;
    for (size_t i = 0; i < monitor->frontend_count && !status; i++)
        status = create_frontend(monitor, &monitor->frontends[i]);
    return status;
}

static bool dm_ended(const struct monitor *monitor, int timeout_ms)
{
    struct pollfd ended = {.fd = monitor->dm_pidfd, .events = POLLIN};
    return poll(&ended, 1, timeout_ms) > 0;
}

/* The device model registers its interrupts before it answers anything. */
static int connect_interrupt(struct monitor *monitor, struct machine *machine,
                             const struct machine_device *device)
{
    int fd = standin_irq_fd(monitor->standin, device->id);
    for (int waited = 0; fd < 0 && waited < START_TIMEOUT_MS; waited += 20) {
        if (dm_ended(monitor, 20))
            return STATUS_FAILED;
        fd = standin_irq_fd(monitor->standin, device->id);
    }
    if (fd < 0) {
        say("the device model registered no interrupt for device %u within %d s", device->id,
            START_TIMEOUT_MS / 1000);
        return STATUS_FAILED;
    }
    int err = machine_connect_irq(machine, device, fd);
    if (err) {
        say("cannot connect the interrupt of device %u: %s", device->id, strerror(-err));
        return STATUS_FAILED;
    }
    return 0;
}

static int connect_interrupts(struct monitor *monitor)
{
    int status = 0;
    for (size_t i = 0; i < monitor->frontend_count; i++) {
        struct machine *machine = &monitor->frontends[i].machine;
        for (size_t j = 0; j < machine->device_count && !status; j++)
            status = connect_interrupt(monitor, machine, &machine->devices[j]);
    }
    return status;
}

static int start_device_model(struct monitor *monitor)
{
    struct standin_options start = {
        .argv = monitor->dm_argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
    for (size_t i = 0; i < STANDIN_DEVICES_MAX; i++)
        start.devices[i].window = -1;
    for (size_t i = 0; i < monitor->frontend_count; i++) {
        const struct machine *machine = &monitor->frontends[i].machine;
        for (size_t j = 0; j < machine->device_count; j++) {
            start.devices[machine->devices[j].id] = (struct standin_device){
                .present = true,
                .shmem_size = machine->ram_size,
                .window = machine->ram_fd,
            };
        }
    }
    int err = standin_start(&start, &monitor->standin);
    if (err) {
        say("cannot start %s: %s", monitor->dm_argv[0], strerror(-err));
        return STATUS_FAILED;
    }
    monitor->dm_pidfd = pidfd_open(standin_pid(monitor->standin), 0);
    if (monitor->dm_pidfd < 0) {
        say("cannot watch the device model: %s", strerror(errno));
        return STATUS_FAILED;
    }
    return connect_interrupts(monitor);
}

static void feed_commands(struct frontend *frontend)
{
    struct uart *port = &frontend->machine.ports[1];
    uint8_t data[UART_BUFFER];
    size_t room = uart_room(port);
    ssize_t n = room > 0 ? read(frontend->command_fd, data, room) : 0;
    if (n > 0)
        uart_receive(port, data, (size_t)n);
    else
        (void)usleep(1000); /* the guest has not yet taken what it was given */
}

static int report_end(const struct frontend *frontend)
{
    const struct machine *machine = &frontend->machine;
    switch ((enum machine_end)machine->end) {
    case MACHINE_RUNS: /* a signal ended it */
    case MACHINE_OFF:
        return STATUS_OFF;
    case MACHINE_RESET:
        say("the frontend restarted itself: %s",
            machine->error[0] ? machine->error : "it asked for it, see its console");
        return STATUS_RESET;
    case MACHINE_ERROR:
        say("%s", machine->error);
        return STATUS_FAILED;
    }
    return STATUS_FAILED;
}

/* Runs until all frontends have ended, or one has ended with an error, or the device model ends, or
 * a signal asks for the end. */
static void supervise(struct monitor *monitor)
{
    size_t left = monitor->frontend_count;
    struct pollfd events[2 + 2 * FRONTENDS_MAX] = {
        {.fd = monitor->signal_fd, .events = POLLIN},
        {.fd = monitor->dm_pidfd, .events = POLLIN},
    };
    struct pollfd *ends = events + 2, *commands = ends + FRONTENDS_MAX;
    for (size_t i = 0; i < FRONTENDS_MAX; i++) {
        const struct frontend *frontend = &monitor->frontends[i];
        bool there = i < monitor->frontend_count;
        ends[i] = (struct pollfd){there ? frontend->machine.end_fd : -1, POLLIN, 0};
        commands[i] = (struct pollfd){there ? frontend->command_fd : -1, POLLIN, 0};
    }
    while (left > 0 &&
           (poll(events, sizeof(events) / sizeof(events[0]), -1) >= 0 || errno == EINTR)) {
        if (events[0].revents || events[1].revents)
            return;
        for (size_t i = 0; i < monitor->frontend_count; i++) {
            if (commands[i].revents & POLLIN)
                feed_commands(&monitor->frontends[i]);
            if (!ends[i].revents)
                continue;
            if (monitor->frontends[i].machine.end != MACHINE_OFF)
                return;
            ends[i].fd = commands[i].fd = -1;
            left--;
        }
    }
}

/* The device model's own status counts if it ended by itself, or with an error. */
static int stop_device_model(struct monitor *monitor, int status)
{
    bool ended = monitor->dm_pidfd >= 0 && dm_ended(monitor, 0);
    const char *error = standin_protocol_error(monitor->standin);
    if (error) {
        say("the real driver would have punished this: %s", error);
        status = STATUS_FAILED;
    }
    int wait_status = standin_stop(monitor->standin);
    if (wait_status < 0) {
        say("cannot stop the device model: %s", strerror(-wait_status));
        return STATUS_FAILED;
    }
    if (WIFSIGNALED(wait_status)) {
        say("the device model was killed by signal %d", WTERMSIG(wait_status));
        return STATUS_FAILED;
    }
    if (ended)
        say("the device model ended by itself with status %d", WEXITSTATUS(wait_status));
    if (ended || WEXITSTATUS(wait_status) != 0)
        return WEXITSTATUS(wait_status) ? WEXITSTATUS(wait_status) : STATUS_FAILED;
    return status;
}

static int run(struct monitor *monitor)
{
    for (size_t i = 0; i < monitor->frontend_count; i++) {
        int err = machine_start(&monitor->frontends[i].machine);
        if (err) {
            say("cannot start the frontend's processors: %s", strerror(-err));
            return STATUS_FAILED;
        }
    }
    supervise(monitor);
    int status = STATUS_OFF;
    for (size_t i = 0; i < monitor->frontend_count; i++) {
        int end = report_end(&monitor->frontends[i]);
        status = status ? status : end;
    }
    for (size_t i = 0; i < monitor->frontend_count; i++) {
        if (machine_stop(&monitor->frontends[i].machine))
            continue;
        say("a processor of the frontend hangs in a register access");
        if (monitor->standin)
            (void)kill(standin_pid(monitor->standin), SIGTERM);
        _exit(STATUS_FAILED);
    }
    return status;
}

int main(int argc, char **argv)
{
    static struct monitor monitor = {.dm_pidfd = -1};
    parse_command_line(&monitor, argc, argv);

    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    sigprocmask(SIG_BLOCK, &ending, NULL);
    monitor.signal_fd = signalfd(-1, &ending, SFD_CLOEXEC);

    setenv(STANDIN_SEVERAL, "1", 1); /* so that bao-dmctl, beside it, finds its socket by itself */
    int status = create_frontends(&monitor);
    if (!status && monitor.dm_argv)
        status = start_device_model(&monitor);
    if (!status)
        status = run(&monitor);
    if (monitor.standin)
        status = stop_device_model(&monitor, status);
    return status;
}
