/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests on the stand-in share: a directory for configuration and images, the real
 * bao-virtio-dm on them, and its log. Failures to set up are CUnit failures.
 */
#ifndef TESTS_STANDIN_FIXTURE_H
#define TESTS_STANDIN_FIXTURE_H

#include <CUnit/CUnit.h>

#include "tests/standin/guest.h"

#define FIXTURE_DEVICES_MAX 16
#define FIXTURE_SHMEM_SIZE 0x1000000ull
#define FIXTURE_IMAGE_SECTORS 4096u /* of a generated image */

struct fixture {
    char dir[64];
    int log_fd;            /* standard error of the device model */
    unsigned int failures; /* of the run, before this */
    struct standin *standin;
    unsigned int device_count; /* of the device tree */
    const char *programs;      /* folder of the device model's; NULL: those of the build */
    const char *config_name;   /* of the configuration in DIR; NULL: config.yaml */
    const char *control_name;  /* of the control socket in DIR; NULL: control */
    const char *control_mode;  /* NULL: 0600 */
    /* What starts bao-virtio-dm, with its arguments, NULL-terminated; NULL: nothing. Then also its
     * standard input (0: none), and its standard output, apart from the log. */
    const char *const *starter;
    int starter_in, starter_out;
    int stderr_fd;               /* in the place of the log; 0: the log */
    unsigned int refused_irqfds; /* by the stand-in, of each device */
    enum standin_abi abi;        /* of Bao's driver */
    const char *other_node;      /* beside that generation's; NULL: none */
    bool no_driver, as_written;  /* behind the node; fixture_configure adds nothing */
    /* The processes at start: whoever is still them has not been restarted. */
    pid_t broker, workers[FIXTURE_DEVICES_MAX];
};

uint64_t fixture_base(unsigned int id);  /* of a device's registers, guest-physical */
uint64_t fixture_shmem(unsigned int id); /* of its window */

/* Make the directory. */
void fixture_init(struct fixture *fixture);
/* An image whose sector s starts with s, little-endian, followed by bytes s * 7 + i. */
void fixture_make_image(const struct fixture *fixture, const char *name, unsigned int sectors);
int fixture_open(const struct fixture *fixture, const char *name);
void fixture_sector(uint64_t sector, uint8_t ret[512]);
/* Write config.yaml; "@" stands for the directory. For generation D, each device with a number that
 * lacks window and interrupt gets them, in lines behind its own. */
void fixture_configure(const struct fixture *fixture, const char *yaml);
/* "config.yaml:LINE:REST", where the line of the text that was written there has come to be: with
 * `devices` before it. Four such strings can be in use at a time. */
const char *fixture_line(const struct fixture *fixture, unsigned int line, unsigned int devices,
                         const char *rest);
/* `count` block devices on disk0.img, disk1.img, ..., which are made. */
void fixture_configure_blocks(struct fixture *fixture, unsigned int count);

/* Start bao-virtio-dm --config config.yaml on a device tree of `devices` ids; at once, or when
 * every worker of `workers` is there. */
void fixture_start(struct fixture *fixture, unsigned int devices, unsigned int workers);
void fixture_guest(struct fixture *fixture, unsigned int id, struct guest *guest);

/* A whole device model with `count` block devices, and the driver of the first. */
void fixture_start_blocks(struct fixture *fixture, unsigned int count);
void fixture_block(struct fixture *fixture, unsigned int id, struct guest_block *block,
                   uint64_t features, unsigned int depth, uint32_t request_size);

/* Asserts that the device reads what the image was made with: as much as a request of the driver's
 * holds (4096 bytes at most), from that sector on. */
void fixture_assert_reads(struct guest_block *block, uint64_t sector);
/* Asserts that the driver is at work as on the first day: its device has not asked for a reset, and
 * each register access was answered. */
void fixture_assert_running(struct guest *guest);

/* What it has logged so far; the caller frees it. */
char *fixture_log(const struct fixture *fixture);
/* Asserts that it has logged these words; or does so before the time is over. */
void fixture_assert_logged(const struct fixture *fixture, const char *words);
void fixture_wait_logged(const struct fixture *fixture, const char *words, int timeout_ms);

/* What is said of a device that the driver lacks, by its generation. Until the next call. */
const char *fixture_lacks_device(unsigned int id);

pid_t fixture_worker(const struct fixture *fixture, unsigned int id);
/* Wait (up to 20 s) until a process other than `before` is the broker, or the device's worker. */
pid_t fixture_wait_broker(const struct fixture *fixture, pid_t before);
pid_t fixture_wait_worker(const struct fixture *fixture, unsigned int id, pid_t before);

/* The keeper that service_manager.c has started last, by what that says in the file `events`. Not
 * to be found by its name: a child of a keeper that was killed may have it for a moment. -1: none.
 */
pid_t fixture_managed_keeper(const struct fixture *fixture);

/* Nobody has been restarted since the start. */
void fixture_assert_never_restarted(const struct fixture *fixture);

/* Asserts that the device model, just started, ends by itself, with exit status 1. */
void fixture_assert_start_fails(struct fixture *fixture, int timeout_ms);
/* After that: asserts that it has left no process behind. */
void fixture_stop_failed(struct fixture *fixture);
/* SIGTERM; asserts exit status 0, no process left, no protocol error. */
void fixture_stop(struct fixture *fixture);
void fixture_assert_irqs_taken_back(const struct fixture *fixture);
/* Remove the directory. */
void fixture_free(struct fixture *fixture);

/* main of a test program: run_tests() (tests/cunit_main.h), as root. */
int fixture_main(int argc, char **argv, const char *suite, CU_TestInfo *tests);

/* The format of the suite that runs, 0 or GUEST_PACKED: fixture_block's drivers want it. */
extern uint64_t fixture_format;
/* Likewise, with one suite for each format of the ring; they may be the same tests. */
int fixture_main_formats(int argc, char **argv, const char *suite, CU_TestInfo *split,
                         CU_TestInfo *packed);

#endif
