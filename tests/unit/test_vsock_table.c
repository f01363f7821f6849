/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of a socket device: packets, credit, how connections begin and end.
 */
#include "tests/cunit_main.h"
#include "tests/unit/vsock_packet.h"
#include "worker/vsock/table.h"

#include <stdlib.h>
#include <string.h>

#define LIMIT 63u /* connections */

static struct vsock_table table;

static enum vsock_verdict receive(const struct virtio_vsock_hdr *header, uint32_t *ret_slot)
{
    bool evicted;
    *ret_slot = VSOCK_NONE;
    return vsock_receive(&table, header, header->len, ret_slot, &evicted);
}

/* An open connection that the guest has made, with all packets delivered. */
static uint32_t opened(uint32_t guest_port, uint32_t host_port)
{
    struct virtio_vsock_hdr header = from_guest(VIRTIO_VSOCK_OP_REQUEST, guest_port, host_port);
    uint32_t slot;
    CU_ASSERT_EQUAL_FATAL(receive(&header, &slot), VSOCK_CONNECT);
    vsock_accepted(&table, slot);
    CU_ASSERT_TRUE(vsock_next_packet(&table, slot, &header));
    CU_ASSERT_EQUAL(header.op, VIRTIO_VSOCK_OP_RESPONSE);
    CU_ASSERT_EQUAL(header.buf_alloc, VSOCK_BUFFER_SIZE);
    CU_ASSERT_FALSE(vsock_next_packet(&table, slot, &header));
    return slot;
}

/* ---- Credit ---- */

static void test_credit_of_the_guest(void)
{
    struct virtio_vsock_hdr header;
    vsock_init(&table, CID, LIMIT, true);
    uint32_t slot = opened(10, 20), same;
    struct vsock_connection *connection = &table.connections[slot];
    CU_ASSERT_EQUAL(vsock_credit(connection), 1000);
    vsock_data_packet(&table, slot, 1000, 0, &header);
    CU_ASSERT_EQUAL(header.op, VIRTIO_VSOCK_OP_RW);
    CU_ASSERT_EQUAL(header.len, 1000);
    CU_ASSERT_EQUAL(vsock_credit(connection), 0);
    /* It is requested once, and again only after there was some credit. */
    for (int i = 0; i < 3; i++)
        vsock_ask_credit(&table, slot);
    CU_ASSERT_TRUE(vsock_next_packet(&table, slot, &header));
    CU_ASSERT_EQUAL(header.op, VIRTIO_VSOCK_OP_CREDIT_REQUEST);
    vsock_ask_credit(&table, slot);
    CU_ASSERT_FALSE(vsock_next_packet(&table, slot, &header));

    static const struct {
        uint32_t alloc, forwarded, credit;
    } claims[] = {
        {1000, 1000, 1000},
        {1000, 400, 400},
        {900, 0, 0},
        {999, 0, 0},
        {1001, 0, 1},
        {0xffffffff, 0, 0xffffffff - 1000},
        {0, 1000, 0},
        {1000, 1001, 0},
        {0xffffffff, 1001, 0},
        {0x80000000, 0x80000000, 0},
        {0xffffffff, 0xffffffff, 0xffffffff - 1001},
    };
    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
        header = from_guest(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 10, 20);
        header.buf_alloc = claims[i].alloc;
        header.fwd_cnt = claims[i].forwarded;
        CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_NOTHING);
        CU_ASSERT_EQUAL(same, slot);
        CU_ASSERT_EQUAL(vsock_credit(connection), claims[i].credit);
    }
    vsock_ask_credit(&table, slot);
    CU_ASSERT_TRUE(vsock_next_packet(&table, slot, &header));
}

