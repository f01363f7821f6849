/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device model whose workers are the attacker (attacker.h). One frontend's device, the victim, is
 * attacked from within. The bystanders are block devices of other frontends, under load; they must
 * not notice anything. One session serves all attacks on a kind, one after the other, unless
 * something goes wrong in it.
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

/* A kind of device to attack. All functions are optional, except start and serves. */
struct victim {
    const char *name;     /* its policy */
    const char *yaml;     /* its devices: ids 0 to devices - 1; "@" is the fixture's directory */
    unsigned int devices; /* number of devices that are attacked */
    const char *folder; /* of the bystanders' images, in the fixture's directory; NULL: that one */
    void (*prepare)(struct session *session);  /* makes what the device model needs */
    void (*clean_up)(struct session *session); /* removes it again */
    /* Start device 0's driver, whatever its state was. */
    void (*start)(struct session *session);
    /* Asserts that the driver is served. */
    void (*serves)(struct session *session);
    void (*free)(struct session *session); /* frees the driver's memory */
};

extern const struct victim victim_rng, victim_block, victim_ring, victim_console, victim_log_file,
    victim_socket, victim_net, victim_vsock, victim_daemon;
#define VICTIM_LOG_SIZE "65536" /* bytes of victim_log_file's log */
/* These exist only if the kernel has vhost. */
extern const struct victim victim_vsock_vhost, victim_net_vhost;

/* Reads and writes its image, and checks what it reads. Everything except `block` is shared with
 * its thread. */
struct bystander {
    struct guest_block block;
    pthread_t thread;
    bool running;
    _Atomic uint32_t ending;
    _Atomic uint64_t requests;
    _Atomic uint64_t longest_us; /* longest time between two completed requests, since set to 0 */
    _Atomic uint64_t wrong;      /* requests that failed, or had wrong data */
};

struct session {
    const struct victim *victim; /* NULL: there is no session */
    struct fixture fixture;
    unsigned int failures; /* failures of the run when the session began */
    unsigned int bystander_count;
    struct bystander bystanders[BYSTANDERS_MAX];
    uint64_t request_ns; /* of the broker's time, for a bystander's request before any attack */
    uint64_t calm_rate, spin_rate; /* long form: the bystanders' requests per second, alone, and
                                      beside a worker that only spins */
};

/* What an attack costs, between session_watch and session_judge. */
struct watch {
    uint64_t since_ns, broker_ns, calls, requests;
};

/* The session of that kind. It is begun if there is none. */
struct session *session_of(const struct victim *victim);
/* End the last session, and assert that everything ends in order. */
void session_end(void);

unsigned int session_flood_ms(void);
/* The folder of the attacker and of the device model that starts it. */
const char *session_programs(void);

struct attack_report *session_report(struct session *session, unsigned int device);

/* Make the worker of an attacked device begin an attack. Asserts that it does. */
void session_attack(struct session *session, unsigned int device, enum attack attack,
                    uint64_t argument);
/* A register access by device 0's driver. Returns 0, or -errno as from standin_read. */
int session_read(struct session *session, uint64_t offset, unsigned int width, uint64_t *ret_value,
                 int timeout_ms);

void session_watch(struct session *session, struct watch *watch);
/* Asserts that what happened since cost neither the broker nor a bystander too much. Prints the
 * costs on stdout. Returns how many calls the attacker has made. */
uint64_t session_judge(struct session *session, const struct watch *watch, enum attack attack);

/* A whole flood: it begins, goes on for a while, is judged, and its worker is replaced. Also
 * asserts that the attacker could do something. */
void session_flood(const struct victim *victim, enum attack attack, uint64_t argument);

/* Wait until the worker of a device is another than `before`, and return it; the second one does so
 * for device 0. Assert that it comes. */
pid_t session_wait_worker(struct session *session, unsigned int device, pid_t before);
pid_t session_wait_successor(struct session *session, pid_t before);
/* Replaces the worker of each attacked device with bao-dmctl. Then asserts that device 0's driver
 * is served as at the start, that the broker is still the first one, and that the bystanders are
 * well. */
void session_replace(struct session *session);
/* Only the last two of these assertions. */
void session_assert_unnoticed(struct session *session);

#endif
