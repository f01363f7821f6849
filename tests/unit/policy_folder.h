/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder of policies for tests. It has block/virtio.policy (the fds of that kind of device are
 * known), and shared.inc beside the folder block.
 */
#ifndef TESTS_POLICY_FOLDER_H
#define TESTS_POLICY_FOLDER_H

#include "policy/compiler/number.h"
#include "policy/compiler/parse.h"

/* For CU_add_suite. */
int policy_folder_make(void);
int policy_folder_remove(void);

const char *policy_folder_path(void);

/* Writes a text to a file in the folder. NULL removes the file. */
void policy_folder_write(const char *name, const char *text);

/* Writes block/virtio.policy and shared.inc, and parses the policy with the compiler's numbers. */
static inline bool policy_folder_parse(const char *policy, const char *shared,
                                       enum policy_arch arch, struct parsed_policy *ret,
                                       struct policy_error *ret_error)
{
    policy_folder_write("block/virtio.policy", policy);
    policy_folder_write("shared.inc", shared);
    return policy_parse(policy_folder_path(), "block/virtio", arch, number_of_call, ret, ret_error);
}

#endif
