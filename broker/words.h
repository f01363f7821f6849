/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What numbers mean, in words, for the log. Nothing here allocates or reads a file, so it works
 * after lock-down. Pure.
 */
#ifndef BROKER_WORDS_H
#define BROKER_WORDS_H

#include <stddef.h>
#include <stdint.h>

#include "common/log_level.h"

#define WORDS_SIZE 256

/* "No such file or directory"; never NULL. `error` is a positive errno. */
const char *words_error(int error);

/* "exit status 1", "killed by SIGSEGV"; `code` and `status` are si_code and si_status of waitid. */
const char *words_death(int code, int status, char buffer[WORDS_SIZE]);

/* A worker's log message (common/log_code.h); NULL if there is no such code. */
const char *words_log(uint32_t code, const uint64_t args[4], char buffer[WORDS_SIZE]);

/* The name of the code, "DESC_INVALID"; NULL if there is no such code. */
const char *words_log_code(uint32_t code);

/* The level of the code; LOG_LEVEL_ERROR if there is no such code. */
enum log_level words_log_level(uint32_t code);

/* "receive its start message", for "worker failed to ..."; NULL if there is no such step. */
const char *words_step(uint32_t step);

/* The layers whose bit is set in `layers`: "uid, capabilities, seccomp"; "" if none is. */
const char *words_layers(uint32_t layers, char buffer[WORDS_SIZE]);

/* The limits of a worker's cgroup (common/cgroup_limit.h) whose bit is set in `cgroup`:
 * "memory.max, pids.max"; "" if none is. */
const char *words_limits(uint32_t cgroup, char buffer[WORDS_SIZE]);

/* Every layer without which a worker must not run. */
uint32_t words_core_layers(void);

#endif
