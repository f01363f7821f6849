/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's part of broker/claims.h: it opens the file. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/backend/directory.h"
#include "broker/claims.h"

/* Directory and file must be root's own. Otherwise another user could lock us out, or put another
 * file there. */
int claims_open(void)
{
    struct stat status;
    /* The directory gets this mode whatever the umask is: the mode of each socket says who may
     * connect to it. */
    if (mkdir(CONTROL_DIRECTORY, 0755) == 0)
        (void)chmod(CONTROL_DIRECTORY, 0755);
    else if (errno != EEXIST)
        return -errno;
    int directory = open(CONTROL_DIRECTORY, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (directory < 0)
        return -errno;
    bool good = fstat(directory, &status) == 0 && directory_is_roots(&status);
    close(directory);
    if (!good)
        return -EPERM;
    int fd = open(CLAIMS_PATH, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int error = fstat(fd, &status) < 0 ? -errno : 0;
    if (error == 0 && (!S_ISREG(status.st_mode) || !directory_is_roots(&status)))
        error = -EPERM;
    if (error == 0 && status.st_size < (off_t)CLAIMS_SIZE && ftruncate(fd, (off_t)CLAIMS_SIZE) < 0)
        error = -errno;
    if (error == 0)
        return fd;
    close(fd);
    return error;
}
