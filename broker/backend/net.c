/* SPDX-License-Identifier: Apache-2.0 */
/* The tap of a network device: its files are opened once, and copied to each worker. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "broker/backend/backend.h"
#include "broker/backend/vhost_node.h"
#include "broker/config/names.h"

#define MTU_MIN 1280u /* VirtIO 1.2 §5.1.4.1 */
#define MTU_MAX 65535u

static unsigned int pairs(const struct device_config *config)
{
    return config->queues > 0 ? config->queues : 1;
}

static int choose_mtu(const struct device_config *config, const struct tap *tap, uint16_t *ret,
                      struct failure *failure)
{
    uint32_t mtu = config->mtu > 0 ? config->mtu : tap->mtu;
    if (mtu < MTU_MIN || mtu > MTU_MAX)
        return failure_set(failure, -ERANGE,
                           "tap \"%s\" has an MTU of %u; expected %u to %u: \"ip link set %s mtu "
                           "1500\"",
                           tap->name, mtu, MTU_MIN, MTU_MAX, tap->name);
    *ret = (uint16_t)mtu;
    return 0;
}

static void take_tap(struct backend *backend, const struct tap *tap)
{
    struct opened_net *learned = &backend->learned.net;
    _Static_assert(sizeof(learned->name) == sizeof(tap->name), "the same names");
    memcpy(learned->name, tap->name, sizeof(learned->name));
    learned->index = (uint32_t)tap->index;
    learned->start.tun_offloads = tap->offloads;
    backend->file_id = (struct file_id){0, learned->index};
    for (unsigned int q = 0; q < tap->queue_count; q++)
        backend->files[OPENED_TAP_FIRST + q] = tap->queues[q];
    backend->files[OPENED_TAP_SOCKET] = tap->socket;
}

static int net_open(struct backend *backend, enum config_key *ret_key, struct failure *failure)
{
    const struct device_config *config = backend->config;
    struct start_net *net = &backend->learned.net.start;
    struct tap tap;
    if (config->mac_addr)
        (void)config_mac(config->mac_addr, net->mac); /* the configuration has checked it */
    else
        config_default_mac(config->id, net->mac);
    *ret_key = CONFIG_KEY_TAP_NAME;
    int result = tap_open(&tap, config->tap_name, pairs(config), &backend->tap_before, failure);
    if (result < 0)
        return result;
    take_tap(backend, &tap);
    if (tap.made)
        snprintf(backend->words, sizeof(backend->words),
                 "tap \"%s\" did not exist and was made: it has no address, and goes when "
                 "bao-virtio-dm goes: \"ip address add ADDRESS/24 dev %s\", or \"ip link set %s "
                 "master BRIDGE\"",
                 tap.name, tap.name, tap.name);
    return choose_mtu(config, &tap, &net->mtu, failure);
}

static uint32_t net_files(const struct device_config *config)
{
    return backend_files_from(OPENED_TAP_FIRST, pairs(config)) | 1u << OPENED_TAP_SOCKET;
}

static bool net_learned_usable(const union opened_part *learned)
{
    return backend_text_ends(learned->net.name, sizeof(learned->net.name));
}

/* VirtIO 1.2 §5.1.2: the pairs, and the control queue. */
static uint32_t net_queues(const struct device_config *config)
{
    return 2 * pairs(config) + 1;
}

static int net_give(struct backend *backend, struct message_start *start, struct backend_fds *ret)
{
    start->of_kind.net = backend->learned.net.start;
    *ret = (struct backend_fds){.count = pairs(backend->config), .owned = false};
    memcpy(ret->fds, &backend->files[OPENED_TAP_FIRST], ret->count * sizeof(ret->fds[0]));
    return 0;
}

