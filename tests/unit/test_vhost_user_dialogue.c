/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's part of the dialogue with a vhost-user daemon. The daemons are this program's own:
 * they answer correctly, wrongly, in pieces, or not at all. The broker never waits, so one thread
 * plays both sides.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/backend/dialogue.h"
#include "tests/cunit_main.h"
#include "tests/unit/daemon_under_test.h"
#include "tests/unit/fd_count.h"

static void the_whole_dialogue(void)
{
    for (unsigned int piece = 0; piece < 30; piece++) {
        struct manners manners = right_manners;
        uint32_t requests[16] = {0};
        unsigned int before = fd_count();
        manners.piece = piece;
        dialogue_begin();
        CU_ASSERT_EQUAL(dialogue_run(&manners, requests), 0);
        CU_ASSERT_EQUAL(memcmp(requests, whole_dialogue, sizeof(whole_dialogue)), 0);
        CU_ASSERT_EQUAL(vu.features, ALL_FEATURES);
        CU_ASSERT_EQUAL(vu.protocol_features, ALL_PROTOCOL_FEATURES);
        CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW, &failure), 0); /* there is no more to do */
        CU_ASSERT_EQUAL(recv(daemon_end, &(char){0}, 1, 0), -1);
        CU_ASSERT_EQUAL(memcmp(vu.config, "\1\2\3\4\5\6\7\10", CONFIG_SIZE), 0);
        CU_ASSERT_EQUAL(vu.inflight.mmap_size, 4096);
        CU_ASSERT(vu.requests >= 0 && vu.inflight_fd >= 0);
        dialogue_end();
        CU_ASSERT_EQUAL(fd_count(), before);
    }
}

static void what_is_not_offered_is_not_asked_for(void)
{
    static const uint32_t expected[] = {VHOST_USER_GET_FEATURES, VHOST_USER_SET_OWNER,
                                        VHOST_USER_SET_MEM_TABLE, 0};
    struct manners manners = right_manners;
    uint32_t requests[16] = {0};
    manners.features = 1ull << VIRTIO_F_VERSION_1;
    dialogue_begin();
    vu.terms.config_needed = false;
    CU_ASSERT_EQUAL(dialogue_run(&manners, requests), 0);
    CU_ASSERT_EQUAL(memcmp(requests, expected, sizeof(expected)), 0);
    dialogue_end();
}

/* Then nobody waits for one. */
static void without_acknowledgements(void)
{
    struct manners manners = right_manners;
    uint32_t requests[16] = {0};
    manners.protocol_features &= ~BIT(REPLY_ACK);
    dialogue_begin();
    CU_ASSERT_EQUAL(dialogue_run(&manners, requests), 0);
    CU_ASSERT_EQUAL(memcmp(requests, whole_dialogue, sizeof(whole_dialogue)), 0);
    dialogue_end();
}

/* Without a configuration space, the daemon has nothing to report. */
static void without_a_configuration_space(void)
{
    static const uint32_t expected[] = {VHOST_USER_GET_FEATURES,
                                        VHOST_USER_GET_PROTOCOL_FEATURES,
                                        VHOST_USER_SET_PROTOCOL_FEATURES,
                                        VHOST_USER_GET_QUEUE_NUM,
                                        VHOST_USER_SET_OWNER,
                                        VHOST_USER_GET_INFLIGHT_FD,
                                        VHOST_USER_SET_MEM_TABLE,
                                        0};
    const uint64_t others = ALL_PROTOCOL_FEATURES & ~BIT(CONFIG) & ~BIT(BACKEND_REQ);
    for (unsigned int wanted = 0; wanted < 2; wanted++) {
        struct manners manners = right_manners;
        uint32_t requests[16] = {0};
        dialogue_begin();
        vu.terms.config_needed = false;
        if (wanted == 0)
            vu.terms.config_size = 0;
        else
            manners.protocol_features &= ~BIT(CONFIG);
        CU_ASSERT_EQUAL(dialogue_run(&manners, requests), 0);
        CU_ASSERT_EQUAL(memcmp(requests, expected, sizeof(expected)), 0);
        CU_ASSERT_EQUAL(vu.protocol_features, others);
        dialogue_end();
    }
}

/* Features that the broker does not know are not accepted. */
static void unknown_protocol_features(void)
{
    struct manners manners = right_manners;
    uint32_t requests[16] = {0};
    manners.protocol_features = UINT64_MAX;
    dialogue_begin();
    CU_ASSERT_EQUAL(dialogue_run(&manners, requests), 0);
    CU_ASSERT_EQUAL(vu.protocol_features, ALL_PROTOCOL_FEATURES);
    dialogue_end();
}

/* ---- Lies ---- */

static void other_request(struct packet *packet)
{
    packet->header.request++;
}

static void no_reply_flag(struct packet *packet)
{
    packet->header.flags = VHOST_USER_VERSION;
}

