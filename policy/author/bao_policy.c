/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bao-policy: a tool for authors of policies. It is made of the same parts as bao-seccomp. It is
 * not installed on a board: what it traces is not confined.
 */
#include "policy/audit/front.h"

static const char help[] =
    "Usage: bao-policy VERB [ARGUMENT...] [--arch ARCH] [--json]\n"
    "What is doubtful about the system-call policies of this build, and what is used of them.\n"
    "\n"
    "  lint [DIRECTORY]  what is doubtful about this build's policies, or those of a directory\n"
    "                    with --score: which dangerous powers each policy gives, with the rank of\n"
    "                    each and its reason, and their sum\n"
    "  export FORMAT POLICY\n"
    "                    a policy for comparison with others' tools, as pfc (libseccomp's pseudo\n"
    "                    filter code), minijail (its text), oci (JSON of a container's runtime) "
    "or\n"
    "                    systemd (SystemCallFilter=); and what is lost by that\n"
    "  trace POLICY -- COMMAND...\n"
    "                    run COMMAND without this policy in force, and tell what it would have\n"
    "                    denied, and which of its rules were used (root)\n"
    "\n"
    "POLICY is one of the names below, or \"all\", which is meant where it may be left out.\n"
    "\n"
    "  -a, --arch ARCH   x86_64, aarch64, riscv64 or all; by default all for lint, and that of\n"
    "                    this program for trace, export and --score\n"
    "  -j, --json        for tools\n"
    "  -h, --help        show this help\n"
    "  -V, --version     show the version\n"
    "\n"
    "Exit status: 0 if there is nothing to object to; 1 if something is doubtful or was denied;\n"
    "2 if the question makes no sense or could not be answered.\n"
    "\n"
    "Policies:\n";

static const struct verb verbs[] = {
    {"lint", audit_lint, NO_POLICY, true, POLICY_ARCHES, false},
    {"export", audit_export_as, NO_POLICY, true, POLICY_ARCH_NATIVE, false},
    {"trace", audit_trace, ONE_POLICY, true, POLICY_ARCH_NATIVE, false},
    {0},
};

int main(int argc, char **argv)
{
    static const struct tool tool = {"bao-policy", help, "lint, export or trace", verbs};
    return audit_main(&tool, argc, argv);
}
