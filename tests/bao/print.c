/* SPDX-License-Identifier: Apache-2.0 */
/* Prints a VM configuration of Bao as JSON. tests/configs links it with the configuration. */
#include "tests/bao/config.h"

#include <inttypes.h>
#include <stdio.h>

/* A configuration that was compiled for an older Bao. */
#ifdef STUB_OLDER
#define bind_key id
#endif

/* The linker defines it if there is a section of that name. */
extern const struct stub_image __start_stub_images[] __attribute__((weak));
extern const struct stub_image __stop_stub_images[] __attribute__((weak));

static void number(const char *name, uintmax_t value)
{
    printf("\"%s\": %" PRIuMAX ", ", name, value);
}

static void print_interrupts(size_t count, const irqid_t *interrupts)
{
    printf("\"interrupts\": [");
    for (size_t i = 0; i < count; i++)
        printf("%s%u", i > 0 ? ", " : "", interrupts[i]);
    printf("]");
}

static void print_image(const struct vm_config *vm)
{
    const struct stub_image *image = __start_stub_images;
    while (image != __stop_stub_images && (paddr_t)image != vm->image.load_addr)
        image++;
    printf("\"image\": {");
    number("base", vm->image.base_addr);
    number("load", vm->image.load_addr);
    number("size", vm->image.size);
    number("loaded", vm->image.separately_loaded);
    printf("\"name\": \"%s\"}, ", image != __stop_stub_images ? image->name : "");
}

static void print_regions(const struct vm_platform *platform)
{
    printf("\"regions\": [");
    for (size_t i = 0; i < platform->region_num; i++) {
        const struct vm_mem_region *region = &platform->regions[i];
        printf("%s{", i > 0 ? ", " : "");
        number("base", region->base);
        number("size", region->size);
        number("placed", region->place_phys);
        printf("\"phys\": %" PRIuMAX "}", (uintmax_t)region->phys);
    }
    printf("], ");
}

static void print_devs(const struct vm_platform *platform)
{
    printf("\"devs\": [");
    for (size_t i = 0; i < platform->dev_num; i++) {
        const struct vm_dev_region *dev = &platform->devs[i];
        printf("%s{", i > 0 ? ", " : "");
        number("pa", dev->pa);
        number("va", dev->va);
        number("size", dev->size);
        number("id", dev->id);
        print_interrupts(dev->interrupt_num, dev->interrupts);
        printf("}");
    }
    printf("], ");
}

static void print_ipcs(const struct vm_platform *platform)
{
    printf("\"ipcs\": [");
    for (size_t i = 0; i < platform->ipc_num; i++) {
        const struct ipc *ipc = &platform->ipcs[i];
        printf("%s{", i > 0 ? ", " : "");
        number("base", ipc->base);
        number("size", ipc->size);
        number("shmem_id", ipc->shmem_id);
        print_interrupts(ipc->interrupt_num, ipc->interrupts);
        printf("}");
    }
    printf("], ");
}

static void print_remio_devs(const struct vm_platform *platform)
{
    printf("\"remio_devs\": [");
    for (size_t i = 0; i < platform->remio_dev_num; i++) {
        const struct remio_dev *dev = &platform->remio_devs[i];
        printf("%s{", i > 0 ? ", " : "");
        number("bind_key", dev->bind_key);
        number("backend", dev->type == REMIO_DEV_BACKEND);
        number("va", dev->va);
        number("size", dev->size);
        number("interrupt", dev->interrupt);
        number("window", dev->shmem.base);
        number("window_size", dev->shmem.size);
        printf("\"shmem_id\": %zu}", dev->shmem.shmem_id);
    }
    printf("], ");
}

static void print_arch(const struct arch_vm_platform *arch)
{
    printf("\"arch\": {");
#ifdef STUB_RISCV
    number("plic", arch->irqc.plic.base);
    number("aplic", arch->irqc.aia.aplic.base);
    printf("\"imsic\": %" PRIuMAX "}", (uintmax_t)arch->irqc.aia.imsic.base);
#else
    number("gicd", arch->gic.gicd_addr);
    number("gicc", arch->gic.gicc_addr);
    printf("\"gicr\": %" PRIuMAX "}", (uintmax_t)arch->gic.gicr_addr);
#endif
}

static void print_vm(const struct vm_config *vm)
{
    printf("{");
    print_image(vm);
    number("entry", vm->entry);
    number("cpu_affinity", vm->cpu_affinity);
    number("cpu_num", vm->platform.cpu_num);
    print_regions(&vm->platform);
    print_devs(&vm->platform);
    print_ipcs(&vm->platform);
    print_remio_devs(&vm->platform);
    print_arch(&vm->platform.arch);
    printf("}");
}

int main(void)
{
    printf("{\"shmems\": [");
    for (size_t i = 0; i < config.shmemlist_size; i++) {
        printf("%s{", i > 0 ? ", " : "");
        number("placed", config.shmemlist[i].place_phys);
        number("phys", config.shmemlist[i].phys);
        printf("\"size\": %zu}", config.shmemlist[i].size);
    }
    printf("],\n\"vms\": [");
    for (size_t i = 0; i < config.vmlist_size; i++) {
        printf("%s\n", i > 0 ? "," : "");
        print_vm(&config.vmlist[i]);
    }
    printf("]}\n");
    return 0;
}
