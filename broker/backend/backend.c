/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backend/backend.h"

const struct backend_ops *const backend_kinds[DEVICE_KINDS] = {
#define DEVICE_KIND(name, backend, ...) [DEVICE_##name] = &(backend),
#include "common/kinds.def"
#undef DEVICE_KIND
};
