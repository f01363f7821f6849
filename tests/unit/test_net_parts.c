/* SPDX-License-Identifier: Apache-2.0 */
/* The network device's decisions: about headers from the driver and from the kernel, and about the
 * frames that a driver wants. */
#include <stdlib.h>
#include <string.h>

#include "tests/cunit_main.h"
#include "worker/net/filter.h"
#include "worker/net/header.h"

#define BIT(n) (1ull << (n))
#define CSUM BIT(VIRTIO_NET_F_CSUM)
#define HOST_ALL                                                                                   \
    (CSUM | BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) |                            \
     BIT(VIRTIO_NET_F_HOST_UFO) | BIT(VIRTIO_NET_F_HOST_USO) | BIT(VIRTIO_NET_F_HOST_ECN))
#define GUEST_ALL                                                                                  \
    (BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) |  \
     BIT(VIRTIO_NET_F_GUEST_UFO) | BIT(VIRTIO_NET_F_GUEST_USO4) | BIT(VIRTIO_NET_F_GUEST_USO6) |   \
     BIT(VIRTIO_NET_F_GUEST_ECN))
#define NEEDS_CSUM VIRTIO_NET_HDR_F_NEEDS_CSUM
#define TCP4 VIRTIO_NET_HDR_GSO_TCPV4
#define TCP6 VIRTIO_NET_HDR_GSO_TCPV6
#define UDP VIRTIO_NET_HDR_GSO_UDP
#define UDP_L4 VIRTIO_NET_HDR_GSO_UDP_L4
#define ECN VIRTIO_NET_HDR_GSO_ECN

static enum net_check sent(struct virtio_net_hdr_v1 header, uint64_t features, uint32_t mtu,
                           uint32_t length)
{
    return net_header_from_driver(&header, features, mtu, length);
}

static void test_lengths(void)
{
    const struct virtio_net_hdr_v1 none = {0};
    const struct virtio_net_hdr_v1 tcp = {.flags = NEEDS_CSUM, .gso_type = TCP4, .gso_size = 1448};
    CU_ASSERT_EQUAL(sent(none, 0, 0, 0), NET_SHORT);
    CU_ASSERT_EQUAL(sent(none, 0, 0, 13), NET_SHORT);
    CU_ASSERT_EQUAL(sent(none, 0, 0, 14), NET_OK);
    CU_ASSERT_EQUAL(sent(none, 0, 1500, 1522), NET_OK);
    CU_ASSERT_EQUAL(sent(none, 0, 1500, 1523), NET_LARGE);
    CU_ASSERT_EQUAL(sent(none, 0, 0, NET_FRAME_MAX), NET_OK);
    CU_ASSERT_EQUAL(sent(none, 0, 0, NET_FRAME_MAX + 1), NET_LARGE);
    CU_ASSERT_EQUAL(sent(none, 0, 0, UINT32_MAX), NET_LARGE);
    /* A frame that will be segmented may be longer than the MTU. */
    CU_ASSERT_EQUAL(sent(tcp, HOST_ALL, 1500, NET_FRAME_MAX), NET_OK);
    CU_ASSERT_EQUAL(sent(tcp, HOST_ALL, 1500, NET_FRAME_MAX + 1), NET_LARGE);
}

static void test_checksums(void)
{
    const struct virtio_net_hdr_v1 good = {
        .flags = NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
    const struct virtio_net_hdr_v1 wild = {
        .flags = NEEDS_CSUM, .csum_start = 0xffff, .csum_offset = 0xffff};
    CU_ASSERT_EQUAL(sent(good, CSUM, 1500, 52), NET_OK);
    CU_ASSERT_EQUAL(sent(good, CSUM, 1500, 51), NET_CSUM); /* its last byte would be outside */
    CU_ASSERT_EQUAL(sent(good, 0, 1500, 52), NET_CSUM);
    CU_ASSERT_EQUAL(sent(wild, CSUM, 0, NET_FRAME_MAX), NET_CSUM);
}

static void test_segmentation(void)
{
    static const struct {
        uint8_t type;
        uint64_t needed;
    } types[] = {
        {TCP4, BIT(VIRTIO_NET_F_HOST_TSO4)},
        {TCP6, BIT(VIRTIO_NET_F_HOST_TSO6)},
        {UDP, BIT(VIRTIO_NET_F_HOST_UFO)},
        {UDP_L4, BIT(VIRTIO_NET_F_HOST_USO)},
        {TCP4 | ECN, BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_ECN)},
        {TCP6 | ECN, BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN)},
    };
    struct virtio_net_hdr_v1 header = {.flags = NEEDS_CSUM, .gso_size = 1000, .hdr_len = 54};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        header.gso_type = types[i].type;
        CU_ASSERT_EQUAL(sent(header, CSUM | types[i].needed, 1500, 3000), NET_OK);
        for (uint64_t bit = 1; bit != 0; bit <<= 1) {
            if ((types[i].needed & bit) != 0)
                CU_ASSERT_EQUAL(sent(header, HOST_ALL & ~bit, 1500, 3000), NET_GSO);
        }
    }
    for (unsigned int type = 1; type < 256; type++) {
        bool known = false;
        for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
            known |= types[i].type == type;
        header.gso_type = (uint8_t)type;
        CU_ASSERT_EQUAL(sent(header, HOST_ALL, 1500, 3000), known ? NET_OK : NET_GSO);
    }
    header.gso_type = TCP4;
    header.gso_size = 0;
    CU_ASSERT_EQUAL(sent(header, HOST_ALL, 1500, 3000), NET_GSO);
    header.gso_size = 1;
    header.flags = 0;
    CU_ASSERT_EQUAL(sent(header, HOST_ALL, 1500, 3000), NET_GSO);
    header.flags = NEEDS_CSUM;
    header.hdr_len = 3000; /* all of it is headers: odd, but it lies in the frame */
    CU_ASSERT_EQUAL(sent(header, HOST_ALL, 1500, 3000), NET_OK);
    header.hdr_len = 3001;
    CU_ASSERT_EQUAL(sent(header, HOST_ALL, 1500, 3000), NET_HDR_LEN);
}

