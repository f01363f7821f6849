/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backend/backend.h"

const struct backend_ops *const backend_kinds[DEVICE_KINDS] = {
#define DEVICE_KIND(name, backend, ...) [DEVICE_##name] = &(backend),
#include "common/kinds.def"
#undef DEVICE_KIND
};

void backend_init(struct backend *backend, const struct device_config *config)
{
    *backend = (struct backend){
        .ops = backend_kinds[config->kind],
        .config = config,
        .connector = CONNECTOR_NONE,
        .client = -1,
    };
    for (size_t file = 0; file < OPENED_FILES; file++)
        backend->files[file] = -1;
}
