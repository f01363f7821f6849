/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Input device, VirtIO 1.2 §5.8: an event device of Linux. Its events go to the driver as they
 * come, each in a buffer of its own (queue 0). What the driver wants of lights and sounds comes
 * back (queue 1).
 *
 * If the driver has a wrong idea of a key, it must not stay wrong for ever. So two things are
 * remembered: which keys are pressed on the device, and, in the state page, which keys the driver
 * may take for pressed. Events can have been lost when the kernel says so, a worker died, the
 * device is gone, or a driver has just started. Then the driver is told the present state of each
 * key in either set; a state that it knows already changes nothing in the driver. Contacts of a
 * touch screen are then taken for lifted.
 *
 * While the driver has no buffers, events wait here, and when this place is full, in the kernel.
 * The kernel drops events when its own place is full, and says so.
 *
 * System calls: read and write on the event device.
 */
#include <errno.h>
#include <linux/input.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "worker/turn.h"

#define QUEUE_EVENTS 0u
#define QUEUE_STATUS 1u
#define EVENT_DEVICE WORKER_FD_BACKEND

#define TURN_EVENTS 256u /* a register access never waits for more than this many events */
#define READ_EVENTS 64u
#define WAITING_MAX 1024u /* a power of two */

/* How many status events a driver may send by its status queue: this many at once, and then this
 * many in each tenth of a second. Each change of a light is a transfer on a bus, and when the queue
 * for the bus is full, the kernel writes a line to its log. */
#define STATUS_BURST 16u
#define STATUS_SLOT_MS 100u

#define TONE_MAX 32767 /* Hz: kernels differ in how they treat a higher value */
#define SLOTS_MAX 64   /* slots of contacts: as many as struct state_input has bits */

_Static_assert(STATE_INPUT_KEYS == KEY_CNT, "a bit a key");
_Static_assert(offsetof(struct virtio_input_config, u) == 8, "§5.8.4");

static struct {
    struct start_input is; /* what the device has */
    uint8_t pressed[KEY_CNT / 8];
    bool gone;    /* unplugged */
    bool dropped; /* the kernel has dropped events, and their packet is not over yet */

    /* What the driver is to be told: first the state of all keys from `key` on, unless `key` is
     * KEY_CNT; then the events that wait. Those before `complete` are whole packets, up to a
     * SYN_REPORT. The counts are free-running. */
    uint32_t key;
    uint32_t first, complete, end;
    struct virtio_input_event waiting[WAITING_MAX];
    int slot, device_slot; /* the last ABS_MT_SLOT: of the driver, and of the device */

    uint32_t status_left; /* events that may be written in this slot of time */
    uint8_t sounding[SND_CNT / 8];
} input;

static struct state_input *told(struct device *dev)
{
    return &dev->state->of_kind.input;
}

static bool bit(const uint8_t *bits, uint32_t number)
{
    return (bits[number / 8] & 1u << number % 8) != 0;
}

static void set_bit(uint8_t *bits, uint32_t number, bool value)
{
    uint8_t mask = (uint8_t)(1u << number % 8);
    bits[number / 8] = (uint8_t)(value ? bits[number / 8] | mask : bits[number / 8] & ~mask);
}

/* Does the device have this event? */
static bool has(uint32_t type, uint32_t code)
{
    switch (type) {
#define X(event_type, bits, count)                                                                 \
    case event_type:                                                                               \
        return code < (count) && bit(input.is.bits, code);
        INPUT_EVENTS(X)
#undef X
    default:
        return false;
    }
}

/* ---- Configuration space, §5.8.4 ---- */

/* Copy without the zeros at the end. Returns the size. */
static uint8_t show(uint8_t *to, const void *from, size_t size)
{
    memcpy(to, from, size);
    while (size > 0 && to[size - 1] == 0)
        size--;
    return (uint8_t)size;
}

static uint8_t show_events(uint8_t *to, uint8_t type)
{
    switch (type) {
#define X(event_type, bits, count)                                                                 \
    case event_type:                                                                               \
        return show(to, input.is.bits, sizeof(input.is.bits));
        INPUT_EVENTS(X)
#undef X
    default:
        return 0;
    }
}

static uint8_t show_axis(uint8_t *to, uint8_t axis)
{
    if (!has(EV_ABS, axis))
        return 0;
    memcpy(to, &input.is.axes[axis], sizeof(input.is.axes[axis]));
    return sizeof(input.is.axes[axis]);
}