static void test_credit_of_the_device(void)
{
    struct virtio_vsock_hdr header;
    vsock_init(&table, CID, LIMIT, true);
    uint32_t slot = opened(10, 20), same;
    struct vsock_connection *connection = &table.connections[slot];
    header = from_guest(VIRTIO_VSOCK_OP_RW, 10, 20);
    header.buf_alloc = 2 * VSOCK_BUFFER_SIZE;
    header.len = VSOCK_BUFFER_SIZE / 2;
    CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_PAYLOAD);
    vsock_forwarded(&table, slot, header.len);
    CU_ASSERT_FALSE(vsock_next_packet(&table, slot, &header)); /* half of the buffer is enough */
    header = from_guest(VIRTIO_VSOCK_OP_RW, 10, 20);
    header.buf_alloc = 2 * VSOCK_BUFFER_SIZE;
    header.len = 1;
    CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_PAYLOAD);
    vsock_forwarded(&table, slot, 1);
    CU_ASSERT_TRUE(vsock_next_packet(&table, slot, &header));
    CU_ASSERT_EQUAL(header.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
    CU_ASSERT_EQUAL(header.fwd_cnt, VSOCK_BUFFER_SIZE / 2 + 1);
    /* Full to the last byte, and then one byte more. */
    header = from_guest(VIRTIO_VSOCK_OP_RW, 10, 20);
    header.len = VSOCK_BUFFER_SIZE;
    CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_PAYLOAD);
    CU_ASSERT_EQUAL(vsock_buffered(connection), VSOCK_BUFFER_SIZE);
    header.len = 1;
    CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_BROKEN);
    CU_ASSERT_TRUE(vsock_next_packet(&table, slot, &header));
    CU_ASSERT_EQUAL(header.op, VIRTIO_VSOCK_OP_RST);
    CU_ASSERT_EQUAL(connection->state, VSOCK_FREE);
    /* When the guest asks for credit, it gets an answer. */
    slot = opened(11, 20);
    header = from_guest(VIRTIO_VSOCK_OP_CREDIT_REQUEST, 11, 20);
    CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_NOTHING);
    CU_ASSERT_TRUE(vsock_next_packet(&table, slot, &header));
    CU_ASSERT_EQUAL(header.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
}

/* Linux never sends more than its own buffer holds, and then waits without a word. */
static void test_credit_of_the_device_in_small_steps(void)
{
    static const uint32_t rooms[] = {0, 1, 256, 4096, 65536, VSOCK_BUFFER_SIZE, 0xffffffff};
    struct virtio_vsock_hdr header;
    uint32_t same;
    for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
        uint32_t room = rooms[i] < VSOCK_BUFFER_SIZE ? rooms[i] : VSOCK_BUFFER_SIZE;
        vsock_init(&table, CID, LIMIT, true);
        uint32_t slot = opened(10, 20);
        const struct vsock_connection *connection = &table.connections[slot];
        /* All of it is received before the first byte is forwarded. Then the guest is told at each
         * step. */
        for (uint32_t left = room > 0 ? room : 1; left > 0; left -= header.len) {
            header = from_guest(VIRTIO_VSOCK_OP_RW, 10, 20);
            header.buf_alloc = rooms[i];
            header.len = left < 65536 ? left : 65536;
            uint32_t length = header.len;
            CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_PAYLOAD);
            CU_ASSERT_FALSE(vsock_next_packet(&table, slot, &header));
            header.len = length;
        }
        vsock_forwarded(&table, slot, 1);
        CU_ASSERT_TRUE(vsock_next_packet(&table, slot, &header));
        CU_ASSERT_EQUAL(header.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
        CU_ASSERT_EQUAL(header.fwd_cnt, 1);
        /* Data is forwarded at once, until the guest must think that half of the buffer is used.
         * Then the guest is told, by whatever packet comes first. */
        vsock_forwarded(&table, slot, vsock_buffered(connection));
        while (vsock_next_packet(&table, slot, &header))
            ;
        uint32_t told = connection->announced, step = room / 8 > 0 ? room / 8 : 1;
        for (uint32_t sent = 0; connection->announced == told; sent += step) {
            CU_ASSERT_FATAL(sent <= room / 2 + step);
            header = from_guest(VIRTIO_VSOCK_OP_RW, 10, 20);
            header.buf_alloc = rooms[i];
            header.len = step;
            CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_PAYLOAD);
            vsock_forwarded(&table, slot, step);
            (void)vsock_next_packet(&table, slot, &header);
        }
    }
}

