/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration: a YAML file, read once, checked as a whole. Its keys are explained in
 * docs/CONFIGURATION.md.
 *
 * What config_load accepts is complete and free of contradictions in itself; nothing is
 * compared with the machine (does the image exist? does the dispatcher have that id?). The
 * position of each value is kept, so that whoever finds that out later can name it.
 *
 * Not thread-safe with regard to one struct; no global state.
 */
#ifndef BROKER_CONFIG_CONFIG_H
#define BROKER_CONFIG_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/bao_abi.h"
#include "common/device_kind.h"

#define CONFIG_FILE_SIZE_MAX 1048576u /* bytes: 1 MiB */
#define CONFIG_SPACE_MAX 256u         /* bytes of a device's configuration space */
#define CONFIG_REGISTERS_SIZE 0x200u  /* bytes of a device from its mmio_addr */

/* The keys of a device; what is known of each is in keys.def. */
enum config_key {
#define CONFIG_KEY(name, ...) CONFIG_KEY_##name,
#include "broker/config/keys.def"
#undef CONFIG_KEY
    CONFIG_KEYS,
};

/* A place in the file. Both count from 1; columns are characters. Line 0: no place. */
struct config_mark {
    unsigned int line, column;
};

/* Of a log file, bytes, where log_size does not say. */
#define CONFIG_LOG_SIZE 0x1000000u

/* When a block device's data are safe: `cache`. 0: the file does not say, and advertise_flush
 * decides between the first two. */
enum config_cache {
    CONFIG_CACHE_WRITEBACK = 1, /* when a flush has completed; the frontend may choose the next */
    CONFIG_CACHE_WRITETHROUGH,  /* when the write has; there are no flushes */
    CONFIG_CACHE_UNSAFE,        /* when the backend's kernel sees fit, whatever the frontend does */
};

struct device_config {
    enum device_kind kind;
    const char *type_name;   /* static */
    uint32_t virtio_id;      /* DeviceID, VirtIO 1.2 §5 */
    uint32_t id;             /* the dispatcher's, below BAO_DEVICES_MAX; no two devices share one */
    uint64_t mmio_addr;      /* guest-physical; a multiple of 4 */
    uint64_t shmem_addr;     /* valid if config_has(CONFIG_KEY_SHMEM_ADDR) */
    uint64_t shmem_size;     /* valid if config_has(CONFIG_KEY_SHMEM_SIZE) */
    uint32_t irq;            /* of the backend's dispatcher; valid if config_has(CONFIG_KEY_IRQ) */
    bool read_only;          /* block */
    bool advertise_flush;    /* block: as the file says, or as `cache` asks for it */
    enum config_cache cache; /* block: never 0 */
    bool direct;             /* block */
    uint32_t guest_cid;   /* vsock: 3 to 0xfffffffe; no two devices share one; vhost_user: or 0 */
    uint32_t connections; /* vsock/virtio: 1 to CONNECTIONS_MAX; else 0 */
    /* Of any type, by vhost_user: its configuration space, or how many bytes of it the daemon is
     * asked for. */
    uint8_t config[CONFIG_SPACE_MAX];
    uint32_t config_bytes, config_size;
    uint32_t mtu;        /* net; 0: not given */
    uint64_t log_size;   /* console: bytes, of the log file at most */
    uint32_t ports;      /* console: 1 to 7 */
    uint32_t rate_limit; /* rng: bytes per second; 0: none */

    uint32_t queues;         /* or pairs of queues; 0: what the kind has by default */
    uint32_t queue_size;     /* Queue Size offered, a power of two; 0: by default */
    uint64_t features_off;   /* bits that are not to be offered */
    uint64_t processors;     /* bit n: processor n may be used; 0: any */
    uint32_t sched_priority; /* of SCHED_FIFO; 0: SCHED_OTHER */

    /* The texts. */
#define TEXT(name) char *name;
#define NO_TEXT
#define CONFIG_KEY(name, text, ...) text
#include "broker/config/keys.def"
#undef CONFIG_KEY
#undef NO_TEXT
#undef TEXT

