/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/front.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "policy/audit/json.h"
#include "policy/audit/output.h"

struct arguments {
    const struct tool *tool;
    const struct verb *verb;
    const char *arch; /* as asked; NULL: the verb's default */
    struct question question;
};

/* Returns -1 to go on, or the exit status. */
static int parse_options(int argc, char **argv, struct arguments *ret)
{
    enum { ALL = 256, TOLD, EFFECTIVE, AGAINST, OUTPUT, SCORE };
    static const struct option options[] = {
        {"arch", required_argument, NULL, 'a'},      {"json", no_argument, NULL, 'j'},
        {"markdown", no_argument, NULL, 'm'},        {"all", no_argument, NULL, ALL},
        {"told", required_argument, NULL, TOLD},     {"against", required_argument, NULL, AGAINST},
        {"output", required_argument, NULL, OUTPUT}, {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},         {"effective", no_argument, NULL, EFFECTIVE},
        {"score", no_argument, NULL, SCORE},         {0},
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
        case SCORE:
            ret->question.score = true;
            break;
        case TOLD:
            ret->question.told = optarg;
            break;
        case AGAINST:
            ret->question.against = optarg;
            break;
        case OUTPUT:
            ret->question.output = optarg;
            break;
        case 'h':
            fputs(ret->tool->help, stdout);
            audit_print_policies(false);
            return AUDIT_GOOD;
        case 'V':
            printf("%s " BVDM_VERSION "\n", ret->tool->name);
            return AUDIT_GOOD;
        default:
            fprintf(stderr, "Try '%s --help'.\n", ret->tool->name);
            return AUDIT_TROUBLE;
        }
    }
    return -1;
}

static const struct verb *find_verb(const struct tool *tool, const char *name)
{
    for (const struct verb *verb = tool->verbs; verb->name; verb++) {
        if (strcmp(verb->name, name) == 0)
            return verb;
    }
    return NULL;
}

static int find_selection(struct arguments *ret)
{
    struct selection *selection = &ret->question.selection;
    selection->arch = ret->question.score ? POLICY_ARCH_NATIVE : ret->verb->arch;
    if (ret->arch) {
        selection->arch = policy_arch_find(ret->arch);
        if (selection->arch == POLICY_ARCHES && strcmp(ret->arch, "all") != 0)
            return audit_complain("no architecture", ret->arch, "x86_64, aarch64, riscv64 or all");
    }
    bool is_process = ret->question.effective && audit_pid(selection->policy) > 0;
    if (is_process || selection_next(selection, NULL))
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
    if (arguments->question.effective && !arguments->verb->effective)
        return audit_complain("--effective with", arguments->verb->name, "list, show or explain");
    if (arguments->question.score && strcmp(arguments->verb->name, "lint") != 0)
        return audit_complain("--score with", arguments->verb->name, "bao-policy lint");
    if ((arguments->question.all || arguments->question.told) && !verify)
        return audit_complain(arguments->question.all ? "--all with" : "--told with",
                              arguments->verb->name, "verify");
    if ((arguments->question.against || arguments->question.output) && !verify)
        return audit_complain(arguments->question.against ? "--against with" : "--output with",
                              arguments->verb->name, "verify");
    return -1;
}

static int parse_arguments(int argc, char **argv, struct arguments *ret)
{
    int status = parse_options(argc, argv, ret);
    if (status >= 0)
        return status;
    if (optind == argc) {
        fputs(ret->tool->help, stderr);
        audit_print_policies(true);
        return AUDIT_TROUBLE;
    }
    ret->verb = find_verb(ret->tool, argv[optind]);
    if (!ret->verb)
        return audit_complain("no verb", argv[optind], ret->tool->verb_names);
    optind++;
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

int audit_main(const struct tool *tool, int argc, char **argv)
{
    struct arguments arguments = {.tool = tool};
    audit_tool = tool->name;
    struct output output = {0};
    int status = parse_arguments(argc, argv, &arguments);
    if (status < 0) {
        status = arguments.question.output ? output_begin(arguments.question.output, &output) : 0;
        if (status == 0)
            status = arguments.verb->run(&arguments.question);
        json_close_all();
    }
    if (fflush(stdout) != 0 || ferror(stdout))
        status = -errno;
    int ended = output_end(&output, status == AUDIT_GOOD || status == AUDIT_OBJECTS);
    status = ended < 0 ? ended : status;
    if (status >= 0)
        return status;
    fprintf(stderr, "%s: the answer could not be written: %s\n", tool->name, strerror(-status));
    return AUDIT_TROUBLE;
}
