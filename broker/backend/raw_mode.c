/* SPDX-License-Identifier: Apache-2.0 */
/*
 * By the kernel's own structure, since C libraries differ in which call they make of tcgetattr
 * (GNU's 2.43: TCGETS2). That structure and <termios.h> can't be in the same file.
 */
#include "broker/backend/raw_mode.h"

#include <asm/termbits.h>
#include <errno.h>
#include <sys/ioctl.h>

int raw_mode(int terminal)
{
    struct termios mode;
    if (ioctl(terminal, TCGETS, &mode) < 0)
        return -errno;
    /* As cfmakeraw does. */
    mode.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    mode.c_oflag &= ~(tcflag_t)OPOST;
    mode.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
    mode.c_cflag = (mode.c_cflag & ~(tcflag_t)(CSIZE | PARENB)) | CS8;
    mode.c_cc[VMIN] = 1;
    mode.c_cc[VTIME] = 0;
    return ioctl(terminal, TCSETS, &mode) < 0 ? -errno : 0;
}
