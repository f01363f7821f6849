/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Bao starts in a VM: a few instructions, the device tree, and on the next boundary of 2 MiB,
 * as both architectures ask for it, the kernel. make-guest beside this file puts them together. It
 * runs at any address that is a multiple of 2 MiB.
 */
    .section .text
    .globl _start
_start:
#if defined(__aarch64__)
    /* Documentation/arch/arm64/booting.rst: x0 is the tree, x1 to x3 are 0. */
    adr x0, tree
    mov x1, xzr
    mov x2, xzr
    mov x3, xzr
    b kernel
#elif defined(__riscv)
    /* Documentation/arch/riscv/boot.rst: a0 is the hart's number, as Bao leaves it; a1 is the tree. */
    .option norelax
    lla a1, tree
    lla t0, kernel
    jr t0
#else
#error "neither aarch64 nor riscv64"
#endif

    .balign 8
tree:
    .incbin TREE

    .balign 0x200000
kernel:
    .incbin KERNEL
