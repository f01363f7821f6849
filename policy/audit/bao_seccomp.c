/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bao-seccomp: what the system-call policies of this build allow, and why; and whether that is
 * what runs. It carries the policies along, so that it needs neither the sources nor the programs
 * that they confine.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "policy/audit/audit.h"
#include "policy/audit/json.h"

static const char help[] =
    "Usage: bao-seccomp VERB [ARGUMENT...] [--arch ARCH] [--json]\n"
    "What the system-call policies of this build allow, and whether that is what runs.\n"
    "\n"
    "  list [POLICY]     the allowed system calls, their arguments, the reason and place of each\n"
    "                    rule\n"
    "  show [POLICY]     the programs that the kernel runs, disassembled\n"
    "  hash [POLICY]     the SHA-256 of each program, equal wherever the same sources are built\n"
    "  export DIRECTORY  the programs, as DIRECTORY/ARCH/POLICY.bpf\n"
    "  check POLICY CALL [ARGUMENT...]\n"
    "                    what would become of this call. Arguments are numbers, constants or\n"
    "                    @fds, as in a policy; put -- before negative ones\n"
    "  diff OLD NEW      what NEW allows more, and less. Each is \"this\" build, another\n"
    "                    bao-seccomp, a directory of policies or of exported programs, one\n"
    "                    exported program (.bpf), or the pid of a running process\n"
    "  explain PID|FILE  what any seccomp program does with each call, and under which "
    "conditions:\n"
    "                    those of a running process (root), or a file of instructions\n"
    "  lint [DIRECTORY]  what is doubtful about this build's policies, or those of a directory\n"
    "  trace POLICY -- COMMAND...\n"
    "                    run COMMAND without this policy in force, and tell what it would have\n"
    "                    denied, and which of its rules were used (root)\n"
    "  verify [PID | --all | --told FILE]\n"
    "                    whether the running device models, or one process, are confined as they\n"
    "                    should be, down to the programs in the kernel (root)\n"
    "\n"
    "POLICY is one of the names below, or \"all\", which is meant where it may be left out.\n"
    "\n"
    "  -a, --arch ARCH   x86_64, aarch64, riscv64 or all; by default that of this program,\n"
    "                    and all for hash, export and diff\n"
    "  -j, --json        for tools\n"
    "  -m, --markdown    for a report: verify only\n"
    "      --told FILE   verify the device model whose broker has said this, with what it has "
    "said;\n"
    "                    bao-dmctl audit asks it\n"
    "  -h, --help        show this help\n"
    "  -V, --version     show the version\n"
    "\n"
    "Exit status: 0 if there is nothing to object to; 1 if a call is denied, something differs\n"
    "or is not as expected; 2 if the question makes no sense or could not be answered.\n"
    "\n"
    "Policies:\n";

enum takes { NO_POLICY, ONE_POLICY, ANY_POLICY };

static const struct verb {
    const char *name;
    int (*run)(const struct question *);
    enum takes takes;
    bool more;             /* arguments behind the policy */
    enum policy_arch arch; /* by default */
} verbs[] = {
    {"list", audit_list, ANY_POLICY, false, POLICY_ARCH_NATIVE},
    {"show", audit_show, ANY_POLICY, false, POLICY_ARCH_NATIVE},
    {"hash", audit_hash, ANY_POLICY, false, POLICY_ARCHES},
    {"export", audit_export, NO_POLICY, true, POLICY_ARCHES},
    {"check", audit_check, ONE_POLICY, true, POLICY_ARCH_NATIVE},
    {"diff", audit_diff, NO_POLICY, true, POLICY_ARCHES},
    {"explain", audit_explain, NO_POLICY, true, POLICY_ARCHES},
    {"lint", audit_lint, NO_POLICY, true, POLICY_ARCHES},
    {"trace", audit_trace, ONE_POLICY, true, POLICY_ARCH_NATIVE},
    {"verify", audit_verify, NO_POLICY, true, POLICY_ARCH_NATIVE},
};

#define VERBS (sizeof(verbs) / sizeof(verbs[0]))
#define VERB_NAMES "list, show, hash, export, check, diff, explain, lint, trace or verify"

struct arguments {
    const struct verb *verb;
    const char *arch; /* as asked; NULL: the verb's default */
    struct question question;
};

