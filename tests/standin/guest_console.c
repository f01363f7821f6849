/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/guest.h"

#include <errno.h>
#include <string.h>

#define CONSOLE_DEVICE_ID 3
#define CONTROL_QUEUES 2 /* §5.3.2: 2 and 3 */

static int allocate_buffers(struct guest *guest, struct guest_console_buffer *buffers)
{
    for (unsigned int i = 0; i < GUEST_CONSOLE_BUFFERS; i++) {
        buffers[i].data = guest_alloc(guest, GUEST_CONSOLE_BUFFER, 64, &buffers[i].addr);
        if (!buffers[i].data)
            return -ENOMEM;
        buffers[i].busy = false;
    }
    return 0;
}

static int give_buffer(struct guest_console_pair *pair, struct guest_console_buffer *buffer)
{
    const struct guest_segment segment = {buffer->addr, GUEST_CONSOLE_BUFFER, true};
    buffer->busy = true;
    return guest_queue_add(&pair->rx, &segment, 1, buffer);
}

static int start_pair(struct guest *guest, struct guest_console_pair *pair, uint32_t queue)
{
    int r = guest_queue_start(guest, &pair->rx, queue, 16);
    if (r == 0)
        r = guest_queue_start(guest, &pair->tx, queue + 1, 16);
    if (r == 0)
        r = allocate_buffers(guest, pair->in);
    if (r == 0)
        r = allocate_buffers(guest, pair->out);
    for (unsigned int i = 0; r == 0 && i < GUEST_CONSOLE_BUFFERS; i++)
        r = give_buffer(pair, &pair->in[i]);
    return r;
}

static uint32_t queue_of(unsigned int port)
{
    return port == 0 ? 0 : 2 + 2 * port;
}

