/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "policy/audit/audit.h"
#include "policy/audit/json.h"

int audit_hash(const struct question *question)
{
    const struct selection *selection = &question->selection;
    bool json = question->format == FORMAT_JSON;
    if (json)
        json_open('[');
    for (const struct policy_listing *at = selection_next(selection, NULL); at;
         at = selection_next(selection, at)) {
        const struct policy_program *program = &at->program;
        const char *arch = policy_arch_name(at->arch);
        if (!json) {
            printf("%s  %s/%s\n", program->hash, arch, program->name);
            continue;
        }
        json_open('{');
        json_text_of("policy", program->name);
        json_text_of("arch", arch);
        json_number_of("instructions", program->length);
        json_text_of("sha256", program->hash);
        json_close();
    }
    if (json)
        json_close();
    return AUDIT_GOOD;
}
