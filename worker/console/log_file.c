/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/console/log_file.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "worker/log.h"

#define PIECE_BYTES 0x8000u

static struct {
    uint64_t size; /* 0: no bound */
    uint64_t room; /* bytes until the file is full, as far as this process knows */
    bool refused;  /* the kernel says that it is full */
    bool copying;  /* to the old file, from the present offset of LOG_FILE_READ */
    bool given_up; /* the file can't begin anew: further output is lost */
} file;

static unsigned char piece[PIECE_BYTES];

/* Another process may write to the file or truncate it, so its real length counts. */
static uint64_t measure(void)
{
    off_t length = lseek(LOG_FILE_READ, 0, SEEK_END);
    uint64_t size = length < 0 ? 0 : (uint64_t)length;
    file.room = size < file.size ? file.size - size : 0;
    return size;
}

void log_file_init(uint64_t size)
{
    memset(&file, 0, sizeof(file));
    file.size = size;
    if (size == 0)
        return;
    (void)signal(SIGXFSZ, SIG_IGN); /* EFBIG reports the same */
    (void)measure();
}

uint32_t log_file_room(uint32_t length)
{
    if (file.size == 0 || file.given_up)
        return length;
    return length < file.room ? length : (uint32_t)file.room;
}

void log_file_wrote(uint32_t bytes)
{
    file.room = bytes < file.room ? file.room - bytes : 0;
}

bool log_file_is_full(int error)
{
    if (error != EFBIG || file.size == 0 || file.given_up)
        return false;
    file.room = 0;
    file.refused = true;
    return true;
}

/* Begin to replace the old file. Returns false if the file is not full after all, or is given
 * up. */
static bool begin(void)
{
    uint64_t size = measure();
    if (file.room > 0 && !file.refused)
        return false; /* somebody has truncated it */
    if (size == 0) {
        file.given_up = true; /* the file is empty, and takes nothing all the same */
        return false;
    }
    off_t first = size > file.size ? (off_t)(size - file.size) : 0;
    file.copying =
        ftruncate(LOG_FILE_OLD, 0) == 0 && lseek(LOG_FILE_READ, first, SEEK_SET) == first;
    return true;
}

/* Copy the next piece. Returns false at the end, or on an error. */
static bool copy(void)
{
    ssize_t length = read(LOG_FILE_READ, piece, sizeof(piece));
    for (ssize_t done = 0; done < length;) {
        ssize_t written = write(LOG_FILE_OLD, piece + done, (size_t)(length - done));
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0) {
            /* The newer bytes are worth more: they get the room. */
            log_event(LOG_OUTPUT_LOST, 0, (uint64_t)(written < 0 ? errno : EIO));
            return false;
        }
        done += written;
    }
    return length > 0 || (length < 0 && errno == EINTR);
}

static void begin_anew(void)
{
    file.copying = file.refused = false;
    file.given_up = ftruncate(LOG_FILE, 0) < 0;
    file.room = file.size;
}

void log_file_step(struct device *dev)
{
    device_io_begins(dev);
    bool full = file.copying || begin();
    if (full && !(file.copying && copy()))
        begin_anew();
    device_io_ends(dev);
}
