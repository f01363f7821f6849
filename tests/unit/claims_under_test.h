/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_claims.c, which includes it: what the cases use. */
#ifndef TESTS_UNIT_CLAIMS_UNDER_TEST_H
#define TESTS_UNIT_CLAIMS_UNDER_TEST_H

#include "broker/claims.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/unit/fd_count.h"

#define MINE 100
#define THEIRS 812
#define NEVER INT64_MAX

static int mine, theirs; /* two open files on one claims file */
static int64_t now_ms;
static int64_t lets_go_at; /* the other one ends */
static int lock_error;     /* what an attempt to lock fails with; 0: nothing */
static off_t error_at;     /* at this place of the file */

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
    CU_ASSERT_EQUAL(clock, CLOCK_MONOTONIC);
    *ret = (struct timespec){.tv_sec = now_ms / 1000, .tv_nsec = now_ms % 1000 * 1000000};
    return 0;
}

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout)
{
    CU_ASSERT(fds == NULL && count == 0 && timeout > 0);
    now_ms += timeout;
    if (now_ms >= lets_go_at && theirs >= 0) {
        close(theirs);
        theirs = -1;
    }
    return 0;
}

int __wrap_fcntl(int fd, int command, ...)
{
    va_list arguments;
    va_start(arguments, command);
    struct flock *range = va_arg(arguments, struct flock *);
    va_end(arguments);
    if (command == F_OFD_SETLK && lock_error != 0 && range->l_start == error_at) {
        errno = lock_error;
        return -1;
    }
    return (int)syscall(SYS_fcntl, fd, command, range);
}

int __wrap_fcntl64(int fd, int command, ...)
{
    va_list arguments;
    va_start(arguments, command);
    struct flock *range = va_arg(arguments, struct flock *);
    va_end(arguments);
    return __wrap_fcntl(fd, command, range);
}

static int open_again(int fd)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int again = open(path, O_RDWR | O_CLOEXEC);
    CU_ASSERT_FATAL(again >= 0);
    return again;
}

static void begin(void)
{
    mine = memfd_create("claims", MFD_CLOEXEC);
    CU_ASSERT_FATAL(mine >= 0);
    CU_ASSERT_EQUAL_FATAL(ftruncate(mine, CLAIMS_SIZE), 0);
    theirs = open_again(mine);
    now_ms = 5000;
    lets_go_at = NEVER;
    lock_error = 0;
}

static void end(void)
{
    close(mine);
    if (theirs >= 0)
        close(theirs);
}

/* ---- Configurations ---- */

#define DEVICE(id, type, plane, keys)                                                              \
    "- {id: " id ", type: " type ", data_plane: " plane ", mmio_addr: 0x" id "000, " keys "}\n"
#define IMAGE(id, path) DEVICE(id, "block", "virtio", "file_path: " path)
#define READ_IMAGE(id, path) DEVICE(id, "block", "virtio", "read_only: true, file_path: " path)
#define READ_BY_RING(id, path)                                                                     \
    DEVICE(id, "block", "virtio", "io_engine: io_uring, read_only: true, file_path: " path)
#define TAP(id, name) DEVICE(id, "net", "virtio", "tap_name: " name)
#define CID(id, cid) DEVICE(id, "vsock", "vhost", "guest_cid: " cid)
#define LOG(id, path) DEVICE(id, "console", "virtio", "log_path: " path)
#define ALIAS(id, path) DEVICE(id, "console", "virtio", "ports: 2, pty_alias: " path)
#define RNG(id) DEVICE(id, "rng", "virtio", "rate_limit: 9")
#define INPUT(id, path) DEVICE(id, "input", "virtio", "device_path: " path)

static struct config_diagnostics diags;

static struct config *configured(const char *path, const char *devices)
{
    char text[2048];
    struct config *config = calloc(1, sizeof(*config));
    CU_ASSERT_PTR_NOT_NULL_FATAL(config);
    snprintf(text, sizeof(text), "devices:\n%s", devices);
    CU_ASSERT_EQUAL_FATAL(config_parse(path, text, strlen(text), config, &diags), 0);
    return config;
}

static void drop(struct config *config)
{
    config_free(config);
    free(config);
}

static int take(int fd, struct config *config, int32_t keeper, uint32_t kept,
                struct claim_refused *ret)
{
    memset(ret, 0x5a, sizeof(*ret));
    return claims_take(fd, config, keeper, kept, ret);
}

static void they_take(const char *devices)
{
    struct claim_refused refused;
    struct config *config = configured("/etc/vm2.yaml", devices);
    CU_ASSERT_EQUAL(take(theirs, config, THEIRS, 0, &refused), 0);
    drop(config);
}

