/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_VM_PROBE_H
#define TESTS_VM_PROBE_H

/* Run a guest of a few instructions. Returns 0 if KVM has run it within two seconds. Otherwise
 * returns 1, with the reason on stderr: a /dev/kvm that exists may still be unable to run a guest.
 */
int probe_kvm(void);

/* Print how many thousand times a second this processor's time stamp counter counts, measured by
 * the kernel's clock. Returns 0. */
int probe_counter(void);

#endif
