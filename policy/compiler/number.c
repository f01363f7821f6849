/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/compiler/number.h"

#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>

uint32_t number_of_arch(enum policy_arch arch)
{
    switch (arch) {
    case POLICY_ARCH_X86_64:
        return SCMP_ARCH_X86_64;
    case POLICY_ARCH_AARCH64:
        return SCMP_ARCH_AARCH64;
    case POLICY_ARCH_RISCV64:
        return SCMP_ARCH_RISCV64;
    case POLICY_ARCHES:
        break;
    }
    return SCMP_ARCH_NATIVE;
}

bool name_of_call(uint32_t number, enum policy_arch arch, char *ret_name, size_t size)
{
    char *name = seccomp_syscall_resolve_num_arch(number_of_arch(arch), (int)number);
    bool fits = name && (size_t)snprintf(ret_name, size, "%s", name) < size;
    free(name);
    return fits;
}

bool number_of_call(const char *name, enum policy_arch arch, uint32_t *ret_number)
{
    int number = seccomp_syscall_resolve_name_arch(number_of_arch(arch), name);
    if (number < 0) /* an error, or libseccomp's number for a call that does not exist */
        return false;
    *ret_number = (uint32_t)number;
    return true;
}