/* Fields without a meaning may hold anything. Nothing of it reaches the kernel. */
static void test_cleared(void)
{
    struct virtio_net_hdr_v1 header;
    memset(&header, 0xff, sizeof(header));
    header.gso_type = VIRTIO_NET_HDR_GSO_NONE;
    header.flags = (uint8_t)~NEEDS_CSUM;
    CU_ASSERT_EQUAL(net_header_from_driver(&header, HOST_ALL, 1500, 100), NET_OK);
    CU_ASSERT_EQUAL(header.flags, 0);
    CU_ASSERT_EQUAL(header.gso_size, 0);
    CU_ASSERT_EQUAL(header.hdr_len, 0);
    CU_ASSERT_EQUAL(header.num_buffers, 0);
}

static void test_from_kernel(void)
{
    struct virtio_net_hdr_v1 header = {.gso_type = TCP4, .flags = NEEDS_CSUM, .gso_size = 1448};
    CU_ASSERT_EQUAL(net_header_from_kernel(&header, GUEST_ALL), NET_OK);
    CU_ASSERT_EQUAL(header.flags, NEEDS_CSUM);
    CU_ASSERT_EQUAL(net_header_from_kernel(&header, GUEST_ALL & ~BIT(VIRTIO_NET_F_GUEST_TSO4)),
                    NET_OFFLOADS);
    header.gso_type = TCP6 | ECN;
    CU_ASSERT_EQUAL(net_header_from_kernel(&header, GUEST_ALL & ~BIT(VIRTIO_NET_F_GUEST_ECN)),
                    NET_OFFLOADS);
    /* UDP: whether the frame is IPv4 or IPv6 is not said. */
    header.gso_type = UDP_L4;
    CU_ASSERT_EQUAL(net_header_from_kernel(&header, GUEST_ALL), NET_OK);
    CU_ASSERT_EQUAL(net_header_from_kernel(&header, GUEST_ALL & ~BIT(VIRTIO_NET_F_GUEST_USO4)),
                    NET_OFFLOADS);
    CU_ASSERT_EQUAL(net_header_from_kernel(&header, GUEST_ALL & ~BIT(VIRTIO_NET_F_GUEST_USO6)),
                    NET_OFFLOADS);
    header.gso_type = UDP_L4 | ECN;
    CU_ASSERT_EQUAL(net_header_from_kernel(&header, ~0ull), NET_OFFLOADS);
    header.gso_type = 6;
    CU_ASSERT_EQUAL(net_header_from_kernel(&header, ~0ull), NET_OFFLOADS);
    header.gso_type = VIRTIO_NET_HDR_GSO_NONE;
    CU_ASSERT_EQUAL(net_header_from_kernel(&header, 0), NET_OFFLOADS);
    header.flags = VIRTIO_NET_HDR_F_DATA_VALID;
    CU_ASSERT_EQUAL(net_header_from_kernel(&header, 0), NET_OK);
    CU_ASSERT_EQUAL(header.flags, 0); /* §5.1.6.4.1 */
}

/* ---- Filters ---- */

static const uint8_t own[6] = {0x52, 0, 0, 0, 0, 1};
static struct state_net state;

static bool passes(const uint8_t to[6], unsigned int vlan)
{
    uint8_t frame[NET_ADDRESS_PART] = {0};
    memcpy(frame, to, 6);
    frame[12] = vlan != 0 ? 0x81 : 0x08;
    frame[14] = (uint8_t)(0xe0 | vlan >> 8); /* the priority bits do not belong to the ID */
    frame[15] = (uint8_t)vlan;
    return net_filter_passes(&state, frame, sizeof(frame));
}