/* Small packets cost the guest's kernel more than their bytes. */
static void test_packets_of_the_guest(void)
{
    static const uint32_t rooms[] = {0, 256, 1024, 65536, 262144, 0x40000000, 0xffffffff};
    struct virtio_vsock_hdr header;
    uint32_t same;
    for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
        vsock_init(&table, CID, LIMIT, true);
        uint32_t slot = opened(10, 20), most = rooms[i] / VSOCK_PACKET_COST;
        const struct vsock_connection *connection = &table.connections[slot];
        most = most > 4096 ? 4096 : most > 0 ? most : 1;
        for (uint32_t lap = 0; lap < 3; lap++) {
            header = from_guest(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 10, 20);
            header.buf_alloc = rooms[i];
            header.fwd_cnt = connection->sent;
            CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_NOTHING);
            uint32_t sent = 0;
            while (vsock_packet_credit(connection) > 0 && sent <= most) {
                vsock_data_packet(&table, slot, 1, 0, &header);
                sent++;
            }
            CU_ASSERT_EQUAL(sent, most);
            /* It asks early enough, but not for each packet. */
            uint32_t asked = 0;
            while (vsock_next_packet(&table, slot, &header))
                asked += header.op == VIRTIO_VSOCK_OP_CREDIT_REQUEST;
            CU_ASSERT_EQUAL(asked, most > 1 ? 1 : asked);
            /* fwd_cnt says: none is read; all but one are read; more are read than there are. */
            header = from_guest(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 10, 20);
            header.buf_alloc = rooms[i];
            header.fwd_cnt = connection->sent - sent;
            CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_NOTHING);
            CU_ASSERT_EQUAL(vsock_packet_credit(connection), 0);
            header.fwd_cnt = connection->sent + 1;
            CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_NOTHING);
            CU_ASSERT_EQUAL(vsock_packet_credit(connection), 0);
            header.fwd_cnt = connection->sent - 1;
            CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_NOTHING);
            CU_ASSERT(most == 1 || vsock_packet_credit(connection) >= most - most / 16 - 1);
        }
    }
}

/* A guest that has room for 20 packets: 15 are counted one by one, and the last five together. */
static void test_packets_count_until_their_group_is_read(void)
{
    struct virtio_vsock_hdr header;
    uint32_t same;
    vsock_init(&table, CID, LIMIT, true);
    uint32_t slot = opened(10, 20);
    const struct vsock_connection *connection = &table.connections[slot];
    header = from_guest(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 10, 20);
    header.buf_alloc = 20 * VSOCK_PACKET_COST;
    CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_NOTHING);
    for (uint32_t i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(vsock_packet_credit(connection), 20 - i);
        vsock_data_packet(&table, slot, 1, 0, &header);
        /* It asks for room when more than half of it is used, once. */
        CU_ASSERT_EQUAL(vsock_next_packet(&table, slot, &header), i == 10);
    }
    CU_ASSERT_EQUAL(vsock_packet_credit(connection), 0);
    for (uint32_t read = 1; read <= 20; read++) {
        header = from_guest(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 10, 20);
        header.buf_alloc = 20 * VSOCK_PACKET_COST;
        header.fwd_cnt = read;
        CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_NOTHING);
        CU_ASSERT_EQUAL(vsock_packet_credit(connection), read < 20 && read > 15 ? 15 : read);
    }
}

/* The guest may answer before its program has read. That answer is not the last one. */
static void test_credit_is_asked_for_again(void)
{
    struct virtio_vsock_hdr header;
    vsock_init(&table, CID, LIMIT, true);
    uint32_t slot = opened(10, 20), same;
    vsock_data_packet(&table, slot, 1000, 0, &header);
    CU_ASSERT_FALSE(vsock_ask_again(&table, slot)); /* the device has not asked */
    vsock_ask_credit(&table, slot);
    CU_ASSERT_TRUE(vsock_next_packet(&table, slot, &header));
    header = from_guest(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 10, 20);
    CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_NOTHING);
    CU_ASSERT_TRUE(vsock_ask_again(&table, slot));
    CU_ASSERT_TRUE(vsock_next_packet(&table, slot, &header));
    CU_ASSERT_EQUAL(header.op, VIRTIO_VSOCK_OP_CREDIT_REQUEST);
    header = from_guest(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 10, 20);
    header.fwd_cnt = 1000;
    header.buf_alloc = 4096;
    CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_NOTHING);
    CU_ASSERT_FALSE(vsock_ask_again(&table, slot));
    /* Room for one byte is room. */
    vsock_data_packet(&table, slot, 4096, 0, &header);
    vsock_ask_credit(&table, slot);
    header = from_guest(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 10, 20);
    header.fwd_cnt = 1001;
    header.buf_alloc = 4096;
    CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_NOTHING);
    CU_ASSERT_FALSE(vsock_ask_again(&table, slot));
}

