/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf_some.h"

#include <stdbool.h>
#include <string.h>

/* ---- An interpreter ---- */

struct machine {
    uint32_t a, x, memory[BPF_MEMWORDS];
};

static uint32_t calculated(unsigned int operation, uint32_t a, uint32_t b)
{
    switch (operation) {
    case BPF_ADD:
        return a + b;
    case BPF_SUB:
        return a - b;
    case BPF_MUL:
        return a * b;
    case BPF_DIV:
        return a / b;
    case BPF_AND:
        return a & b;
    case BPF_OR:
        return a | b;
    case BPF_XOR:
        return a ^ b;
    case BPF_LSH:
        return a << (b % 32);
    case BPF_RSH:
        return a >> (b % 32);
    default:
        return -a;
    }
}

static bool jumps(unsigned int operation, uint32_t a, uint32_t b)
{
    return operation == BPF_JEQ   ? a == b
           : operation == BPF_JGT ? a > b
           : operation == BPF_JGE ? a >= b
                                  : (a & b) != 0;
}

uint32_t bpf_interpreted(const struct sock_filter *at, const struct seccomp_data *call)
{
    struct machine m = {0};
    for (;; at++) {
        uint32_t other = BPF_SRC(at->code) == BPF_K ? at->k : m.x;
        uint32_t loaded;
        switch (BPF_CLASS(at->code)) {
        case BPF_RET:
            return BPF_RVAL(at->code) == BPF_A ? m.a : at->k;
        case BPF_ALU:
            if (BPF_OP(at->code) == BPF_DIV && other == 0)
                return 0;
            m.a = calculated(BPF_OP(at->code), m.a, other);
            break;
        case BPF_JMP:
            if (BPF_OP(at->code) == BPF_JA)
                at += at->k;
            else
                at += jumps(BPF_OP(at->code), m.a, other) ? at->jt : at->jf;
            break;
        case BPF_ST:
            m.memory[at->k] = m.a;
            break;
        case BPF_STX:
            m.memory[at->k] = m.x;
            break;
        case BPF_MISC:
            *(BPF_MISCOP(at->code) == BPF_TAX ? &m.x : &m.a) =
                BPF_MISCOP(at->code) == BPF_TAX ? m.a : m.x;
            break;
        default:
            if (BPF_MODE(at->code) == BPF_ABS)
                memcpy(&loaded, (const char *)call + at->k, sizeof(loaded));
            else
                loaded = BPF_MODE(at->code) == BPF_MEM   ? m.memory[at->k]
                         : BPF_MODE(at->code) == BPF_LEN ? (uint32_t)sizeof(*call)
                                                         : at->k;
            *(BPF_CLASS(at->code) == BPF_LD ? &m.a : &m.x) = loaded;
        }
    }
}

/* ---- Programs at random ---- */

static uint64_t next_random(void)
{
    static uint64_t state = 0x9e3779b97f4a7c15;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

uint32_t bpf_pick(uint32_t count)
{
    return (uint32_t)(next_random() >> 20) % count;
}

/* Few different values, so that comparisons have both results. */
static uint32_t some_number(void)
{
    static const uint32_t numbers[] = {0, 1, 2, 3, 7, 8, 0x80, 0x7fffffff, 0x80000000, UINT32_MAX};
    return bpf_pick(4) ? numbers[bpf_pick(10)] : (uint32_t)next_random();
}

static struct sock_filter some_instruction(uint32_t left)
{
    static const uint16_t alu[] = {BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_AND,
                                   BPF_OR,  BPF_XOR, BPF_LSH, BPF_RSH, BPF_AND};
    static const uint16_t jump[] = {BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET};
    static const uint16_t store[] = {BPF_ST, BPF_STX, BPF_LD | BPF_MEM, BPF_LDX | BPF_MEM};
    static const uint16_t other[] = {
        BPF_MISC | BPF_TAX, BPF_MISC | BPF_TXA,       BPF_ALU | BPF_NEG,        BPF_LD | BPF_IMM,
        BPF_LDX | BPF_IMM,  BPF_LD | BPF_W | BPF_LEN, BPF_LDX | BPF_W | BPF_LEN};
    struct sock_filter at = {.k = some_number()};
    uint32_t kind = bpf_pick(20);
    if (kind < 8) {
        at.code = BPF_LD | BPF_W | BPF_ABS;
        at.k = 4 * bpf_pick(sizeof(struct seccomp_data) / 4);
    } else if (kind < 11) {
        at.code = (uint16_t)(BPF_ALU | alu[bpf_pick(10)] | (bpf_pick(4) ? BPF_K : BPF_X));
        if (BPF_SRC(at.code) == BPF_K)
            at.k = BPF_OP(at.code) == BPF_LSH || BPF_OP(at.code) == BPF_RSH ? at.k % 32 : at.k | 1;
    } else if (kind < 16) {
        at.code = (uint16_t)(BPF_JMP | jump[bpf_pick(4)] | (bpf_pick(6) ? BPF_K : BPF_X));
        at.jt = (uint8_t)bpf_pick(left);
        at.jf = (uint8_t)bpf_pick(left);
    } else if (kind < 17) {
        at.code = BPF_JMP | BPF_JA;
        at.k = bpf_pick(left);
    } else if (kind < 18) {
        at.code = store[bpf_pick(4)];
        at.k %= BPF_MEMWORDS;
    } else {
        at.code = other[bpf_pick(7)];
    }
    return at;
}

struct seccomp_data bpf_some_call(void)
{
    struct seccomp_data call = {.nr = (int)some_number(), .arch = some_number()};
    call.instruction_pointer = (uint64_t)some_number() << 32 | some_number();
    for (size_t i = 0; i < 6; i++)
        call.args[i] = (uint64_t)(bpf_pick(2) ? 0 : some_number()) << 32 | some_number();
    return call;
}

size_t bpf_some_program(struct sock_filter ret[BPF_SOME_MAX])
{
    uint32_t length = 4 + bpf_pick(BPF_SOME_MAX - 4);
    for (uint32_t i = 0; i + 1 < length; i++)
        ret[i] = some_instruction(length - 1 - i);
    ret[length - 1] = (struct sock_filter){
        .code = (uint16_t)(BPF_RET | (bpf_pick(3) ? BPF_K : BPF_A)), .k = some_number()};
    return length;
}
