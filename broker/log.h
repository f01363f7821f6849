/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeper and broker say to the user: one line on stderr a call, in one write, so that
 * lines of the two processes never mix within a line. No allocation, no stdio: works after
 * lock-down. Any thread.
 *
 * Where stderr is systemd's journal, each line is an entry of it with fields (log_from); once the
 * journal does not take such an entry, a line goes to stderr all the same.
 *
 * Logging never waits. A pipe that nobody reads, a terminal that is stopped, a journal that is
 * stuck or a full disk lose lines; how many is told as soon as there is room again.
 */
#ifndef BROKER_LOG_H
#define BROKER_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <sys/types.h>

#include "common/log_level.h"

/*
 * Once in a program that must not wait, before its lock-down, with a /proc: stderr becomes an open
 * file description of its own that does not block, or stays what does not need that: a socket,
 * which can be asked not to wait each time, or a file. Returns 0; -errno, and stderr may block.
 *
 * Connects to the journal's socket of LOG_JOURNAL, too, if the other end of stderr is LOG_JOURNAL's
 * `stdout`, as systemd makes it for a service.
 */
#define LOG_JOURNAL "/run/systemd/journal"
int log_prepare(void);

#define LOG_RETRY_MS 1000

/* If lines were lost, and there is room now, say how many. Returns false if there is none: to be
 * called again after LOG_RETRY_MS, unless another line is logged before. */
bool log_tell_lost(void);

/* LOG_LEVEL_INFO at first. Any thread. */
enum log_level log_level(void);
void log_set_level(enum log_level level);
/* Is what has this level said at present? */
bool log_says(enum log_level level);
/* "error", "warning", ...; NULL if there is no such level. */
const char *log_level_name(unsigned int level);

/* "bao-virtio-dm: text", or "bao-virtio-dm: DEVICE: text" when device is not NULL, if that level is
 * said. Cut to 512 bytes; control characters (a file name may hold some) are replaced. */
void log_at(enum log_level level, const char *device, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* What a line is about, for the journal: BAO_DEVICE, BAO_WORKER_PID and BAO_CODE. */
struct log_source {
    const char *device; /* NULL: none */
    pid_t worker;       /* 0: none */
    const char *code;   /* of common/log_code.h, "DESC_INVALID"; NULL: none */
};

/* The same as log_at, and the journal gets the whole of the source. */
void log_from(enum log_level level, const struct log_source *source, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* An error. */
void log_line(const char *device, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Whole lines, as they are. */
void log_text(const char *text);

#define log_warning(...) log_at(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
