/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/shared_page.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)

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

int shared_page_reopen(int fd)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int opened = open(path, O_RDWR | O_CLOEXEC);
    return opened < 0 ? -errno : opened;
}

int shared_page_lock(int fd)
{
    return flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

int shared_page_claim(int fd)
{
    int claimed = shared_page_reopen(fd);
    int result = claimed < 0 ? claimed : shared_page_lock(claimed);
    if (result < 0 && claimed >= 0)
        close(claimed);
    return result < 0 ? result : claimed;
}

int shared_page_of_text(const char *name, const void *text, size_t size)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    size_t written = 0;
    while (written < size) {
        ssize_t count = write(fd, (const char *)text + written, size - written);
        if (count < 0 && errno != EINTR)
            break;
        written += count > 0 ? (size_t)count : 0;
    }
    if (written < size || fcntl(fd, F_ADD_SEALS, TEXT_SEALS | F_SEAL_SEAL) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

bool shared_page_is_text(int fd)
{
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & TEXT_SEALS) == TEXT_SEALS;
}

bool shared_page_is(int fd, size_t size)
{
    struct stat file;
    return fstat(fd, &file) == 0 && file.st_size == (off_t)size;
}

void *shared_page_map(int fd, size_t size)
{
    /* Populated, so that the kernel never has to handle a page fault in it while it hands over a
     * request. */
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    return page == MAP_FAILED ? NULL : page;
}
