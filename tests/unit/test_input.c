/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input device, VirtIO 1.2 §5.8: what its configuration space shows; which events of the device
 * reach the driver, and when; that no key stays pressed for ever; and what a driver can make the
 * device do.
 */
#include <CUnit/CUnit.h>
#include <errno.h>
#include <linux/input.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <string.h>

#include "tests/cunit_main.h"
#include "tests/unit/input_under_test.h"
#include "worker/transport.h"

/* ---- Configuration space, §5.8.4 ---- */

static void the_driver_sees_the_device(void)
{
    uint8_t bits[128];
    char text[128];
    struct virtio_input_devids ids;
    struct virtio_input_absinfo axis;
    running(0);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_DEVICE_ID), 18);
    CU_ASSERT_EQUAL(selected(VIRTIO_INPUT_CFG_ID_NAME, 0, text, sizeof(text)), 20);
    CU_ASSERT_STRING_EQUAL(text, "unit test's keyboard");
    CU_ASSERT_EQUAL(selected(VIRTIO_INPUT_CFG_ID_SERIAL, 0, text, sizeof(text)), 4);
    CU_ASSERT_STRING_EQUAL(text, "4711"); /* without the rest of the longer name */
    CU_ASSERT_EQUAL(selected(VIRTIO_INPUT_CFG_ID_DEVIDS, 0, &ids, sizeof(ids)), 8);
    CU_ASSERT(ids.vendor == 0x1234 && ids.product == 0x5678 && ids.version == 0x0111);
    CU_ASSERT_EQUAL(selected(VIRTIO_INPUT_CFG_PROP_BITS, 0, bits, 1), 1);
    CU_ASSERT_EQUAL(bits[0], 1 << INPUT_PROP_DIRECT);
    CU_ASSERT_EQUAL(selected(VIRTIO_INPUT_CFG_EV_BITS, EV_KEY, bits, sizeof(bits)),
                    BTN_TOUCH / 8 + 1);
    CU_ASSERT_EQUAL(bits[BTN_TOUCH / 8], 1 << BTN_TOUCH % 8);
    CU_ASSERT_EQUAL(selected(VIRTIO_INPUT_CFG_EV_BITS, EV_LED, bits, 1), 1);
    CU_ASSERT_EQUAL(bits[0], 1 << LED_NUML | 1 << LED_CAPSL);
    CU_ASSERT_EQUAL(selected(VIRTIO_INPUT_CFG_ABS_INFO, ABS_MT_POSITION_X, &axis, sizeof(axis)),
                    20);
    CU_ASSERT((int32_t)axis.min == -5 && axis.max == 1919 && axis.fuzz == 1 && axis.flat == 2 &&
              axis.res == 12);
}

/* §5.8.4: what the device does not have has size 0. No byte of anything else is visible. */
static void what_there_is_not_has_no_size(void)
{
    static const uint8_t none[][2] = {
        {VIRTIO_INPUT_CFG_UNSET, 0},          {VIRTIO_INPUT_CFG_ID_NAME, 1},
        {VIRTIO_INPUT_CFG_EV_BITS, EV_SYN},   {VIRTIO_INPUT_CFG_EV_BITS, EV_REP},
        {VIRTIO_INPUT_CFG_EV_BITS, EV_FF},    {VIRTIO_INPUT_CFG_EV_BITS, 255},
        {VIRTIO_INPUT_CFG_EV_BITS, EV_SW},    {VIRTIO_INPUT_CFG_ABS_INFO, ABS_X},
        {VIRTIO_INPUT_CFG_ABS_INFO, ABS_CNT}, {VIRTIO_INPUT_CFG_ABS_INFO, 255},
        {VIRTIO_INPUT_CFG_ABS_INFO + 1, 0},   {255, 255},
    };
    uint8_t bytes[128], zeros[128] = {0};
    running(0);
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        CU_ASSERT_EQUAL(selected(none[i][0], none[i][1], bytes, sizeof(bytes)), 0);
        CU_ASSERT_EQUAL(memcmp(bytes, zeros, sizeof(zeros)), 0);
    }
    /* One access can write both bytes, and nothing beside them. */
    transport_write(&guest_device, VIRTIO_MMIO_CONFIG, 2,
                    VIRTIO_INPUT_CFG_ABS_INFO | ABS_MT_POSITION_X << 8);
    transport_write(&guest_device, VIRTIO_MMIO_CONFIG + 2, 1, 200);
    transport_write(&guest_device, VIRTIO_MMIO_CONFIG + 8, 4, 1);
    CU_ASSERT_EQUAL(transport_read(&guest_device, VIRTIO_MMIO_CONFIG + 2, 1), 20);
    CU_ASSERT_EQUAL((int32_t)transport_read(&guest_device, VIRTIO_MMIO_CONFIG + 8, 4), -5);
    /* A name of 128 bytes has no NUL. */
    memset(start.of_kind.input.name, 'n', sizeof(start.of_kind.input.name));
    memset(&guest_state, 0, sizeof(guest_state));
    worker();
    CU_ASSERT_EQUAL(selected(VIRTIO_INPUT_CFG_ID_NAME, 0, bytes, sizeof(bytes)), 128);
    CU_ASSERT_EQUAL(bytes[127], 'n');
}