static void i_get(const char *devices)
{
    struct claim_refused refused;
    struct config *config = configured("/etc/vm1.yaml", devices);
    const int64_t before = now_ms;
    CU_ASSERT_EQUAL(take(mine, config, MINE, 0, &refused), 0);
    CU_ASSERT_EQUAL(now_ms, before);
    drop(config);
}

static void i_am_refused(const char *devices, size_t which, enum config_key key, const char *words)
{
    struct claim_refused refused;
    struct config *config = configured("/etc/vm1.yaml", devices);
    const int64_t before = now_ms;
    CU_ASSERT_EQUAL(take(mine, config, MINE, 0, &refused), -EBUSY);
    CU_ASSERT_EQUAL(now_ms - before, CLAIMS_WAIT_MS);
    CU_ASSERT_PTR_EQUAL(refused.device, &config->devices[which]);
    CU_ASSERT_EQUAL(refused.key, key);
    CU_ASSERT_STRING_EQUAL(refused.failure.text, words);
    drop(config);
}

/* ---- What the file says ---- */

static bool has(int fd, uint32_t id)
{
    struct flock range = {.l_type = F_WRLCK,
                          .l_whence = SEEK_SET,
                          .l_start = (off_t)(id * sizeof(struct claim)),
                          .l_len = sizeof(struct claim)};
    int other = fd == mine ? theirs : mine;
    CU_ASSERT_EQUAL(syscall(SYS_fcntl, other, F_OFD_GETLK, &range), 0);
    return range.l_type != F_UNLCK;
}

/* The ids that are taken with that open file, a bit for each. */
static uint32_t held(int fd)
{
    uint32_t ids = 0;
    for (uint32_t id = 0; id < BAO_DEVICES_MAX; id++)
        ids |= has(fd, id) ? 1u << id : 0u;
    return ids;
}

static struct claim *place(uint32_t id)
{
    static struct claim claim;
    CU_ASSERT_EQUAL(pread(mine, &claim, sizeof(claim), (off_t)(id * sizeof(claim))), sizeof(claim));
    return &claim;
}

static void put(uint32_t id, const struct claim *claim)
{
    CU_ASSERT_EQUAL(pwrite(mine, claim, sizeof(*claim), (off_t)(id * sizeof(*claim))),
                    sizeof(*claim));
}

static unsigned int mappings(void)
{
    unsigned int count = 0;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && fgets(line, sizeof(line), maps))
        count += strstr(line, "memfd:claims") ? 1 : 0;
    if (maps)
        fclose(maps);
    return count;
}

#define THEIR_OWN "another bao-virtio-dm's: process 812, with /etc/vm2.yaml"

/* ---- Taking ---- */

static void what_is_free_is_taken_and_written_down(void)
{
    begin();
    const unsigned int before = fd_count();
    i_get(READ_IMAGE("2", "/images/a.img") TAP("15", "tap0") CID("0", "77"));
    CU_ASSERT_EQUAL(held(mine), 1u << 0 | 1u << 2 | 1u << 15);
    const struct claim *claim = place(2);
    CU_ASSERT_EQUAL(claim->version, CLAIMS_VERSION);
    CU_ASSERT_EQUAL(claim->keeper, MINE);
    CU_ASSERT_EQUAL(claim->kind, DEVICE_BLOCK_VIRTIO);
    CU_ASSERT_EQUAL(claim->read_only, 1);
    CU_ASSERT_EQUAL(claim->guest_cid, 0);
    CU_ASSERT_EQUAL(claim->has_names, 1);
    CU_ASSERT_STRING_EQUAL(claim->names.directory, "/images");
    CU_ASSERT_STRING_EQUAL(claim->names.name, "a.img");
    CU_ASSERT_EQUAL(claim->file.device, 0);
    CU_ASSERT_STRING_EQUAL(claim->tap_name, "");
    CU_ASSERT_STRING_EQUAL(claim->config, "/etc/vm1.yaml");
    CU_ASSERT_STRING_EQUAL(place(15)->tap_name, "tap0");
    CU_ASSERT_NOT_EQUAL(place(15)->network, 0);
    CU_ASSERT_EQUAL(place(15)->has_names, 0);
    CU_ASSERT_EQUAL(place(0)->guest_cid, 77);
    CU_ASSERT_EQUAL(place(0)->read_only, 0);
    CU_ASSERT_EQUAL(fd_count(), before);
    CU_ASSERT_EQUAL(mappings(), 0);
    end();
}

static void what_is_no_longer_wanted_is_given_back(void)
{
    begin();
    i_get(RNG("1") RNG("2"));
    i_get(RNG("2") RNG("3"));
    CU_ASSERT_EQUAL(held(mine), 1u << 2 | 1u << 3);
    they_take(RNG("1"));
    CU_ASSERT_EQUAL(held(theirs), 1u << 1);
    end();
}

