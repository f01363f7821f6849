/* SPDX-License-Identifier: Apache-2.0 */
/* The storms of test_storm.c that are in test_storm_streams.c. */
#ifndef TESTS_STANDIN_TEST_STORM_H
#define TESTS_STANDIN_TEST_STORM_H

void console_output_is_complete(void);
void sockets_are_reset_at_once_and_made_anew(void);

#endif
