/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An input device for unit tests, its event device and its driver. The event device is one end of a
 * socket pair, which carries the data of a Linux event device. It answers no ioctl, like one that
 * was unplugged.
 */
#ifndef TESTS_UNIT_INPUT_UNDER_TEST_H
#define TESTS_UNIT_INPUT_UNDER_TEST_H

#include <linux/input.h>
#include <linux/virtio_config.h>

#include "tests/unit/guest.h"

#define VERSION_1 (1ull << VIRTIO_F_VERSION_1)
#define BUFFERS (GUEST_BASE + GUEST_BUFFERS)
#define EVENT(n) (BUFFERS + (n)*16ull)
#define STATUS(n) (BUFFERS + 0x10000 + (n)*16ull)
#define RING_SIZE 256

#define SAY(...)                                                                                   \
    say((const struct input_event[]){__VA_ARGS__},                                                 \
        sizeof((const struct input_event[]){__VA_ARGS__}) / sizeof(struct input_event))
#define IS(event_type, event_code, event_value)                                                    \
    {                                                                                              \
        .type = (event_type), .code = (event_code), .value = (event_value)                         \
    }
#define END IS(EV_SYN, SYN_REPORT, 0)

extern struct guest_ring events, status;
extern struct message_start start;
extern int device; /* our end */

/* A keyboard with two lights and a bell, a wheel, and a touch screen: into `start`. */
void describe(void);
void set(uint8_t *bits, unsigned int number);

/* A new worker on the same page, with another connection to the event device. */
void worker(void);
/* A driver begins, and offers so many buffers for events. */
void driver(unsigned int buffers);
/* All of them, with a fresh page. */
void running(unsigned int buffers);
void offer(unsigned int count);

/* The device reports these events, in one read. */
void say(const struct input_event *said, size_t count);

/* Asserts that the driver's next event is this one. */
void hears(uint16_t type, uint16_t code, int32_t value);
void hears_no_more(void);
/* A new driver, or one after a loss, gets the touch screen's slot. */
void hears_slot(int32_t slot);

/* Select this in the configuration space. Returns the size; the bytes go to `ret`. */
unsigned int selected(uint8_t select, uint8_t subsel, void *ret, size_t length);

/* The driver asks for this, without a kick. */
void ask(uint16_t type, uint16_t code, uint32_t value);
/* The next thing that the device was asked for; type 0xffff: nothing. */
struct input_event asked(void);
unsigned int asked_count(void);
/* How many of the driver's wishes were completed since the last call. */
unsigned int answered(void);

#endif
