/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device model whose workers are the attacker (attacker.h): one frontend's device that is
 * attacked from within, its victim, and bystanders, block devices of other frontends under load,
 * which must not notice. One session serves all attacks on a kind, one after the other, unless
 * something went wrong in it.
 *
 * BVDM_LONG=1: bystanders under a full load, longer floods, and the bounds of a quiet machine.
 */
#ifndef TESTS_ATTACK_SESSION_H
#define TESTS_ATTACK_SESSION_H

#include <pthread.h>

#include "tests/attack/attacks.h"
#include "tests/standin/fixture.h"

#define BYSTANDERS_MAX 2u

struct session;

/* A kind of device to attack. Functions are optional but for start and serves. */
struct victim {
    const char *name;     /* its policy */
    const char *yaml;     /* its devices: ids 0 to devices - 1; "@" is the fixture's directory */
    unsigned int devices; /* that are attacked */
    const char *folder; /* in the fixture's directory, where bystanders' images are; NULL: in it */
    void (*prepare)(struct session *session);  /* what must be there before the device model */
    void (*clean_up)(struct session *session); /* and goes after it */
    /* Bring up device 0's driver, whatever it was before. */
    void (*start)(struct session *session);
    /* Asserts that the driver is served. */
    void (*serves)(struct session *session);
    void (*free)(struct session *session); /* the driver's memory */
};

extern const struct victim victim_rng, victim_block, victim_console, victim_log_file, victim_socket,
    victim_net, victim_vsock, victim_daemon;
#define VICTIM_LOG_SIZE "65536" /* bytes of victim_log_file's log */
/* Only where the kernel has vhost. */
extern const struct victim victim_vsock_vhost, victim_net_vhost;

/* Reads and writes its image, and looks what it gets. All but `block` is shared with its thread. */
struct bystander {
    struct guest_block block;
    pthread_t thread;
    bool running;
    _Atomic uint32_t ending;
    _Atomic uint64_t requests;
    _Atomic uint64_t
        longest_us;         /* from one completed request to the next, since this was set to 0 */
    _Atomic uint64_t wrong; /* requests that failed, or had other data */
};

struct session {
    const struct victim *victim; /* NULL: there is no session */
    struct fixture fixture;
    unsigned int failures; /* of the run, when it began */
    unsigned int bystander_count;
    struct bystander bystanders[BYSTANDERS_MAX];
    uint64_t calm_rate, spin_rate; /* long form: of the bystanders, a second: alone, and beside a
                                      worker that does nothing but spin */
};

/* What an attack costs, from session_watch to session_judge. */
struct watch {
    uint64_t since_ns, broker_ns, calls, requests;
};

/* The session of that kind, begun if it is not there. */
struct session *session_of(const struct victim *victim);
/* End the last one, and assert that it ends in order. */
void session_end(void);

unsigned int session_flood_ms(void);
/* The folder of the attacker and of the device model that starts it. */
const char *session_programs(void);

struct attack_report *session_report(struct session *session, unsigned int device);

/* Have the worker of an attacked device begin an attack; asserts that it does. */
void session_attack(struct session *session, unsigned int device, enum attack attack,
                    uint64_t argument);
/* A register access of device 0's driver: 0, or -errno as of standin_read. */
int session_read(struct session *session, uint64_t offset, unsigned int width, uint64_t *ret_value,
                 int timeout_ms);

void session_watch(struct session *session, struct watch *watch);
/* Asserts that neither the broker nor a bystander had to pay for what happened since. Says on
 * stdout what it was. Returns how many calls the attacker has made. */
uint64_t session_judge(struct session *session, const struct watch *watch, enum attack attack);

/* The whole of a flood: it begins, goes on for a while, is judged, and its worker is replaced.
 * Asserts that it could do something, too. */
void session_flood(const struct victim *victim, enum attack attack, uint64_t argument);

/* Wait until a device's worker, or device 0's, is another than `before`; asserts that it comes. */
pid_t session_wait_worker(struct session *session, unsigned int device, pid_t before);
pid_t session_wait_successor(struct session *session, pid_t before);
/* Another worker for each attacked device, by bao-dmctl's means; then asserts that device 0's
 * driver is served as on the first day, that the broker is still the first one, and bystanders are
 * well. */
void session_replace(struct session *session);
/* The assertions of the last two alone. */
void session_assert_unnoticed(struct session *session);

#endif
