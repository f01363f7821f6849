/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t pages(const struct image *image)
{
    return image->size / IMAGE_PAGE;
}

int image_make(const char *path, uint64_t size, struct image *ret)
{
    static uint8_t chunk[256 * IMAGE_PAGE];
    *ret = (struct image){.size = size};
    ret->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ret->stamps = calloc(pages(ret), sizeof(ret->stamps[0]));
    ret->busy = calloc(pages(ret), sizeof(ret->busy[0]));
    if (ret->fd < 0 || !ret->stamps || !ret->busy)
        return -errno;
    for (uint64_t at = 0; at < size; at += sizeof(chunk)) {
        memset(chunk, (int)(at >> 20), sizeof(chunk));
        image_stamp(ret, chunk, sizeof(chunk));
        if (write(ret->fd, chunk, sizeof(chunk)) != (ssize_t)sizeof(chunk))
            return errno ? -errno : -ENOSPC;
        image_written(ret, at, chunk, sizeof(chunk));
    }
    ret->bytes = mmap(NULL, size, PROT_READ, MAP_SHARED, ret->fd, 0);
    return ret->bytes == MAP_FAILED ? -errno : 0;
}

void image_free(struct image *image)
{
    if (image->bytes && image->bytes != MAP_FAILED)
        munmap((void *)image->bytes, image->size);
    if (image->fd > 0)
        close(image->fd);
    free(image->stamps);
    free(image->busy);
    *image = (struct image){0};
}

void image_stamp(struct image *image, uint8_t *data, uint32_t size)
{
    for (uint32_t at = 0; at < size; at += IMAGE_PAGE) {
        image->last++;
        memcpy(data + at, &image->last, sizeof(image->last));
    }
}

void image_written(struct image *image, uint64_t offset, const uint8_t *data, uint32_t size)
{
    for (uint32_t at = 0; at < size; at += IMAGE_PAGE)
        memcpy(&image->stamps[(offset + at) / IMAGE_PAGE], data + at, sizeof(image->stamps[0]));
}

static bool is(const struct image *image, uint64_t offset, const uint8_t *data)
{
    return memcmp(&image->stamps[offset / IMAGE_PAGE], data, sizeof(image->stamps[0])) == 0;
}

bool image_holds(const struct image *image, uint64_t offset, const uint8_t *data, uint32_t size)
{
    if (offset % IMAGE_PAGE != 0)
        return true;
    const uint32_t last = size > IMAGE_PAGE ? size - IMAGE_PAGE : 0;
    return is(image, offset, data) && is(image, offset + last, data + last);
}

int image_check(const struct image *image)
{
    for (uint64_t at = 0; at < image->size; at += IMAGE_PAGE) {
        if (!is(image, at, image->bytes + at))
            return -EILSEQ;
    }
    return 0;
}