/* A message's own packets do not stop it, however many the guest's buffers make of it. */
static void test_a_message_is_brought_to_its_end(void)
{
    struct virtio_vsock_hdr header;
    vsock_init(&table, CID, LIMIT, true);
    uint32_t slot = opened(10, 20), same; /* 1000 bytes are one packet */
    struct vsock_connection *connection = &table.connections[slot];
    connection->type = SEQPACKET;
    vsock_data_packet(&table, slot, 300, VIRTIO_VSOCK_SEQ_EOM, &header);
    CU_ASSERT_EQUAL(vsock_packet_credit(connection), 0);
    header = from_guest(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 10, 20);
    header.type = SEQPACKET;
    header.fwd_cnt = 300;
    CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_NOTHING);
    for (unsigned int i = 0; i < 9; i++) {
        CU_ASSERT_EQUAL(vsock_packet_credit(connection), 1);
        vsock_data_packet(&table, slot, 100, 0, &header);
    }
    vsock_data_packet(&table, slot, 100, VIRTIO_VSOCK_SEQ_EOM, &header);
    CU_ASSERT_EQUAL(vsock_packet_credit(connection), 0);
}

/* ---- Beginnings and ends ---- */

static void test_clients_of_the_host(void)
{
    struct virtio_vsock_hdr header;
    bool evicted;
    uint32_t same;
    vsock_init(&table, CID, LIMIT, false);
    uint32_t slot = vsock_take(&table, VSOCK_GREETING, STREAM, &evicted);
    CU_ASSERT_FALSE(vsock_next_packet(&table, slot, &header));
    vsock_request(&table, slot, 77);
    uint32_t port = table.connections[slot].host_port;
    /* An answer to something that was not asked. */
    header = from_guest(VIRTIO_VSOCK_OP_RESPONSE, 77, port);
    struct vsock_table before = table;
    CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_BROKEN);
    table = before;
    CU_ASSERT_TRUE(vsock_next_packet(&table, slot, &header));
    CU_ASSERT_EQUAL(header.op, VIRTIO_VSOCK_OP_REQUEST);
    CU_ASSERT_EQUAL(header.dst_port, 77);
    CU_ASSERT_EQUAL(header.src_port, port);
    before = table;
    header = from_guest(VIRTIO_VSOCK_OP_RESPONSE, 77, port);
    CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_ANSWERED);
    CU_ASSERT_EQUAL(table.connections[slot].state, VSOCK_OPEN);
    CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_BROKEN); /* it comes twice */
    table = before;
    header.op = VIRTIO_VSOCK_OP_RST;
    CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_GONE);
    vsock_host_gone(&table, slot, true);
    CU_ASSERT_EQUAL(table.connections[slot].state, VSOCK_FREE);
    /* A client that has gone before the guest knew of it. */
    table = before;
    table.connections[slot].due = 1u << VIRTIO_VSOCK_OP_REQUEST;
    vsock_host_gone(&table, slot, true);
    CU_ASSERT_EQUAL(table.connections[slot].state, VSOCK_FREE);
    /* Port numbers wrap round, and none is used twice. */
    vsock_init(&table, CID, LIMIT, false);
    table.next_port = 0x7fffffff;
    for (uint32_t i = 0; i < 4; i++) {
        slot = vsock_take(&table, VSOCK_GREETING, STREAM, &evicted);
        vsock_request(&table, slot, 5);
        CU_ASSERT_EQUAL(table.connections[slot].host_port, i == 0 ? 0x7fffffff : 0x3fffffff + i);
        if (i == 2)
            table.next_port = 0x40000000;
    }
}

