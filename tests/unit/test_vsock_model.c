/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of a socket device under a guest that sends anything at all, against what the
 * headers promise. And what is kept for a slow reader, against a model.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/cunit_main.h"
#include "tests/unit/vsock_packet.h"
#include "worker/vsock/buffer.h"
#include "worker/vsock/table.h"

#define LIMIT 63u /* connections */
#define STEPS 2000000u

static struct vsock_table table;

static uint64_t next_random(void)
{
    static uint64_t state = 0x853c49e6748fea9bull;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static uint32_t below(uint32_t limit)
{
    return (uint32_t)((next_random() >> 20) % limit);
}

/* ---- Anything at all ---- */

/* What the guest was told about a slot's connection, and what it said. */
static struct model {
    bool known; /* the guest knows it */
    uint64_t sent;
    uint32_t alloc, forwarded;
    uint32_t fwd_cnt; /* the last one that the device sent */
} models[LIMIT];

static unsigned int wrong;

static void expect(bool holds, const char *what)
{
    if (!holds && wrong++ < 10)
        fprintf(stderr, "\n%s\n", what);
}

static struct virtio_vsock_hdr any_packet(void)
{
    const struct vsock_connection *some = &table.connections[below(LIMIT)];
    struct virtio_vsock_hdr header =
        from_guest((uint16_t)below(9), some->guest_port, some->host_port);
    header.type = some->type;
    header.len = below(4) > 0 ? below(3000) : (uint32_t)next_random();
    header.flags = below(8);
    header.buf_alloc = below(3) > 0 ? below(100000) : (uint32_t)next_random();
    header.fwd_cnt = below(3) > 0 ? some->sent - below(1000) : (uint32_t)next_random();
    if (below(4) == 0) {
        header.op = VIRTIO_VSOCK_OP_REQUEST;
        header.src_port = below(300);
        header.dst_port = below(3);
    }
    if (below(40) == 0)
        header.type = (uint16_t)below(4);
    if (below(60) == 0)
        header.dst_cid = below(5);
    if (below(60) == 0)
        header.src_cid = below(5);
    if (below(60) == 0)
        header.op = (uint16_t)next_random();
    return header;
}

static void guest_acts(void)
{
    if (!vsock_reply_room(&table))
        return;
    struct virtio_vsock_hdr header = any_packet();
    uint32_t slot = VSOCK_NONE, payload = below(3) > 0 ? header.len : below(5000);
    bool evicted;
    enum vsock_verdict verdict = vsock_receive(&table, &header, payload, &slot, &evicted);
    if (slot == VSOCK_NONE) {
        expect(verdict == VSOCK_NOTHING, "a verdict about no slot");
        return;
    }
    struct vsock_connection *connection = &table.connections[slot];
    if (verdict == VSOCK_CONNECT)
        models[slot] = (struct model){.known = true};
    models[slot].alloc = header.buf_alloc;
    models[slot].forwarded = header.fwd_cnt;
    if (verdict == VSOCK_PAYLOAD)
        expect(header.len <= payload, "more payload than there is");
    if (verdict == VSOCK_GONE && below(2) == 0)
        vsock_host_gone(&table, slot, false);
    if (verdict == VSOCK_BROKEN)
        expect(connection->state == VSOCK_CLOSING || connection->state == VSOCK_FREE,
               "broken, and not closing");
    if (connection->state == VSOCK_FREE || connection->state == VSOCK_DRAINING)
        models[slot].known = false;
}

static void host_acts(void)
{
    uint32_t slot = below(LIMIT);
    struct vsock_connection *connection = &table.connections[slot];
    bool evicted;
    switch (below(6)) {
    case 0:
        slot = vsock_take(&table, VSOCK_GREETING, below(2) == 0 ? STREAM : SEQPACKET, &evicted);
        if (slot != VSOCK_NONE)
            models[slot] = (struct model){.known = false};
        break;
    case 1:
        if (connection->state == VSOCK_GREETING)
            vsock_request(&table, slot, below(300));
        else if (connection->state == VSOCK_DIALLING)
            vsock_accepted(&table, slot);
        break;
    case 2:
        if (connection->state == VSOCK_OPEN)
            vsock_host_shutdown(&table, slot, (uint8_t)below(4));
        break;
    case 3:
        if (connection->state == VSOCK_OPEN || connection->state == VSOCK_DRAINING)
            vsock_forwarded(&table, slot, below(vsock_buffered(connection) + 1));
        break;
    default:
        /* Like the owner of the socket: it closes a connection that is no longer of use. */
        if (connection->state != VSOCK_FREE && connection->state != VSOCK_CLOSING && below(8) == 0)
            vsock_host_gone(&table, slot, below(2) == 0);
    }
    if (slot != VSOCK_NONE && connection->state == VSOCK_FREE)
        models[slot].known = false;
}

static void check_packet(uint32_t slot, const struct virtio_vsock_hdr *header)
{
    struct model *model = &models[slot];
    if (header->op == VIRTIO_VSOCK_OP_REQUEST)
        model->known = true;
    expect(model->known, "a packet of a connection that the guest does not have");
    expect(header->src_cid == HOST && header->dst_cid == CID, "a CID");
    expect(header->buf_alloc == VSOCK_BUFFER_SIZE, "buf_alloc");
    expect(header->fwd_cnt - model->fwd_cnt <= VSOCK_BUFFER_SIZE, "fwd_cnt goes back");
    model->fwd_cnt = header->fwd_cnt;
    if (header->op == VIRTIO_VSOCK_OP_RST)
        model->known = false;
}

static void device_sends(void)
{
    struct virtio_vsock_hdr header;
    uint32_t slot = below(LIMIT);
    struct vsock_connection *connection = &table.connections[slot];
    struct model *model = &models[slot];
    if (vsock_next_reply(&table, &header))
        expect(header.op == VIRTIO_VSOCK_OP_RST && header.dst_cid == CID, "a reply");
    if (vsock_next_packet(&table, slot, &header)) {
        check_packet(slot, &header);
        return;
    }
    uint32_t credit = vsock_credit(connection);
    if (connection->state != VSOCK_OPEN)
        return;
    if (credit == 0) {
        vsock_ask_credit(&table, slot);
        return;
    }
    uint32_t length = below(credit < 70000 ? credit : 70000) + 1;
    vsock_data_packet(&table, slot, length, 0, &header);
    check_packet(slot, &header);
    /* Counted by the guest's own last claim, without wrapping round. */
    uint64_t unread = (uint32_t)(model->sent - model->forwarded);
    expect(unread + length <= model->alloc, "more than the guest's credit");
    model->sent += length;
}

static void check_table(void)
{
    expect(table.reply_count <= VSOCK_REPLIES_MAX, "replies");
    for (uint32_t i = 0; i < LIMIT; i++) {
        const struct vsock_connection *a = &table.connections[i];
        expect(vsock_buffered(a) <= VSOCK_BUFFER_SIZE, "more buffered than announced");
        expect(a->received - a->announced <= VSOCK_BUFFER_SIZE, "more announced than there is");
        expect(a->forwarded - a->announced <= VSOCK_BUFFER_SIZE, "announced before it is given on");
        expect(a->state != VSOCK_CLOSING || vsock_buffered(a) == 0, "bytes for nobody are kept");
        bool live = a->state >= VSOCK_REQUESTED && a->state != VSOCK_DRAINING;
        for (uint32_t k = 0; live && k < i; k++) {
            const struct vsock_connection *b = &table.connections[k];
            bool same = a->guest_port == b->guest_port && a->host_port == b->host_port;
            expect(!same || b->state < VSOCK_REQUESTED || b->state == VSOCK_DRAINING,
                   "two connections with the same ports");
        }
    }
}

static void drain_packets(void)
{
    struct virtio_vsock_hdr header;
    while (vsock_next_reply(&table, &header))
        ;
    for (uint32_t slot = 0; slot < LIMIT; slot++) {
        for (unsigned int i = 0; vsock_next_packet(&table, slot, &header); i++)
            CU_ASSERT_FATAL(i < 8); /* there is a bound for what the device has to send */
    }
}

/* Whatever the guest does, places become free when the host's ends are closed. */
static void check_end(void)
{
    bool evicted;
    for (uint32_t slot = 0; slot < LIMIT; slot++) {
        enum vsock_state state = table.connections[slot].state;
        if (state != VSOCK_FREE && state != VSOCK_CLOSING)
            vsock_host_gone(&table, slot, false);
    }
    drain_packets();
    for (uint32_t i = 0; i < LIMIT; i++)
        expect(vsock_take(&table, VSOCK_DIALLING, STREAM, &evicted) != VSOCK_NONE,
               "a place that never comes free");
}

static void test_anything_at_all(void)
{
    wrong = 0;
    for (unsigned int i = 0; i < STEPS && wrong == 0; i++) {
        if (i % 100000 == 0) {
            if (i > 0)
                check_end();
            vsock_init(&table, CID, LIMIT, true);
            memset(models, 0, sizeof(models));
        }
        switch (below(5)) {
        case 0:
        case 1:
            guest_acts();
            break;
        case 2:
            host_acts();
            break;
        default:
            device_sends();
        }
        if (i % 64 == 0)
            check_table();
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

/* ---- What is kept ---- */

static struct vsock_buffer buffer;

static void test_buffer_against_a_model(void)
{
    static unsigned char sent[VSOCK_BUFFER_SIZE], plain[8 * VSOCK_BUFFER_SIZE];
    uint32_t first = 0xffff0000u, in = 0, out = 0; /* counts that wrap round */
    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = (unsigned char)next_random();
    while (out < sizeof(plain)) {
        uint32_t room = VSOCK_BUFFER_SIZE - (in - out), left = (uint32_t)sizeof(plain) - in;
        uint32_t length = below(2 * room + 1) % ((room < left ? room : left) + 1);
        const struct iovec parts[] = {{plain + in, length / 3},
                                      {plain + in + length / 3, length - length / 3}};
        vsock_buffer_put(&buffer, first + in, cursor_of(parts, 2));
        in += length;
        uint32_t take = below(in - out + 1);
        if (take == 0)
            continue;
        struct iovec got[2];
        unsigned int count = vsock_buffer_get(&buffer, first + out, first + out + take, got);
        memcpy(sent, got[0].iov_base, got[0].iov_len);
        if (count == 2)
            memcpy(sent + got[0].iov_len, got[1].iov_base, got[1].iov_len);
        CU_ASSERT_EQUAL(got[0].iov_len + (count == 2 ? got[1].iov_len : 0), take);
        CU_ASSERT_EQUAL_FATAL(memcmp(sent, plain + out, take), 0);
        out += take;
    }
}

/* Messages of any length, from one byte up to a full buffer. */
static void test_buffer_keeps_messages_apart(void)
{
    static uint32_t ends[VSOCK_BUFFER_SIZE];
    uint32_t in = 0xfffff000u, out = in, first = 0, count = 0, end;
    vsock_buffer_clear(&buffer);
    CU_ASSERT_FALSE(vsock_buffer_message(&buffer, out, in, &end));
    for (unsigned int round = 0; round < 20000; round++) {
        uint32_t length = below(20) > 0 ? below(3) + 1 : below(5000) + 1;
        if (length <= VSOCK_BUFFER_SIZE - (in - out) && below(3) > 0) {
            in += length;
            vsock_buffer_end_message(&buffer, in);
            ends[(first + count++) % VSOCK_BUFFER_SIZE] = in;
        } else if (count > 0) {
            CU_ASSERT_TRUE_FATAL(vsock_buffer_message(&buffer, out, in, &end));
            CU_ASSERT_EQUAL_FATAL(end, ends[first % VSOCK_BUFFER_SIZE]);
            /* An end that is behind the bytes asked for is not seen. */
            CU_ASSERT_FALSE(end - out > 1 && vsock_buffer_message(&buffer, out, end - 1, &in));
            vsock_buffer_drop_end(&buffer, end);
            out = end;
            first++;
            count--;
        }
    }
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"anything at all", test_anything_at_all},
        {"buffer against a model", test_buffer_against_a_model},
        {"buffer keeps messages apart", test_buffer_keeps_messages_apart},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "connections under any guest", tests);
}
