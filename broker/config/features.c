/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of feature bits, for `features_off`: VirtIO 1.2 §6 and the sections of the devices. A
 * device need not have all of them.
 */
#include <string.h>
#include <strings.h>

#include "broker/config/internal.h"

#define F(type, name, bit)                                                                         \
    {                                                                                              \
        "VIRTIO_" name, (type), (bit)                                                              \
    }

static const struct feature {
    const char *name;
    const char *type; /* of the device; NULL: the feature is of every type */
    uint32_t bit;
} features[] = {
    F(NULL, "F_INDIRECT_DESC", 28),
    F(NULL, "F_EVENT_IDX", 29),
    F(NULL, "F_RING_PACKED", 34),
    F(NULL, "F_IN_ORDER", 35),
    F(NULL, "F_RING_RESET", 40),
    F("block", "BLK_F_SIZE_MAX", 1),
    F("block", "BLK_F_SEG_MAX", 2),
    F("block", "BLK_F_BLK_SIZE", 6),
    F("block", "BLK_F_FLUSH", 9),
    F("block", "BLK_F_TOPOLOGY", 10),
    F("block", "BLK_F_CONFIG_WCE", 11),
    F("block", "BLK_F_MQ", 12),
    F("block", "BLK_F_DISCARD", 13),
    F("block", "BLK_F_WRITE_ZEROES", 14),
    F("net", "NET_F_CSUM", 0),
    F("net", "NET_F_GUEST_CSUM", 1),
    F("net", "NET_F_CTRL_GUEST_OFFLOADS", 2),
    F("net", "NET_F_MTU", 3),
    F("net", "NET_F_MAC", 5),
    F("net", "NET_F_GUEST_TSO4", 7),
    F("net", "NET_F_GUEST_TSO6", 8),
    F("net", "NET_F_GUEST_ECN", 9),
    F("net", "NET_F_GUEST_UFO", 10),
    F("net", "NET_F_HOST_TSO4", 11),
    F("net", "NET_F_HOST_TSO6", 12),
    F("net", "NET_F_HOST_ECN", 13),
    F("net", "NET_F_HOST_UFO", 14),
    F("net", "NET_F_MRG_RXBUF", 15),
    F("net", "NET_F_STATUS", 16),
    F("net", "NET_F_CTRL_VQ", 17),
    F("net", "NET_F_CTRL_RX", 18),
    F("net", "NET_F_CTRL_VLAN", 19),
    F("net", "NET_F_CTRL_RX_EXTRA", 20),
    F("net", "NET_F_GUEST_ANNOUNCE", 21),
    F("net", "NET_F_MQ", 22),
    F("net", "NET_F_CTRL_MAC_ADDR", 23),
    F("net", "NET_F_VQ_NOTF_COAL", 52),
    F("net", "NET_F_NOTF_COAL", 53),
    F("net", "NET_F_GUEST_USO4", 54),
    F("net", "NET_F_GUEST_USO6", 55),
    F("net", "NET_F_HOST_USO", 56),
    F("console", "CONSOLE_F_SIZE", 0),
    F("console", "CONSOLE_F_MULTIPORT", 1),
    F("console", "CONSOLE_F_EMERG_WRITE", 2),
    F("vsock", "VSOCK_F_SEQPACKET", 1),
};

#define FEATURES (sizeof(features) / sizeof(features[0]))
_Static_assert(FEATURES <= 64, "a bit each in a mask of rows");

