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
    /* What it is to a user who looks for what hangs. */
    (void)prctl(PR_SET_NAME, "bao-connector");
    (void)signal(SIGPIPE, SIG_IGN);
    struct lockdown lockdown = {
        /* A mount of it in hand: of one that was opened in another mount namespace none can be
         * had. */
        .directory = open_tree(directory, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC),
    };
    const char *step;
    close(directory);
    if (lockdown.directory < 0 || lockdown_enter_connector(&lockdown, &step) < 0)
        return EXIT_FAILURE; /* the end of its socket says so */
    while (connector_serve(socket)) {
        struct pollfd broker = {.fd = socket, .events = POLLIN};
        (void)poll(&broker, 1, -1);
    }
    return EXIT_SUCCESS;
}