static void what_runs_stays_taken(void)
{
    struct claim_refused refused;
    begin();
    struct config *config = configured("/etc/vm1.yaml", RNG("3"));
    CU_ASSERT_EQUAL(take(mine, config, MINE, 1u << 0 | 1u << 9, &refused), 0);
    CU_ASSERT_EQUAL(held(mine), 1u << 0 | 1u << 3 | 1u << 9);
    CU_ASSERT_EQUAL(take(mine, config, MINE, 1u << 9, &refused), 0);
    CU_ASSERT_EQUAL(held(mine), 1u << 3 | 1u << 9);
    drop(config);
    end();
}

/* A device that runs and is wanted no more does not take what the other one has. */
static void what_another_one_has_stays_its_own(void)
{
    struct claim_refused refused;
    begin();
    they_take(RNG("4"));
    struct config *config = configured("/etc/vm1.yaml", RNG("3"));
    CU_ASSERT_EQUAL(take(mine, config, MINE, 1u << 4, &refused), 0);
    CU_ASSERT_EQUAL(held(mine), 1u << 3);
    CU_ASSERT_EQUAL(held(theirs), 1u << 4);
    drop(config);
    end();
}

static void what_can_be_had_is_taken_and_the_first_refusal_is_told(void)
{
    begin();
    they_take(RNG("1") RNG("2"));
    i_am_refused(RNG("3") RNG("2") RNG("1") RNG("4"), 1, CONFIG_KEY_ID,
                 "id 2 is " THEIR_OWN ": end that one, or leave the device out");
    CU_ASSERT_EQUAL(held(mine), 1u << 3 | 1u << 4);
    CU_ASSERT_EQUAL(held(theirs), 1u << 1 | 1u << 2);
    CU_ASSERT_EQUAL(place(1)->keeper, THEIRS);
    end();
}

static void what_a_dead_one_has_left_is_free(void)
{
    begin();
    they_take(IMAGE("1", "/a/x") TAP("2", "tap0") CID("3", "9"));
    close(theirs);
    theirs = open_again(mine);
    i_get(IMAGE("4", "/a/x") TAP("5", "tap0") CID("6", "9") RNG("1"));
    CU_ASSERT_EQUAL(held(mine), 1u << 1 | 1u << 4 | 1u << 5 | 1u << 6);
    end();
}

static void of_another_version_only_the_id_counts(void)
{
    begin();
    they_take(CID("1", "9"));
    struct claim newer = *place(1);
    newer.version = CLAIMS_VERSION + 1;
    newer.kind = DEVICE_BLOCK_VIRTIO;
    put(1, &newer);
    i_get(CID("2", "9") IMAGE("3", "/a/x"));
    i_am_refused(RNG("1"), 0, CONFIG_KEY_ID,
                 "id 1 is another bao-virtio-dm's: end that one, or leave the device out");
    end();
}

/* ---- What two can't have ---- */

static void one_tap(void)
{
    begin();
    they_take(TAP("1", "tap0") TAP("0", "t") TAP("4", "fifteen-letters"));
    i_get(TAP("2", "tap1") RNG("3") TAP("5", "fifteen-letterz"));
    i_am_refused(TAP("2", "t"), 0, CONFIG_KEY_TAP_NAME,
                 "tap \"t\" is " THEIR_OWN ": choose another");
    i_am_refused(TAP("2", "fifteen-letters"), 0, CONFIG_KEY_TAP_NAME,
                 "tap \"fifteen-letters\" is " THEIR_OWN ": choose another");
    i_am_refused(TAP("2", "tap0"), 0, CONFIG_KEY_TAP_NAME,
                 "tap \"tap0\" is " THEIR_OWN ": choose another");
    struct claim elsewhere = *place(1);
    elsewhere.network++;
    put(1, &elsewhere);
    i_get(TAP("2", "tap0")); /* it is another tap, in another network namespace */
    end();
}

static void one_cid(void)
{
    begin();
    they_take(CID("1", "9") RNG("5"));
    i_get(CID("2", "10") RNG("4"));
    i_am_refused(CID("2", "9"), 0, CONFIG_KEY_GUEST_CID,
                 "guest_cid 9 is " THEIR_OWN ": choose another");
    end();
}

