/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input device at the edges: what the kernel says at its start, contacts of a touch screen,
 * a device that is unplugged, bounds of turns and of values.
 */
#include <CUnit/CUnit.h>
#include <errno.h>
#include <linux/virtio_mmio.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/unit/input_under_test.h"
#include "worker/loop.h"
#include "worker/transport.h"

/* What the event device answers. */
static struct {
    bool answers; /* to ioctl */
    unsigned int pressed;
    int slot;
    int read_error; /* of each read; 0: none */
    unsigned int reads;
} kernel;

int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *to = va_arg(arguments, void *);
    va_end(arguments);
    CU_ASSERT_EQUAL(fd, WORKER_FD_BACKEND);
    if (request == EVIOCGKEY(KEY_CNT / 8)) /* it may have written something before it fails */
        set(to, kernel.pressed);
    else if (request == EVIOCGABS(ABS_MT_SLOT))
        *(struct input_absinfo *)to = (struct input_absinfo){.value = kernel.slot};
    else
        CU_FAIL("another ioctl");
    errno = ENODEV;
    return kernel.answers ? 0 : -1;
}

ssize_t __real_read(int fd, void *to, size_t length);
ssize_t __wrap_read(int fd, void *to, size_t length);
ssize_t __wrap_read(int fd, void *to, size_t length)
{
    if (fd != WORKER_FD_BACKEND)
        return __real_read(fd, to, length);
    kernel.reads++;
    if (kernel.read_error == 0)
        return __real_read(fd, to, length);
    errno = kernel.read_error;
    return -1;
}

ssize_t __real___read_chk(int fd, void *to, size_t length, size_t room);
ssize_t __wrap___read_chk(int fd, void *to, size_t length, size_t room);
ssize_t __wrap___read_chk(int fd, void *to, size_t length, size_t room)
{
    CU_ASSERT(length <= room);
    return __wrap_read(fd, to, length);
}

static struct state_input *told(void)
{
    return &guest_state.of_kind.input;
}

static void begin(unsigned int buffers)
{
    memset(&kernel, 0, sizeof(kernel));
    running(buffers);
    hears_slot(0);
    hears_no_more();
}

/* ---- At the start ---- */

static void what_is_pressed_at_the_start_is_known(void)
{
    for (unsigned int answers = 0; answers < 2; answers++) {
        memset(&kernel, 0, sizeof(kernel));
        kernel.answers = answers == 1;
        kernel.pressed = KEY_B;
        kernel.slot = 3;
        running(64);
        if (answers == 1)
            hears(EV_KEY, KEY_B, 1);
        hears_slot(answers == 1 ? 3 : 0);
        hears_no_more();
    }
}

/* The position of the last contact is asked for only if the device has contacts. */
static void a_device_without_contacts(void)
{
    memset(&kernel, 0, sizeof(kernel));
    kernel.answers = true;
    kernel.pressed = KEY_A;
    kernel.slot = 3;
    memset(&guest_state, 0, sizeof(guest_state));
    describe();
    memset(start.of_kind.input.absolute, 0, sizeof(start.of_kind.input.absolute));
    worker();
    driver(64);
    hears(EV_KEY, KEY_A, 1);
    hears(EV_SYN, SYN_REPORT, 0);
    hears_no_more();
    SAY(IS(EV_KEY, KEY_A, 0), END);
    hears(EV_KEY, KEY_A, 0);
    hears(EV_SYN, SYN_REPORT, 0);
    driver(64); /* nothing is pressed: there is nothing to say */
    hears_no_more();
}

static void all_sorts_of_events(void)
{
    uint8_t bits[128];
    memset(&kernel, 0, sizeof(kernel));
    memset(&guest_state, 0, sizeof(guest_state));
    describe();
    struct start_input *input = &start.of_kind.input;
    set(input->other, MSC_SCAN);
    set(input->switches, SW_LID);
    set(input->relative, REL_CNT - 1);
    set(input->keys, KEY_CNT - 1);
    worker();
    driver(64);
    hears_slot(0);
    CU_ASSERT_EQUAL(selected(VIRTIO_INPUT_CFG_EV_BITS, EV_MSC, bits, 1), 1);
    CU_ASSERT_EQUAL(bits[0], 1 << MSC_SCAN);
    CU_ASSERT_EQUAL(selected(VIRTIO_INPUT_CFG_EV_BITS, EV_SW, bits, 1), 1);
    CU_ASSERT_EQUAL(selected(VIRTIO_INPUT_CFG_EV_BITS, EV_REL, bits, 2), 2);
    CU_ASSERT_EQUAL(bits[1], 1 << REL_WHEEL % 8 | 1 << (REL_CNT - 1) % 8);
    CU_ASSERT_EQUAL(selected(VIRTIO_INPUT_CFG_EV_BITS, EV_KEY, bits, 96), 96);
    CU_ASSERT_EQUAL(selected(VIRTIO_INPUT_CFG_EV_BITS, EV_SND, bits, 1), 1);
    SAY(IS(EV_MSC, MSC_SCAN, 5), IS(EV_SW, SW_LID, 1), IS(EV_REL, REL_CNT - 1, 2),
        IS(EV_KEY, KEY_CNT - 1, 1), IS(EV_SYN, SYN_MT_REPORT, 0), END);
    hears(EV_MSC, MSC_SCAN, 5);
    hears(EV_SW, SW_LID, 1);
    hears(EV_REL, REL_CNT - 1, 2);
    hears(EV_KEY, KEY_CNT - 1, 1);
    hears(EV_SYN, SYN_MT_REPORT, 0);
    hears(EV_SYN, SYN_REPORT, 0);
    hears_no_more();
    CU_ASSERT_EQUAL(guest_state.counters.requests, 8);
    CU_ASSERT_EQUAL(guest_state.counters.bytes_in, 64);
    driver(64); /* the last of all keys is among those that are told */
    hears(EV_KEY, KEY_CNT - 1, 1);
    hears_slot(0);
}

