/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_BACKEND_RAW_MODE_H
#define BROKER_BACKEND_RAW_MODE_H

/* Makes a terminal raw: every byte passes unchanged, and nothing is echoed. Returns 0 or -errno. */
int raw_mode(int terminal);

#endif
