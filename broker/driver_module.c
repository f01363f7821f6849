/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/driver_module.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* As built by the branches main and linux-v6.15, and by linux-v6.1 and linux-v6.11. */
static const struct {
    const char *name, *in_sys, *file;
} modules[] = {
    {"bao-iodispatcher", "bao_iodispatcher", "/bao-iodispatcher.ko"},
    {"iodispatcher", "iodispatcher", "/iodispatcher.ko"},
};

#define MODULES (sizeof(modules) / sizeof(modules[0]))

static bool is_loaded(const char *root, size_t number)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/sys/module/%s", root, modules[number].in_sys);
    return access(path, F_OK) == 0;
}

/* Each line of modules.dep begins with a module's file. Returns MODULES if it is neither. */
static size_t find_installed(FILE *dependencies)
{
    char line[4096];
    while (fgets(line, sizeof(line), dependencies)) {
        line[strcspn(line, ":")] = '\0';
        for (size_t i = 0; i < MODULES; i++) {
            if (strstr(line, modules[i].file))
                return i;
        }
    }
    return MODULES;
}

static size_t installed(const char *root)
{
    struct utsname kernel;
    char path[PATH_MAX];
    if (uname(&kernel) < 0)
        return MODULES;
    snprintf(path, sizeof(path), "%s/lib/modules/%s/modules.dep", root, kernel.release);
    FILE *dependencies = fopen(path, "re");
    if (!dependencies)
        return MODULES;
    size_t found = find_installed(dependencies);
    fclose(dependencies);
    return found;
}

struct driver_module driver_module_find(const char *root)
{
    for (size_t i = 0; i < MODULES; i++) {
        if (is_loaded(root, i))
            return (struct driver_module){DRIVER_LOADED, modules[i].name};
    }
    size_t found = installed(root);
    return found < MODULES ? (struct driver_module){DRIVER_INSTALLED, modules[found].name}
                           : (struct driver_module){DRIVER_ABSENT, NULL};
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
            "main and linux-v6.15 of bao-linux-drivers), or iodispatcher.ko (of linux-v6.1 and "
            "linux-v6.11), on Bao");
        break;
    }
    return buffer;
}
