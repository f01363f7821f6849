/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration: a YAML file, read once, checked as a whole. Its keys are explained in
 * docs/CONFIGURATION.md.
 *
 * What config_load accepts is complete and free of contradictions in itself. Nothing is compared
 * with the machine (does the image exist? does the dispatcher have that id?). The position of each
 * value is kept, so that a later message about the value can name it.
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

/* The keys of a device; keys.def describes each. */
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

/* Bytes of a log file, if log_size is not given. */
#define CONFIG_LOG_SIZE 0x1000000u

/* How long a worker looks at its rings at most, in microseconds, if the file does not say it: a
 * driver with one request under way has taken its interrupt and sent the next one within this
 * time. */
#define CONFIG_POLL_US 300u

/* When the data of a block device are safe: `cache`. 0: the file does not say, and advertise_flush
 * chooses one of the first two. */
enum config_cache {
    CONFIG_CACHE_WRITEBACK = 1, /* when a flush has completed; the driver may choose the next one */
    CONFIG_CACHE_WRITETHROUGH,  /* when the write has completed; there are no flushes */
    CONFIG_CACHE_UNSAFE, /* when the backend's kernel writes them, whatever the frontend does */
};

struct device_config {
    enum device_kind kind;
    const char *type_name; /* static */
    uint32_t virtio_id;    /* DeviceID, VirtIO 1.2 §5 */
    uint32_t id;          /* the dispatcher's id, below BAO_DEVICES_MAX; no two devices share one */
    uint64_t mmio_addr;   /* guest-physical; a multiple of 4 */
    uint64_t shmem_addr;  /* valid if config_has(CONFIG_KEY_SHMEM_ADDR) */
    uint64_t shmem_size;  /* valid if config_has(CONFIG_KEY_SHMEM_SIZE) */
    uint32_t irq;         /* of the backend's dispatcher; valid if config_has(CONFIG_KEY_IRQ) */
    bool read_only;       /* block */
    bool advertise_flush; /* block: as the file says, or as `cache` asks for it */
    enum config_cache cache; /* block: never 0 */
    bool direct;             /* block */
    uint32_t guest_cid;   /* vsock: 3 to 0xfffffffe; no two devices share one; vhost_user: or 0 */
    uint32_t connections; /* vsock/virtio: 1 to CONNECTIONS_MAX; else 0 */
    /* For a type that only a daemon serves (vhost_user): its configuration space, or how many bytes
     * of it the daemon is asked for. */
    uint8_t config[CONFIG_SPACE_MAX];
    uint32_t config_bytes, config_size;
    uint32_t mtu;        /* net; 0: not given */
    uint64_t log_size;   /* console: bytes, maximum size of the log file */
    uint32_t ports;      /* console: 1 to 7 */
    uint32_t rate_limit; /* rng: bytes per second; 0: none */

    uint32_t queues;         /* or pairs of queues; 0: the default of the kind */
    uint32_t queue_size;     /* Queue Size offered, a power of two; 0: the default */
    uint64_t features_off;   /* feature bits that must not be offered */
    uint64_t processors;     /* bit n: processor n may be used; 0: any */
    uint32_t sched_priority; /* of SCHED_FIFO; 0: SCHED_OTHER */
    uint32_t poll_us;        /* see worker/polling.h */
    uint32_t irq_delay_us;   /* 0: no interrupt waits */

    /* The texts. */
#define TEXT(name) char *name;
#define NO_TEXT
#define CONFIG_KEY(name, text, ...) text
#include "broker/config/keys.def"
#undef CONFIG_KEY
#undef NO_TEXT
#undef TEXT

    /* A digest of all that the file says about this device, whatever its position in the file.
     * Another digest means that the device was changed, or that it is another version of this
     * program. */
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
    CONFIG_NOTE, /* the file is accepted all the same */
};

struct config_diagnostic {
    enum config_severity severity;
    struct config_mark mark; /* line 0: the file as a whole */
    char text[768];          /* one line: what is wrong; what was expected */
};

#define CONFIG_DIAGNOSTICS_MAX 64

/* All that is wrong with a file, in the order of the file. */
struct config_diagnostics {
    size_t count;
    size_t errors;  /* all diagnostics of severity CONFIG_ERROR, with the omitted ones */
    size_t omitted; /* those that did not fit: the last ones of the file */
    struct config_diagnostic items[CONFIG_DIAGNOSTICS_MAX];
};

/*
 * Read and check a file. *diags is overwritten; it can hold notes after a success, and has at
 * least one error after a failure. Returns 0; -EINVAL if the contents are wrong; -errno if the
 * file can't be read (-EFBIG: larger than CONFIG_FILE_SIZE_MAX). *ret is written on success only
 * and then owned by the caller: config_free.
 */
int config_load(const char *path, struct config *ret, struct config_diagnostics *diags);

/* Like config_load, for a sealed memfd that has the file's text; `path` is only a name. */
int config_load_text(int fd, const char *path, struct config *ret,
                     struct config_diagnostics *diags);

/*
 * Read a file's text into a sealed memfd, for config_load_text. Returns the fd, owned by the
 * caller, or -errno with an error in *diags, which is overwritten.
 */
int config_read_text(const char *path, struct config_diagnostics *diags);

/* Like config_load, from memory; `path` is only a name. */
int config_parse(const char *path, const char *data, size_t size, struct config *ret,
                 struct config_diagnostics *diags);

/* Free what the structure owns, and clear it. A cleared structure may be freed again. */
void config_free(struct config *config);

/* Write one line for each diagnostic: "path:line:column: text", or "...: note: text". */
void config_diagnostics_print(const struct config_diagnostics *diags, const char *path,
                              FILE *stream);

/* The name of the mode in the file. */
const char *config_cache_word(enum config_cache cache);

/* The device with that id of the dispatcher; NULL: there is none. */
const struct device_config *config_device(const struct config *config, uint32_t id);

/* Is it a key of that kind, and not a key of every device? For DEVICE_KINDS: false. */
bool config_kind_has(enum device_kind kind, enum config_key key);

/* Does the file have this key for this device? */
bool config_has(const struct device_config *device, enum config_key key);

#define CONFIG_WHERE_SIZE (PATH_MAX + 32)

/*
 * Write "path:line:column:" of a device's value to `buffer`, for a message about the value; if the
 * file does not have the key, of the device itself. Returns `buffer`.
 */
const char *config_where(const struct config *config, const struct device_config *device,
                         enum config_key key, char buffer[CONFIG_WHERE_SIZE]);

/* The shared-memory window of a device, from DM_GET_INFO. Size 0: not known, and not checked. */
struct config_window {
    uint64_t shmem_addr, shmem_size;
};

/*
 * Compare the file with what only the dispatcher knows: windows[i] is the window of
 * config->devices[i]. Errors are: a shmem_addr or shmem_size that contradicts it; registers that
 * lie inside the device's own window; two devices with the same registers and the same window, so
 * that both belong to one frontend. *diags is overwritten. Returns 0, or -EINVAL.
 */
int config_check_windows(const struct config *config, const struct config_window *windows,
                         struct config_diagnostics *diags);

#endif
