/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/bpf.h"

#include <string.h>

static const char *validate_instruction(const struct sock_filter *instruction, size_t left)
{
    switch (instruction->code) {
    case BPF_LD | BPF_W | BPF_ABS:
        if (instruction->k % 4 != 0 || instruction->k >= sizeof(struct seccomp_data))
            return "loads from outside of seccomp_data";
        return left > 0 ? NULL : "falls off the end";
    case BPF_ALU | BPF_AND | BPF_K:
        return left > 0 ? NULL : "falls off the end";
    case BPF_JMP | BPF_JA:
        return instruction->k < left ? NULL : "jumps off the end";
    case BPF_JMP | BPF_JEQ | BPF_K:
    case BPF_JMP | BPF_JGT | BPF_K:
    case BPF_JMP | BPF_JGE | BPF_K:
    case BPF_JMP | BPF_JSET | BPF_K:
        return instruction->jt < left && instruction->jf < left ? NULL : "jumps off the end";
    case BPF_RET | BPF_K:
        if (instruction->k != SECCOMP_RET_ALLOW && instruction->k != SECCOMP_RET_KILL_PROCESS)
            return "returns neither ALLOW nor KILL_PROCESS";
        return NULL;
    }
    return "has an opcode that no filter of ours needs";
}

const char *bpf_validate(const struct sock_filter *filter, size_t length, size_t *ret_index)
{
    *ret_index = 0;
    if (length == 0 || length > BPF_MAXINSNS)
        return "has a length that the kernel refuses";
    for (size_t i = 0; i < length; i++) {
        const char *wrong = validate_instruction(&filter[i], length - i - 1);
        if (wrong) {
            *ret_index = i;
            return wrong;
        }
    }
    return NULL;
}

uint32_t bpf_run(const struct sock_filter *filter, const struct seccomp_data *data)
{
    uint32_t accumulator = 0;
    for (const struct sock_filter *at = filter;; at++) {
        switch (at->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            memcpy(&accumulator, (const unsigned char *)data + at->k, sizeof(accumulator));
            break;
        case BPF_ALU | BPF_AND | BPF_K:
            accumulator &= at->k;
            break;
        case BPF_JMP | BPF_JA:
            at += at->k;
            break;
        case BPF_JMP | BPF_JEQ | BPF_K:
            at += accumulator == at->k ? at->jt : at->jf;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            at += accumulator > at->k ? at->jt : at->jf;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            at += accumulator >= at->k ? at->jt : at->jf;
            break;
        case BPF_JMP | BPF_JSET | BPF_K:
            at += (accumulator & at->k) != 0 ? at->jt : at->jf;
            break;
        case BPF_RET | BPF_K:
            return at->k;
        default: /* not reached in a validated program */
            return SECCOMP_RET_KILL_PROCESS;
        }
    }
}
