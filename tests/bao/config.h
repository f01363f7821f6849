/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stand-in for the headers that a VM configuration of the Bao hypervisor includes, so that
 * tests/configs can compile such a configuration with the machine's own compiler and print its
 * values (tests/bao/print.c). It has the fields that a configuration may set, and no others. Their
 * names and their form are those of Bao 2.0.0 and of Bao's main branch of July 2026.
 *
 * With STUB_OLDER, struct remio_dev is the one before Bao 2.0.0, when bind_key was called id. Such
 * a Bao compiles today's files with CPPFLAGS=-Dbind_key=id.
 *
 * STUB_RISCV chooses riscv64, otherwise it is aarch64. IRQC says which interrupt controller Bao is
 * built for, as in Bao's own build.
 */
#ifndef TESTS_BAO_CONFIG_H
#define TESTS_BAO_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLIC 1
#define APLIC 2
#define AIA 3

#define STR(word) #word
#define XSTR(word) STR(word)

/* Older configurations begin with it. It has no meaning any more. */
#define CONFIG_HEADER

typedef uintptr_t paddr_t;
typedef uintptr_t vaddr_t;
typedef unsigned long cpumap_t;
typedef unsigned long colormap_t;
typedef unsigned int irqid_t;
typedef unsigned int deviceid_t;
typedef unsigned int streamid_t;

/* In Bao the image is linked in. Here the address of this structure stands for the image's name,
 * see print.c. */
struct stub_image {
    const char *name;
    const char *path;
};

#define VM_IMAGE(image_name, image_path)                                                           \
    static const struct stub_image stub_image_##image_name                                         \
        __attribute__((section("stub_images"), used)) = {#image_name, image_path};
#define VM_IMAGE_OFFSET(image_name) ((paddr_t)&stub_image_##image_name)
#define VM_IMAGE_SIZE(image_name) ((size_t)1)
#define VM_IMAGE_BUILTIN(image_name, guest_address)                                                \
    {                                                                                              \
        .base_addr = guest_address, .load_addr = VM_IMAGE_OFFSET(image_name),                      \
        .size = VM_IMAGE_SIZE(image_name), .separately_loaded = false                              \
    }
#define VM_IMAGE_LOADED(guest_address, physical_address, image_size)                               \
    {                                                                                              \
        .base_addr = guest_address, .load_addr = physical_address, .size = image_size,             \
        .separately_loaded = true                                                                  \
    }

struct shmem {
    size_t size;
    colormap_t colors;
    bool place_phys;
    paddr_t phys;
};

struct vm_mem_region {
    paddr_t base;
    size_t size;
    colormap_t colors;
    bool place_phys;
    paddr_t phys;
};

struct vm_dev_region {
    paddr_t pa;
    vaddr_t va;
    size_t size;
    size_t interrupt_num;
    irqid_t *interrupts;
    deviceid_t id;
};

struct ipc {
    paddr_t base;
    size_t size;
    size_t shmem_id;
    size_t interrupt_num;
    irqid_t *interrupts;
};

enum REMIO_DEV_TYPE { REMIO_DEV_FRONTEND, REMIO_DEV_BACKEND };

struct remio_shmem {
    paddr_t base;
    size_t size;
    size_t shmem_id;
};

struct remio_dev {
    vaddr_t va;
    size_t size;
    irqid_t interrupt;
#ifdef STUB_OLDER
    unsigned long id;
#else
    unsigned long bind_key;
#endif
    enum REMIO_DEV_TYPE type;
    struct remio_shmem shmem;
};

#ifdef STUB_RISCV
struct arch_vm_platform {
    union {
        struct {
            paddr_t base;
        } plic;
        struct {
            struct {
                paddr_t base;
            } aplic, imsic;
        } aia;
    } irqc;
};
#else
struct smmu_group {
    streamid_t mask;
    streamid_t id;
};

struct arch_vm_platform {
    struct {
        paddr_t gicd_addr;
        paddr_t gicc_addr;
        paddr_t gicr_addr;
        size_t interrupt_num;
    } gic;
    struct {
        streamid_t global_mask;
        size_t group_num;
        struct smmu_group *groups;
    } smmu;
};
#endif

struct vm_platform {
    size_t cpu_num;
    size_t region_num;
    struct vm_mem_region *regions;
    size_t ipc_num;
    struct ipc *ipcs;
    size_t dev_num;
    struct vm_dev_region *devs;
    size_t remio_dev_num;
    struct remio_dev *remio_devs;
    bool mmu;
    struct arch_vm_platform arch;
};

struct vm_config {
    struct {
        vaddr_t base_addr;
        paddr_t load_addr;
        size_t size;
        bool separately_loaded;
        bool inplace;
    } image;
    vaddr_t entry;
    cpumap_t cpu_affinity;
    colormap_t colors;
    struct vm_platform platform;
};

extern struct config {
    struct {
        bool relocate;
        paddr_t base_addr;
        bool data_relocate;
        paddr_t data_addr;
        colormap_t colors;
    } hyp;
    size_t shmemlist_size;
    struct shmem *shmemlist;
    size_t vmlist_size;
    struct vm_config *vmlist;
} config;

#endif
