/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device types of VirtIO 1.2 §5, for devices that a vhost-user daemon serves: their DeviceID,
 * and what a device of the type has unless the file says otherwise.
 */
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "broker/config/internal.h"

/* Queues: those of the smallest device of the type. Configuration space: its size in VirtIO 1.2, or
 * the size of the part that does not depend on a feature. */
static const struct virtio_type types[] = {
    {"net", VIRTIO_ID_NET, 2, 0},
    {"block", VIRTIO_ID_BLOCK, 1, 60},
    {"console", VIRTIO_ID_CONSOLE, 2, 12},
    {"rng", VIRTIO_ID_RNG, 1, 0},
    {"balloon", VIRTIO_ID_BALLOON, 2, 8},
    {"rpmsg", VIRTIO_ID_RPMSG, 2, 0},
    {"scsi", VIRTIO_ID_SCSI, 3, 36},
    {"9p", VIRTIO_ID_9P, 1, 0},
    {"gpu", VIRTIO_ID_GPU, 2, 16},
    {"input", VIRTIO_ID_INPUT, 2, 136},
    {"vsock", VIRTIO_ID_VSOCK, 3, 8},
    {"crypto", VIRTIO_ID_CRYPTO, 2, 56},
    {"sound", VIRTIO_ID_SOUND, 4, 12},
    {"fs", VIRTIO_ID_FS, 2, 40},
    {"rpmb", VIRTIO_ID_RPMB, 1, 3},
    {"video_encoder", VIRTIO_ID_VIDEO_ENCODER, 2, 12},
    {"video_decoder", VIRTIO_ID_VIDEO_DECODER, 2, 12},
    {"scmi", VIRTIO_ID_SCMI, 2, 0},
    {"i2c", VIRTIO_ID_I2C_ADAPTER, 1, 0},
    {"watchdog", VIRTIO_ID_WATCHDOG, 1, 0},
    {"can", VIRTIO_ID_CAN, 3, 0},
    {"bt", VIRTIO_ID_BT, 2, 0},
    {"gpio", VIRTIO_ID_GPIO, 2, 8},
};

#define TYPES (sizeof(types) / sizeof(types[0]))
#define VIRTIO_ID_MAX 9999u

/* A type whose queues and configuration space only the file knows. */
static const struct virtio_type by_number = {.name = "virtio"};

static bool read_id(const char *text, uint32_t *ret_id)
{
    char *end;
    unsigned long id = strtoul(text, &end, 10);
    if (text[0] < '1' || *end != '\0' || id > VIRTIO_ID_MAX) /* no sign, no 0 in front */
        return false;
    *ret_id = (uint32_t)id;
    return true;
}

const struct virtio_type *type_find(const char *text, uint32_t *ret_id)
{
    uint32_t id = 0;
    bool is_number = read_id(text, &id);
    for (size_t i = 0; i < TYPES; i++) {
        if (is_number ? types[i].id == id : strcmp(types[i].name, text) == 0) {
            *ret_id = types[i].id;
            return &types[i];
        }
    }
    *ret_id = id;
    return is_number ? &by_number : NULL;
}

const char *type_nearest(const char *text)
{
    const char *names[TYPES];
    for (size_t i = 0; i < TYPES; i++)
        names[i] = types[i].name;
    size_t nearest = config_nearest_word(text, names, TYPES);
    return nearest < TYPES ? names[nearest] : NULL;
}

void type_names(struct word_list *list)
{
    for (size_t i = 0; i < TYPES; i++)
        config_list_add(list, types[i].name);
}