/* Returns -1 to go on, or the exit status. */
static int parse_options(int argc, char **argv, struct arguments *ret)
{
    enum { ALL = 256, TOLD, EFFECTIVE };
    static const struct option options[] = {
        {"arch", required_argument, NULL, 'a'},
        {"json", no_argument, NULL, 'j'},
        {"markdown", no_argument, NULL, 'm'},
        {"all", no_argument, NULL, ALL},
        {"told", required_argument, NULL, TOLD},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {"effective", no_argument, NULL, EFFECTIVE},
        {0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "a:jmhV", options, NULL)) != -1) {
        switch (option) {
        case 'a':
            ret->arch = optarg;
            break;
        case 'j':
            ret->question.format = FORMAT_JSON;
            break;
        case 'm':
            ret->question.format = FORMAT_MARKDOWN;
            break;
        case ALL:
            ret->question.all = true;
            break;
        case EFFECTIVE:
            ret->question.effective = true;
            break;
        case TOLD:
            ret->question.told = optarg;
            break;
        case 'h':
            fputs(help, stdout);
            audit_print_policies(false);
            return AUDIT_GOOD;
        case 'V':
            puts("bao-seccomp " BVDM_VERSION);
            return AUDIT_GOOD;
        default:
            fputs("Try 'bao-seccomp --help'.\n", stderr);
            return AUDIT_TROUBLE;
        }
    }
    return -1;
}

static int find_verb(const char *name, struct arguments *ret)
{
    for (size_t i = 0; i < VERBS; i++) {
        if (strcmp(verbs[i].name, name) == 0) {
            ret->verb = &verbs[i];
            return -1;
        }
    }
    return audit_complain("no verb", name, VERB_NAMES);
}

static int find_selection(struct arguments *ret)
{
    struct selection *selection = &ret->question.selection;
    selection->arch = ret->verb->arch;
    if (ret->arch) {
        selection->arch = policy_arch_find(ret->arch);
        if (selection->arch == POLICY_ARCHES && strcmp(ret->arch, "all") != 0)
            return audit_complain("no architecture", ret->arch, "x86_64, aarch64, riscv64 or all");
    }
    if (selection_next(selection, NULL))
        return -1;
    audit_complain("no policy", selection->policy, "one of");
    audit_print_policies(true);
    return AUDIT_TROUBLE;
}

static int check_options(const struct arguments *arguments)
{
    bool verify = strcmp(arguments->verb->name, "verify") == 0;
    if (arguments->question.format == FORMAT_MARKDOWN && !verify)
        return audit_complain("--markdown with", arguments->verb->name, "verify");
    if (arguments->question.effective && strcmp(arguments->verb->name, "explain") != 0)
        return audit_complain("--effective with", arguments->verb->name, "explain");
    if ((arguments->question.all || arguments->question.told) && !verify)
        return audit_complain(arguments->question.all ? "--all with" : "--told with",
                              arguments->verb->name, "verify");
    return -1;
}

static int parse_arguments(int argc, char **argv, struct arguments *ret)
{
    int status = parse_options(argc, argv, ret);
    if (status >= 0)
        return status;
    if (optind == argc) {
        fputs(help, stderr);
        audit_print_policies(true);
        return AUDIT_TROUBLE;
    }
    status = find_verb(argv[optind++], ret);
    if (status < 0)
        status = check_options(ret);
    if (status >= 0)
        return status;
    if (ret->verb->takes == ONE_POLICY && optind == argc)
        return audit_complain("no policy after", ret->verb->name, "one");
    if (ret->verb->takes != NO_POLICY && optind < argc)
        ret->question.selection.policy = argv[optind++];
    if (ret->question.selection.policy && strcmp(ret->question.selection.policy, "all") == 0)
        ret->question.selection.policy = NULL;
    if (optind < argc && !ret->verb->more)
        return audit_complain("unexpected argument", argv[optind], "one policy at most");
    ret->question.argc = argc - optind;
    ret->question.argv = argv + optind;
    return find_selection(ret);
}

int main(int argc, char **argv)
{
    struct arguments arguments = {0};
    int status = parse_arguments(argc, argv, &arguments);
    if (status >= 0)
        return status;
    status = arguments.verb->run(&arguments.question);
    json_close_all();
    if (fflush(stdout) != 0 || ferror(stdout))
        status = -errno;
    if (status >= 0)
        return status;
    fprintf(stderr, "bao-seccomp: the answer could not be written: %s\n", strerror(-status));
    return AUDIT_TROUBLE;
}
