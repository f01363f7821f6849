/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of system calls, from the table that the build made: a board has no libseccomp. */
#include "policy/compiler/number.h"

#include <string.h>

#include "policy/catalog.h"

bool number_of_call(const char *name, enum policy_arch arch, uint32_t *ret_number)
{
    const struct policy_call *call = policy_calls;
    while (call->name && strcmp(call->name, name) != 0)
        call++;
    if (!call->name || call->number[arch] == POLICY_NO_CALL)
        return false;
    *ret_number = call->number[arch];
    return true;
}