static void what_was_selected_outlives_a_worker(void)
{
    running(4);
    char text[8];
    CU_ASSERT_EQUAL(selected(VIRTIO_INPUT_CFG_ID_SERIAL, 0, text, 1), 4);
    worker();
    CU_ASSERT_EQUAL(transport_read(&guest_device, VIRTIO_MMIO_CONFIG + 2, 1), 4);
    CU_ASSERT_EQUAL(transport_read(&guest_device, VIRTIO_MMIO_CONFIG + 8, 1), '4');
    guest_negotiate(VERSION_1); /* this is a reset */
    CU_ASSERT_EQUAL(transport_read(&guest_device, VIRTIO_MMIO_CONFIG, 1), 0);
    CU_ASSERT_EQUAL(transport_read(&guest_device, VIRTIO_MMIO_CONFIG + 2, 1), 0);
}

/* ---- Events ---- */

static void events_come_in_order_with_one_interrupt(void)
{
    running(64);
    hears_slot(0);
    (void)guest_interrupts();
    SAY(IS(EV_KEY, KEY_A, 1), END, IS(EV_REL, REL_WHEEL, -1), IS(EV_KEY, KEY_A, 0), END);
    hears(EV_KEY, KEY_A, 1);
    hears(EV_SYN, SYN_REPORT, 0);
    hears(EV_REL, REL_WHEEL, -1);
    hears(EV_KEY, KEY_A, 0);
    hears(EV_SYN, SYN_REPORT, 0);
    hears_no_more();
    CU_ASSERT_EQUAL(guest_interrupts(), 1);
}

static void a_packet_waits_for_its_end(void)
{
    running(64);
    hears_slot(0);
    SAY(IS(EV_REL, REL_WHEEL, 1), IS(EV_KEY, KEY_B, 1));
    hears_no_more();
    SAY(END);
    hears(EV_REL, REL_WHEEL, 1);
    hears(EV_KEY, KEY_B, 1);
    hears(EV_SYN, SYN_REPORT, 0);
    hears_no_more();
}

/* The kernel reports lights. They would go round for ever between kernel and driver. */
static void what_the_device_has_not_does_not_come(void)
{
    running(64);
    hears_slot(0);
    SAY(IS(EV_KEY, KEY_C, 1), IS(EV_KEY, KEY_CNT, 1), IS(EV_KEY, 0xffff, 1), IS(EV_ABS, ABS_X, 5),
        IS(EV_LED, LED_NUML, 1), IS(EV_SND, SND_BELL, 1), IS(EV_REP, REP_DELAY, 250),
        IS(EV_FF, 1, 1), IS(0x1f, 0, 1), IS(EV_SYN, SYN_CONFIG, 0), IS(EV_REL, REL_WHEEL, 2), END);
    hears(EV_REL, REL_WHEEL, 2);
    hears(EV_SYN, SYN_REPORT, 0);
    hears_no_more();
}

static void events_wait_for_buffers(void)
{
    running(2);
    hears_slot(0);
    SAY(IS(EV_KEY, KEY_A, 1), END, IS(EV_KEY, KEY_A, 0), END);
    hears_no_more();
    CU_ASSERT_EQUAL(events.used->flags, 0); /* the driver has to kick */
    offer(1);
    guest_kick(0);
    hears(EV_KEY, KEY_A, 1);
    hears_no_more();
    offer(3);
    guest_kick(0);
    hears(EV_SYN, SYN_REPORT, 0);
    hears(EV_KEY, KEY_A, 0);
    hears(EV_SYN, SYN_REPORT, 0);
    hears_no_more();
}

/* Thousands of events come while nobody takes them. Those that are kept are complete and in order.
 * The rest stays where it was. Then all of them come. */