/* One access may write more than one byte. Only the first two bytes can be written. */
static void what_an_access_selects(void)
{
    static const struct {
        uint32_t offset;
        unsigned int width;
        uint64_t value;
        uint8_t select, subsel;
    } cases[] = {
        {0, 1, 0x0302, 2, 20}, {0, 2, 0x0302, 2, 3}, {0, 4, 0x0302, 2, 3}, {1, 1, 7, 10, 7},
        {1, 2, 0x0807, 10, 7}, {2, 1, 7, 10, 20},    {2, 4, 7, 10, 20},    {8, 1, 7, 10, 20},
    };
    begin(2);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        told()->select = 10;
        told()->subsel = 20;
        transport_write(&guest_device, VIRTIO_MMIO_CONFIG + cases[i].offset, cases[i].width,
                        cases[i].value);
        CU_ASSERT_EQUAL(told()->select, cases[i].select);
        CU_ASSERT_EQUAL(told()->subsel, cases[i].subsel);
        CU_ASSERT_EQUAL(transport_read(&guest_device, VIRTIO_MMIO_CONFIG, 1), cases[i].select);
        CU_ASSERT_EQUAL(transport_read(&guest_device, VIRTIO_MMIO_CONFIG + 1, 1), cases[i].subsel);
    }
}

/* ---- Contacts ---- */

/* Each contact is known by its slot, until the driver has heard that it is lifted. */
static void contacts_of_several_slots(void)
{
    begin(200);
    SAY(IS(EV_ABS, ABS_MT_SLOT, 1), IS(EV_ABS, ABS_MT_TRACKING_ID, 40), IS(EV_ABS, ABS_MT_SLOT, 63),
        IS(EV_ABS, ABS_MT_TRACKING_ID, 41), END);
    CU_ASSERT_EQUAL(told()->slots, 1ull << 1 | 1ull << 63);
    SAY(IS(EV_ABS, ABS_MT_TRACKING_ID, -1), END);
    CU_ASSERT_EQUAL(told()->slots, 1ull << 1);
    /* Slots for which there is no bit. */
    SAY(IS(EV_ABS, ABS_MT_SLOT, 64), IS(EV_ABS, ABS_MT_TRACKING_ID, 42), END);
    SAY(IS(EV_ABS, ABS_MT_SLOT, -1), IS(EV_ABS, ABS_MT_TRACKING_ID, 43), END);
    CU_ASSERT_EQUAL(told()->slots, 1ull << 1);
    /* Other events of a contact are no contact. */
    SAY(IS(EV_ABS, ABS_MT_SLOT, 5), IS(EV_ABS, ABS_MT_POSITION_X, 100), END);
    CU_ASSERT_EQUAL(told()->slots, 1ull << 1);
    for (unsigned int i = 0; i < 16; i++) {
        struct vring_used_elem element;
        CU_ASSERT_TRUE(guest_used(&events, &element));
    }
    hears_no_more();
    SAY(IS(EV_SYN, SYN_DROPPED, 0), END);
    hears(EV_ABS, ABS_MT_SLOT, 1);
    hears(EV_ABS, ABS_MT_TRACKING_ID, -1);
    hears_slot(5); /* where the device is */
    hears_no_more();
    CU_ASSERT_EQUAL(told()->slots, 0);
}

/* ---- The end of a device ---- */

static void an_unplugged_device_releases_its_keys(void)
{
    begin(64);
    SAY(IS(EV_KEY, KEY_A, 1), END);
    hears(EV_KEY, KEY_A, 1);
    hears(EV_SYN, SYN_REPORT, 0);
    /* Another error is not the end. */
    kernel.read_error = EINTR;
    device_backend_event(&guest_device, 0, 1);
    guest_run();
    hears_no_more();
    kernel.read_error = ENODEV;
    device_backend_event(&guest_device, 0, 1);
    guest_run();
    hears(EV_KEY, KEY_A, 0);
    hears_slot(0);
    hears_no_more();
    kernel.reads = 0;
    device_backend_event(&guest_device, 0, 1);
    guest_run();
    CU_ASSERT_EQUAL(kernel.reads, 0);
    ask(EV_LED, LED_CAPSL, 1); /* it has no lights any more */
    guest_kick(1);
    CU_ASSERT_EQUAL(answered(), 1);
    CU_ASSERT_EQUAL(asked_count(), 0);
}

