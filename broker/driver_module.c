/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/driver_module.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "broker/generations.h"

typedef bool fits(const char *module, const void *context);

/* The first module of the table that fits; NULL if none does. */
static const char *first(fits *it, const void *context)
{
    for (enum bao_generation i = BAO_A; i < BAO_GENERATIONS; i++) {
        for (size_t m = 0; m < sizeof(generations[i].modules) / sizeof(const char *); m++) {
            const char *module = generations[i].modules[m];
            if (module && it(module, context))
                return module;
        }
    }
    return NULL;
}

static bool is_loaded(const char *module, const void *root)
{
    char path[PATH_MAX];
    int at = snprintf(path, sizeof(path), "%s/sys/module/", (const char *)root);
    snprintf(path + at, sizeof(path) - (size_t)at, "%s", module);
    for (char *dash = path + at; (dash = strchr(dash, '-'));)
        *dash = '_';
    return access(path, F_OK) == 0;
}

static bool is_file_of(const char *module, const void *line)
{
    char file[64];
    snprintf(file, sizeof(file), "/%s.ko", module);
    return strstr(line, file);
}

/* Each line of modules.dep and of modules.builtin begins with the file of a module. */
static const char *find_listed(const char *root, const char *list)
{
    struct utsname kernel;
    char path[PATH_MAX], line[4096];
    if (uname(&kernel) < 0)
        return NULL;
    snprintf(path, sizeof(path), "%s/lib/modules/%s/%s", root, kernel.release, list);
    FILE *file = fopen(path, "re");
    const char *found = NULL;
    while (file && fgets(line, sizeof(line), file)) {
        line[strcspn(line, ":")] = '\0';
        if (!found)
            found = first(is_file_of, line);
    }
    if (file)
        fclose(file);
    return found;
}

struct driver_module driver_module_find(const char *root)
{
    const char *module = first(is_loaded, root);
    if (!module)
        module = find_listed(root, "modules.builtin");
    if (module)
        return (struct driver_module){DRIVER_LOADED, module};
    module = find_listed(root, "modules.dep");
    return (struct driver_module){module ? DRIVER_INSTALLED : DRIVER_ABSENT, module};
}

const char *driver_module_advice(const struct driver_module *module, char *buffer, size_t size)
{
    switch (module->state) {
    case DRIVER_LOADED:
        snprintf(buffer, size,
                 "the driver %s is loaded and has found no device: the backend's device tree needs "
                 "a node compatible with \"bao,io-dispatcher\"",
                 module->name);
        break;
    case DRIVER_INSTALLED:
        snprintf(buffer, size, "load the driver with \"modprobe %s\"", module->name);
        break;
    case DRIVER_ABSENT:
        snprintf(
            buffer, size,
            "no driver is installed for this kernel: load bao-iodispatcher.ko (of the branches "
            "main and linux-v6.15 of bao-linux-drivers), iodispatcher.ko (of linux-v6.1 and "
            "linux-v6.11), or bao.ko (of a kernel with the published series), on Bao");
        break;
    }
    return buffer;
}
