/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/opener.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "broker/backend/opened.h"
#include "broker/clock.h"

/* How long to wait for an image's lock. Its last holder, a worker or a keeper of an earlier run,
 * may just be ending. */
#define BUSY_MS 1000
#define BUSY_LOOK_MS 50

static int open_backend(const struct opener *opener, struct backend *backend,
                        const struct device_config *config, enum config_key *ret_key,
                        struct failure *failure)
{
    const int64_t end = clock_ms() + BUSY_MS;
    int result;
    do {
        backend_init(backend, config);
        backend->tap_before = opener->tap;
        *ret_key = CONFIG_KEY_ID;
        result = backend->ops->open(backend, ret_key, failure);
    } while (result == -EBUSY && clock_ms() < end && poll(NULL, 0, BUSY_LOOK_MS) == 0);
    return result;
}

int opener_run(const struct opener *opener)
{
    static struct config config;
    static struct config_diagnostics diagnostics;
    static struct backend backend;
    struct failure failure = {""};
    enum config_key key = CONFIG_KEY_ID;
    int fds[OPENED_FILES];

    /* The name that a user sees who looks for the process that hangs. If the broker has gone, a
     * signal must not kill this process. */
    (void)prctl(PR_SET_NAME, "bao-opener");
    (void)signal(SIGPIPE, SIG_IGN);
    /* The broker has read the same text, and has reported its errors. */
    if (config_load_text(opener->text, opener->path, &config, &diagnostics) < 0)
        return EXIT_FAILURE;
    const struct device_config *device = config_device(&config, opener->dm_id);
    if (!device)
        return EXIT_FAILURE;

    union message message = {0};
    int result = open_backend(opener, &backend, device, &key, &failure);
    if (result == 0)
        result = opened_box(&backend, &failure);
    size_t fd_count = opened_pack(&backend, &message.opened, fds);
    if (result < 0) {
        message.opened.files = 0; /* drop what was opened before the failure */
        fd_count = 0;
    }
    message.header.type = MSG_OPENED;
    message.header.device = opener->dm_id;
    message.opened.error = -result;
    message.opened.key = key;
    memcpy(message.opened.text, failure.text, sizeof(message.opened.text));
    return message_send(opener->socket, &message, fds, fd_count) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