static void test_clean_ends(void)
{
    struct virtio_vsock_hdr header;
    uint32_t same;
    vsock_init(&table, CID, LIMIT, false);
    /* The host's end has gone: the device sends SHUTDOWN, and the guest's RST ends the connection.
     */
    uint32_t slot = opened(1, 2);
    vsock_host_gone(&table, slot, false);
    CU_ASSERT_TRUE(vsock_next_packet(&table, slot, &header));
    CU_ASSERT_EQUAL(header.op, VIRTIO_VSOCK_OP_SHUTDOWN);
    CU_ASSERT_EQUAL(header.flags, BOTH);
    CU_ASSERT_FALSE(vsock_next_packet(&table, slot, &header));
    header = from_guest(VIRTIO_VSOCK_OP_RW, 1, 2); /* it was on its way */
    header.len = 100;
    CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_NOTHING);
    CU_ASSERT_EQUAL(vsock_buffered(&table.connections[slot]), 0);
    header = from_guest(VIRTIO_VSOCK_OP_RST, 1, 2);
    CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_NOTHING);
    CU_ASSERT_EQUAL(table.connections[slot].state, VSOCK_FREE);
    /* The guest has finished: the device sends RST when the host's end is closed. */
    slot = opened(1, 2);
    header = from_guest(VIRTIO_VSOCK_OP_SHUTDOWN, 1, 2);
    header.flags = VIRTIO_VSOCK_SHUTDOWN_SEND;
    CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_SHUTDOWN);
    header.flags = VIRTIO_VSOCK_SHUTDOWN_RCV; /* permanent: bits are only added */
    CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_SHUTDOWN);
    CU_ASSERT_EQUAL(table.connections[slot].guest_shutdown, BOTH);
    vsock_host_gone(&table, slot, false);
    CU_ASSERT_TRUE(vsock_next_packet(&table, slot, &header));
    CU_ASSERT_EQUAL(header.op, VIRTIO_VSOCK_OP_RST);
    CU_ASSERT_EQUAL(table.connections[slot].state, VSOCK_FREE);
}

/* A REQUEST for ports that are in use. */
static void test_ports_again(void)
{
    struct virtio_vsock_hdr header;
    uint32_t same;
    vsock_init(&table, CID, LIMIT, false);
    /* The host's end has gone, and the guest was told, or an RST for it waits. */
    for (unsigned int reset = 0; reset < 2; reset++) {
        uint32_t slot = opened(1, 2);
        vsock_host_gone(&table, slot, reset == 1);
        if (reset == 0)
            CU_ASSERT_TRUE(vsock_next_packet(&table, slot, &header));
        slot = opened(1, 2);
        CU_ASSERT_EQUAL(table.reply_count, 0);
        header = from_guest(VIRTIO_VSOCK_OP_RST, 1, 2);
        CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_GONE);
        vsock_host_gone(&table, slot, false);
    }
    /* The host has not answered yet: there is one answer, and one connection. */
    header = from_guest(VIRTIO_VSOCK_OP_REQUEST, 1, 2);
    uint32_t slot;
    CU_ASSERT_EQUAL(receive(&header, &slot), VSOCK_CONNECT);
    CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_NOTHING);
    CU_ASSERT_EQUAL(same, slot);
    vsock_accepted(&table, slot);
    CU_ASSERT_TRUE(vsock_next_packet(&table, slot, &header));
    CU_ASSERT_EQUAL(header.op, VIRTIO_VSOCK_OP_RESPONSE);
    CU_ASSERT_FALSE(vsock_next_packet(&table, slot, &header));
    /* A connection that works is not given up. */
    header = from_guest(VIRTIO_VSOCK_OP_REQUEST, 1, 2);
    CU_ASSERT_EQUAL(receive(&header, &same), VSOCK_BROKEN);
}

/* Some connections wait for an answer that may never come, or nobody waits for them: these give
 * way. */
