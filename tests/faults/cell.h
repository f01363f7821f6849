/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The matrix of environment faults. A row is a resource, and what is wrong with it. A column is the
 * moment at which that happens. A cell is one run of the device model with four devices of two
 * frontends:
 *
 *     device 0   frontend A   the concerned one: its kind is the row's
 *     device 1   frontend A   block
 *     device 2   frontend B   block
 *     device 3   frontend B   rng
 *
 * Devices 1 to 3 are always under a load that verifies what it gets. A vCPU reads device 0's Status
 * register without end. cell.c says what is asserted of each cell.
 */
#ifndef TESTS_FAULTS_CELL_H
#define TESTS_FAULTS_CELL_H

#include <pthread.h>
#include <stdatomic.h>

#include "tests/faults/hang_fs.h"
#include "tests/standin/loads.h"
#include "tests/standin/managed.h"

enum moment {
    AT_START,      /* the fault is there when the device model starts */
    RUNNING,       /* the fault comes while everything is at work */
    WORKERS_DEATH, /* ... and then device 0's worker is killed */
    BROKERS_DEATH, /* ... and then the broker is killed */
    KEEPERS_DEATH, /* ... and then the keeper is killed, under a service manager */
    MOMENTS
};

/* What happens to device 0. */
enum fate {
    NOT_APPLICABLE, /* and the cell says why */
    WORKS,          /* it goes on while the fault lasts */
    FAILS,          /* its requests get errors; after the repair it works */
    WAITS,          /* its requests wait; after the repair they are carried out */
    RESETS,  /* the same, but it returns fixed values after 10 s, and its driver has to reset it */
    COPES,   /* any of WORKS, FAILS and WAITS: after the repair it works */
    LOST,    /* it does nothing until the service is started again */
    REFUSED, /* the start fails: exit status 1, and a line that names what is wrong */
};

struct expected {
    enum fate fate;
    const char *why; /* NOT_APPLICABLE: why that is so */
    /* The fault hits something that all devices share. So the others wait as well (never beyond
     * REGISTER_MS), and processes may be replaced. */
    bool everybody;
    bool is_long;             /* in the long form only */
    unsigned int hold_ms;     /* how long the fault lasts at least; 0: as the row says */
    unsigned int register_ms; /* the longest that a register access may take; 0: REGISTER_MS */
};

/* The subject of a block device reads the first SUBJECT_READS sectors of its image. It writes to as
 * many sectors behind them, each time to other pages. */
#define SUBJECT_READS 1024u

enum subject_kind { SUBJECT_BLOCK, SUBJECT_DAEMON, SUBJECT_NET, SUBJECT_TERMINAL, SUBJECT_LOG };

struct cell;

struct row {
    const char *resource, *fault;
    enum subject_kind subject;
    const char *keys;                   /* lines of YAML for device 0, besides those of its kind */
    const char *image;                  /* of SUBJECT_BLOCK, in the directory; NULL: disk0.img */
    const char *log;                    /* of SUBJECT_LOG, in the directory; NULL: console.log */
    const char *words;                  /* words of the message of a REFUSED start; NULL: any */
    unsigned int hold_ms;               /* how long the fault lasts at least; 0: as below */
    void (*prepare)(struct cell *cell); /* may call cell_lacks() if it can't */
    void (*inject)(struct cell *cell);
    void (*repair)(struct cell *cell); /* NULL: there is nothing to repair */
    void (*clean)(struct cell *cell);  /* removes what prepare made; also runs after REFUSED */
    struct expected at[MOMENTS];
};

#define LOOK_HOLD_MS 1200 /* RUNNING: some of what can go wrong is checked once a second */
#define HOLD_MS 600
#define REGISTER_MS 15000    /* 10 s, and 5 s for an overloaded machine */
#define RECOVER_MS 25000     /* until device 0 works after the repair; restarts up to 5 s apart */
#define PAUSE_MS 3000        /* the others', at a fault or at a death of device 0's worker */
#define DEATH_PAUSE_MS 10000 /* the others', at a death of a process that they share */

/* ---- The others (witness.c) ---- */

struct witness {
    struct guest_block block; /* of devices 1 and 2 */
    struct rng_load rng;      /* of device 3 */
    unsigned int id;
    atomic_bool stop;
    _Atomic unsigned int rounds;
    _Atomic uint64_t pause_ns; /* the longest between the ends of two rounds */
    unsigned int wrong;        /* read it only after the end */
    pthread_t thread;
};

/* The longest time that one register access of device 0 has taken. */
struct register_watch {
    struct fixture *fixture;
    atomic_bool stop;
    uint64_t longest_ns, accesses;
    int error;
    bool needed_reset; /* this was seen at least once */
    pthread_t thread;
};

void witness_start(struct witness *witness, struct fixture *fixture, unsigned int id);
void witness_stop(struct witness *witness);
/* Wait until it has done so many more rounds. False: not in time. */
bool witness_gets_on(struct witness *witness, unsigned int rounds, int timeout_ms);

void register_watch_start(struct register_watch *watch, struct fixture *fixture);
void register_watch_stop(struct register_watch *watch);

/* ---- Device 0 (subject.c) ---- */

enum outcome { DONE, ERROR, PENDING };

struct subject {
    enum subject_kind kind;
    struct guest_block block;
    unsigned int step; /* of an attempt that is pending */
    bool failed;
    bool is_spoilt; /* its image was changed, so what is read is not compared */
    struct net_fixture net;
    struct net_load net_load;
    struct guest_console console;
    unsigned int tokens;
    int terminal, log; /* the other end, where its output is seen; -1: none */
    off_t log_end;
};

/* Write its lines of YAML, and make what they need: image, tap, daemon. */
void subject_prepare(struct cell *cell, char *yaml, size_t size);
/* Start its driver; may be called again. */
void subject_start(struct cell *cell);
/* Try something of its kind: data in both directions, as far as possible. The next attempt waits
 * for what is still pending. */
enum outcome subject_attempt(struct cell *cell, int timeout_ms);
void subject_stop(struct cell *cell);

/* ---- The cell ---- */

/* In memory that the cell's process shares with its parent. */
struct cell_result {
    enum fate seen;
    bool over; /* the cell has ended, with or without failures */
    bool failed;
    bool skipped;     /* the machine lacks what it needs: */
    char missing[64]; /* what it lacks */
    unsigned int pause_ms, register_ms, total_ms;
};

struct cell {
    const struct row *row;
    enum moment moment;
    struct managed managed; /* its fixture is the cell's, also without a service manager */
    struct fixture *fixture;
    bool is_managed;
    const char *starter[8]; /* the program that starts it, if the row has one; NULL: none */
    struct subject subject;
    struct witness witnesses[3];
    struct register_watch watch;
    struct hang_fs *hang;
    struct hang_loop loop;
    pid_t daemon;
    int fds[64]; /* for the row's use */
    unsigned int fd_count;
    char path[128];
    struct cell_result *result;
};

/* A CUnit test. It is given up at the first failure after which there is nothing to wait for. */
void cell_run(struct cell *cell);
/* The cell needs something that this machine lacks: it is skipped after its preparation. */
void cell_lacks(struct cell *cell, const char *what);
/* Print the device model's log, if the cell was given up. */
void cell_show_log(const struct cell *cell);

const char *fate_word(enum fate fate);
extern const char *const moment_words[MOMENTS];

/* ---- The table (rows_backends.c, rows_shared.c) ---- */

extern const struct row *const rows_backends, *const rows_shared;
extern const unsigned int rows_backends_count, rows_shared_count;

#endif