/* Tell the log once for each change. */
static void tell_place(struct backend *backend, enum tap_place place)
{
    const char *name = backend->learned.net.name;
    if (place == backend->net.place)
        return;
    backend->net.place = place;
    if (place == TAP_HERE)
        failure_set(&backend->news, 0, "tap \"%s\" is back in its network namespace", name);
    else if (place == TAP_MOVED)
        failure_set(&backend->news, 0,
                    "tap \"%s\" is in another network namespace now: the link is up while the "
                    "interface is, whatever its carrier",
                    name);
    else
        failure_set(&backend->news, 0,
                    "tap \"%s\" was removed: the link is down until bao-virtio-dm is started "
                    "again",
                    name);
}

/* backend->trouble says what keeps the frontend's link down, for as long as it is down. The log is
 * told once, and by tell_place of a tap that went away. A tap without a carrier is not reported:
 * whoever took the carrier away knows of it. */
static void tell_down(struct backend *backend, const struct tap_link *link)
{
    const char *name = backend->learned.net.name;
    bool was_down = backend->trouble.text[0] != '\0';
    backend->trouble.text[0] = '\0';
    if (link->place == TAP_GONE)
        failure_set(&backend->trouble, 0, "tap \"%s\" was removed: start bao-virtio-dm again",
                    name);
    else if (!link->up)
        failure_set(&backend->trouble, 0,
                    "tap \"%s\" is down, and the frontend's link with it: \"ip link set %s up\"; a "
                    "new one also needs an address or a bridge",
                    name, name);
    if (!was_down && backend->news.text[0] == '\0')
        backend->news = backend->trouble;
}

static bool net_look(struct backend *backend, struct state_backend *state)
{
    struct tap_link link;
    tap_look(backend->files[OPENED_TAP_FIRST], backend->files[OPENED_TAP_SOCKET],
             (int)backend->learned.net.index, &link);
    bool up = link.up && link.carrier;
    tell_place(backend, link.place);
    tell_down(backend, &link);
    /* The last value is remembered here and not in the page, since the worker can write the
     * page. */
    bool new = !backend->net.link_said || backend->net.link_up != up;
    backend->net.link_said = true;
    backend->net.link_up = up;
    atomic_store_explicit(&state->link_up, up, memory_order_relaxed);
    return new;
}

/* ---- With the kernel's vhost-net between tap and frontend ---- */

#define NODE "/dev/vhost-net"
#define NODE_IN_ROOT "/vhost-net"

static int vhost_open(struct backend *backend, enum config_key *ret_key, struct failure *failure)
{
    uint64_t features;
    int fd = vhost_node_open(NODE, &features);
    *ret_key = CONFIG_KEY_DATA_PLANE;
    if (fd == -ENOENT || fd == -ENODEV)
        return failure_set(failure, fd, "%s: %s: load the module with \"modprobe vhost_net\"", NODE,
                           strerror(-fd));
    if (fd < 0)
        return failure_set(failure, fd, "%s: %s", NODE, strerror(-fd));
    close(fd);
    return net_open(backend, ret_key, failure);
}

static int vhost_give(struct backend *backend, struct message_start *start, struct backend_fds *ret)
{
    start->of_kind.net = backend->learned.net.start;
    int vhost = vhost_node_open(NODE_IN_ROOT, &start->of_kind.net.vhost_features);
    if (vhost < 0)
        return vhost;
    int ring_error = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (ring_error < 0) {
        int error = errno;
        close(vhost);
        return -error;
    }
    *ret = (struct backend_fds){
        .fds = {vhost, backend->files[OPENED_TAP_FIRST], ring_error},
        .count = 3,
        .owned = true,
        .kept = 1u << 1,
    };
    return 0;
}

const struct backend_ops backend_net_vhost = {
    .node = NODE,
    .node_in_root = NODE_IN_ROOT,
    .calls_without_worker = true,
    .open = vhost_open,
    .files = net_files,
    .learned_usable = net_learned_usable,
    .give = vhost_give,
    .look = net_look,
};

const struct backend_ops backend_net = {
    .open = net_open,
    .files = net_files,
    .learned_usable = net_learned_usable,
    .queues = net_queues,
    .give = net_give,
    .look = net_look,
};
