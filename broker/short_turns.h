/* SPDX-License-Identifier: Apache-2.0 */
/* For threads that work for a few microseconds while others wait for them. */
#ifndef BROKER_SHORT_TURNS_H
#define BROKER_SHORT_TURNS_H

/*
 * Ask the scheduler for short time slices of the calling thread. Since Linux 6.12, a thread that
 * asks for a short slice runs sooner when it wakes up while another thread is in the middle of a
 * long slice. It gets no more processor time than before, needs no privilege, and does not keep
 * other threads from running. Older kernels accept the request and do nothing. Call it before
 * lock-down.
 */
void short_turns(void);

#endif