/* ---- Bounds ---- */

/* A register access never waits for more than this many events. */
static void a_turn_has_an_end(void)
{
    struct input_event many[64];
    begin(2);
    for (size_t i = 0; i < 64; i++)
        many[i] = (struct input_event)IS(EV_REL, REL_WHEEL, 1);
    many[63] = (struct input_event)END;
    offer(RING_SIZE);
    for (unsigned int i = 0; i < 8; i++)
        CU_ASSERT_EQUAL(write(device, many, sizeof(many)), (ssize_t)sizeof(many));
    const uint64_t before = guest_state.counters.requests;
    device_backend_event(&guest_device, 0, 1);
    device_turns(&guest_device);
    const uint64_t done = guest_state.counters.requests - before;
    CU_ASSERT_EQUAL(done, 256);
    CU_ASSERT_NOT_EQUAL(guest_device.work & 1, 0);
    /* Without a driver, events are read all the same, some at a time. */
    guest_write(VIRTIO_MMIO_STATUS, 0);
    for (unsigned int i = 0; i < 8; i++)
        CU_ASSERT_EQUAL(write(device, many, sizeof(many)), (ssize_t)sizeof(many));
    kernel.reads = 0;
    device_backend_event(&guest_device, 0, 1);
    CU_ASSERT_EQUAL(kernel.reads, 4);
}

static void values_of_lights_and_sounds(void)
{
    static const struct {
        uint16_t type, code;
        uint32_t value;
        bool good;
    } cases[] = {
        {EV_LED, LED_CAPSL, 0, true},     {EV_LED, LED_CAPSL, 1, true},
        {EV_LED, LED_CAPSL, 2, false},    {EV_LED, LED_CNT - 1, 1, false},
        {EV_SND, SND_BELL, 1, true},      {EV_SND, SND_BELL, 0, true},
        {EV_SND, SND_BELL, 2, false},     {EV_SND, SND_TONE, 32767, true},
        {EV_SND, SND_TONE, 32768, false}, {EV_SND, SND_TONE, 0, true},
        {EV_REL, REL_WHEEL, 1, false},
    };
    unsigned int refused = 0;
    begin(2);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ask(cases[i].type, cases[i].code, cases[i].value);
        guest_kick(1);
        const struct input_event event = asked();
        const bool same = event.type == cases[i].type && event.code == cases[i].code &&
                          (uint32_t)event.value == cases[i].value;
        CU_ASSERT(cases[i].good ? same : event.type == 0xffff);
        refused += !cases[i].good;
        CU_ASSERT_EQUAL(guest_state.counters.dropped_out, refused);
    }
    const size_t count = sizeof(cases) / sizeof(cases[0]);
    CU_ASSERT_EQUAL(answered(), count);
    CU_ASSERT_EQUAL(guest_state.counters.bytes_out, count * 8);
    /* What the driver has switched off is not switched off once more. */
    guest_write(VIRTIO_MMIO_STATUS, 0);
    CU_ASSERT_EQUAL(asked_count(), 0);
}

/* A wish that is refused costs nothing: only those that reach the device are counted. */
static void what_is_refused_does_not_count(void)
{
    begin(2);
    for (unsigned int i = 0; i < 50; i++)
        ask(EV_LED, LED_CAPSL, 2);
    for (unsigned int i = 0; i < 16; i++)
        ask(EV_LED, LED_CAPSL, 1);
    guest_kick(1);
    CU_ASSERT_EQUAL(answered(), 66);
    CU_ASSERT_EQUAL(asked_count(), 16);
    CU_ASSERT_EQUAL(guest_device.pause_ms, 100); /* the next one would wait */
    ask(EV_LED, LED_CAPSL, 0);
    guest_kick(1);
    CU_ASSERT_EQUAL(answered(), 0);
    device_pause_over(&guest_device);
    guest_run();
    CU_ASSERT_EQUAL(answered(), 1);
}

int main(int argc, char **argv)
{
    guest_window_init();
    CU_TestInfo tests[] = {
        {"what is pressed at the start is known", what_is_pressed_at_the_start_is_known},
        {"a device without contacts", a_device_without_contacts},
        {"all sorts of events", all_sorts_of_events},
        {"what an access selects", what_an_access_selects},
        {"contacts of several slots", contacts_of_several_slots},
        {"an unplugged device releases its keys", an_unplugged_device_releases_its_keys},
        {"a turn has an end", a_turn_has_an_end},
        {"values of lights and sounds", values_of_lights_and_sounds},
        {"what is refused does not count", what_is_refused_does_not_count},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "an input device at the edges", tests);
}
