/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that outlives a process: a memfd whose size is sealed, so that no holder of a copy can
 * truncate it and kill the others by SIGBUS.
 */
#ifndef BROKER_SHARED_PAGE_H
#define BROKER_SHARED_PAGE_H

#include <stdbool.h>
#include <stddef.h>

/* A new memfd of `size` zero bytes. Returns the fd, owned by the caller, or -errno. */
int shared_page_create(const char *name, size_t size);

/* A new memfd that holds `text`, and that nobody can change any more. Returns the fd, owned by the
 * caller, or -errno. And: is it such a one? */
int shared_page_of_text(const char *name, const void *text, size_t size);
bool shared_page_is_text(int fd);

/*
 * Another file on the same memory. Who locks it is the only one who has a locked one, until every
 * process that holds that file, or has mapped it, is gone; a mapping keeps the lock when the fd is
 * closed, and none of them can unlock it without. Returns the fd, owned by the caller, or -errno.
 * Needs /proc.
 */
int shared_page_reopen(int fd);

/* Lock such a file. Never waits: 0, -EWOULDBLOCK if another is locked, -errno. */
int shared_page_lock(int fd);

/* Both. */
int shared_page_claim(int fd);

/* Is it of that size? */
bool shared_page_is(int fd, size_t size);

/* Map it, writable and for good; NULL, with errno set, if that fails. The fd stays the caller's. */
void *shared_page_map(int fd, size_t size);

#endif