    /* Of all that the file says of this device, wherever it stands: another number, another device;
     * or another version of this program. */
    uint64_t digest;

    struct config_mark mark;               /* where the device begins */
    struct config_mark marks[CONFIG_KEYS]; /* where each value is; line 0: key not in the file */
};

struct config {
    char *path; /* as given to config_load */
    size_t device_count;
    struct device_config devices[BAO_DEVICES_MAX]; /* in the order of the file */
};

enum config_severity {
    CONFIG_ERROR,
    CONFIG_NOTE, /* the file is accepted nevertheless */
};

struct config_diagnostic {
    enum config_severity severity;
    struct config_mark mark; /* line 0: the file as a whole */
    char text[768];          /* one line: what is wrong; what was expected */
};

#define CONFIG_DIAGNOSTICS_MAX 64

/* What is wrong with a file, all of it, in the order of the file. */
struct config_diagnostics {
    size_t count;
    size_t errors;  /* those of severity CONFIG_ERROR, with the omitted ones */
    size_t omitted; /* did not fit: the file's last ones */
    struct config_diagnostic items[CONFIG_DIAGNOSTICS_MAX];
};

/*
 * Read and check a file. *diags is overwritten; it can hold notes after a success, and has at
 * least one error after a failure. Returns 0; -EINVAL if the contents are wrong; -errno if the
 * file can't be read (-EFBIG: larger than CONFIG_FILE_SIZE_MAX). *ret is written on success only
 * and then owned by the caller: config_free.
 */
int config_load(const char *path, struct config *ret, struct config_diagnostics *diags);

/* The same, of a sealed memfd that holds the file's text; `path` is only a name. */
int config_load_text(int fd, const char *path, struct config *ret,
                     struct config_diagnostics *diags);

/*
 * Read a file's text into a sealed memfd, for config_load_text. Returns the fd, owned by the
 * caller, or -errno with an error in *diags, which is overwritten.
 */
int config_read_text(const char *path, struct config_diagnostics *diags);

/* The same from memory; `path` is only a name. */
int config_parse(const char *path, const char *data, size_t size, struct config *ret,
                 struct config_diagnostics *diags);

/* Free what the structure owns, and clear it. Harmless on a cleared one. */
void config_free(struct config *config);

/* Write one line a diagnostic: "path:line:column: text", or "...: note: text". */
void config_diagnostics_print(const struct config_diagnostics *diags, const char *path,
                              FILE *stream);

/* The mode, as the file names it. */
const char *config_cache_word(enum config_cache cache);

/* The device with that id of the dispatcher's; NULL: there is none. */
const struct device_config *config_device(const struct config *config, uint32_t id);

/* Is it a key of that kind, and not of every device? Of DEVICE_KINDS: no. */
bool config_kind_has(enum device_kind kind, enum config_key key);

/* Whether the file has this key for this device. */
bool config_has(const struct device_config *device, enum config_key key);

#define CONFIG_WHERE_SIZE (PATH_MAX + 32)

/*
 * Write "path:line:column:" of a device's value to `buffer`, for a message about it; of the
 * device itself if the file does not have the key. Returns `buffer`.
 */
const char *config_where(const struct config *config, const struct device_config *device,
                         enum config_key key, char buffer[CONFIG_WHERE_SIZE]);

/* The shared-memory window of a device, by DM_GET_INFO. Size 0: not known, and not looked at. */
struct config_window {
    uint64_t shmem_addr, shmem_size;
};

/*
 * Compare the file with what only the dispatcher knows: windows[i] is that of
 * config->devices[i]. Errors are a shmem_addr or shmem_size that contradicts it, registers that
 * lie inside the device's own window, and two devices with the same registers and the same
 * window, which are of one frontend. *diags is overwritten. Returns 0, or -EINVAL.
 */
int config_check_windows(const struct config *config, const struct config_window *windows,
                         struct config_diagnostics *diags);

#endif
