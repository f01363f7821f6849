/* SPDX-License-Identifier: Apache-2.0 */
/* Rows about what one device needs: its image, tap, daemon, terminal, log. */
#include "tests/faults/means.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/standin/block_daemon.h"

/* ---- Image ---- */

static void image_renamed(struct cell *cell)
{
    rename_in(cell, "disk0.img", "elsewhere.img");
}

static void image_back(struct cell *cell)
{
    rename_in(cell, "elsewhere.img", "disk0.img");
}

/* Another file gets the image's name; it is no disk. */
static void image_replaced(struct cell *cell)
{
    image_renamed(cell);
    make_directory(cell, "disk0.img");
}

static void image_in_place(struct cell *cell)
{
    remove_in(cell, "disk0.img");
    image_back(cell);
}

static void image_of_odd_size(struct cell *cell)
{
    truncate_in(cell, "disk0.img", 1048576 + 100);
}

static void image_emptied(struct cell *cell)
{
    cell->subject.is_spoilt = true; /* a write makes it longer again, and fills it with zeros */
    truncate_in(cell, "disk0.img", 0);
}

static void image_whole(struct cell *cell)
{
    fixture_make_image(cell->fixture, "disk0.img", FIXTURE_IMAGE_SECTORS);
}

/* A broken disk: the kernel knows its files, but can't read or write them. */
static void hang_eio(struct cell *cell)
{
    hang_fs_fail(cell->hang, HANG_READ | HANG_WRITE | HANG_FSYNC | HANG_FALLOCATE | HANG_LSEEK,
                 EIO);
}

/* A server that has forgotten its clients. */
static void hang_estale(struct cell *cell)
{
    hang_fs_fail(cell->hang, HANG_ALL, ESTALE);
}

/* As after errors=remount-ro: a process that has a file open for writing gets the error at its next
 * write. */
static void hang_read_only(struct cell *cell)
{
    hang_fs_fail(cell->hang, HANG_OPEN | HANG_WRITE | HANG_FSYNC | HANG_FALLOCATE | HANG_SETATTR,
                 EROFS);
}

static void disk_over_hang(struct cell *cell)
{
    char path[128], node[128];
    hang_with_image(cell);
    if (cell->result->skipped)
        return;
    if (access("/dev/loop-control", R_OK | W_OK) < 0) {
        cell_lacks(cell, "/dev/loop-control: modprobe loop");
        return;
    }
    path_in(cell, "hang/disk.img", path);
    CU_ASSERT_EQUAL_FATAL(hang_loop_attach(path, &cell->loop), 0);
    /* A separate device node, since a link would not be followed in this directory. */
    path_in(cell, "disk", node);
    struct stat disk;
    CU_ASSERT_EQUAL_FATAL(stat(cell->loop.path, &disk), 0);
    CU_ASSERT_EQUAL_FATAL(mknod(node, S_IFBLK | 0600, disk.st_rdev), 0);
}

/* ---- A full disk: DIR/small is 1 MiB ---- */

static void small_disk(struct cell *cell)
{
    char path[128];
    make_directory(cell, "small");
    path_in(cell, "small", path);
    CU_ASSERT_EQUAL_FATAL(mount("small", path, "tmpfs", 0, "size=1m"), 0);
}

/* The part that the subject reads exists. The part that it writes has holes (subject.c). */
static void small_with_image(struct cell *cell)
{
    small_disk(cell);
    fixture_make_image(cell->fixture, "small/disk.img", SUBJECT_READS);
    truncate_in(cell, "small/disk.img", 512l * FIXTURE_IMAGE_SECTORS);
}

static void fill_up(int fd)
{
    static const char page[4096] = {1};
    while (write(fd, page, sizeof(page)) > 0)
        ;
    CU_ASSERT_EQUAL(errno, ENOSPC);
    close(fd);
}

