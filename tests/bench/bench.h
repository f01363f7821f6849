/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The benchmark: the real device model on the stand-in. What it is compared with is measured in the
 * same run, by turns.
 *
 *   main.c      options, and what is measured
 *   block.c     block requests through a guest's driver, and a bare loop
 *   blocks.c    which of them, the tables, JSON, the check
 *   sides.c     what serves a disk: the device model, and what it is compared with
 *   image.c     a disk's image, in which a lost write is found
 *   front_end.c a vhost-user front end, for the comparison with a daemon
 *   vsock.c     bulk and pings between a guest's driver and a Unix socket
 *   net.c       frames between a guest's driver and a tap, of which tap.c is the other end
 *   console.c   what a guest prints, and what a user types
 *   rng.c       random bytes
 *   disk.c      disks by the two engines and by a daemon, from a slow disk (slow_disk.c) and from
 *               memory, beside a bare io_uring (bare_ring.c)
 *   load.c      what the last three share: turns, the table, JSON, the check
 *   restart.c   deaths of workers, and memory
 *   register.c  relayed register accesses, and the stand-in's own floor
 *   startup.c   the start of the program
 *   usage.c     processor time, memory and system calls of a process
 *   plots.c     how cost grows; lanes.c: their driver, of many queues and devices; svg.c: pictures
 *   model.c     a device model, and samples
 */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include <pthread.h>
#include <stdio.h>

#include "tests/bench/image.h"
#include "tests/standin/guest.h"

#define BENCH_SHMEM 0x50000000ull
#define BENCH_SHMEM_SIZE 0x2000000ull
#define BENCH_BASE 0xa003e00ull
#define ROUNDS_MAX 20

/* Where the registers and the window of a device are. */
static inline uint64_t bench_base(unsigned int id)
{
    return BENCH_BASE - 0x200ull * id;
}

static inline uint64_t bench_shmem(unsigned int id)
{
    return BENCH_SHMEM + BENCH_SHMEM_SIZE * id;
}

/* Processes whose work is counted together. */
#define PROCESSES_MAX 16u
struct processes {
    pid_t pids[PROCESSES_MAX];
    unsigned int count;
};

/* A device model, mostly with one device. */
struct model {
    struct standin *standin;
    pid_t worker, broker; /* of the first device */
    /* The workers; the broker. Of another project's program, `workers` are all. */
    struct processes workers, rest;
    bool placed;       /* place_processes, or place_guest */
    uint64_t start_ns; /* from the start of the program until a register was answered */
};

struct bench {
    uint64_t slice_ns;       /* how long each turn lasts */
    unsigned int rounds;     /* turns of each of the two */
    bool one_processor;      /* for the whole device model */
    bool anywhere;           /* the scheduler places all processes */
    bool shared;             /* guest and device model share one processor */
    bool no_polling;         /* poll_us: 0 */
    bool check;              /* measure only what --check looks at */
    unsigned int turns_left; /* of the check, after this one */
    /* Another device model's program, and its configurations of a disk, of a network and of a
     * console; NULL. */
    const char *peer;
    const char *peer_config, *peer_net_config, *peer_console_config;
    bool peer_is_ours; /* the check measures our own program as a peer */
};

/* model.c */

/* Write the configuration of one device to `path`. `keys` are its lines, "    type: ..." and so on,
 * without id, mmio_addr and poll_us; "@" stands for `dir`. Returns 0 or -errno. */
int model_write_config(const char *path, const char *dir, const char *keys, bool no_polling);
/* Start a device model, with a control socket or without (NULL), and wait until it is up. Returns 0
 * or -errno; the stand-in may be there in both cases. */
int model_launch(const char *program, const char *config, const char *control, int log,
                 struct standin **ret);
#define MODEL_PROGRAM PROGRAM_DIR "/bao-virtio-dm"

/* Start `program` with this configuration, which has the first so many devices. It may be a program
 * of another project: then worker and broker are < 0, and the scheduler places it. Otherwise as
 * model_start. */
int model_start_program(const struct bench *bench, const char *program, const char *config, int log,
                        unsigned int devices, struct model *ret);

/*
 * Start it and place its processes, as `bench` says, and wait until it is up. `keys` are the lines
 * of the device, "    type: ..." and so on, without id, mmio_addr and poll_us; "@" stands for
 * `dir`, in which the configuration is made. Returns 0 or -errno; model_stop is called in both
 * cases.
 */
int model_start(const struct bench *bench, const char *dir, int log, const char *keys,
                struct model *ret);
