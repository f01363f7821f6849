/* SPDX-License-Identifier: Apache-2.0 */
/* There is no dispatcher. The user is told what is missing, with the module's own name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "broker/driver_module.h"
#include "broker/generations.h"
#include "tests/cunit_main.h"
#include "tests/unit/fd_count.h"

static char root[] = "/tmp/driver-module-XXXXXX";

/* Make the file `path` below the root, and the folders on the way. Text "": a folder. */
static void put(const char *path, const char *text)
{
    char name[512];
    snprintf(name, sizeof(name), "%s/%s", root, path);
    for (char *slash = strchr(name + strlen(root) + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(name, 0700);
        *slash = '/';
    }
    if (*text == '\0')
        return;
    FILE *file = fopen(name, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs(text, file);
    fclose(file);
}

static void expect(enum driver_module_state state, const char *name, const char *words)
{
    char advice[256];
    const unsigned int before = fd_count();
    struct driver_module module = driver_module_find(root);
    CU_ASSERT_EQUAL(fd_count(), before);
    CU_ASSERT_EQUAL(module.state, state);
    CU_ASSERT_TRUE(name == module.name || strcmp(name, module.name) == 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(driver_module_advice(&module, advice, sizeof(advice)), words));
}

static void put_list(const char *name, const char *text)
{
    struct utsname kernel;
    char path[256];
    CU_ASSERT_EQUAL_FATAL(uname(&kernel), 0);
    snprintf(path, sizeof(path), "lib/modules/%s/%s", kernel.release, name);
    put(path, text);
}

static void put_dependencies(const char *text)
{
    put_list("modules.dep", text);
}

static void test_the_module_is_found_by_each_name(void)
{
    expect(DRIVER_ABSENT, NULL, "bao-iodispatcher.ko");
    expect(DRIVER_ABSENT, NULL, ", iodispatcher.ko");
    expect(DRIVER_ABSENT, NULL, "or bao.ko");
    put_dependencies("kernel/drivers/vhost/vhost.ko: kernel/drivers/vhost/vhost_iotlb.ko\n");
    expect(DRIVER_ABSENT, NULL, "no driver is installed");
    put_dependencies("updates/iodispatcher.ko.xz:\n");
    expect(DRIVER_INSTALLED, "iodispatcher", "\"modprobe iodispatcher\"");
    /* Only a whole file name counts. What another module depends on does not count. */
    put_dependencies("a/b.ko: updates/iodispatcher.ko\nc/other-iodispatcher.ko:\n");
    expect(DRIVER_ABSENT, NULL, "no driver is installed");
    put_dependencies("kernel/fs/fuse/fuse.ko:\nupdates/bao-iodispatcher.ko:\n");
    expect(DRIVER_INSTALLED, "bao-iodispatcher", "\"modprobe bao-iodispatcher\"");
    put_dependencies("updates/iodispatcher.ko:\nkernel/drivers/virt/bao/io-dispatcher/bao.ko:\n");
    expect(DRIVER_INSTALLED, "iodispatcher", "\"modprobe iodispatcher\""); /* the first */
    put_dependencies("kernel/drivers/virt/bao/io-dispatcher/bao.ko:\n");
    expect(DRIVER_INSTALLED, "bao", "\"modprobe bao\"");
    for (enum bao_generation i = BAO_A; i < BAO_GENERATIONS; i++) { /* no module has such a name */
        char path[64];
        snprintf(path, sizeof(path), "sys/module/%s/", generations[i].name);
        put(path, "");
    }
    expect(DRIVER_INSTALLED, "bao", "\"modprobe bao\"");
    put_list("modules.builtin", "kernel/drivers/virt/bao/io-dispatcher/bao.ko\n");
    expect(DRIVER_LOADED, "bao", "bao is loaded");
    put("sys/module/iodispatcher/", "");
    expect(DRIVER_LOADED, "iodispatcher", "\"bao,io-dispatcher\"");
    put("sys/module/bao_iodispatcher/", "");
    expect(DRIVER_LOADED, "bao-iodispatcher", "bao-iodispatcher is loaded");
}

int main(int argc, char **argv)
{
    char command[64];
    if (!mkdtemp(root))
        return EXIT_FAILURE;
    CU_TestInfo tests[] = {
        {"the module is found by each name", test_the_module_is_found_by_each_name},
        CU_TEST_INFO_NULL,
    };
    int status = run_tests(argc, argv, "driver module", tests);
    snprintf(command, sizeof(command), "rm -r %s", root);
    return system(command) == 0 ? status : EXIT_FAILURE;
}
