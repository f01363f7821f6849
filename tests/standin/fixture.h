/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests on the stand-in share: a directory for configuration and images, the real
 * bao-virtio-dm that uses them, and its log. A failure of the set-up is a CUnit failure.
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
    unsigned int failures; /* CUnit failures of the run before this test */
    struct standin *standin;
    unsigned int device_count; /* devices in the device tree */
    const char *programs; /* folder of the programs of the device model; NULL: those of the build */
    const char *config_name;  /* name of the configuration in DIR; NULL: config.yaml */
    const char *control_name; /* name of the control socket in DIR; NULL: control */
    const char *control_mode; /* NULL: 0600 */
    /* The program that starts bao-virtio-dm, with its arguments, NULL-terminated; NULL: none. With
     * a program, these are its standard input (0: none), and its standard output, separate from the
     * log. */
    const char *const *starter;
    int starter_in, starter_out;
    int stderr_fd;               /* the standard error instead of the log; 0: the log */
    unsigned int refused_irqfds; /* how many IRQFD calls of each device the stand-in refuses */
    enum standin_abi abi;        /* which generation of Bao's driver to imitate */
    const char *other_node; /* a node that exists beside the node of that generation; NULL: none */
    bool no_driver, as_written; /* no driver serves the node; fixture_configure adds nothing */
    /* The processes at the start. A process that still has the same pid was not restarted. */
    pid_t broker, workers[FIXTURE_DEVICES_MAX];
};

uint64_t fixture_base(unsigned int id);  /* base of a device's registers, guest-physical */
uint64_t fixture_shmem(unsigned int id); /* base of its window, guest-physical */

/* Make the directory. */
void fixture_init(struct fixture *fixture);
/* An image whose sector s starts with s, little-endian, followed by bytes s * 7 + i. */
void fixture_make_image(const struct fixture *fixture, const char *name, unsigned int sectors);
int fixture_open(const struct fixture *fixture, const char *name);
void fixture_sector(uint64_t sector, uint8_t ret[512]);
/* Write config.yaml; "@" stands for the directory. Each disk has the io_engine that BVDM_ENGINE in
 * the environment names, if it names one. For generation D, each device with an id that
 * lacks window and interrupt gets them, in added lines after its own lines. */
void fixture_configure(const struct fixture *fixture, const char *yaml);
/* The same, to a file of this name in the directory. */
void fixture_configure_as(const struct fixture *fixture, const char *name, const char *yaml);
/* "config.yaml:LINE:REST". `line` is the line in the text that was given to fixture_configure; LINE
 * is where it is in the file, with `devices` devices before it. Four such strings can be in use at
 * a time. */
const char *fixture_line(const struct fixture *fixture, unsigned int line, unsigned int devices,
                         const char *rest);
/* Configure `count` block devices on disk0.img, disk1.img, ..., and make these images. */
void fixture_configure_blocks(struct fixture *fixture, unsigned int count);

/* Start bao-virtio-dm --config config.yaml on a device tree with `devices` ids. Returns when each
 * of the first `workers` devices has a worker; 0: at once. */
void fixture_start(struct fixture *fixture, unsigned int devices, unsigned int workers);
void fixture_guest(struct fixture *fixture, unsigned int id, struct guest *guest);

/* Start a whole device model with `count` block devices, and the driver of the first. */
void fixture_start_blocks(struct fixture *fixture, unsigned int count);
void fixture_block(struct fixture *fixture, unsigned int id, struct guest_block *block,
                   uint64_t features, unsigned int depth, uint32_t request_size);

/* Asserts that the device reads what the image was made with, from that sector on: as much as one
 * request of the driver holds (4096 bytes at most). */
void fixture_assert_reads(struct guest_block *block, uint64_t sector);
/* Asserts that the driver works as it did at the start: its device has not asked for a reset, and
 * each register access was answered. */
void fixture_assert_running(struct guest *guest);

/* What the device model has logged so far; the caller frees it. */
char *fixture_log(const struct fixture *fixture);
/* Asserts that it has logged these words; or that it logs them before the time is over. */
void fixture_assert_logged(const struct fixture *fixture, const char *words);
void fixture_wait_logged(const struct fixture *fixture, const char *words, int timeout_ms);

/* What the log says of a device that the driver does not have; depends on the generation. Valid
 * until the next call. */
const char *fixture_lacks_device(unsigned int id);

pid_t fixture_worker(const struct fixture *fixture, unsigned int id);
/* Wait (up to 20 s) until a process other than `before` is the broker, or the device's worker. */
pid_t fixture_wait_broker(const struct fixture *fixture, pid_t before);
pid_t fixture_wait_worker(const struct fixture *fixture, unsigned int id, pid_t before);

/* The keeper that service_manager.c has started last, as that program writes it to the file
 * `events`. It can't be found by its name: a child of a keeper that was killed may have that name
 * for a moment. -1: none. */
pid_t fixture_managed_keeper(const struct fixture *fixture);

/* Asserts that no process was restarted since the start. */
void fixture_assert_never_restarted(const struct fixture *fixture);

/* Asserts that the device model, just started, ends by itself, with exit status 1. */
void fixture_assert_start_fails(struct fixture *fixture, int timeout_ms);
/* Call it after that: asserts that it has left no process behind. */
void fixture_stop_failed(struct fixture *fixture);
/* Send SIGTERM; asserts exit status 0, no process left, no protocol error. */
void fixture_stop(struct fixture *fixture);
void fixture_assert_irqs_taken_back(const struct fixture *fixture);
/* Remove the directory. */
void fixture_free(struct fixture *fixture);

/* Make FIXTURE_OWN a directory that belongs to root and that only this program sees, unlike the
 * fixture's directory below /tmp, where everybody may write. For main. Returns false after it has
 * said on stderr why it can't be. */
#define FIXTURE_OWN "/mnt"
bool fixture_own_directory(void);

/* main of a test program: run_tests() (tests/cunit_main.h), as root. */
int fixture_main(int argc, char **argv, const char *suite, CU_TestInfo *tests);

/* The ring format of the suite that runs, 0 or GUEST_PACKED. The drivers of fixture_block ask for
 * it. */
extern uint64_t fixture_format;
/* The same, with one suite for each ring format; both suites may be the same tests. */
int fixture_main_formats(int argc, char **argv, const char *suite, CU_TestInfo *split,
                         CU_TestInfo *packed);

#endif
