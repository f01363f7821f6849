/* SPDX-License-Identifier: Apache-2.0 */
/* A console in the broker, and functions in front of the calls that it makes. */
#ifndef TESTS_UNIT_CONSOLE_UNDER_TEST_H
#define TESTS_UNIT_CONSOLE_UNDER_TEST_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <termios.h>

#include "broker/backend/backend.h"

extern char folder[];
extern char path[PATH_MAX]; /* a name in it */

/* The suite's. */
int make_folder(void);
int remove_folder(void);

extern struct backend backend;
extern struct failure failure;
extern struct device_config config;
extern enum config_key key;

/* The kernel's structure for TCGETS and TCSETS. */
struct kernel_mode {
    tcflag_t iflag, oflag, cflag, lflag;
    cc_t line, cc[19];
};

extern struct kernel_mode *stand_in; /* of a terminal in any mode; NULL: terminals are real */

/* With which flags it has opened a terminal's ends, and each file of a log. */
extern int peer_flags, master_flags, log_flags[CONSOLE_LOG_FILES];

extern void (*before_log)(unsigned int number); /* it is opened; NULL: nothing happens then */

/* Begin a case. close_backend closes all that it has opened. */
void begin(uint32_t ports);
int open_backend(void);
void close_backend(void);

int master_of(unsigned int port);

/* The files that it has are those that a device of this configuration has. */
void has_its_files(void);

/* It fails with exactly these words; nothing stays open but what the backend has. */
void refused(int error, enum config_key expected_key, const char *words);

/* The terminal's name, as ptsname_r has it. */
void name_of(unsigned int port, char *ret, size_t size);

#endif