static uint8_t show_selected(uint8_t *to, uint8_t select, uint8_t subsel)
{
    if (select == VIRTIO_INPUT_CFG_EV_BITS)
        return show_events(to, subsel);
    if (select == VIRTIO_INPUT_CFG_ABS_INFO)
        return show_axis(to, subsel);
    if (subsel != 0)
        return 0;
    switch (select) {
    case VIRTIO_INPUT_CFG_ID_NAME:
        return show(to, input.is.name, strnlen(input.is.name, sizeof(input.is.name)));
    case VIRTIO_INPUT_CFG_ID_SERIAL:
        return show(to, input.is.serial, strnlen(input.is.serial, sizeof(input.is.serial)));
    case VIRTIO_INPUT_CFG_ID_DEVIDS:
        memcpy(to, &input.is.ids, sizeof(input.is.ids));
        return sizeof(input.is.ids);
    case VIRTIO_INPUT_CFG_PROP_BITS:
        return show(to, input.is.properties, sizeof(input.is.properties));
    default:
        return 0;
    }
}

/* A predecessor or a driver can have selected anything: every value is valid. */
static int input_adopt(struct device *dev)
{
    const struct state_input *state = told(dev);
    struct virtio_input_config *config = (struct virtio_input_config *)(void *)dev->config;
    memset(config, 0, sizeof(*config));
    config->select = state->select;
    config->subsel = state->subsel;
    config->size = show_selected(config->u.bitmap, config->select, config->subsel);
    return 0;
}

/* §5.8.5.1: the driver can write select and subsel, but nothing else. Drivers write one byte at a
 * time. */
static int input_write_config(struct device *dev, uint32_t offset, unsigned int width,
                              uint64_t value, struct guest_fault *ret_fault)
{
    (void)ret_fault;
    if (offset == offsetof(struct virtio_input_config, select))
        told(dev)->select = (uint8_t)value;
    if (offset == offsetof(struct virtio_input_config, subsel))
        told(dev)->subsel = (uint8_t)value;
    else if (offset == 0 && width > 1)
        told(dev)->subsel = (uint8_t)(value >> 8);
    return input_adopt(dev);
}

/* ---- From the device ---- */

static uint32_t room(void)
{
    return WAITING_MAX - (input.end - input.first);
}

static void wait_with(uint32_t type, uint32_t code, int32_t value)
{
    input.waiting[input.end++ % WAITING_MAX] = (struct virtio_input_event){
        .type = (uint16_t)type, .code = (uint16_t)code, .value = (uint32_t)value};
    if (type == EV_SYN && code == SYN_REPORT)
        input.complete = input.end;
}

/* The driver may have a wrong idea of any key: tell it all. */
static void tell_all_keys(void)
{
    input.key = 0;
}

static void forget_packet(void)
{
    input.end = input.complete;
}

/* Keys that were pressed are taken for released, since no event will say when they are released. */
static void lose_events(void)
{
    forget_packet();
    memset(input.pressed, 0, sizeof(input.pressed));
    tell_all_keys();
}

/* A key that repeats is pressed, even if its press was lost. */
static void take_key(uint32_t code, int32_t value)
{
    bool was_pressed = bit(input.pressed, code);
    set_bit(input.pressed, code, value != 0);
    wait_with(EV_KEY, code, value == 2 && !was_pressed ? 1 : value);
}

/* Lights and sounds come back from the kernel and are ignored. They would go round for ever between
 * the kernel and a driver that answers them. */
static void take_event(const struct input_event *event)
{
    if (event->type == EV_ABS && event->code == ABS_MT_SLOT)
        input.device_slot = event->value;
    if (event->type == EV_SYN && event->code == SYN_DROPPED) {
        lose_events();
        input.dropped = true;
    } else if (event->type == EV_SYN && event->code == SYN_REPORT) {
        if (!input.dropped)
            wait_with(EV_SYN, SYN_REPORT, 0);
        input.dropped = false;
    } else if (event->type == EV_SYN && event->code == SYN_MT_REPORT && !input.dropped) {
        wait_with(EV_SYN, SYN_MT_REPORT, 0);
    } else if (input.dropped || event->type == EV_LED || event->type == EV_SND ||
               !has(event->type, event->code)) {
        return;
    } else if (event->type == EV_KEY) {
        take_key(event->code, event->value);
    } else {
        wait_with(event->type, event->code, event->value);
    }
}

/* Returns whether there was anything. */
static bool read_events(void)
{
    static struct input_event events[READ_EVENTS];
    if (input.gone)
        return false;
    if (room() < READ_EVENTS) { /* a packet without an end: no device sends so many events */
        lose_events();
        input.dropped = true;
    }
    ssize_t bytes = read(EVENT_DEVICE, events, sizeof(events));
    if (bytes <= 0) {
        /* After EINTR the call is made again at the next event only: nothing here catches a
         * signal. */
        if (bytes < 0 && errno == ENODEV) {
            input.gone = true;
            lose_events();
        }
        return input.key < KEY_CNT;
    }
    for (size_t i = 0; i < (size_t)bytes / sizeof(events[0]); i++)
        take_event(&events[i]);
    return true;
}