static void one_image(void)
{
    static const char words[] =
        "this image is " THEIR_OWN ": choose another, or read_only: true for both";
    begin();
    they_take(READ_IMAGE("1", "/a/x") IMAGE("5", "/a/z"));
    i_get(READ_IMAGE("2", "/a/x")); /* both read */
    i_get(READ_BY_RING("2", "/a/x"));
    i_get(IMAGE("2", "/a/y"));
    i_get(IMAGE("2", "/b/x"));
    i_am_refused(IMAGE("2", "/a/x"), 0, CONFIG_KEY_FILE_PATH, words);
    i_am_refused(IMAGE("2", "/a/../a//x"), 0, CONFIG_KEY_FILE_PATH, words);
    i_am_refused(READ_IMAGE("2", "/a/z"), 0, CONFIG_KEY_FILE_PATH, words);
    i_am_refused(READ_BY_RING("2", "/a/z"), 0, CONFIG_KEY_FILE_PATH, words);
    end();
}

static void one_name(void)
{
    begin();
    they_take(LOG("1", "/l/log"));
    i_get(LOG("2", "/k/log"));
    i_get(LOG("2", "/l/log2"));
    i_am_refused(LOG("2", "/l/log"), 0, CONFIG_KEY_LOG_PATH,
                 "the name \"log\" in this directory is " THEIR_OWN ": choose another");
    i_am_refused(IMAGE("2", "/l/log.1"), 0, CONFIG_KEY_FILE_PATH,
                 "the name \"log.1\" in this directory is " THEIR_OWN ": choose another");
    /* Only images are shared, and only with images. */
    i_am_refused(READ_IMAGE("2", "/l/log"), 0, CONFIG_KEY_FILE_PATH,
                 "the name \"log\" in this directory is " THEIR_OWN ": choose another");
    end();
}

static void a_relative_path_is_one_in_the_working_directory(void)
{
    char absolute[PATH_MAX], here[PATH_MAX], expected[2 * PATH_MAX];
    CU_ASSERT_PTR_NOT_NULL_FATAL(getcwd(here, sizeof(here)));
    CU_ASSERT_EQUAL(chdir("/usr"), 0);
    claims_absolute("a/b", absolute);
    CU_ASSERT_STRING_EQUAL(absolute, "/usr/a/b");
    claims_absolute("/a/b", absolute);
    CU_ASSERT_STRING_EQUAL(absolute, "/a/b");
    begin();
    they_take(IMAGE("1", "x"));
    CU_ASSERT_STRING_EQUAL(place(1)->names.directory, "/usr");
    CU_ASSERT_EQUAL(chdir("/"), 0);
    claims_absolute("a", absolute);
    CU_ASSERT_STRING_EQUAL(absolute, "/a");
    i_am_refused(IMAGE("2", "usr/x"), 0, CONFIG_KEY_FILE_PATH,
                 "this image is " THEIR_OWN ": choose another, or read_only: true for both");
    end();
    memset(expected, 'a', sizeof(expected));
    expected[0] = '/';
    expected[PATH_MAX + 5] = '\0';
    claims_absolute(expected, absolute); /* it is cut off */
    CU_ASSERT_EQUAL(strlen(absolute), PATH_MAX - 1);
    CU_ASSERT_EQUAL(strncmp(absolute, expected, PATH_MAX - 1), 0);
    CU_ASSERT_EQUAL(chdir(here), 0);
}

/* Root's own file, but perhaps a broken one. */
static void a_broken_place_is_read_within_its_bounds(void)
{
    static struct claim broken;
    struct claim_refused refused;
    begin();
    they_take(LOG("1", "/l/log"));
    broken = *place(1);
    memset(broken.config, 'c', sizeof(broken.config));
    memset(broken.tap_name, 't', sizeof(broken.tap_name));
    memset(broken.names.directory, 'd', sizeof(broken.names.directory));
    memset(broken.names.name, 'n', sizeof(broken.names.name));
    put(1, &broken);
    struct config *config = configured("/etc/vm1.yaml", RNG("1"));
    CU_ASSERT_EQUAL(take(mine, config, MINE, 0, &refused), -EBUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(refused.failure.text, "with ccc"));
    CU_ASSERT_PTR_NOT_NULL(strstr(refused.failure.text, "c: end that one"));
    drop(config);
    i_get(LOG("2", "/l/log"));

    i_get(RNG("3"));
    they_take(LOG("1", "/l/log"));
    broken = *place(1);
    broken.names.scheme = CONFIG_SCHEME_LOG + 1;
    put(1, &broken);
    i_get(LOG("2", "/l/log")); /* it says nothing about its names */
    broken.names.scheme = CONFIG_SCHEME_ALIAS;
    broken.names.ports = STATE_CONSOLE_PORTS + 1;
    put(1, &broken);
    i_get(LOG("2", "/l/log"));
    broken.names.ports = STATE_CONSOLE_PORTS;
    put(1, &broken);
    i_am_refused(LOG("2", "/l/log"), 0, CONFIG_KEY_LOG_PATH,
                 "the name \"log\" in this directory is " THEIR_OWN ": choose another");
    end();
}

#endif
