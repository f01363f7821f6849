/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The matrix of environment faults. A row is a resource and what is wrong with it; a column is the
 * moment at which it is; a cell is one run of the device model with four devices of two frontends:
 *
 *     device 0   frontend A   the concerned one: its kind is the row's
 *     device 1   frontend A   block
 *     device 2   frontend B   block
 *     device 3   frontend B   rng
 *
 * Devices 1 to 3 are under a load that verifies what it gets, all the while. A vCPU reads device
 * 0's Status register without end. What is asserted of each cell is in cell.c.
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
    RUNNING,       /* it comes while all is at work */
    WORKERS_DEATH, /* ... and then device 0's worker is killed */
    BROKERS_DEATH, /* ... and then the broker is killed */
    KEEPERS_DEATH, /* ... and then the keeper is killed, under a service manager */
    MOMENTS
};

/* What becomes of device 0. */
enum fate {
    NOT_APPLICABLE, /* and the cell says why */
    WORKS,          /* it goes on, though the fault lasts */
    FAILS,          /* its requests get errors; after the repair it works */
    WAITS,          /* its requests wait; after the repair they are carried out */
    RESETS,  /* the same, but its driver has to reset it, having got fixed values after 10 s */
    COPES,   /* any of WORKS, FAILS and WAITS: after the repair it works */
    LOST,    /* it does nothing any more, until the service is started anew */
    REFUSED, /* the start fails: exit status 1, and a line that names what is wrong */
};

struct expected {
    enum fate fate;
    const char *why; /* NOT_APPLICABLE: why that is so */
    /* The fault hits what all devices share, so the others wait as well (never beyond
     * REGISTER_MS), and processes may be replaced. */
    bool everybody;
    bool is_long;             /* in the long form only */
    unsigned int hold_ms;     /* how long the fault lasts at least; 0: as the row says */
    unsigned int register_ms; /* the longest that a register access may take; 0: REGISTER_MS */
};

/* A block device's subject reads the first so many sectors of its image, and writes behind them to
 * as many, to other pages each time. */
#define SUBJECT_READS 1024u

enum subject_kind { SUBJECT_BLOCK, SUBJECT_DAEMON, SUBJECT_NET, SUBJECT_TERMINAL, SUBJECT_LOG };

struct cell;

struct row {
    const char *resource, *fault;
    enum subject_kind subject;
    const char *keys;                   /* lines of YAML for device 0, besides those of its kind */
    const char *image;                  /* of SUBJECT_BLOCK, in the directory; NULL: disk0.img */
    const char *log;                    /* likewise, of SUBJECT_LOG; NULL: console.log */
    const char *words;                  /* in the line of a REFUSED start; NULL: any */
    unsigned int hold_ms;               /* how long the fault lasts at least; 0: as below */
    void (*prepare)(struct cell *cell); /* may say by cell_lacks() that it can't */
    void (*inject)(struct cell *cell);
    void (*repair)(struct cell *cell); /* NULL: there is nothing to repair */
    void (*clean)(struct cell *cell);  /* of what prepare made; also after REFUSED */
    struct expected at[MOMENTS];
};

#define LOOK_HOLD_MS 1200 /* RUNNING: some of what can go wrong is looked at once a second */
#define HOLD_MS 600
#define REGISTER_MS 15000    /* 10 s, and 5 s for a machine that is overloaded */
#define RECOVER_MS 25000     /* till device 0 works after the repair: pauses before restarts, 5 s */
#define PAUSE_MS 3000        /* of the others at a fault or a death of device 0's worker */
#define DEATH_PAUSE_MS 10000 /* ... at a death of what they share */

/* ---- The others (witness.c) ---- */

struct witness {
    struct guest_block block; /* of devices 1 and 2 */
    struct rng_load rng;      /* of device 3 */
    unsigned int id;
    atomic_bool stop;
    _Atomic unsigned int rounds;
    _Atomic uint64_t pause_ns; /* the longest between the ends of two rounds */
    unsigned int wrong;        /* to be read after the end */
    pthread_t thread;
};

/* The longest that one register access has taken, of device 0. */
struct register_watch {
    struct fixture *fixture;
    atomic_bool stop;
    uint64_t longest_ns, accesses;
    int error;
    bool needed_reset; /* was read at least once */
    pthread_t thread;
};

void witness_start(struct witness *witness, struct fixture *fixture, unsigned int id);
void witness_stop(struct witness *witness);
/* Until it has done so many more rounds, or the time is over. */
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
    bool is_spoilt; /* its image was changed: what is read is not compared */
    struct net_fixture net;
    struct net_load net_load;
    struct guest_console console;
    unsigned int tokens;
    int terminal, log; /* what it is seen by; -1 */
    off_t log_end;
};

/* The lines of YAML and what they need: image, tap, daemon. */
void subject_prepare(struct cell *cell, char *yaml, size_t size);
/* Its driver; may be called again. */
void subject_start(struct cell *cell);
/* Something of its kind: data in both directions, as far as it goes. What is pending is waited for
 * by the next attempt. */
enum outcome subject_attempt(struct cell *cell, int timeout_ms);
void subject_stop(struct cell *cell);

/* ---- The cell ---- */

/* In memory that the process of the cell shares with its parent. */
struct cell_result {
    enum fate seen;
    bool over; /* the cell has come to its end, with failures or without */
    bool failed;
    bool skipped;     /* the machine lacks what it needs: */
    char missing[64]; /* that */
    unsigned int pause_ms, register_ms, total_ms;
};

struct cell {
    const struct row *row;
    enum moment moment;
    struct managed managed; /* its fixture is the cell's, managed or not */
    struct fixture *fixture;
    bool is_managed;
    const char *starter[8]; /* of a row that starts it by something else; NULL: none */
    struct subject subject;
    struct witness witnesses[3];
    struct register_watch watch;
    struct hang_fs *hang;
    struct hang_loop loop;
    pid_t daemon;
    int fds[64]; /* a row's */
    unsigned int fd_count;
    char path[128];
    struct cell_result *result;
};

/* A test of CUnit's: given up at the first failure after which there is nothing to wait for. */
void cell_run(struct cell *cell);
/* It needs what this machine does not have: it is skipped after its preparation. */
void cell_lacks(struct cell *cell, const char *what);
/* What the device model had to say, if the cell was given up. */
void cell_show_log(const struct cell *cell);

const char *fate_word(enum fate fate);
extern const char *const moment_words[MOMENTS];

/* ---- The table (rows_backends.c, rows_shared.c) ---- */

extern const struct row *const rows_backends, *const rows_shared;
extern const unsigned int rows_backends_count, rows_shared_count;

#endif