static void lift_contacts(struct device *dev)
{
    uint64_t slots = told(dev)->slots;
    for (int slot = 0; slot < SLOTS_MAX; slot++) {
        if ((slots & 1ull << slot) == 0 || !has(EV_ABS, ABS_MT_TRACKING_ID))
            continue;
        wait_with(EV_ABS, ABS_MT_SLOT, slot);
        wait_with(EV_ABS, ABS_MT_TRACKING_ID, -1);
    }
    if (has(EV_ABS, ABS_MT_SLOT))
        wait_with(EV_ABS, ABS_MT_SLOT, input.device_slot);
}

/* Tell the present state of each key that is pressed, or that the driver may take for pressed. */
static void tell_keys(struct device *dev)
{
    for (; input.key < KEY_CNT && room() > 2 * SLOTS_MAX + 2; input.key++) {
        bool pressed = bit(input.pressed, input.key);
        if (has(EV_KEY, input.key) && (pressed || bit(told(dev)->keys, input.key)))
            wait_with(EV_KEY, input.key, pressed);
    }
    if (input.key < KEY_CNT)
        return;
    lift_contacts(dev);
    if (input.end != input.complete)
        wait_with(EV_SYN, SYN_REPORT, 0);
}

/* Get something to tell, if there is anything. An event that comes later is a new edge for epoll.
 * Returns whether there may be something. */
static bool refill(struct device *dev)
{
    if (input.first != input.complete)
        return true;
    if (input.key < KEY_CNT) {
        tell_keys(dev);
        input.complete = input.end; /* perhaps not all keys yet: the next call adds more */
        return true;
    }
    return read_events();
}

/* ---- To the driver ---- */

static bool is_contact(const struct virtio_input_event *event)
{
    return event->type == EV_ABS && event->code == ABS_MT_TRACKING_ID && input.slot >= 0 &&
           input.slot < SLOTS_MAX;
}

/* Record a press before the driver can see it. So a successor never misses a key that the driver
 * knows as pressed. */
static void note_before(struct device *dev, const struct virtio_input_event *event)
{
    if (event->type == EV_KEY && event->value != 0)
        set_bit(told(dev)->keys, event->code, true);
    if (event->type == EV_ABS && event->code == ABS_MT_SLOT)
        input.slot = (int)event->value;
    if (is_contact(event) && (int32_t)event->value >= 0)
        told(dev)->slots |= 1ull << input.slot;
}

/* Record a release after the driver can see it. */
static void note_after(struct device *dev, const struct virtio_input_event *event)
{
    if (event->type == EV_KEY && event->value == 0)
        set_bit(told(dev)->keys, event->code, false);
    if (is_contact(event) && (int32_t)event->value < 0)
        told(dev)->slots &= ~(1ull << input.slot);
}

/* Give the driver the first event that waits. Returns as turn_take. */
static enum serve tell_event(struct turn *turn)
{
    static struct chain chain;
    struct device *dev = turn->dev;
    struct virtio_input_event event = input.waiting[input.first % WAITING_MAX];
    enum serve r = turn_take(turn, &chain, 0, sizeof(event));
    if (r != SERVE_DONE)
        return r;
    struct cursor buffer = chain_writable(&chain);
    cursor_write(&buffer, &event, sizeof(event));
    note_before(dev, &event);
    virtqueue_push(turn->vq, chain.ref, sizeof(event));
    virtqueue_publish(turn->vq); /* before note_after */
    note_after(dev, &event);
    input.first++;
    device_count(&dev->state->counters.requests, 1);
    device_count(&dev->state->counters.bytes_in, sizeof(event));
    return SERVE_DONE;
}

static enum serve serve_events(struct turn *turn)
{
    if (!refill(turn->dev))
        return SERVE_WAIT_BACKEND; /* the next event looks at the ring: buffers need no kick */
    return input.first != input.complete ? tell_event(turn) : SERVE_DONE;
}

/* ---- Lights and sounds ---- */

/* May the driver ask for this? It must not ask for an event that looks like the user's action. */
static bool may_write(const struct virtio_input_event *event)
{
    if (!has(event->type, event->code))
        return false;
    if (event->type == EV_LED)
        return event->value <= 1;
    return event->type == EV_SND &&
           event->value <= (event->code == SND_TONE ? (uint32_t)TONE_MAX : 1u);
}

static void write_event(uint32_t type, uint32_t code, uint32_t value)
{
    const struct input_event event = {
        .type = (uint16_t)type, .code = (uint16_t)code, .value = (int32_t)value};
    if (input.gone)
        return;
    ssize_t ignored = write(EVENT_DEVICE, &event, sizeof(event));
    (void)ignored; /* a device that is gone has no lights, and there is no way to tell the driver */
}

