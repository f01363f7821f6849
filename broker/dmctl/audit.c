/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audit: gives bao-seccomp what the broker says of its devices; bao-seccomp looks at the processes
 * themselves. What that needs (ptrace, every policy of the build) is in that program and not here.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/dmctl/dmctl.h"
#include "broker/generations.h"
#include "common/device_kind.h"

#define AUDITOR "bao-seccomp"

/* Writes a line at *at, which moves on. Returns 0 or a positive errno. */
static int write_line(int fd, const char *line, int length, off_t *at)
{
    ssize_t written = pwrite(fd, line, (size_t)length, *at);
    if (written < 0)
        return errno;
    *at += length;
    return written == length ? 0 : EIO;
}

/* Writes lines in the format of policy/audit/verify.h; who reads `fd` begins with the first.
 * Returns 0 or a positive errno. */
static int write_told(int fd, pid_t broker, const struct snapshot *snapshot)
{
    char line[256];
    /* All devices have the same generation (broker/main.c). */
    uint32_t generation = snapshot->count > 0 ? snapshot->devices[0].generation : BAO_A;
    int length =
        snprintf(line, sizeof(line), "broker %d %s\n", (int)broker,
                 generation < BAO_GENERATIONS ? generations[generation].policy : "unknown");
    off_t at = 0;
    int error = write_line(fd, line, length, &at);
    for (size_t i = 0; error == 0 && i < snapshot->count; i++) {
        const struct control_device *device = &snapshot->devices[i];
        const struct device_kind_info *info = device_kind_info(device->kind);
        length = snprintf(line, sizeof(line), "device %u %d %x %s %s\n", device->id, device->pid,
                          device->layers, info ? info->policy : "unknown", device->name);
        error = write_line(fd, line, length, &at);
    }
    return error;
}

/* Runs bao-seccomp from the directory of this program, or from where an installation puts it. PATH
 * is never searched. */
static void run_auditor(char *const argv[])
{
    static const char *const places[] = {"", "../bin/"};
    char self[512], path[640];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (length < 0)
        return;
    self[length] = '\0';
    char *slash = strrchr(self, '/');
    if (!slash)
        return;
    slash[1] = '\0';
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        snprintf(path, sizeof(path), "%s%s" AUDITOR, self, places[i]);
        execv(path, argv);
        if (errno != ENOENT)
            return;
    }
}

void audit_run(int control, const struct snapshot *snapshot, bool json,
               const struct audit_options *options)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    char *argv[10] = {(char *)AUDITOR, (char *)"verify", (char *)"--told", (char *)"-"};
    size_t count = 4;
    if (json || options->markdown)
        argv[count++] = (char *)(json ? "--json" : "--markdown");
    if (options->against) {
        argv[count++] = (char *)"--against";
        argv[count++] = (char *)options->against;
    }
    if (options->output) {
        argv[count++] = (char *)"--output";
        argv[count++] = (char *)options->output;
    }
    int told = memfd_create("told", MFD_CLOEXEC);
    int error = told < 0 ? errno : 0;
    if (error == 0 && getsockopt(control, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        error = errno;
    if (error == 0)
        error = write_told(told, peer.pid, snapshot);
    if (error == 0 && dup2(told, STDIN_FILENO) < 0)
        error = errno;
    if (error != 0) {
        complain("what the broker says can't be handed on: %s", strerror(error));
        return;
    }
    run_auditor(argv);
    complain(AUDITOR " can't be run: %s: it belongs beside bao-dmctl, or into ../bin",
             strerror(errno));
}