/* Returns `result`; if that is 0, -ECHILD unless the device model ends with exit status 0, or
 * -EPROTO after a protocol error. */
int model_stop(struct model *model, int result);

/* The samples, in nanoseconds; grows as needed. */
struct samples {
    uint64_t *ns;
    size_t count, capacity;
};

void samples_add(struct samples *samples, uint64_t ns);
/* Sorts the samples. 0 if there are none. */
uint64_t samples_percentile(struct samples *samples, unsigned int percent);
/* The same in microseconds. */
double samples_us(struct samples *samples, unsigned int percent);
void samples_free(struct samples *samples);
uint64_t bench_now_ns(void);
/* Say on stderr what is measured now, and how long it has taken until here. */
void progress(const char *what);
double median(const double *values, unsigned int count);
/* The value below which that part of the values is: 0 to 1. */
double quantile(const double *values, unsigned int count, double part);
/* The median of rates[i] / bare[i], which were measured one after the other. 0 without bare. */
double median_ratio(const double *rates, const double *bare, unsigned int count);
/* How far these ratios are from their median: half of the distance between their quartiles. */
double ratio_spread(const double *rates, const double *bare, unsigned int count);
/* Both for a table, the spread in percent of the median: "  0.52   3%". */
#define RATIO_TITLE "ratio   +-"
struct ratio_words {
    char text[24];
};
struct ratio_words ratio_words(const double *rates, const double *bare, unsigned int count);

/* usage.c */
enum syscall_method { SYSCALLS_TRACEPOINT, SYSCALLS_PTRACE, SYSCALLS_NONE };

#define SYSCALL_EVENTS_MAX 256u
struct syscall_counter {
    int events[SYSCALL_EVENTS_MAX]; /* SYSCALLS_TRACEPOINT */
    unsigned int count;
};

/* The system calls of processes between two moments, counted in whichever way works here. */
struct counted {
    pid_t pid;            /* for ptrace */
    uint64_t duration_ns; /* ptrace counts for so long */
    enum syscall_method method;
    struct syscall_counter counter;
    pthread_t tracer;
    int64_t syscalls; /* -1: unknown */
};
void counted_begin(struct counted *counted, const struct processes *processes,
                   uint64_t duration_ns);
void counted_end(struct counted *counted);

/* What processes have used since they began. Switches are those of the threads that still exist. */
struct use {
    uint64_t cpu_ns, voluntary, involuntary;
};
struct use use_of(const struct processes *processes);
/* Add what they have used since `before`. */
void use_add(struct use *sum, struct use before, const struct processes *processes);

/* What an operation took of processes. */
struct request_use {
    double syscalls; /* < 0: unknown */
    double cpu_ns, voluntary, involuntary;
};

/* Sets all but the system calls. */
void use_divide(const struct use *use, double count, struct request_use *ret);
/* The first column of the tables; of a set with longer names it is wider. */
#define NAME_WIDTH 28
/* A table of workers and brokers, and its lines. */
void use_print_title(const char *title, int width);
void use_print(const char *name, int width, const struct request_use *data,
               const struct request_use *rest);
/* ", name: {...}" */
void use_print_json(FILE *file, const char *name, const struct request_use *use);
/*
 * Pin the workers to the last processor, and this process and the broker to the others: Bao, too,
 * gives the frontend its own processors. If there is only one processor, returns false and leaves
 * all to the scheduler.
 */
bool place_processes(const struct processes *workers, pid_t broker);
/* What the caller starts from now on gets the last processor only, and finds no other: a backend
 * with one processor. False: there is only one. */
bool place_what_starts(void);
/* This process gets the other processors. */
bool place_guest(void);
/* Leave the calling thread, and all that it starts from now on, to the scheduler again. */
void place_nowhere(void);
/* From now on there is one processor for all: the guest and whatever serves it. Placing then does
 * nothing and returns false. */
void place_all_on_one(void);
/* Processor time of all threads. */
uint64_t cpu_time_ns(pid_t pid);

/* Private memory of the process, in KiB. `shared_too`: MAP_SHARED mappings as well. -1: there is no
 * such process. */
double private_kib(pid_t pid, bool shared_too);

/* sides.c: what serves a disk. Each has an image of its own, all of the same size. */
enum side_id { SIDE_OURS, SIDE_UNCONFINED, SIDE_STORAGE_DAEMON, SIDE_PEER, SIDES };
#define IMAGE_SIZE (64ull << 20)
/* Our device, as model_start takes it. */
#define SIDE_KEYS "    type: block\n    data_plane: virtio\n    file_path: \"@/image\"\n"