static void take_status(struct device *dev, const struct virtio_input_event *event)
{
    if (!may_write(event)) {
        device_count(&dev->state->counters.dropped_out, 1);
        return;
    }
    input.status_left--;
    if (event->type == EV_SND)
        set_bit(input.sounding, event->code, event->value != 0);
    write_event(event->type, event->code, event->value);
}

static enum serve serve_status(struct turn *turn)
{
    static struct chain chain;
    struct device *dev = turn->dev;
    struct virtio_input_event event = {0};
    if (input.status_left == 0 && dev->pause_ms == 0)
        dev->pause_ms = STATUS_SLOT_MS;
    if (dev->pause_ms > 0)
        return SERVE_WAIT_BACKEND; /* the end of the pause looks at the ring */
    enum serve r = turn_take(turn, &chain, sizeof(event), 0);
    if (r != SERVE_DONE)
        return r;
    struct cursor bytes = chain_readable(&chain);
    cursor_read(&bytes, &event, sizeof(event));
    take_status(dev, &event);
    virtqueue_push(turn->vq, chain.ref, 0);
    device_count(&dev->state->counters.requests, 1);
    device_count(&dev->state->counters.bytes_out, sizeof(event));
    return SERVE_DONE;
}

static void input_pause_over(struct device *dev)
{
    input.status_left = STATUS_BURST;
    dev->work |= 1u << QUEUE_STATUS;
}

/* ---- The device ---- */

static int input_init(struct device *dev, const struct message_start *start)
{
    struct input_absinfo slot;
    memset(&input, 0, sizeof(input));
    input.is = start->of_kind.input;
    input.status_left = STATUS_BURST;
    /* Events that a predecessor read are lost. But the kernel knows what is pressed now, and
     * removes from its queue the key events that nobody has read yet. */
    if (ioctl(EVENT_DEVICE, EVIOCGKEY(sizeof(input.pressed)), input.pressed) < 0)
        memset(input.pressed, 0, sizeof(input.pressed));
    if (has(EV_ABS, ABS_MT_SLOT) && ioctl(EVENT_DEVICE, EVIOCGABS(ABS_MT_SLOT), &slot) == 0)
        input.slot = input.device_slot = slot.value;
    dev->config_size = sizeof(struct virtio_input_config);
    dev->user_queues = 1u << QUEUE_EVENTS | 1u << QUEUE_STATUS;
    dev->backend_events = 1u << 0;
    return 0;
}

/* A driver that has just started knows of no key. A predecessor's driver may know other keys as
 * pressed, and may have switched on any sound. */
static int input_start(struct device *dev, bool resumed, struct guest_fault *ret_fault)
{
    (void)ret_fault;
    for (uint32_t sound = 0; resumed && sound < SND_CNT; sound++)
        set_bit(input.sounding, sound, has(EV_SND, sound));
    tell_all_keys();
    dev->work |= 1u << QUEUE_EVENTS;
    return 0;
}

/* When a driver leaves, its sounds are switched off; its lights stay, as they do on a real machine.
 * The pause goes on: a reset must not be a way round the limit. */
static void input_stop(struct device *dev)
{
    (void)dev;
    input.first = input.complete = input.end;
    for (uint32_t sound = 0; sound < SND_CNT; sound++) {
        if (bit(input.sounding, sound))
            write_event(EV_SND, sound, 0);
    }
    memset(input.sounding, 0, sizeof(input.sounding));
}

static enum serve input_turn(struct device *dev, unsigned int queue, struct guest_fault *ret_fault)
{
    static const struct turn_rules rules = {.steps = TURN_EVENTS};
    return turn_run(dev, queue, &rules, queue == QUEUE_EVENTS ? serve_events : serve_status,
                    ret_fault);
}

/* Events are read without a driver, too, so that it is known what is pressed when a driver
 * starts. */
static int input_backend_event(struct device *dev, unsigned int file, uint32_t events,
                               struct guest_fault *ret_fault)
{
    (void)events;
    (void)file;
    (void)ret_fault;
    dev->work |= 1u << QUEUE_EVENTS;
    if (dev->queues[QUEUE_EVENTS].running)
        return 0;
    for (unsigned int steps = 0; steps < TURN_EVENTS / READ_EVENTS && read_events(); steps++)
        input.first = input.complete;
    return 0;
}

const struct device_ops input_ops = {
    .init = input_init,
    .start = input_start,
    .stop = input_stop,
    .turn = input_turn,
    .backend_event = input_backend_event,
    .write_config = input_write_config,
    .adopt = input_adopt,
    .pause_over = input_pause_over,
};
