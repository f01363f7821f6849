/* SPDX-License-Identifier: Apache-2.0 */
/* A client of the control socket (common/control.h), for tests: one request per connection. */
#ifndef TESTS_STANDIN_CONTROL_CLIENT_H
#define TESTS_STANDIN_CONTROL_CLIENT_H

#include "common/control.h"

/* Find the first socket in CONTROL_DIRECTORY on which a broker answers. Returns 0 or -ENOENT. */
int control_client_find(char ret_path[CONTROL_PATH_SIZE]);

/* Ask, and wait up to 2 s for the reply. `index`: as in struct control_request. Returns 0; the
 * error in the reply as -errno; or the socket's error as -errno (there is no broker just now). */
int control_client_ask(const char *path, enum control_verb verb, uint32_t index,
                       struct control_reply *ret_reply);

#endif