struct side {
    bool up, foreign;   /* foreign: how it ends is no matter of ours */
    char *dir;          /* where its files are */
    struct model model; /* SIDE_STORAGE_DAEMON has none, but these two: */
    pid_t daemon;
    struct front_end *front_end;
    struct image image;
    struct processes data, rest; /* the worker; the broker. Of others, `data` is all */
};

extern const char *const side_names[SIDES];
/* Write the peer's configuration to `to`, with `dir` for "@". Returns 0 or -errno. */
int side_copy_config(const char *from, const char *to, const char *dir);
/* Whether it can be had here: a program is installed, a peer was given. */
bool side_exists(const struct bench *bench, enum side_id id);
/* What qemu-storage-daemon serves. */
struct daemon_disk {
    const char *driver; /* "file", or "host_device" */
    const char *path;
    bool read_only, direct; /* direct: O_DIRECT */
};
/* Start it, with its socket at that path, on the worker's processor. Returns 0 or -errno; side_stop
 * is called in both cases. */
int side_start_daemon(const struct bench *bench, const struct daemon_disk *disk,
                      const char *socket_path, int log, struct side *side);
/* Make its files, in `dir`. Returns 0 or -errno; side_free is called in both cases. */
int side_make(enum side_id id, const char *dir, struct side *ret);
void side_free(struct side *side);
/* Start it, and wait until it is up. Returns 0 or -errno; side_stop is called in both cases. */
int side_start(const struct bench *bench, enum side_id id, int log, struct side *side);
/* Returns `result`, or what model_stop returns. */
int side_stop(struct side *side, int result);
/* A guest that has the whole window. */
void side_guest(const struct side *side, struct guest *ret);

/* block.c */
struct block_workload {
    const char *name;
    unsigned int depth;
    uint32_t size; /* bytes */
    bool sequential, write;
    uint64_t format; /* of the ring: 0, or GUEST_PACKED */
    bool checked;    /* --check measures it, too */
};

struct block_served {
    bool measured;           /* false: the side is not there, or lacks the ring's format */
    double rate[ROUNDS_MAX]; /* requests per second, a value for each turn */
    double p50_us, p99_us;
    double interrupts, kicks, register_accesses; /* per request */
    struct request_use data, rest;
    enum syscall_method method;
};

struct block_result {
    struct block_served served[SIDES];
    double bare_rate[ROUNDS_MAX], bare_p50_us, bare_p99_us;
};

/* Measure the sides that are up by turns, and a bare loop on `image`. */
int block_run(const struct bench *bench, const struct block_workload *workload, struct side *sides,
              struct image *image, struct block_result *result);

/* blocks.c. With the sides up, accesses to registers of the first are measured as well. */
int blocks_run(const struct bench *bench, const char *dir, int log);
void blocks_print(const struct bench *bench);
void blocks_print_json(FILE *file, const struct bench *bench);
/* Print each promise, and whether it was kept. Adds to both counts. */
void blocks_check(const struct bench *bench, unsigned int *count, unsigned int *failed);

/* vsock.c: the socket device in user space, with programs of the host at the other ends. By turns,
 * a bare pair of Unix sockets moves the same bytes. */
#define VSOCK_WORKLOADS 12
enum vsock_unit { VSOCK_BULK, VSOCK_PING, VSOCK_CONNECT };
struct vsock_result {
    /* Bulk: MiB per second. Pings and connections: number per second. And the same of the bare
     * pair. */
    double rate[ROUNDS_MAX], bare_rate[ROUNDS_MAX];
    double amount; /* number of those units in all rounds; the values below are for one unit */
    double kicks, interrupts;
    struct request_use worker, broker;
    double bare_cpu_ns;                         /* of both ends of the bare pair */
    struct samples latency, bare_latency, echo; /* of pings; of two wake-ups by eventfd */
};
/* Uses its own device model. Files are made in `dir`. `results` has VSOCK_WORKLOADS elements. */
int vsock_run(struct bench *bench, const char *dir, int log, struct vsock_result *results);
void vsock_print(const struct bench *bench, struct vsock_result *results);
void vsock_print_json(FILE *file, const struct bench *bench, struct vsock_result *results);
void vsock_free(struct vsock_result *results);
/* The most that any bulk load took in system calls for a KiB (negative: they were not counted), and
 * one connection's round trip in interrupts. */
