/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "policy/audit/audit.h"

int audit_hash(const struct selection *selection, bool json)
{
    const char *between = "[\n";
    for (const struct policy_listing *at = selection_next(selection, NULL); at;
         at = selection_next(selection, at)) {
        const struct policy_program *program = &at->program;
        const char *arch = policy_arch_name(at->arch);
        if (json) {
            printf("%s  {\"policy\": \"%s\", \"arch\": \"%s\", \"instructions\": %u, "
                   "\"sha256\": \"%s\"}",
                   between, program->name, arch, program->length, program->hash);
            between = ",\n";
        } else {
            printf("%s  %s/%s\n", program->hash, arch, program->name);
        }
    }
    if (json)
        puts("\n]");
    return 0;
}
