/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program in words. To find out which call and which argument an instruction is about, the code
 * follows the program's jumps, which only go forward.
 */
#ifndef POLICY_AUDIT_DISASSEMBLE_H
#define POLICY_AUDIT_DISASSEMBLE_H

#include "policy/rule.h"

struct disassembled {
    char text[64];     /* "jeq  0x8 then 11 else 66" */
    char comment[128]; /* "the low half of preadv2's fd"; empty if there is nothing to say */
};

/* `lines` has one element for each instruction of the listing's program, which may be any valid one
 * (ways.h); without rules, there are less comments. Returns 0 or -errno. */
int disassemble(const struct policy_listing *listing, struct disassembled *lines);

#endif
