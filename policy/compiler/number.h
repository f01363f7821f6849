/* SPDX-License-Identifier: Apache-2.0 */
#ifndef POLICY_COMPILER_NUMBER_H
#define POLICY_COMPILER_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/rule.h"

/* libseccomp's name for an architecture. */
uint32_t number_of_arch(enum policy_arch arch);

/* The number that libseccomp has for the call: see parse.h. */
bool number_of_call(const char *name, enum policy_arch arch, uint32_t *ret_number);

/* False if the architecture has no call of this number, or its name does not fit. */
bool name_of_call(uint32_t number, enum policy_arch arch, char *ret_name, size_t size);

#endif
