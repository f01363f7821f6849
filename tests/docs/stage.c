/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A running device model for the commands of a page. It starts bao-virtio-dm on the dispatcher
 * stand-in, waits until each device answers, runs the command, and ends the device model cleanly.
 *
 *   bao-stage DEVICES COMMAND...
 *
 * The environment variable STAGE_CONFIG names the configuration. Its devices have the ids 0 to
 * DEVICES - 1. Their registers follow one another from STAGE_REGISTERS on.
 *
 * Exit status: that of the command; 1, with a line on stderr, if the device model does not come up
 * or does not end as it should.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/standin/standin.h"

#define STAGE_REGISTERS 0xa003e00ull
#define STAGE_WINDOWS 0x80000000ull
#define STAGE_WINDOW_SIZE 0x1000000ull
#define VIRTIO_MAGIC 0x74726976u /* VirtIO 1.2, 4.2.2 */
#define START_TIMEOUT_MS 20000

static int start(unsigned int devices, struct standin **ret)
{
    const char *const argv[] = {PROGRAM_DIR "/bao-virtio-dm", "--config", getenv("STAGE_CONFIG"),
                                NULL};
    if (!argv[2])
        return -EINVAL;
    struct standin_options options = {
        .argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
    for (unsigned int i = 0; i < devices; i++)
        options.devices[i] =
            (struct standin_device){.present = true,
                                    .shmem_addr = STAGE_WINDOWS + i * STAGE_WINDOW_SIZE,
                                    .shmem_size = STAGE_WINDOW_SIZE};
    setenv(STANDIN_SEVERAL, "1", 1); /* so that bao-dmctl, beside it, finds its socket by itself */
    int result = standin_start(&options, ret);
    /* A register access is answered only when the worker runs. */
    for (unsigned int i = 0; result == 0 && i < devices; i++) {
        uint64_t value = 0;
        result = standin_read(*ret, i, STAGE_REGISTERS + 0x200ull * i, 4, &value, START_TIMEOUT_MS);
        if (result == 0 && value != VIRTIO_MAGIC)
            result = -EPROTO;
    }
    return result;
}

/* Returns the command's exit status, or 1. */
static int run(char **words)
{
    pid_t pid = fork();
    if (pid == 0) {
        execvp(words[0], words);
        fprintf(stderr, "bao-stage: %s: %s\n", words[0], strerror(errno));
        _exit(127);
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return 1;
    return WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
    unsigned long devices = argc > 2 ? strtoul(argv[1], NULL, 10) : 0;
    if (devices < 1 || devices > STANDIN_DEVICES_MAX) {
        fprintf(stderr, "usage: bao-stage DEVICES COMMAND...\n");
        return 2;
    }
    struct standin *standin = NULL;
    int result = start((unsigned int)devices, &standin);
    if (result < 0) {
        fprintf(stderr, "bao-stage: the device model does not come up: %s\n", strerror(-result));
        if (standin)
            standin_stop(standin);
        return 1;
    }
    int status = run(&argv[2]);
    const char *error = standin_protocol_error(standin);
    int end = standin_stop(standin);
    if (error || end < 0 || !WIFEXITED(end) || WEXITSTATUS(end) != 0) {
        fprintf(stderr, "bao-stage: the device model ended with %d%s%s\n", end, error ? ": " : "",
                error ? error : "");
        return 1;
    }
    return status;
}
