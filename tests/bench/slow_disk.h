/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that is not in memory: a loop device over a file of FUSE, whose reads take 100 us each and
 * of which 64 are served at once. It reads as zeros. Needs root.
 */
#ifndef TESTS_BENCH_SLOW_DISK_H
#define TESTS_BENCH_SLOW_DISK_H

#include <stdint.h>

struct slow_disk {
    char path[32]; /* of the block device */
    char mount[128];
    int loop, fuse;
};

/* Make it, with a mount point in `dir`. Returns 0 or -errno; slow_disk_free is called in both
 * cases. */
int slow_disk_make(struct slow_disk *disk, const char *dir, uint64_t size);
/* Forget what the page cache has of it. */
void slow_disk_forget(const struct slow_disk *disk);
void slow_disk_free(struct slow_disk *disk);

#endif