void vsock_largest(const struct vsock_result *results, double *ret_calls, double *ret_interrupts);

/* restart.c: the time from a worker's death to the next completed request, and memory, for each
 * kind that the stand-in can run. Each kind has its own device model. */
#define RESTART_KINDS 6
#define RESTART_P50_WANTED_US 5000.0
#define RESTART_P99_WANTED_US 20000.0
struct restart_kind {
    struct samples outages;
    double worker_kib, broker_kib; /* private memory */
};
struct restart_result {
    struct restart_kind kinds[RESTART_KINDS];
};
/* Files are made in `dir`, which contains `image`. Afterwards the calling thread is in a network
 * namespace of its own. */
int restart_run(const struct bench *bench, const char *dir, int log, struct restart_result *result);
void restart_print(struct restart_result *result);
void restart_print_json(FILE *file, struct restart_result *result);
void restart_largest(const struct restart_result *result, double *ret_worker_kib,
                     double *ret_broker_kib);
void restart_free(struct restart_result *result);

/* register.c. `ours` is up, with any device. */
int register_run(const struct bench *bench, struct standin *ours);
void register_print(void);
void register_print_json(FILE *file);

/* startup.c: from the start of the program until its device answers. */
int startup_run(const struct bench *bench, const char *dir, int log);
void startup_print(void);
void startup_print_json(FILE *file);

/* plots.c: how the cost of a request grows. Writes pictures and the numbers into the folder
 * `plots`, which it makes. Files are made in `dir`. Returns 0 or -errno. */
int plots_run(const struct bench *bench, const char *plots, const char *dir, int log);

/* load.c: workloads that count operations, and have a device model of their own. */
#define LOADS_MAX 24u

struct load_turn {
    uint64_t duration_ns;    /* how long it should last */
    struct samples *latency; /* of each operation, if the load times them */
    uint64_t count, ns;      /* set by the turn: operations, and how long they took */
};

/* Runs one turn. Returns 0 or -errno. */
typedef int load_turn_function(void *context, struct load_turn *turn);

struct load {
    const char *name;
    uint32_t bytes; /* that an operation moves */
    bool timed;     /* the turns sample each operation */
    load_turn_function *turn, *bare;
    /* What --check promises for one operation; 0: nothing. */
    double syscalls_max, kicks_max, interrupts_max;
};

/* What is measured: the driver of a device, and the processes that serve it. */
struct load_side {
    void *context; /* for the turns; NULL: there is none */
    struct guest *guest;
    const struct model *model;
};

/* What was measured of a side; for one operation, but the rates. */
struct load_served {
    double rate[ROUNDS_MAX]; /* operations per second */
    double kicks, interrupts, register_accesses;
    struct request_use data, rest;
    struct samples latency;
};

struct load_result {
    const struct load *load;
    struct load_served ours, peer;
    bool has_peer;
    double bare_rate[ROUNDS_MAX];
    struct samples bare_latency;
};

/* A kind of device, whose loads are measured with one call. */
struct load_set {
    const char *name, *title, *operation;
    const char *notes; /* below the table */
    bool peers;        /* some of its loads are measured beside a peer, too */
    /* Fills in `results`, and their number. Files are made in `dir`. */
    int (*run)(struct bench *bench, const char *dir, int log, struct load_set *set);
    unsigned int count;
    struct load_result results[LOADS_MAX];
};
extern struct load_set net_set, console_set, rng_set, disk_set;

/* Do one operation after the other until the turn's time is over, or one fails. Returns 0 or its
 * -errno. */
int load_repeat(struct load_turn *turn, int (*once)(void *context), void *context);
/* Measure one more load of the set, by turns. If the peer fails, that is said, and its context
 * becomes NULL. */
int load_run(const struct bench *bench, struct load_set *set, const struct load *load,
             const struct load_side *ours, struct load_side *peer);
/* Take the interrupt if it has been raised, without waiting. Returns 0 or -errno. */
int load_take_interrupt(struct guest *guest);
/* Wait for the queue's interrupt, unless chains were used in the meantime. Returns 0 or -errno. */
int load_wait(struct guest_queue *queue);
void load_print(const struct bench *bench, struct load_set *set);
void load_print_json(FILE *file, const struct bench *bench, struct load_set *set);
/* Print each promise, and whether it was kept. Adds to both counts. */
void load_check(const struct bench *bench, const struct load_set *set, unsigned int *count,
                unsigned int *failed);
void load_free(struct load_set *set);

#endif
