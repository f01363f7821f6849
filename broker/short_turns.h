/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For threads that have a few microseconds to do while others wait for them.
 */
#ifndef BROKER_SHORT_TURNS_H
#define BROKER_SHORT_TURNS_H

/*
 * Ask the scheduler for short turns of the calling thread: since Linux 6.12 a thread that asks for
 * a short slice runs sooner when it wakes up beside one that is in the midst of a long one. It gets
 * no more of the processor than before, needs no privilege, and keeps nobody else from running.
 * Older kernels take it and do nothing. Before lock-down.
 */
void short_turns(void);

#endif
