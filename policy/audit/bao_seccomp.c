/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bao-seccomp: what the system-call policies of this build allow, and why; and whether the running
 * processes have these policies. It contains the policies, so that it needs neither the sources nor
 * the programs that they confine. It is for a board; the verbs for writing policies are in
 * bao-policy.
 */
#include "policy/audit/front.h"

static const char help[] =
    "Usage: bao-seccomp VERB [ARGUMENT...] [--arch ARCH] [--json]\n"
    "What the system-call policies of this build allow, and whether that is what runs.\n"
    "\n"
    "  list [POLICY]     the allowed system calls, their arguments, the reason and place of each\n"
    "                    rule\n"
    "  show [POLICY]     the programs that the kernel runs, disassembled\n"
    "  hash [POLICY]     the SHA-256 of each program, equal wherever the same sources are built\n"
    "  notes FILE...     which policies programs carry, by the ELF notes in them, and whether they "
    "are\n"
    "                    those of this build\n"
    "  export DIRECTORY  the programs, as DIRECTORY/ARCH/POLICY.bpf\n"
    "  check POLICY CALL [ARGUMENT...]\n"
    "                    what would become of this call. Arguments are numbers, constants or\n"
    "                    @fds, as in a policy; put -- before negative ones\n"
    "  diff OLD NEW      what NEW allows more, and less. Each is \"this\" build, another\n"
    "                    bao-seccomp, one policy, a directory of policies or of exported\n"
    "                    programs, any one program (.bpf), or the pid of any process. Dangerous\n"
    "                    powers have a rank: high, medium or low\n"
    "  explain PID|FILE  what any seccomp program does with each call, and under which "
    "conditions:\n"
    "                    those of a running process (root), or a file of instructions\n"
    "  verify [PID | --all | --told FILE]\n"
    "                    whether the running device models, or one process, are confined as they\n"
    "                    should be, down to the programs in the kernel (root)\n"
    "\n"
    "POLICY is one of the names below, or \"all\", which is meant where it may be left out.\n"
    "\n"
    "  -a, --arch ARCH   x86_64, aarch64, riscv64 or all; by default that of this program,\n"
    "                    and all for hash, export and diff\n"
    "      --effective   what all programs of a process do together, the keeper's and its own:\n"
    "                    of list, show and explain. In place of POLICY, list and show then also\n"
    "                    take the pid of a running process (root)\n"
    "  -j, --json        for tools\n"
    "  -m, --markdown    for a report: verify only\n"
    "      --told FILE   verify the device model whose broker has said this, with what it has "
    "said;\n"
    "                    bao-dmctl audit asks it\n"
    "      --against FILE\n"
    "                    verify: what is different from this earlier report, of verify --json\n"
    "      --output FILE\n"
    "                    verify: writes the report there, whole or not at all, for a signature\n"
    "  -h, --help        show this help\n"
    "  -V, --version     show the version\n"
    "\n"
    "Exit status: 0 if there is nothing to object to; 1 if a call is denied, something differs\n"
    "or is not as expected; 2 if the question makes no sense or could not be answered.\n"
    "\n"
    "Policies:\n";

static const struct verb verbs[] = {
    {"list", audit_list, ANY_POLICY, false, POLICY_ARCH_NATIVE, true},
    {"show", audit_show, ANY_POLICY, false, POLICY_ARCH_NATIVE, true},
    {"hash", audit_hash, ANY_POLICY, false, POLICY_ARCHES, false},
    {"notes", audit_notes, NO_POLICY, true, POLICY_ARCHES, false},
    {"export", audit_export, NO_POLICY, true, POLICY_ARCHES, false},
    {"check", audit_check, ONE_POLICY, true, POLICY_ARCH_NATIVE, false},
    {"diff", audit_diff, NO_POLICY, true, POLICY_ARCHES, false},
    {"explain", audit_explain, NO_POLICY, true, POLICY_ARCHES, true},
    {"verify", audit_verify, NO_POLICY, true, POLICY_ARCH_NATIVE, false},
    {0},
};

int main(int argc, char **argv)
{
    static const struct tool tool = {
        "bao-seccomp", help, "list, show, hash, notes, export, check, diff, explain or verify",
        verbs};
    return audit_main(&tool, argc, argv);
}
