/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/failing_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct failing failing;
const char *gives_0;

static int standard_input = -1; /* while another file may have the number 0 */

void fail_once(const char *call, int error, unsigned int later)
{
    failing = (struct failing){call, error, later};
}

void free_0(void)
{
    standard_input = fcntl(0, F_DUPFD_CLOEXEC, 3);
    close(0);
}

void take_0_back(void)
{
    if (standard_input < 0)
        abort();
    dup2(standard_input, 0);
    close(standard_input);
    standard_input = -1;
}

bool call_fails(const char *call)
{
    if (gives_0 && strcmp(gives_0, call) == 0) {
        free_0();
        gives_0 = NULL;
    }
    if (!failing.call || strcmp(failing.call, call) != 0 || failing.later-- > 0)
        return false;
    failing.call = NULL;
    errno = failing.error;
    return true;
}
