/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeper and broker say to the user: each call writes one line to stderr, in one write, so
 * that lines of the two processes never mix. It does not allocate and does not use stdio, so it
 * works after lock-down. Any thread may call it.
 *
 * If stderr is systemd's journal, each line is a journal entry with fields (log_from). If the
 * journal does not take such an entry, the line goes to stderr.
 *
 * Logging never waits. If a pipe has no reader, a terminal is stopped, the journal is stuck or a
 * disk is full, lines are lost. How many were lost is logged as soon as there is room again.
 */
#ifndef BROKER_LOG_H
#define BROKER_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <sys/types.h>

#include "common/log_level.h"

/*
 * A program that must not wait calls this once, before its lock-down, while /proc is there. stderr
 * becomes its own open file description that does not block. It stays as it is if that is not
 * needed: a socket, which can be asked each time not to wait, or a file. Returns 0; -errno, and
 * then stderr may block.
 *
 * Also connects to the journal's socket of LOG_JOURNAL if the other end of stderr is `stdout` of
 * LOG_JOURNAL, as systemd makes it for a service.
 */
#define LOG_JOURNAL "/run/systemd/journal"
int log_prepare(void);

#define LOG_RETRY_MS 1000

/* If lines were lost, and there is room now, log how many. Returns false if there is no room: call
 * it again after LOG_RETRY_MS, unless another line is logged before. */
bool log_tell_lost(void);

/* LOG_LEVEL_INFO at first. Any thread. */
enum log_level log_level(void);
void log_set_level(enum log_level level);
/* Are lines of this level logged at present? */
bool log_says(enum log_level level);
/* "error", "warning", ...; NULL if there is no such level. */
const char *log_level_name(unsigned int level);

/* Log "bao-virtio-dm: text", or "bao-virtio-dm: DEVICE: text" when device is not NULL, if that
 * level is logged. The line is cut to 512 bytes, and control characters (a file name may hold some)
 * are replaced. */
void log_at(enum log_level level, const char *device, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* What a line is about, as fields for the journal: BAO_DEVICE, BAO_WORKER_PID and BAO_CODE. */
struct log_source {
    const char *device; /* NULL: none */
    pid_t worker;       /* 0: none */
    const char *code;   /* a name from common/log_code.h, "DESC_INVALID"; NULL: none */
};

/* Like log_at; the journal also gets all fields of the source. */
void log_from(enum log_level level, const struct log_source *source, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Log an error. */
void log_line(const char *device, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Log whole lines, unchanged. */
void log_text(const char *text);

#define log_warning(...) log_at(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
