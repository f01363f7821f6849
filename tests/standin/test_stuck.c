/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker that is stopped or spins is found and replaced, even if no register access waits for it.
 * A worker that waits for a slow disk is not replaced, even if a register access waits for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/standin/fixture.h"

#define FOUND_S 15 /* asked every 5 s, 5 s to answer, and more for a busy machine */
#define SLOW_S 11  /* longer than the broker would wait for a worker that is not slow */

static bool replaced(const struct fixture *fixture, pid_t before)
{
    for (unsigned int i = 0; i < FOUND_S * 10; i++) {
        pid_t pid = fixture_worker(fixture, 0);
        if (pid > 0 && pid != before)
            return true;
        usleep(100000);
    }
    return false;
}

static void is_replaced_after(void (*spoil)(pid_t worker))
{
    struct fixture fixture;
    struct guest_block block;
    fixture_start_blocks(&fixture, 2);
    fixture_block(&fixture, 0, &block, GUEST_BLOCK_FEATURES, 4, 512);
    fixture_assert_reads(&block, 1);
    spoil(fixture.workers[0]);
    CU_ASSERT(replaced(&fixture, fixture.workers[0]));
    fixture_assert_logged(&fixture, "it has not looked at its events for 5 s");
    fixture_assert_reads(&block, 2);
    CU_ASSERT_EQUAL(fixture_worker(&fixture, 1), fixture.workers[1]);
    guest_block_free(&block);
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

static void stop_it(pid_t worker)
{
    CU_ASSERT_EQUAL(kill(worker, SIGSTOP), 0);
}

/* The worker sleeps. The test writes "jmp ." there, and the worker runs it when it wakes. */
static void make_it_spin(pid_t worker)
{
#if defined(__x86_64__)
    const unsigned char jump[8] = {0xeb, 0xfe};
#elif defined(__aarch64__)
    const unsigned char jump[8] = {0x00, 0x00, 0x00, 0x14};
#else
    const unsigned char jump[8] = {0x6f, 0x00, 0x00, 0x00};
#endif
    int status;
    long word;
    unsigned long pc[64];
    struct iovec registers = {pc, sizeof(pc)};
    CU_ASSERT_EQUAL_FATAL(ptrace(PTRACE_SEIZE, worker, 0, 0), 0);
    CU_ASSERT_EQUAL_FATAL(ptrace(PTRACE_INTERRUPT, worker, 0, 0), 0);
    CU_ASSERT_EQUAL_FATAL(waitpid(worker, &status, __WALL), worker);
    CU_ASSERT_EQUAL_FATAL(ptrace(PTRACE_GETREGSET, worker, 1 /* NT_PRSTATUS */, &registers), 0);
#if defined(__x86_64__)
    unsigned long at = pc[offsetof(struct user_regs_struct, rip) / sizeof(pc[0])];
#elif defined(__aarch64__)
    unsigned long at = pc[32];
#else
    unsigned long at = pc[0];
#endif
    memcpy(&word, jump, sizeof(word));
    CU_ASSERT_EQUAL_FATAL(ptrace(PTRACE_POKETEXT, worker, at, word), 0);
    CU_ASSERT_EQUAL_FATAL(ptrace(PTRACE_DETACH, worker, 0, 0), 0);
}

static void one_that_is_stopped(void)
{
    is_replaced_after(stop_it);
}

static void one_that_spins(void)
{
    is_replaced_after(make_it_spin);
}

/* ---- A slow disk: a file system that is frozen for a while ---- */

static int run(const char *format, const char *dir)
{
    char command[512];
    snprintf(command, sizeof(command), format, dir, dir);
    return system(command);
}

static void *ask_for_status(void *argument)
{
    struct fixture *fixture = argument;
    static uint64_t value;
    int r = standin_read(fixture->standin, 0, fixture_base(0) + VIRTIO_MMIO_STATUS, 4, &value,
                         (SLOW_S + 5) * 1000);
    return r == 0 && value == 0xf ? fixture : NULL;
}

static void freeze(const char *dir, unsigned long request)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/slow", dir);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CU_ASSERT_FATAL(fd >= 0 && ioctl(fd, request, 0) == 0);
    close(fd);
}

static void write_during_frost(struct fixture *fixture, struct guest_block *block)
{
    pthread_t vcpu;
    void *answered = NULL;
    struct guest_block_request *request = &block->requests[0];
    memset(request->data, 0x5a, 512);
    freeze(fixture->dir, FIFREEZE);
    CU_ASSERT_EQUAL(guest_block_submit(block, request, VIRTIO_BLK_T_OUT, 7, 512), 0);
    guest_queue_kick(&block->queue);
    sleep(1);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&vcpu, NULL, ask_for_status, fixture), 0);
    sleep(SLOW_S - 1);
    CU_ASSERT_EQUAL(*request->status, 0xff); /* the disk is slow indeed */
    freeze(fixture->dir, FITHAW);
    pthread_join(vcpu, &answered);
    CU_ASSERT_PTR_NOT_NULL(answered);
    while (request->busy && guest_block_interrupt(block) >= 0)
        ;
    CU_ASSERT_EQUAL(*request->status, VIRTIO_BLK_S_OK);
}

static void not_one_that_waits_for_a_slow_disk(void)
{
    struct fixture fixture;
    struct guest_block block;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(
        run("cd %s && mkdir slow && truncate -s 16M fs && mkfs.ext4 -q -F fs && mount -o loop fs "
            "slow && truncate -s 1M slow/disk.img",
            fixture.dir),
        0);
    fixture_configure(&fixture, "devices:\n  - id: 0\n    type: block\n    data_plane: virtio\n"
                                "    mmio_addr: 0xa003e00\n    file_path: \"@/slow/disk.img\"\n");
    fixture_start(&fixture, 1, 1);
    fixture_block(&fixture, 0, &block, GUEST_BLOCK_FEATURES, 4, 512);
    write_during_frost(&fixture, &block);
    fixture_assert_never_restarted(&fixture);
    guest_block_free(&block);
    fixture_stop(&fixture);
    CU_ASSERT_EQUAL(run("umount %s/slow && rmdir %s/slow", fixture.dir), 0);
    fixture_free(&fixture);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"one that is stopped is replaced", one_that_is_stopped},
        {"one that spins is replaced", one_that_spins},
        {"not one that waits for a slow disk", not_one_that_waits_for_a_slow_disk},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "stuck workers", tests);
}
