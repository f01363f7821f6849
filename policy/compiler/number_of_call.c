/* SPDX-License-Identifier: Apache-2.0 */
/* A file of its own, since bao-seccomp asks a table instead (policy/audit/number.c). */
#include <seccomp.h>

#include "policy/compiler/number.h"

bool number_of_call(const char *name, enum policy_arch arch, uint32_t *ret_number)
{
    int number = seccomp_syscall_resolve_name_arch(number_of_arch(arch), name);
    if (number < 0) /* an error, or libseccomp's number for a call that is not there */
        return false;
    *ret_number = (uint32_t)number;
    return true;
}
