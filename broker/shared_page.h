/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that outlives a process: a memfd whose size is sealed, so that no process that has a copy
 * of the fd can truncate it and kill the others by SIGBUS.
 */
#ifndef BROKER_SHARED_PAGE_H
#define BROKER_SHARED_PAGE_H

#include <stdbool.h>
#include <stddef.h>

/* A new memfd of `size` zero bytes. Returns the fd, owned by the caller, or -errno. */
int shared_page_create(const char *name, size_t size);

/* A new memfd that holds `text` and that nobody can change any more. Returns the fd, owned by the
 * caller, or -errno. The second function: is `fd` such a memfd? */
int shared_page_of_text(const char *name, const void *text, size_t size);
bool shared_page_is_text(int fd);

/*
 * Open the same memory again, as another open file. If a process locks this file, no other open
 * file of the memory can be locked until every process that has the file open or mapped is gone. A
 * mapping keeps the lock when the fd is closed, and without the fd no process can unlock it.
 * Returns the fd, owned by the caller, or -errno. Needs /proc.
 */
int shared_page_reopen(int fd);

/* Lock such a file. Never waits. Returns 0, -EWOULDBLOCK if another file of this memory is locked,
 * -errno. */
int shared_page_lock(int fd);

/* shared_page_reopen and shared_page_lock. Returns the fd, owned by the caller, or -errno. */
int shared_page_claim(int fd);

/* Is the file of that size? */
bool shared_page_is(int fd, size_t size);

/* Map the file, writable and for good. Returns NULL, with errno set, if that fails. The caller
 * keeps the fd. */
void *shared_page_map(int fd, size_t size);

#endif
