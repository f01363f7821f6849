/* SPDX-License-Identifier: Apache-2.0 */
/* Of what a report speaks: machine, time, and the files from which processes were started. */
#ifndef POLICY_AUDIT_EVIDENCE_H
#define POLICY_AUDIT_EVIDENCE_H

#include "policy/audit/process.h"

struct evidence {
    char time[24];                                              /* "2026-11-29T21:02:03Z" */
    char host[65], kernel[65], kernel_version[65], machine[65]; /* of uname(2) */
    char auditor[SHA256_TEXT]; /* this program; "" if not readable */
};

void evidence_of_machine(struct evidence *ret);

/*
 * Where a process comes from: the program that it runs, and the configuration of its keeper, as the
 * keeper has read it. `keeper` may be the process itself, or NULL.
 */
void evidence_of_process(const struct process *process, const struct process *keeper,
                         struct origin *ret);

/* The hash of a keeper's configuration file as it is now; "" if it can't be read. */
void evidence_of_configuration_file(const struct process *keeper, char ret[static SHA256_TEXT]);

#endif
