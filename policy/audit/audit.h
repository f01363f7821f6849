/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs of bao-seccomp and bao-policy. Each answers on stdout, for people or for tools, about
 * the policies that the build compiled in (policy/catalog.h). Complaints about the question go to
 * stderr.
 */
#ifndef POLICY_AUDIT_AUDIT_H
#define POLICY_AUDIT_AUDIT_H

#include <stdbool.h>
#include <stddef.h>

#include "policy/rule.h"

struct selection {
    const char *policy;    /* NULL: every one */
    enum policy_arch arch; /* POLICY_ARCHES: every one */
};

/* The first listing of the selection after `last` (NULL: from the start), or NULL. */
const struct policy_listing *selection_next(const struct selection *selection,
                                            const struct policy_listing *last);

enum format { FORMAT_TEXT, FORMAT_JSON, FORMAT_MARKDOWN };

struct question {
    struct selection selection;
    enum format format;
    bool all;            /* --all */
    bool effective;      /* --effective */
    bool score;          /* --score */
    const char *told;    /* --told FILE, or NULL */
    const char *against; /* --against FILE, or NULL */
    const char *output;  /* --output FILE, or NULL */
    int argc;            /* arguments after the verb that are no options */
    char *const *argv;   /* ends with NULL */
};

/*
 * What a verb returns, and the program's exit status, as diff(1) has them. A verb may also return
 * -errno: its answer could not be worked out or written.
 */
enum audit_answer {
    AUDIT_GOOD = 0,    /* nothing to object to: allowed, equal, as expected */
    AUDIT_OBJECTS = 1, /* denied, different, not as expected */
    AUDIT_TROUBLE = 2, /* the question makes no sense, or has no answer; the reason was printed */
};

int audit_list(const struct question *question);
int audit_show(const struct question *question);
int audit_hash(const struct question *question);
int audit_notes(const struct question *question);
int audit_export(const struct question *question);
int audit_check(const struct question *question);
int audit_lint(const struct question *question);
int audit_diff(const struct question *question);
int audit_explain(const struct question *question);
int audit_trace(const struct question *question);
int audit_export_as(const struct question *question);
int audit_verify(const struct question *question);

/* Which program asks: bao-seccomp or bao-policy. */
extern const char *audit_tool;

/* "TOOL: WHAT 'FOUND': EXPECTED" on stderr; returns AUDIT_TROUBLE. */
int audit_complain(const char *what, const char *found, const char *expected);

/* Print the policies of this build, one in each line, on stderr or stdout. */
void audit_print_policies(bool to_stderr);

/* The pid that a text is, or 0. `text` may be NULL. */
int audit_pid(const char *text);

/* "" or "s". */
const char *audit_plural(size_t count);

/* The name of a call on an architecture, or NULL. And the number of a name; false if there is
 * none. */
const char *audit_call_name(uint32_t number, enum policy_arch arch);
bool audit_call_number(const char *name, enum policy_arch arch, uint32_t *ret_number);

/*
 * A value of an argument in words: the name of the fd, the constant that a rule of this call
 * compares with, or the number. `listing` may be NULL.
 */
const char *audit_value_words(const struct policy_listing *listing, uint32_t number,
                              unsigned int index, uint64_t mask, uint64_t value, char *ret,
                              size_t size);

/* The name of an argument of a call, or "argument N". */
const char *audit_argument_name(const char *call, unsigned int index);

#endif
