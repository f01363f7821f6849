/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of bao-seccomp and of bao-policy: a verb, in most cases a policy, and options.
 */
#ifndef POLICY_AUDIT_FRONT_H
#define POLICY_AUDIT_FRONT_H

#include "policy/audit/audit.h"

enum takes { NO_POLICY, ONE_POLICY, ANY_POLICY };

struct verb {
    const char *name;
    int (*run)(const struct question *);
    enum takes takes;
    bool more;             /* arguments after the policy are allowed */
    enum policy_arch arch; /* by default */
    bool effective;        /* takes --effective */
};

struct tool {
    const char *name;
    const char *help; /* the policies are listed below it */
    const char *verb_names;
    const struct verb *verbs; /* a verb without a name ends the list */
};

/* main: returns the exit status. */
int audit_main(const struct tool *tool, int argc, char **argv);

#endif
