/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ELF note by which a program says what it will load: one for each of its policies. `readelf
 * -n` shows it. The owner is POLICY_NOTE_OWNER and the policy's name ("Bao policy block/virtio"),
 * the description is the SHA-256 of the instructions: 32 bytes, which `bao-seccomp hash` prints in
 * hexadecimal. The compiler writes note and program from the same policy. The section is among
 * those that are loaded, so that it survives strip.
 */
#ifndef POLICY_NOTE_H
#define POLICY_NOTE_H

#define POLICY_NOTE_OWNER "Bao policy "
#define POLICY_NOTE_TYPE 0x42616f01u /* "Bao", 1 */
#define POLICY_NOTE_SECTION ".note.bao.policy"
#define POLICY_NOTE_SIZE 32u /* bytes of the description */

#endif
