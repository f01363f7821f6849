/* SPDX-License-Identifier: Apache-2.0 */
/*
 * If stderr is systemd's journal, log lines are entries with fields: which device, which worker,
 * which message. If the journal takes no more entries, it gets lines.
 */
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/log.h"
#include "tests/standin/fixture.h"

#define TOLD_MS 8000

static int entries, lines; /* the journal's ends of its sockets */

static int listen_at(const char *name, int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", LOG_JOURNAL, name);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* Makes a journal. Returns the socket that a service gets as its stderr. */
static int make_journal(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = LOG_JOURNAL "/stdout"};
    CU_ASSERT_EQUAL_FATAL(mkdir("/run/systemd", 0755), 0);
    CU_ASSERT_EQUAL_FATAL(mkdir(LOG_JOURNAL, 0755), 0);
    entries = listen_at("socket", SOCK_DGRAM);
    int listener = listen_at("stdout", SOCK_STREAM);
    CU_ASSERT_EQUAL_FATAL(listen(listener, 1), 0);
    int stderr_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(connect(stderr_fd, (const struct sockaddr *)&address, sizeof(address)),
                          0);
    lines = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    close(listener);
    return stderr_fd;
}

/* Waits for the next entry, or piece of lines, that has all of the words. */
static bool comes(int fd, const char *const *words, char *text, size_t size)
{
    struct pollfd file = {.fd = fd, .events = POLLIN};
    while (poll(&file, 1, TOLD_MS) == 1) {
        ssize_t length = recv(fd, text, size - 1, 0);
        if (length <= 0)
            return false;
        text[length] = '\0';
        size_t found = 0;
        while (words[found] && strstr(text, words[found]))
            found++;
        if (!words[found])
            return true;
    }
    fprintf(stderr, "\ndoes not come: %s\n", words[0]);
    return false;
}

static void lines_are_entries_with_fields(void)
{
    struct fixture fixture;
    struct guest_block block;
    char text[4096], pid[48];
    fixture_init(&fixture);
    fixture_configure_blocks(&fixture, 1);
    fixture.stderr_fd = make_journal();
    fixture_start(&fixture, 1, 1);

    snprintf(pid, sizeof(pid), "\nBAO_WORKER_PID=%d\n", fixture.workers[0]);
    CU_ASSERT(comes(entries,
                    (const char *const[]){"\nMESSAGE=block 0: worker ", " ready", pid,
                                          "\nBAO_DEVICE=block 0\n", "\nPRIORITY=6\n", NULL},
                    text, sizeof(text)));
    CU_ASSERT_EQUAL(strncmp(text, "SYSLOG_IDENTIFIER=bao-virtio-dm\n", 32), 0);
    CU_ASSERT_EQUAL(text[strlen(text) - 1], '\n');
    fixture_block(&fixture, 0, &block, GUEST_BLOCK_FEATURES, 4, 512);
    CU_ASSERT(comes(entries, (const char *const[]){"\nBAO_CODE=DRIVER_OK\n", pid, NULL}, text,
                    sizeof(text)));

    /* A ring that is invalid: the entry has the message's name, its level, and the device. */
    CU_ASSERT_EQUAL(guest_reset(&block.guest), 0);
    CU_ASSERT_EQUAL(guest_probe(&block.guest, 2), 0);
    CU_ASSERT_EQUAL(guest_negotiate(&block.guest, GUEST_BLOCK_FEATURES), 0);
    guest_write(&block.guest, VIRTIO_MMIO_QUEUE_READY, 4, 1);
    guest_driver_ok(&block.guest);
    CU_ASSERT(comes(
        entries, (const char *const[]){"\nBAO_CODE=QUEUE_INVALID\n", "\nPRIORITY=4\n", pid, NULL},
        text, sizeof(text)));

    CU_ASSERT_EQUAL(kill(fixture.workers[0], SIGKILL), 0);
    CU_ASSERT(comes(entries,
                    (const char *const[]){"killed by SIGKILL", "\nPRIORITY=4\n", pid, NULL}, text,
                    sizeof(text)));
    CU_ASSERT_PTR_NULL(strstr(text, "BAO_CODE"));
    (void)fixture_wait_worker(&fixture, 0, fixture.workers[0]);

    /* From now on nobody takes entries. */
    close(entries);
    CU_ASSERT_EQUAL(guest_reset(&block.guest), 0);
    fixture.workers[0] = fixture_worker(&fixture, 0);
    CU_ASSERT_EQUAL(kill(fixture.workers[0], SIGKILL), 0);
    CU_ASSERT(comes(lines, (const char *const[]){"bao-virtio-dm: block 0: ", "SIGKILL", NULL}, text,
                    sizeof(text)));
    guest_block_free(&block);
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"lines are entries of the journal, with fields", lines_are_entries_with_fields},
        CU_TEST_INFO_NULL,
    };
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", "/run", "tmpfs", 0, NULL) < 0) {
        perror("a /run of its own");
        return EXIT_FAILURE;
    }
    return fixture_main(argc, argv, "journal", tests);
}
