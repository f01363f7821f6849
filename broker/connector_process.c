/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/connector_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "broker/lockdown.h"

int connector_run(int socket, int directory)
{
    /* The name that a user sees who looks for the process that hangs. */
    (void)prctl(PR_SET_NAME, "bao-connector");
    (void)signal(SIGPIPE, SIG_IGN);
    struct lockdown lockdown = {
        /* A detached mount of the directory, made now: after the change of the mount namespace, no
         * mount can be made from a directory that was opened in the old one. */
        .directory = open_tree(directory, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC),
    };
    const char *step;
    close(directory);
    if (lockdown.directory < 0 || lockdown_enter_connector(&lockdown, &step) < 0)
        return EXIT_FAILURE; /* the broker sees the end of the socket */
    while (connector_serve(socket)) {
        struct pollfd broker = {.fd = socket, .events = POLLIN};
        (void)poll(&broker, 1, -1);
    }
    return EXIT_SUCCESS;
}