static void a_full_event_queue_loses_nothing(void)
{
    const unsigned int packets = 3000;
    struct input_event packet[] = {IS(EV_REL, REL_WHEEL, 0), END};
    unsigned int said = 0, heard = 0;
    running(2);
    hears_slot(0);
    for (unsigned int round = 0; heard < packets && round < packets * 2; round++) {
        for (; said < packets; said++) {
            packet[0].value = (int)said + 1;
            if (send(device, packet, sizeof(packet), 0) < 0)
                break; /* the socket is full, as the kernel's buffer would be */
        }
        guest_run();
        offer(16);
        guest_kick(0);
        struct vring_used_elem element;
        while (guest_used(&events, &element)) {
            struct virtio_input_event event;
            memcpy(&event, guest_at(EVENT(element.id)), sizeof(event));
            if (event.type == EV_REL)
                CU_ASSERT_EQUAL(event.value, ++heard);
        }
    }
    CU_ASSERT_EQUAL(heard, packets);
}

/* A buffer may have pieces of any size. If it is too short, that is the guest's error. */
static void a_buffer_can_be_in_pieces(void)
{
    struct virtio_input_event event;
    running(2);
    hears_slot(0);
    for (uint16_t i = 0; i < 8; i++)
        guest_desc(&events, 100 + i, EVENT(100) + i, 1,
                   VRING_DESC_F_WRITE | (i < 7 ? VRING_DESC_F_NEXT : 0), 101 + i);
    guest_offer(&events, 100);
    guest_desc(&events, 120, EVENT(120), 7, VRING_DESC_F_WRITE, 0);
    guest_offer(&events, 120);
    SAY(IS(EV_REL, REL_WHEEL, 0x12345678), END);
    memcpy(&event, guest_at(EVENT(100)), sizeof(event));
    CU_ASSERT(event.type == EV_REL && event.code == REL_WHEEL && event.value == 0x12345678);
    CU_ASSERT((guest_read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET) != 0);
    CU_ASSERT_EQUAL(guest_logged(LOG_CHAIN_INVALID), 1);
}

/* ---- No key stays pressed ---- */

static void a_new_driver_hears_what_is_pressed(void)
{
    running(64);
    SAY(IS(EV_KEY, KEY_A, 1), END);
    driver(64);
    hears(EV_KEY, KEY_A, 1);
    hears_slot(0);
    hears_no_more();
    guest_write(VIRTIO_MMIO_STATUS, 0);
    SAY(IS(EV_KEY, KEY_A, 0), IS(EV_KEY, KEY_B, 1), END); /* while there is no driver */
    driver(64);
    hears(EV_KEY, KEY_B, 1);
    hears_slot(0);
    hears_no_more();
}

static void a_successor_releases_what_is_not_pressed_now(void)
{
    running(64);
    SAY(IS(EV_KEY, KEY_A, 1), IS(EV_ABS, ABS_MT_TRACKING_ID, 0), END); /* 0 is an id, too */
    hears_slot(0);
    hears(EV_KEY, KEY_A, 1);
    hears(EV_ABS, ABS_MT_TRACKING_ID, 0);
    hears(EV_SYN, SYN_REPORT, 0);
    worker(); /* on its device nothing is pressed */
    guest_run();
    hears(EV_KEY, KEY_A, 0);
    hears(EV_ABS, ABS_MT_SLOT, 0);
    hears(EV_ABS, ABS_MT_TRACKING_ID, -1);
    hears_slot(0);
    hears_no_more();
    worker(); /* nothing is left to say */
    guest_run();
    hears_slot(0);
    hears_no_more();
}

/* A hostile page claims every key and contact that exists, and others. */
static void a_page_can_claim_any_key(void)
{
    running(64);
    hears_slot(0);
    memset(&guest_state.of_kind.input, 0xff, sizeof(guest_state.of_kind.input));
    offer(150);
    worker();
    guest_run();
    CU_ASSERT((guest_read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET) == 0);
    hears(EV_KEY, KEY_A, 0);
    hears(EV_KEY, KEY_B, 0);
    hears(EV_KEY, BTN_TOUCH, 0);
    for (int32_t slot = 0; slot < 64; slot++) {
        hears(EV_ABS, ABS_MT_SLOT, slot);
        hears(EV_ABS, ABS_MT_TRACKING_ID, -1);
    }
    hears_slot(0);
    hears_no_more();
    CU_ASSERT_EQUAL(guest_state.of_kind.input.slots, 0);
}