/* §5.1.3.1, §5.2.3: a feature that may not be offered without the feature that it needs. */
static const struct dependency {
    const char *feature, *needs;
} dependencies[] = {
    {"VIRTIO_BLK_F_CONFIG_WCE", "VIRTIO_BLK_F_FLUSH"},
    {"VIRTIO_NET_F_GUEST_TSO4", "VIRTIO_NET_F_GUEST_CSUM"},
    {"VIRTIO_NET_F_GUEST_TSO6", "VIRTIO_NET_F_GUEST_CSUM"},
    {"VIRTIO_NET_F_GUEST_UFO", "VIRTIO_NET_F_GUEST_CSUM"},
    {"VIRTIO_NET_F_GUEST_USO4", "VIRTIO_NET_F_GUEST_CSUM"},
    {"VIRTIO_NET_F_GUEST_USO6", "VIRTIO_NET_F_GUEST_CSUM"},
    {"VIRTIO_NET_F_HOST_TSO4", "VIRTIO_NET_F_CSUM"},
    {"VIRTIO_NET_F_HOST_TSO6", "VIRTIO_NET_F_CSUM"},
    {"VIRTIO_NET_F_HOST_UFO", "VIRTIO_NET_F_CSUM"},
    {"VIRTIO_NET_F_HOST_USO", "VIRTIO_NET_F_CSUM"},
    {"VIRTIO_NET_F_CTRL_RX", "VIRTIO_NET_F_CTRL_VQ"},
    {"VIRTIO_NET_F_CTRL_VLAN", "VIRTIO_NET_F_CTRL_VQ"},
    {"VIRTIO_NET_F_CTRL_RX_EXTRA", "VIRTIO_NET_F_CTRL_RX"},
    {"VIRTIO_NET_F_GUEST_ANNOUNCE", "VIRTIO_NET_F_CTRL_VQ"},
    {"VIRTIO_NET_F_MQ", "VIRTIO_NET_F_CTRL_VQ"},
    {"VIRTIO_NET_F_CTRL_MAC_ADDR", "VIRTIO_NET_F_CTRL_VQ"},
    {"VIRTIO_NET_F_CTRL_GUEST_OFFLOADS", "VIRTIO_NET_F_CTRL_VQ"},
    {"VIRTIO_NET_F_VQ_NOTF_COAL", "VIRTIO_NET_F_CTRL_VQ"},
    {"VIRTIO_NET_F_NOTF_COAL", "VIRTIO_NET_F_CTRL_VQ"},
};

static size_t row_of(const char *name)
{
    size_t row = 0;
    while (row < FEATURES && strcasecmp(features[row].name, name) != 0)
        row++;
    return row;
}

bool features_read(const char *text, uint64_t *rows)
{
    size_t row = row_of(text);
    if (row == FEATURES)
        return false;
    *rows |= 1ull << row;
    return true;
}

const char *features_name(size_t number, const char **ret_type)
{
    if (number >= FEATURES)
        return NULL;
    *ret_type = features[number].type;
    return features[number].name;
}

const char *features_nearest(const char *text)
{
    const char *names[FEATURES];
    for (size_t row = 0; row < FEATURES; row++)
        names[row] = features[row].name;
    size_t row = config_nearest_word(text, names, FEATURES);
    return row < FEATURES ? names[row] : NULL;
}

const char *features_foreign(uint64_t rows, const char *type)
{
    for (size_t row = 0; row < FEATURES; row++) {
        if ((rows & 1ull << row) == 0)
            continue;
        const char *of = features[row].type;
        if (of && strcmp(of, type) != 0)
            return features[row].name;
    }
    return NULL;
}

/* ECN needs TSO4 or TSO6: if both are off, ECN is off, too. */
static uint64_t without_ecn(uint64_t rows, const char *ecn, const char *tso4, const char *tso6)
{
    uint64_t both = 1ull << row_of(tso4) | 1ull << row_of(tso6);
    return (rows & both) == both ? rows | 1ull << row_of(ecn) : rows;
}

uint64_t features_off(uint64_t rows)
{
    uint64_t before, bits = 0;
    do {
        before = rows;
        for (size_t i = 0; i < sizeof(dependencies) / sizeof(dependencies[0]); i++) {
            if ((rows & 1ull << row_of(dependencies[i].needs)) != 0)
                rows |= 1ull << row_of(dependencies[i].feature);
        }
    } while (rows != before);
    rows = without_ecn(rows, "VIRTIO_NET_F_GUEST_ECN", "VIRTIO_NET_F_GUEST_TSO4",
                       "VIRTIO_NET_F_GUEST_TSO6");
    rows = without_ecn(rows, "VIRTIO_NET_F_HOST_ECN", "VIRTIO_NET_F_HOST_TSO4",
                       "VIRTIO_NET_F_HOST_TSO6");
    for (size_t row = 0; row < FEATURES; row++) {
        if ((rows & 1ull << row) != 0)
            bits |= 1ull << features[row].bit;
    }
    return bits;
}