int guest_console_start(struct guest_console *console, uint64_t features)
{
    struct guest *guest = &console->guest;
    struct virtio_console_config config;
    guest_console_free(console);
    int r = guest_probe(guest, CONSOLE_DEVICE_ID);
    if (r == 0)
        r = guest_negotiate(guest, features);
    if (r < 0)
        return r;
    guest_config(guest, 0, &config, 8, 4);
    console->cols = config.cols;
    console->rows = config.rows;
    console->multiport = (guest->features & 1ull << VIRTIO_CONSOLE_F_MULTIPORT) != 0;
    console->port_count = console->multiport ? config.max_nr_ports : 1;
    memset(console->ports, 0, sizeof(console->ports));
    for (unsigned int p = 0; r == 0 && p < console->port_count; p++)
        r = start_pair(guest, &console->ports[p].data, queue_of(p));
    if (r == 0 && console->multiport)
        r = start_pair(guest, &console->control, CONTROL_QUEUES);
    if (r == 0)
        r = guest_driver_ok(guest);
    for (unsigned int p = 0; r == 0 && p < console->port_count; p++)
        guest_queue_kick(&console->ports[p].data.rx);
    if (r < 0 || !console->multiport)
        return r;
    guest_queue_kick(&console->control.rx);
    return guest_console_say(console, VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
}

static void free_pair(struct guest_console_pair *pair)
{
    guest_queue_free(&pair->rx);
    guest_queue_free(&pair->tx);
}

void guest_console_free(struct guest_console *console)
{
    for (unsigned int p = 0; p < GUEST_CONSOLE_PORTS; p++)
        free_pair(&console->ports[p].data);
    free_pair(&console->control);
}

static struct guest_console_buffer *free_buffer(struct guest_console_pair *pair)
{
    for (unsigned int i = 0; i < GUEST_CONSOLE_BUFFERS; i++) {
        if (!pair->out[i].busy)
            return &pair->out[i];
    }
    return NULL;
}

static int send(struct guest_console_pair *pair, const void *data, uint32_t length)
{
    struct guest_console_buffer *buffer = free_buffer(pair);
    if (!buffer)
        return -ENOSPC;
    const struct guest_segment segment = {buffer->addr, length, false};
    memcpy(buffer->data, data, length);
    buffer->busy = true;
    return guest_queue_add(&pair->tx, &segment, 1, buffer);
}

int guest_console_say(struct guest_console *console, uint32_t port, uint16_t event, uint16_t value)
{
    const struct virtio_console_control message = {port, event, value};
    int r = send(&console->control, &message, sizeof(message));
    guest_queue_kick(&console->control.tx);
    return r;
}

uint32_t guest_console_send(struct guest_console *console, unsigned int port, const void *data,
                            uint32_t length)
{
    struct guest_console_pair *pair = &console->ports[port].data;
    const uint8_t *at = data;
    uint32_t sent = 0;
    while (sent < length) {
        uint32_t part = length - sent < GUEST_CONSOLE_BUFFER ? length - sent : GUEST_CONSOLE_BUFFER;
        if (send(pair, at + sent, part) < 0)
            break;
        sent += part;
    }
    guest_queue_kick(&pair->tx);
    console->ports[port].sent += sent;
    return sent;
}

unsigned int guest_console_busy(const struct guest_console *console, unsigned int port)
{
    unsigned int busy = 0;
    for (unsigned int i = 0; i < GUEST_CONSOLE_BUFFERS; i++)
        busy += console->ports[port].data.out[i].busy;
    return busy;
}

static unsigned int reclaim(struct guest_console_pair *pair)
{
    struct guest_console_buffer *buffer;
    unsigned int count = 0;
    uint32_t length;
    while ((buffer = guest_queue_get(&pair->tx, &length))) {
        buffer->busy = false;
        count++;
    }
    return count;
}

/* As Linux's driver does: it sends PORT_READY when a port is added, and PORT_OPEN when it becomes a
 * console. */
static void hear(struct guest_console *console, const uint8_t *data, uint32_t length)
{
    struct virtio_console_control message;
    if (length < sizeof(message)) {
        console->guest.error = -EPROTO;
        return;
    }
    memcpy(&message, data, sizeof(message));
    if (message.id >= console->port_count) {
        console->guest.error = -EPROTO;
        return;
    }
    struct guest_console_port *port = &console->ports[message.id];
    length -= (uint32_t)sizeof(message);
    data += sizeof(message);
    switch (message.event) {
    case VIRTIO_CONSOLE_PORT_ADD:
        port->added = true;
        guest_console_say(console, message.id, VIRTIO_CONSOLE_PORT_READY, 1);
        break;
    case VIRTIO_CONSOLE_CONSOLE_PORT:
        port->is_console = true;
        guest_console_say(console, message.id, VIRTIO_CONSOLE_PORT_OPEN, 1);
        break;
    case VIRTIO_CONSOLE_RESIZE:
        memcpy(&port->cols, data, 2);
        memcpy(&port->rows, data + 2, 2);
        break;
    case VIRTIO_CONSOLE_PORT_NAME:
        memcpy(port->name, data, length < sizeof(port->name) ? length : sizeof(port->name) - 1);
        break;
    case VIRTIO_CONSOLE_PORT_OPEN:
        port->open = message.value == 1;
        break;
    default:
        console->guest.error = -EPROTO;
    }
}

static unsigned int poll_port(struct guest_console *console, unsigned int number)
{
    struct guest_console_port *port = &console->ports[number];
    struct guest_console_buffer *buffer;
    unsigned int used = reclaim(&port->data), given = 0;
    uint32_t length;
    while ((buffer = guest_queue_get(&port->data.rx, &length))) {
        port->received += length;
        if (console->input)
            console->input(console, number, buffer->data, length);
        give_buffer(&port->data, buffer);
        given++;
    }
    /* A device without VIRTIO_F_EVENT_IDX can't tell that there is nothing new. */
    if (given > 0)
        guest_queue_kick(&port->data.rx);
    return used + given;
}

unsigned int guest_console_poll(struct guest_console *console)
{
    unsigned int count = 0;
    for (unsigned int p = 0; p < console->port_count; p++)
        count += poll_port(console, p);
    if (!console->multiport)
        return count;
    struct guest_console_buffer *buffer;
    unsigned int given = 0;
    uint32_t length;
    count += reclaim(&console->control);
    while ((buffer = guest_queue_get(&console->control.rx, &length))) {
        hear(console, buffer->data, length);
        give_buffer(&console->control, buffer);
        given++;
    }
    if (given > 0)
        guest_queue_kick(&console->control.rx);
    return count + given;
}
