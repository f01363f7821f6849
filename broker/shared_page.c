/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/shared_page.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int shared_page_create(const char *name, size_t size)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)size) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

int shared_page_claim(int fd)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int claimed = open(path, O_RDWR | O_CLOEXEC);
    if (claimed < 0)
        return -errno;
    if (flock(claimed, LOCK_EX | LOCK_NB) < 0) {
        int error = errno;
        close(claimed);
        return -error;
    }
    return claimed;
}

bool shared_page_is(int fd, size_t size)
{
    struct stat file;
    return fstat(fd, &file) == 0 && file.st_size == (off_t)size;
}

void *shared_page_map(int fd, size_t size)
{
    /* Populated: the kernel must never have to fault it in while it hands over a request. */
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    return page == MAP_FAILED ? NULL : page;
}
