/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration reader: any file gives either a configuration that keeps its promises, or
 * errors. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/config/config.h"
#include "tests/fuzz/violated.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each is one line, as config_diagnostics promises. */
static void check_diagnostics(const struct config_diagnostics *diags)
{
    char *text = NULL;
    size_t length = 0, lines = 0, errors = 0;
    FILE *stream = open_memstream(&text, &length);
    require(stream != NULL, "open_memstream");
    config_diagnostics_print(diags, "f", stream);
    fclose(stream);
    for (size_t i = 0; i < length; i++) {
        lines += text[i] == '\n';
        require(text[i] == '\n' || (unsigned char)text[i] >= 0x20,
                "control character in a message");
    }
    require(diags->count <= CONFIG_DIAGNOSTICS_MAX, "count of diagnostics");
    require(lines == diags->count + (diags->omitted > 0), "a message is not one line");
    for (size_t i = 0; i < diags->count; i++)
        errors += diags->items[i].severity == CONFIG_ERROR;
    require(diags->errors >= errors && diags->errors <= errors + diags->omitted, "count of errors");
    free(text);
}

static void check_device(const struct config *config, size_t index)
{
    const struct device_config *device = &config->devices[index];
    char where[CONFIG_WHERE_SIZE];
    require(device->kind < DEVICE_KINDS, "kind");
    require(device->id < BAO_DEVICES_MAX, "id");
    require(device->mmio_addr % 4 == 0, "mmio_addr");
    require(device->mark.line > 0, "place of a device");
    require((device->kind == DEVICE_BLOCK_VIRTIO) == (device->file_path != NULL), "file_path");
    require(device->kind != DEVICE_VSOCK_VHOST ||
                (device->guest_cid >= 3 && device->guest_cid <= 0xfffffffe),
            "guest_cid");
    for (size_t i = 0; i < index; i++) {
        const struct device_config *other = &config->devices[i];
        require(device->id != other->id, "two devices share an id");
        require(device->kind != DEVICE_VSOCK_VHOST || other->kind != DEVICE_VSOCK_VHOST ||
                    device->guest_cid != other->guest_cid,
                "two devices share a CID");
    }
    for (int key = 0; key < CONFIG_KEYS; key++)
        require(strncmp(config_where(config, device, (enum config_key)key, where), "f:", 2) == 0,
                "config_where");
}

/* Windows that a dispatcher could report; for some devices those of the file. */
static void check_windows(const struct config *config, struct config_diagnostics *diags)
{
    struct config_window windows[BAO_DEVICES_MAX];
    for (size_t i = 0; i < config->device_count; i++) {
        const struct device_config *device = &config->devices[i];
        windows[i] = (struct config_window){0x80000000, 0x10000};
        if (i % 2 == 0 && config_has(device, CONFIG_KEY_SHMEM_ADDR))
            windows[i].shmem_addr = device->shmem_addr;
        if (i % 2 == 0 && config_has(device, CONFIG_KEY_SHMEM_SIZE))
            windows[i].shmem_size = device->shmem_size;
    }
    int r = config_check_windows(config, windows, diags);
    require((r < 0) == (diags->errors > 0), "result of config_check_windows");
    check_diagnostics(diags);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config_diagnostics diags;
    static const struct config untouched = {.device_count = 12345};
    struct config config = untouched;
    int r = config_parse("f", (const char *)data, size, &config, &diags);
    check_diagnostics(&diags);
    if (r < 0) {
        require(diags.errors > 0, "a failure without an error");
        require(memcmp(&config, &untouched, sizeof(config)) == 0, "result after a failure");
        return 0;
    }
    require(r == 0 && diags.errors == 0, "a success with an error");
    require(config.device_count >= 1 && config.device_count <= BAO_DEVICES_MAX, "device_count");
    for (size_t i = 0; i < config.device_count; i++)
        check_device(&config, i);
    check_windows(&config, &diags);
    config_free(&config);
    require(!config.path && config.device_count == 0, "config_free");
    return 0;
}