static void clear(uint16_t mode)
{
    memset(&state, 0, sizeof(state));
    memcpy(state.mac, own, sizeof(own));
    state.rx_mode = mode;
}

static void test_addresses(void)
{
    static const uint8_t other[6] = {0x52, 0, 0, 0, 0, 2}, group[6] = {1, 0, 0x5e, 0, 0, 1},
                         everyone[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const struct {
        uint16_t mode;
        bool own, other, group, everyone;
    } modes[] = {
        {0, true, false, false, true},
        {NET_RX_PROMISC, true, true, true, true},
        {NET_RX_PROMISC | NET_RX_NOUNI | NET_RX_NOBCAST, true, true, true, true},
        {NET_RX_ALLMULTI, true, false, true, true},
        {NET_RX_ALLUNI, true, true, false, true},
        {NET_RX_NOMULTI | NET_RX_ALLMULTI, true, false, false, true},
        {NET_RX_NOUNI | NET_RX_ALLUNI, false, false, false, true},
        {NET_RX_NOBCAST, true, false, false, false},
        {NET_RX_UNICAST_FULL, true, true, false, true},
        {NET_RX_MULTICAST_FULL, true, false, true, true},
    };
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        clear(modes[i].mode);
        CU_ASSERT_EQUAL(passes(own, 0), modes[i].own);
        CU_ASSERT_EQUAL(passes(other, 0), modes[i].other);
        CU_ASSERT_EQUAL(passes(group, 0), modes[i].group);
        CU_ASSERT_EQUAL(passes(everyone, 0), modes[i].everyone);
    }
    clear(0);
    state.unicast = 1;
    memcpy(state.macs[0], group, 6); /* in the wrong part, where it has no meaning */
    CU_ASSERT_FALSE(passes(group, 0));
    state.multicast = STATE_NET_MACS - 1;
    memcpy(state.macs[0], other, 6);
    memcpy(state.macs[STATE_NET_MACS - 1], group, 6);
    CU_ASSERT_TRUE(passes(other, 0));
    CU_ASSERT_TRUE(passes(group, 0));
    /* What lies behind the addresses in use was left there by an earlier table. */
    state.multicast = STATE_NET_MACS - 2;
    CU_ASSERT_FALSE(passes(group, 0));
    memcpy(state.macs[1], other, 6);
    memcpy(state.macs[0], own, 6);
    CU_ASSERT_FALSE(passes(other, 0));
}

static void test_vlans(void)
{
    clear(NET_RX_VLANS);
    CU_ASSERT_TRUE(passes(own, 0));
    for (unsigned int id = 1; id < 4096; id += 13) {
        CU_ASSERT_FALSE(passes(own, id));
        state.vlans[id / 8] = (uint8_t)(1u << id % 8);
        CU_ASSERT_TRUE(passes(own, id));
        state.vlans[id / 8] = 0;
    }
    clear(0);
    CU_ASSERT_TRUE(passes(own, 42)); /* VIRTIO_NET_F_CTRL_VLAN not negotiated */
    /* The frame ends after the type: there is no tag to read. */
    clear(NET_RX_VLANS);
    uint8_t cut[14] = {0};
    memcpy(cut, own, sizeof(own));
    cut[12] = 0x81;
    CU_ASSERT_TRUE(net_filter_passes(&state, cut, sizeof(cut)));
}

static void test_foreign_state(void)
{
    clear(NET_RX_MODES);
    CU_ASSERT_TRUE(net_filter_valid(&state));
    state.rx_mode = NET_RX_MODES + 1;
    CU_ASSERT_FALSE(net_filter_valid(&state));
    clear(0);
    state.unicast = STATE_NET_MACS;
    CU_ASSERT_TRUE(net_filter_valid(&state));
    state.multicast = 1;
    CU_ASSERT_FALSE(net_filter_valid(&state));
    state.unicast = UINT16_MAX;
    state.multicast = STATE_NET_MACS + 1; /* their sum wraps round to the size of the table */
    CU_ASSERT_FALSE(net_filter_valid(&state));
}

int main(int argc, char **argv)
{
    static CU_TestInfo header_tests[] = {
        {"lengths", test_lengths},
        {"checksums", test_checksums},
        {"segmentation", test_segmentation},
        {"what means nothing is cleared", test_cleared},
        {"from the kernel", test_from_kernel},
        CU_TEST_INFO_NULL,
    };
    static CU_TestInfo filter_tests[] = {
        {"addresses", test_addresses},
        {"VLANs", test_vlans},
        {"a predecessor's tables", test_foreign_state},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {.pName = "headers", .pTests = header_tests},
        {.pName = "filters", .pTests = filter_tests},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