static void disk_filled(struct cell *cell)
{
    char path[128];
    if (cell->subject.log >= 0) {
        /* There is no room left in its last page either. */
        off_t end = lseek(cell->subject.log, 0, SEEK_END);
        CU_ASSERT_EQUAL_FATAL(ftruncate(cell->subject.log, (end + 4095) / 4096 * 4096), 0);
    }
    path_in(cell, "small/filler", path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CU_ASSERT_FATAL(fd >= 0);
    fill_up(fd);
}

static void disk_has_room(struct cell *cell)
{
    remove_in(cell, "small/filler");
}

static void small_end(struct cell *cell)
{
    char path[128];
    path_in(cell, "small", path);
    CU_ASSERT_EQUAL(umount2(path, MNT_DETACH), 0);
    CU_ASSERT_EQUAL(rmdir(path), 0);
}

/* ---- Tap ---- */

static void tap_renamed(struct cell *cell)
{
    (void)cell;
    net_fixture_ip("link set tap0 down");
    net_fixture_ip("link set tap0 name tap9");
    net_fixture_ip("link set tap9 up");
}

static void tap_named_again(struct cell *cell)
{
    (void)cell;
    net_fixture_ip("link set tap9 down");
    net_fixture_ip("link set tap9 name tap0");
    net_fixture_ip("link set tap0 up");
}

static void tap_of_other_mtu(struct cell *cell)
{
    (void)cell;
    net_fixture_ip("link set tap0 mtu 1280");
}

static void tap_of_old_mtu(struct cell *cell)
{
    (void)cell;
    net_fixture_ip("link set tap0 mtu 1500");
}

static void tap_down(struct cell *cell)
{
    (void)cell;
    net_fixture_ip("link set tap0 down");
}

static void tap_up(struct cell *cell)
{
    (void)cell;
    net_fixture_ip("link set tap0 up");
}

static void tap_removed(struct cell *cell)
{
    (void)cell;
    net_fixture_ip("link delete tap0");
}

/* ---- Daemon ---- */

static void daemon_stopped(struct cell *cell)
{
    CU_ASSERT_EQUAL(kill(cell->daemon, SIGSTOP), 0);
}

static void daemon_goes_on(struct cell *cell)
{
    CU_ASSERT_EQUAL(kill(cell->daemon, SIGCONT), 0);
}

static void daemon_killed(struct cell *cell)
{
    block_daemon_kill(cell->daemon);
    cell->daemon = 0;
}

static void daemon_started(struct cell *cell)
{
    cell->daemon = block_daemon_start(cell->fixture, "disk0.img", NULL);
    block_daemon_wait(cell->fixture);
}

/* The daemon runs, but nobody finds it. */
static void socket_is_a_file(struct cell *cell)
{
    rename_in(cell, "blk.sock", "elsewhere.sock");
    write_in(cell, "blk.sock", "");
}

static void socket_is_back(struct cell *cell)
{
    rename_in(cell, "elsewhere.sock", "blk.sock");
}

/* ---- Terminal ---- */

static void alias_is_a_file(struct cell *cell)
{
    char path[128];
    path_in(cell, "console", path);
    (void)unlink(path);
    write_in(cell, "console", "somebody else's");
}

static void alias_is_free(struct cell *cell)
{
    remove_in(cell, "console");
}

/* ---- Log ---- */

static void log_is_a_directory(struct cell *cell)
{
    rename_in(cell, "console.log", "elsewhere.log");
    make_directory(cell, "console.log");
}

static void log_is_back(struct cell *cell)
{
    remove_in(cell, "console.log");
    rename_in(cell, "elsewhere.log", "console.log");
}

#define KEPT_OPEN                                                                                  \
    {                                                                                              \
        WORKS                                                                                      \
    }
#define ITS_OWN                                                                                    \
    {                                                                                              \
        COPES                                                                                      \
    }
#define HANGS                                                                                      \
    {                                                                                              \
        WAITS                                                                                      \
    }
#define HANGS_LONG                                                                                 \
    {                                                                                              \
        .fate = RESETS, .is_long = true                                                            \
    }
/* If a worker waits for its disk, a register access waits 15 s before another worker is asked. */
#define HANGS_IN_IO                                                                                \
    {                                                                                              \
        .fate = RESETS, .is_long = true, .hold_ms = 23000, .register_ms = 25000                    \
    }
#define LINK_MADE NOT("a tap that is missing at the start is made")

static const struct row rows[] = {
    {
        .resource = "image",
        .fault = "renamed",
        .inject = image_renamed,
        .repair = image_back,
        .words = "disk0.img",
        .at = {{REFUSED}, KEPT_OPEN, KEPT_OPEN, KEPT_OPEN, ITS_OWN},
    },
    {
        .resource = "image",
        .fault = "a directory in its place",
        .inject = image_replaced,
        .repair = image_in_place,
        .words = "disk0.img",
        .at = {{REFUSED}, KEPT_OPEN, KEPT_OPEN, KEPT_OPEN, ITS_OWN},
    },
    {
        .resource = "image",
        .fault = "truncated to an odd size",
        .inject = image_of_odd_size,
        .repair = image_whole,
        .words = "disk0.img",
        .at = {{REFUSED}, {WORKS}, {WORKS}, ITS_OWN, ITS_OWN},
    },
    {
        .resource = "image",
        .fault = "emptied",
        .inject = image_emptied,
        .repair = image_whole,
        .words = "disk0.img",
        .at = {{REFUSED}, ITS_OWN, ITS_OWN, ITS_OWN, ITS_OWN},
    },
    {
        .resource = "image",
        .fault = "EIO",
        .image = "hang/disk.img",
        .prepare = hang_with_image,
        .inject = hang_eio,
        .repair = hang_nothing,
        .clean = hang_end,
        .at = {{FAILS}, {FAILS}, {FAILS}, {FAILS}, {FAILS}},
    },
    {
        .resource = "image",
        .fault = "ESTALE",
        .image = "hang/disk.img",
        .prepare = hang_with_image,
        .inject = hang_estale,
        .repair = hang_nothing,
        .clean = hang_end,
        .words = "disk.img",
        .at = {{REFUSED}, {FAILS}, ITS_OWN, ITS_OWN, ITS_OWN},
    },
    {
        .resource = "image",
        .fault = "file system read-only",
        .image = "hang/disk.img",
        .prepare = hang_with_image,
        .inject = hang_read_only,
        .repair = hang_nothing,
        .clean = hang_end,
        .words = "disk.img",
        .at = {{REFUSED}, {FAILS}, {FAILS}, {FAILS}, ITS_OWN},
    },
    {
        .resource = "image",
        .fault = "file system full",
        .image = "small/disk.img",
        .prepare = small_with_image,
        .inject = disk_filled,
        .repair = disk_has_room,
        .clean = small_end,
        .at = {{FAILS}, {FAILS}, {FAILS}, {FAILS}, {FAILS}},
    },
    {
        .resource = "image",
        .fault = "file system hangs",
        .image = "hang/disk.img",
        .prepare = hang_with_image,
        .inject = hang_all,
        .repair = hang_nothing,
        .clean = hang_end,
        .at = {HANGS, HANGS, HANGS, HANGS, HANGS},
    },
    {
        .resource = "image",
        .fault = "file system hangs, but for close(2)",
        .image = "hang/disk.img",
        .prepare = hang_with_image,
        .inject = hang_all_but_close,
        .repair = hang_nothing,
        .clean = hang_end,
        .at = {HANGS, HANGS, HANGS, HANGS, HANGS},
    },
    {
        .resource = "image",
        .fault = "file system hangs for long",
        .image = "hang/disk.img",
        .hold_ms = 18000,
        .prepare = hang_with_image,
        .inject = hang_all,
        .repair = hang_nothing,
        .clean = hang_end,
        .at = {HANGS_LONG, HANGS_IN_IO, HANGS_IN_IO, HANGS_LONG, HANGS_LONG},
    },
    {
        .resource = "image",
        .fault = "disk hangs, its worker in D",
        .image = "disk",
        .keys = "    direct: true\n",
        .prepare = disk_over_hang,
        .inject = hang_all,
        .repair = hang_nothing,
        .clean = hang_end,
        .at = {HANGS, HANGS, HANGS, HANGS, HANGS},
    },
    {
        .resource = "tap",
        .fault = "renamed",
        .subject = SUBJECT_NET,
        .inject = tap_renamed,
        .repair = tap_named_again,
        .at = {LINK_MADE, KEPT_OPEN, KEPT_OPEN, KEPT_OPEN, ITS_OWN},
    },
    {
        .resource = "tap",
        .fault = "another MTU",
        .subject = SUBJECT_NET,
        .inject = tap_of_other_mtu,
        .repair = tap_of_old_mtu,
        .at = {{WORKS}, {WORKS}, {WORKS}, {WORKS}, {WORKS}},
    },
    {
        .resource = "tap",
        .fault = "down",
        .subject = SUBJECT_NET,
        .inject = tap_down,
        .repair = tap_up,
        .at = {HANGS, HANGS, HANGS, HANGS, HANGS},
    },
    {
        .resource = "tap",
        .fault = "removed",
        .subject = SUBJECT_NET,
        .inject = tap_removed,
        .at = {LINK_MADE, {LOST}, {LOST}, {LOST}, {LOST}},
    },
    {
        .resource = "daemon",
        .fault = "stopped",
        .subject = SUBJECT_DAEMON,
        .inject = daemon_stopped,
        .repair = daemon_goes_on,
        .at = {HANGS, HANGS, HANGS, HANGS, HANGS},
    },
    {
        .resource = "daemon",
        .fault = "killed",
        .subject = SUBJECT_DAEMON,
        .inject = daemon_killed,
        .repair = daemon_started,
        .at = {HANGS, HANGS, HANGS, HANGS, HANGS},
    },
    {
        .resource = "daemon",
        .fault = "a file in its socket's place",
        .subject = SUBJECT_DAEMON,
        .inject = socket_is_a_file,
        .repair = socket_is_back,
        .at = {HANGS, {WORKS}, HANGS, HANGS, HANGS},
    },
    {
        .resource = "pty",
        .fault = "a file in its alias' place",
        .subject = SUBJECT_TERMINAL,
        .inject = alias_is_a_file,
        .repair = alias_is_free,
        .words = "/console",
        .at = {{REFUSED}, {WORKS}, {WORKS}, ITS_OWN, ITS_OWN},
    },
    {
        .resource = "log",
        .fault = "a directory in its place",
        .subject = SUBJECT_LOG,
        .inject = log_is_a_directory,
        .repair = log_is_back,
        .words = "console.log",
        .at = {{REFUSED}, KEPT_OPEN, KEPT_OPEN, KEPT_OPEN, ITS_OWN},
    },
    {
        .resource = "log",
        .fault = "file system full",
        .subject = SUBJECT_LOG,
        .log = "small/console.log",
        .prepare = small_disk,
        .inject = disk_filled,
        .repair = disk_has_room,
        .clean = small_end,
        .at = {{FAILS}, {FAILS}, {FAILS}, {FAILS}, {FAILS}},
    },
    {
        .resource = "log",
        .fault = "EIO",
        .subject = SUBJECT_LOG,
        .log = "hang/console.log",
        .prepare = hang_with_log,
        .inject = hang_eio,
        .repair = hang_nothing,
        .clean = hang_end,
        .at = {{FAILS}, {FAILS}, {FAILS}, {FAILS}, {FAILS}},
    },
    {
        .resource = "log",
        .fault = "file system hangs",
        .subject = SUBJECT_LOG,
        .log = "hang/console.log",
        .prepare = hang_with_log,
        .inject = hang_all,
        .repair = hang_nothing,
        .clean = hang_end,
        .at = {HANGS, HANGS, HANGS, HANGS, HANGS},
    },
    {
        .resource = "log",
        .fault = "file system hangs, but for close(2)",
        .subject = SUBJECT_LOG,
        .log = "hang/console.log",
        .prepare = hang_with_log,
        .inject = hang_all_but_close,
        .repair = hang_nothing,
        .clean = hang_end,
        .at = {HANGS, HANGS, HANGS, HANGS, HANGS},
    },
};

const struct row *const rows_backends = rows;
const unsigned int rows_backends_count = sizeof(rows) / sizeof(rows[0]);
