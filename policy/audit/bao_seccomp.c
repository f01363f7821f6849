/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bao-seccomp: what the system-call policies of this build allow, and why. It carries them along,
 * so that it needs neither the sources nor the programs that they confine.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "policy/audit/audit.h"
#include "policy/catalog.h"

enum { EXIT_WRONG_USAGE = 2 };

static const char help[] =
    "Usage: bao-seccomp VERB [POLICY] [--arch ARCH] [--json]\n"
    "What the system-call policies of this build allow, and why.\n"
    "\n"
    "  list   the allowed system calls, their arguments, the reason and place of each rule\n"
    "  show   the programs that the kernel runs, disassembled\n"
    "  hash   the SHA-256 of each program, equal on every machine that built the same sources\n"
    "\n"
    "POLICY is one of the names below, by default all.\n"
    "\n"
    "  -a, --arch ARCH   x86_64, aarch64, riscv64 or all; by default that of this program,\n"
    "                    and all for hash\n"
    "  -j, --json        for tools\n"
    "  -h, --help        show this help\n"
    "  -V, --version     show the version\n"
    "\n"
    "Exit status: 0, 1 if the answer could not be written, 2 if the question makes no sense.\n"
    "\n"
    "Policies:\n";

static const struct verb {
    const char *name;
    int (*run)(const struct selection *, bool);
    enum policy_arch arch; /* by default */
} verbs[] = {
    {"list", audit_list, POLICY_ARCH_NATIVE},
    {"show", audit_show, POLICY_ARCH_NATIVE},
    {"hash", audit_hash, POLICY_ARCHES},
};

#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

struct question {
    const struct verb *verb;
    struct selection selection;
    const char *arch; /* as asked; NULL: the verb's default */
    bool json;
};

static void print_policies(FILE *file)
{
    for (const struct policy_listing *at = policy_catalog; at->program.name; at++) {
        if (at->arch == POLICY_ARCH_NATIVE)
            fprintf(file, "  %-12s  %s\n", at->program.name, at->confines);
    }
}

static int wrong_usage(const char *what, const char *found, const char *expected)
{
    fprintf(stderr, "bao-seccomp: %s '%s': expected %s\n", what, found, expected);
    return EXIT_WRONG_USAGE;
}

/* Returns -1 to go on, or the exit status. */
static int parse_options(int argc, char **argv, struct question *question)
{
    static const struct option options[] = {
        {"arch", required_argument, NULL, 'a'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "a:jhV", options, NULL)) != -1) {
        switch (option) {
        case 'a':
            question->arch = optarg;
            break;
        case 'j':
            question->json = true;
            break;
        case 'h':
            fputs(help, stdout);
            print_policies(stdout);
            return 0;
        case 'V':
            puts("bao-seccomp " BVDM_VERSION);
            return 0;
        default:
            fputs("Try 'bao-seccomp --help'.\n", stderr);
            return EXIT_WRONG_USAGE;
        }
    }
    return -1;
}

static int find_verb(const char *name, struct question *question)
{
    for (size_t i = 0; i < VERBS; i++) {
        if (strcmp(verbs[i].name, name) == 0) {
            question->verb = &verbs[i];
            return -1;
        }
    }
    return wrong_usage("no verb", name, "list, show or hash");
}

static int find_selection(struct question *question)
{
    enum policy_arch arch = question->verb->arch;
    if (question->arch) {
        arch = policy_arch_find(question->arch);
        if (arch == POLICY_ARCHES && strcmp(question->arch, "all") != 0)
            return wrong_usage("no architecture", question->arch,
                               "x86_64, aarch64, riscv64 or all");
    }
    question->selection.arch = arch;
    if (selection_next(&question->selection, NULL))
        return -1;
    wrong_usage("no policy", question->selection.policy, "one of");
    print_policies(stderr);
    return EXIT_WRONG_USAGE;
}

static int parse_arguments(int argc, char **argv, struct question *question)
{
    int status = parse_options(argc, argv, question);
    if (status >= 0)
        return status;
    if (optind == argc) {
        fputs(help, stderr);
        print_policies(stderr);
        return EXIT_WRONG_USAGE;
    }
    status = find_verb(argv[optind++], question);
    if (status >= 0)
        return status;
    if (optind < argc)
        question->selection.policy = argv[optind++];
    if (optind < argc)
        return wrong_usage("unexpected argument", argv[optind], "one policy at most");
    return find_selection(question);
}

int main(int argc, char **argv)
{
    struct question question = {0};
    int status = parse_arguments(argc, argv, &question);
    if (status >= 0)
        return status;
    int error = question.verb->run(&question.selection, question.json);
    if (fflush(stdout) != 0 || ferror(stdout))
        error = -errno;
    if (error == 0)
        return 0;
    fprintf(stderr, "bao-seccomp: the answer could not be written: %s\n", strerror(-error));
    return 1;
}