/* The kernel's buffer has overflowed. Events up to the next report belong to a packet that has lost
 * its beginning. */
static void dropped_events_release_all_keys(void)
{
    running(64);
    hears_slot(0);
    SAY(IS(EV_KEY, KEY_A, 1), END);
    hears(EV_KEY, KEY_A, 1);
    hears(EV_SYN, SYN_REPORT, 0);
    SAY(IS(EV_REL, REL_WHEEL, 1), IS(EV_SYN, SYN_DROPPED, 0), IS(EV_REL, REL_WHEEL, 5));
    SAY(IS(EV_REL, REL_WHEEL, 6), END, IS(EV_REL, REL_WHEEL, 7), END);
    hears(EV_KEY, KEY_A, 0);
    hears_slot(0);
    hears(EV_REL, REL_WHEEL, 7);
    hears(EV_SYN, SYN_REPORT, 0);
    hears_no_more();
    SAY(IS(EV_KEY, KEY_A, 2), END); /* the user held it, and the kernel repeats it */
    hears(EV_KEY, KEY_A, 1);
    hears(EV_SYN, SYN_REPORT, 0);
    SAY(IS(EV_KEY, KEY_A, 2), END);
    hears(EV_KEY, KEY_A, 2);
    hears(EV_SYN, SYN_REPORT, 0);
}

/* More events than any packet has. They are bounded, and treated like events that were dropped. */
static void a_packet_without_end_is_dropped(void)
{
    struct input_event many[64];
    running(200);
    hears_slot(0);
    SAY(IS(EV_KEY, KEY_A, 1), END);
    hears(EV_KEY, KEY_A, 1);
    hears(EV_SYN, SYN_REPORT, 0);
    for (size_t i = 0; i < 64; i++)
        many[i] = (struct input_event)IS(EV_REL, REL_WHEEL, 1);
    for (unsigned int i = 0; i < 40; i++)
        say(many, 64);
    SAY(END, IS(EV_REL, REL_WHEEL, 3), END);
    hears(EV_KEY, KEY_A, 0);
    hears_slot(0);
    hears(EV_REL, REL_WHEEL, 3);
    hears(EV_SYN, SYN_REPORT, 0);
    hears_no_more();
}

/* ---- Status, §5.8.6.2 ---- */

static void the_driver_sets_lights_and_sounds(void)
{
    running(2);
    ask(EV_LED, LED_CAPSL, 1);
    ask(EV_SND, SND_TONE, 440);
    guest_kick(1);
    struct input_event event = asked();
    CU_ASSERT(event.type == EV_LED && event.code == LED_CAPSL && event.value == 1);
    event = asked();
    CU_ASSERT(event.type == EV_SND && event.code == SND_TONE && event.value == 440);
    CU_ASSERT_EQUAL(asked().type, 0xffff);
    CU_ASSERT_EQUAL(answered(), 2);
    /* When the driver goes, its sound stops. */
    guest_write(VIRTIO_MMIO_STATUS, 0);
    event = asked();
    CU_ASSERT(event.type == EV_SND && event.code == SND_TONE && event.value == 0);
    CU_ASSERT_EQUAL(asked().type, 0xffff);
}

/* The worker before may have switched one on. */
static void the_sounds_of_a_successor_s_driver_end_with_it(void)
{
    static const uint16_t sounds[] = {SND_BELL, SND_TONE};
    running(2);
    worker();
    guest_run();
    CU_ASSERT_EQUAL(asked().type, 0xffff);
    guest_write(VIRTIO_MMIO_STATUS, 0);
    for (size_t i = 0; i < sizeof(sounds) / sizeof(sounds[0]); i++) {
        struct input_event event = asked();
        CU_ASSERT(event.type == EV_SND && event.code == sounds[i] && event.value == 0);
    }
    CU_ASSERT_EQUAL(asked().type, 0xffff);
    guest_write(VIRTIO_MMIO_STATUS, 0); /* a reset that ends no sound */
    CU_ASSERT_EQUAL(asked().type, 0xffff);
}

/* On an event device, these writes would be keys and movements of the user, or would change its
 * settings. */
