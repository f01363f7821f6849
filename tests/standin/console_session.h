/* SPDX-License-Identifier: Apache-2.0 */
/* The driver of a console device, and a user at its terminals, for the tests of both. */
#ifndef TESTS_STANDIN_CONSOLE_SESSION_H
#define TESTS_STANDIN_CONSOLE_SESSION_H

#include "tests/standin/fixture.h"

#define PATIENCE_MS 20000
#define CHUNK 4096u
#define ALIAS "    pty_alias: \"@/console\"\n"

struct console_session {
    struct fixture fixture;
    struct guest_console console;
    char alias[96];
    int user; /* at port 0's terminal; -1: nobody */
    /* What the guest got. It is checked against the pattern when it comes. */
    uint64_t wrong;
    char typed[256]; /* the last part of it, as text */
    size_t typed_length;
};

/* Byte number `at` of a stream that does not repeat within megabytes. */
uint8_t console_pattern(uint64_t at);
void console_fill(uint8_t *to, uint64_t at, size_t length);
uint64_t console_differences(const uint8_t *data, uint64_t at, size_t length);
void console_path(const struct console_session *test, unsigned int port, char ret[128]);
int console_open(const struct console_session *test, unsigned int port);
/* Read until `text` has come, while the guest's driver works. False if it does not come. */
bool console_reads(struct console_session *test, int fd, const char *text);
/* Read until nothing more comes for a while. Returns whether something comes after that. */
bool console_reads_all(struct console_session *test, int fd);
void console_take_text(struct guest_console *console, unsigned int port, const uint8_t *data,
                       uint32_t length);
void console_take_pattern(struct guest_console *console, unsigned int port, const uint8_t *data,
                          uint32_t length);
bool console_gets(struct console_session *test, const char *text);
/* Wait until the device has completed all output. False if the time is over before. */
bool console_drained(struct console_session *test, unsigned int port, uint64_t within_ms);
void console_say(struct console_session *test, unsigned int port, const char *text);
/* Wait until the device has sent all control messages about its ports. */
void console_settle_ports(struct console_session *test);
void console_driver(struct console_session *test, uint64_t features);
/* `more`: keys of the configuration, besides those that are required; "@" stands for the directory.
 */
void console_configure(struct console_session *test, const char *more);
void console_start(struct console_session *test, uint64_t features, const char *more);
void console_start_one(struct console_session *test);
void console_stop(struct console_session *test);

/*
 * A reader's view of the pattern. Every byte comes, in order. After a worker's death, at most the
 * bytes of one write call (CHUNK bytes) come a second time.
 */
struct console_follower {
    uint64_t seen; /* position in the stream of the furthest byte that has come */
    uint64_t at;   /* position of the next byte that is expected */
    uint64_t wrong;
    unsigned int repeats;
};
void console_follow(struct console_follower *follower, const uint8_t *data, size_t length);

/* The guest prints this many bytes of the pattern and the user reads them, while the worker is
 * killed several times. Asserts that every byte came, as described above. */
void console_outlives_workers(struct console_session *test, uint64_t total);
/* The user reads this many bytes of the pattern, a few at a time. Asserts that they are right, that
 * no more of them follow, and that they come in time. */
void console_reads_slowly(struct console_session *test, uint64_t total);

#endif