static void version_2(struct packet *packet)
{
    packet->header.flags = 2 | VHOST_USER_REPLY;
}

static void too_long(struct packet *packet)
{
    packet->header.size += 8;
}

static void too_short(struct packet *packet)
{
    packet->header.size -= 1;
}

static void huge(struct packet *packet)
{
    packet->header.size = UINT32_MAX;
}

static void extra_fd(struct packet *packet)
{
    packet->fds[packet->fd_count++] = dup(memory);
}

static void no_fd(struct packet *packet)
{
    packet_close(packet);
}

static void not_zero(struct packet *packet)
{
    packet->payload.u64 = 1;
}

static void smaller(struct packet *packet)
{
    packet->payload.config.size = 4;
    packet->header.size = VHOST_USER_CONFIG_HEADER + 4;
}

static void other_size(struct packet *packet)
{
    packet->payload.config.size = 4;
}

static void empty(struct packet *packet)
{
    packet->header.size = 0;
}

static void none(struct packet *packet)
{
    packet->payload.u64 = 0;
}

static void other_buffer(struct packet *packet)
{
    packet->payload.inflight.num_queues = 77;
    packet->payload.inflight.queue_size = 78;
    packet->payload.inflight.mmap_offset = 4096;
}

/* The numbers are those that it was asked for: the worker counts with them. */
static void a_buffer_for_other_queues(void)
{
    struct manners manners = right_manners;
    uint32_t requests[16] = {0};
    manners.wrong = VHOST_USER_GET_INFLIGHT_FD;
    manners.spoil = other_buffer;
    dialogue_begin();
    CU_ASSERT_EQUAL(dialogue_run(&manners, requests), 0);
    CU_ASSERT(vu.inflight.num_queues == QUEUES && vu.inflight.queue_size == 256);
    CU_ASSERT(vu.inflight.mmap_size == 4096 && vu.inflight.mmap_offset == 4096);
    CU_ASSERT_TRUE(is_the_memory(vu.inflight_fd));
    CU_ASSERT_EQUAL(fcntl(vu.inflight_fd, F_GETFD), FD_CLOEXEC);
    CU_ASSERT_EQUAL(vu.answer_fd, -1);
    dialogue_end();
}

static void lies(void)
{
    static const struct {
        enum vhost_user_request request;
        void (*spoil)(struct packet *answer);
        const char *words;
    } cases[] = {
        {VHOST_USER_GET_FEATURES, other_request, "GET_FEATURES: it answers another request"},
        {VHOST_USER_GET_FEATURES, no_reply_flag, "GET_FEATURES: its answer is none of version 1"},
        {VHOST_USER_GET_FEATURES, version_2, "GET_FEATURES: its answer is none of version 1"},
        {VHOST_USER_GET_FEATURES, too_long, "GET_FEATURES: its answer has the wrong length"},
        {VHOST_USER_GET_FEATURES, too_short, "GET_FEATURES: its answer has the wrong length"},
        {VHOST_USER_GET_FEATURES, huge, "GET_FEATURES: its answer has the wrong length"},
        {VHOST_USER_GET_FEATURES, extra_fd,
         "GET_FEATURES: it sends files that it was not asked for"},
        {VHOST_USER_GET_FEATURES, none, "GET_FEATURES: it does not offer VIRTIO_F_VERSION_1"},
        {VHOST_USER_GET_QUEUE_NUM, none,
         "GET_QUEUE_NUM: it serves fewer queues than the device has"},
        {VHOST_USER_SET_BACKEND_REQ_FD, not_zero, "SET_BACKEND_REQ_FD: it refuses"},
        {VHOST_USER_SET_BACKEND_REQ_FD, too_long,
         "SET_BACKEND_REQ_FD: its answer has the wrong length"},
        {VHOST_USER_GET_CONFIG, smaller,
         "GET_CONFIG: its configuration space has not the size that is expected (config_size)"},
        {VHOST_USER_GET_CONFIG, empty,
         "GET_CONFIG: its configuration space has not the size that is expected (config_size)"},
        {VHOST_USER_GET_CONFIG, huge, "GET_CONFIG: its answer has the wrong length"},
        {VHOST_USER_GET_CONFIG, other_size,
         "GET_CONFIG: its configuration space has not the size that is expected (config_size)"},
        {VHOST_USER_GET_INFLIGHT_FD, other_request, "GET_INFLIGHT_FD: it answers another request"},
        {VHOST_USER_GET_INFLIGHT_FD, no_fd,
         "GET_INFLIGHT_FD: it sends no buffer for requests in flight"},
        {VHOST_USER_GET_INFLIGHT_FD, extra_fd,
         "GET_INFLIGHT_FD: it sends files that it was not asked for"},
        {VHOST_USER_SET_MEM_TABLE, not_zero, "SET_MEM_TABLE: it refuses"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct manners manners = right_manners;
        uint32_t requests[16] = {0};
        unsigned int before = fd_count();
        manners.wrong = cases[i].request;
        manners.spoil = cases[i].spoil;
        dialogue_begin();
        CU_ASSERT_EQUAL(dialogue_run(&manners, requests), -ECONNREFUSED);
        CU_ASSERT_STRING_EQUAL(failure.text, cases[i].words);
        CU_ASSERT(vu.fd == -1 && vu.answer_fd == -1 && vu.requests == -1);
        CU_ASSERT_EQUAL(vu.until, NOW);
        the_next_dialogue_is_right();
        dialogue_end();
        CU_ASSERT_EQUAL(fd_count(), before);
    }
}

static void nobody_has_the_configuration_space(void)
{
    struct manners manners = right_manners;
    uint32_t requests[16] = {0};
    manners.protocol_features &= ~BIT(CONFIG);
    dialogue_begin();
    CU_ASSERT_EQUAL(dialogue_run(&manners, requests), -ECONNREFUSED);
    CU_ASSERT_PTR_NOT_NULL(strstr(failure.text, "it has no configuration space of its own"));
    dialogue_end();
    manners.features = 1ull << VIRTIO_F_VERSION_1;
    dialogue_begin();
    CU_ASSERT_EQUAL(dialogue_run(&manners, requests), -ECONNREFUSED);
    CU_ASSERT_PTR_NOT_NULL(strstr(failure.text, "it has no configuration space of its own"));
    dialogue_end();
}

/* The daemon hangs up in its first answer. It has not got the memory: that comes only after
 * everything else was correct. */
static void it_hangs_up(void)
{
    struct packet packet;
    dialogue_begin();
    CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW, &failure), -EINPROGRESS);
    CU_ASSERT_TRUE(daemon_takes(&packet));
    (void)daemon_answers(&right_manners, &packet);
    daemon_sends(&packet.header, 7, NULL, 0);
    shutdown(daemon_end, SHUT_WR);
    CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW, &failure), -ECONNREFUSED);
    CU_ASSERT_STRING_EQUAL(failure.text, "GET_FEATURES: it closes the connection");
    dialogue_end();
}

