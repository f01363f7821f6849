/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image that knows what has to be in it. Each page of each write begins with a number of its
 * own, so a write that is lost, or that went to another place, is found.
 */
#ifndef TESTS_BENCH_IMAGE_H
#define TESTS_BENCH_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#define IMAGE_PAGE 4096u

struct image {
    int fd;
    uint64_t size;        /* bytes, a multiple of 1 MiB */
    const uint8_t *bytes; /* the file, mapped */
    uint64_t *stamps;     /* with what each page has to begin */
    bool *busy;           /* pages at which a write under way begins; it is the caller's */
    uint64_t last;        /* the last stamp that was given out */
};

/* Make the file. Returns 0 or -errno; image_free is called in both cases. */
int image_make(const char *path, uint64_t size, struct image *ret);
void image_free(struct image *image);

/* Put new stamps into data that are to be written. */
void image_stamp(struct image *image, uint8_t *data, uint32_t size);
/* These data were written. */
void image_written(struct image *image, uint64_t offset, const uint8_t *data, uint32_t size);
/* Whether data that were read are right, as far as their first and last page tell. */
bool image_holds(const struct image *image, uint64_t offset, const uint8_t *data, uint32_t size);
/* Look at every page of the file. Returns 0, or -EILSEQ if one is not what was written last. */
int image_check(const struct image *image);

#endif