static void a_driver_can_ask_for_nothing_else(void)
{
    running(2);
    for (uint32_t type = 0; type <= 0x20; type++) {
        for (uint32_t code = 0; code < 8; code++) {
            bool is_own = (type == EV_LED && (code == LED_NUML || code == LED_CAPSL)) ||
                          (type == EV_SND && (code == SND_BELL || code == SND_TONE));
            if (!is_own)
                ask((uint16_t)type, (uint16_t)code, 1);
        }
        guest_kick(1);
        (void)answered();
    }
    ask(EV_KEY, KEY_A, 1);
    ask(EV_LED, LED_CAPSL, 2);
    ask(EV_LED, LED_CAPSL, UINT32_MAX);
    ask(EV_LED, LED_CAPSL + 256, 1);
    ask(EV_LED, 0xffff, 1);
    ask(EV_SND, SND_BELL, 2);
    ask(EV_SND, SND_TONE, 0x80000000);
    ask(0xffff, 0xffff, UINT32_MAX);
    guest_kick(1);
    CU_ASSERT_EQUAL(answered(), 8);        /* each is answered, */
    CU_ASSERT_EQUAL(asked().type, 0xffff); /* and none is carried out */
    CU_ASSERT((guest_read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET) == 0);
}

/* Sixteen at once, and sixteen in each tenth of a second, with or without a reset. */
static void a_driver_cannot_flood_the_device(void)
{
    running(2);
    for (unsigned int i = 0; i < 100; i++)
        ask(EV_LED, LED_CAPSL, i & 1);
    guest_kick(1);
    CU_ASSERT_EQUAL(asked_count(), 16);
    CU_ASSERT_EQUAL(guest_device.pause_ms, 100);
    guest_kick(1);
    CU_ASSERT_EQUAL(asked_count(), 0);
    guest_device.pause_ms = 0;
    device_pause_over(&guest_device);
    guest_run();
    CU_ASSERT_EQUAL(asked_count(), 16);
    CU_ASSERT_EQUAL(answered(), 32);
    driver(2);
    for (unsigned int i = 0; i < 100; i++)
        ask(EV_LED, LED_CAPSL, i & 1);
    guest_kick(1);
    CU_ASSERT_EQUAL(asked_count(), 0);
}

static void a_short_status_is_the_guests_fault(void)
{
    running(2);
    guest_desc(&status, 0, STATUS(0), 7, 0, 0);
    guest_offer(&status, 0);
    guest_kick(1);
    CU_ASSERT((guest_read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET) != 0);
    CU_ASSERT_EQUAL(guest_logged(LOG_CHAIN_INVALID), 1);
    CU_ASSERT_EQUAL(asked_count(), 0);
}

int main(int argc, char **argv)
{
    static CU_TestInfo space[] = {
        {"the driver sees the device", the_driver_sees_the_device},
        {"what there is not has no size", what_there_is_not_has_no_size},
        {"what was selected outlives a worker", what_was_selected_outlives_a_worker},
        CU_TEST_INFO_NULL,
    };
    static CU_TestInfo from_device[] = {
        {"events come in order, with one interrupt", events_come_in_order_with_one_interrupt},
        {"a packet waits for its end", a_packet_waits_for_its_end},
        {"what the device has not does not come", what_the_device_has_not_does_not_come},
        {"events wait for buffers", events_wait_for_buffers},
        {"a full event queue loses nothing", a_full_event_queue_loses_nothing},
        {"a buffer can be in pieces, and not too short", a_buffer_can_be_in_pieces},
        CU_TEST_INFO_NULL,
    };
    static CU_TestInfo keys[] = {
        {"a new driver hears what is pressed", a_new_driver_hears_what_is_pressed},
        {"a successor releases what is not pressed now",
         a_successor_releases_what_is_not_pressed_now},
        {"a page can claim any key", a_page_can_claim_any_key},
        {"dropped events release all keys", dropped_events_release_all_keys},
        {"a packet without end is dropped", a_packet_without_end_is_dropped},
        CU_TEST_INFO_NULL,
    };
    static CU_TestInfo asks[] = {
        {"the driver sets lights and sounds", the_driver_sets_lights_and_sounds},
        {"a successor ends all sounds", the_sounds_of_a_successor_s_driver_end_with_it},
        {"a driver can ask for nothing else", a_driver_can_ask_for_nothing_else},
        {"a driver can't flood the device", a_driver_cannot_flood_the_device},
        {"a short status is the guest's fault", a_short_status_is_the_guests_fault},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {{.pName = "configuration space", .pTests = space},
                             {.pName = "events", .pTests = from_device},
                             {.pName = "keys", .pTests = keys},
                             {.pName = "status", .pTests = asks},
                             CU_SUITE_INFO_NULL};
    guest_window_init();
    return run_suites(argc, argv, suites);
}