/* Two daemons, one after the other: what the first could do says nothing of the second. */
static void another_daemon_can_do_less(void)
{
    static const uint32_t expected[] = {VHOST_USER_GET_FEATURES, VHOST_USER_SET_OWNER,
                                        VHOST_USER_SET_MEM_TABLE, 0};
    struct manners manners = right_manners;
    uint32_t requests[16] = {0};
    dialogue_begin();
    vu.terms.config_needed = false;
    CU_ASSERT_EQUAL(dialogue_run(&right_manners, requests), 0);
    close(vu.requests);
    close(vhost_user_take(&vu));
    close(daemon_end);
    dialogue_connect();
    manners.features = 1ull << VIRTIO_F_VERSION_1;
    CU_ASSERT_EQUAL(dialogue_run(&manners, requests), 0);
    CU_ASSERT_EQUAL(memcmp(requests, expected, sizeof(expected)), 0);
    CU_ASSERT_EQUAL(vu.protocol_features, 0);
    dialogue_end();
}

/* The next connection gets the last connection's buffer: the daemon is told to go on from it, and
 * is not asked for another. */
static void the_inflight_buffer_is_kept(void)
{
    uint32_t requests[16] = {0};
    int sockets[2];
    dialogue_begin();
    CU_ASSERT_EQUAL(dialogue_run(&right_manners, requests), 0);
    int kept = vu.inflight_fd;
    close(vu.requests);
    close(vhost_user_take(&vu));
    close(daemon_end);
    CU_ASSERT_EQUAL_FATAL(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets), 0);
    vu.fd = sockets[0];
    daemon_end = sockets[1];
    CU_ASSERT_EQUAL(dialogue_run(&right_manners, requests), 0);
    CU_ASSERT_EQUAL(requests[7], VHOST_USER_SET_MEM_TABLE);
    CU_ASSERT_EQUAL(vu.inflight_fd, kept);
    dialogue_end();
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"the whole dialogue, in one piece and in many", the_whole_dialogue},
        {"what is not offered is not asked for", what_is_not_offered_is_not_asked_for},
        {"without acknowledgements", without_acknowledgements},
        {"without a configuration space", without_a_configuration_space},
        {"unknown protocol features", unknown_protocol_features},
        {"a buffer for other queues", a_buffer_for_other_queues},
        {"lies", lies},
        {"nobody has the configuration space", nobody_has_the_configuration_space},
        {"it hangs up", it_hangs_up},
        {"another daemon can do less", another_daemon_can_do_less},
        {"the in-flight buffer is kept", the_inflight_buffer_is_kept},
        CU_TEST_INFO_NULL,
    };
    if (!daemon_prepare())
        return EXIT_FAILURE;
    return run_tests(argc, argv, "the broker's dialogue with a vhost-user daemon", tests);
}