static void test_idle_ones_give_way(void)
{
    struct virtio_vsock_hdr header;
    bool evicted;
    vsock_init(&table, CID, 2, false);
    opened(1, 9);
    uint32_t slot = vsock_take(&table, VSOCK_GREETING, STREAM, &evicted);
    vsock_request(&table, slot, 77);
    CU_ASSERT_TRUE(vsock_next_packet(&table, slot, &header));
    CU_ASSERT_EQUAL(vsock_take(&table, VSOCK_GREETING, STREAM, &evicted), VSOCK_NONE);
    vsock_set_idle(&table, slot);
    CU_ASSERT_EQUAL(vsock_take(&table, VSOCK_GREETING, STREAM, &evicted), slot);
    CU_ASSERT_TRUE(evicted);
    CU_ASSERT_TRUE(vsock_next_reply(&table, &header)); /* the guest knew of it */
    CU_ASSERT_EQUAL(header.dst_port, 77);
    vsock_host_gone(&table, slot, false);
    header = from_guest(VIRTIO_VSOCK_OP_REQUEST, 5, 6);
    CU_ASSERT_EQUAL(receive(&header, &slot), VSOCK_CONNECT);
    CU_ASSERT_EQUAL(vsock_take(&table, VSOCK_GREETING, STREAM, &evicted), VSOCK_NONE);
    vsock_set_idle(&table, slot);
    CU_ASSERT_EQUAL(vsock_take(&table, VSOCK_GREETING, STREAM, &evicted), slot);
    CU_ASSERT_TRUE(vsock_next_reply(&table, &header));
    CU_ASSERT_EQUAL(header.dst_port, 5);
}

static void test_who_gives_way(void)
{
    struct virtio_vsock_hdr header;
    bool evicted;
    vsock_init(&table, CID, LIMIT, false);
    for (uint32_t i = 0; i < LIMIT; i++)
        opened(i, 9);
    CU_ASSERT_EQUAL(vsock_take(&table, VSOCK_GREETING, STREAM, &evicted), VSOCK_NONE);
    /* This one only waits for the guest's RST. It does not go before the guest was told. */
    vsock_host_gone(&table, 5, false);
    CU_ASSERT_EQUAL(vsock_take(&table, VSOCK_GREETING, STREAM, &evicted), VSOCK_NONE);
    CU_ASSERT_TRUE(vsock_next_packet(&table, 5, &header));
    CU_ASSERT_EQUAL(vsock_take(&table, VSOCK_GREETING, STREAM, &evicted), 5);
    CU_ASSERT_TRUE(evicted);
    CU_ASSERT_TRUE(vsock_next_reply(&table, &header));
    CU_ASSERT_EQUAL(header.op, VIRTIO_VSOCK_OP_RST);
    CU_ASSERT_EQUAL(header.dst_port, 5);
    /* The silent client goes next; of several, the oldest goes first. */
    CU_ASSERT_EQUAL(vsock_take(&table, VSOCK_GREETING, STREAM, &evicted), 5);
    vsock_host_gone(&table, 3, false);
    CU_ASSERT_TRUE(vsock_next_packet(&table, 3, &header));
    CU_ASSERT_EQUAL(vsock_take(&table, VSOCK_GREETING, STREAM, &evicted), 5);
    CU_ASSERT_EQUAL(table.reply_count, 0); /* the guest never knew of it */
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"credit of the guest", test_credit_of_the_guest},
        {"credit of the device", test_credit_of_the_device},
        {"credit of the device in small steps", test_credit_of_the_device_in_small_steps},
        {"packets of the guest", test_packets_of_the_guest},
        {"packets count until their group is read", test_packets_count_until_their_group_is_read},
        {"credit is asked for again", test_credit_is_asked_for_again},
        {"a message is brought to its end", test_a_message_is_brought_to_its_end},
        {"ports again", test_ports_again},
        {"idle ones give way", test_idle_ones_give_way},
        {"clients of the host", test_clients_of_the_host},
        {"clean ends", test_clean_ends},
        {"who gives way", test_who_gives_way},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "connections of a socket device", tests);
}
