/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tap: how it is opened and made, by its name or by the index that it had before, and what can be
 * seen of it afterwards. The kernel is a stand-in (tests/unit/kernel_nodes.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/backend/tap.h"
#include "common/newer_net.h"
#include "tests/cunit_main.h"
#include "tests/unit/fd_count.h"
#include "tests/unit/kernel_nodes.h"

#define LONGEST "tap-15-letters-" /* the longest name that an interface can have */
#define USO ((unsigned long)(TUN_F_USO4 | TUN_F_USO6))
#define ALL_OFFLOADS (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TUN_F_UFO | USO)

static const struct tap_before never;
static struct tap tap;
static struct failure failure;

static void is_there(const char *name, int index, bool several)
{
    struct interface *made = &kernel.interfaces[kernel.interfaces[0].index == 0 ? 0 : 1];
    *made = (struct interface){.index = index, .mtu = 1500, .several = several};
    snprintf(made->name, sizeof(made->name), "%s", name);
}

static void close_tap(void)
{
    for (unsigned int i = 0; i < tap.queue_count; i++)
        close(tap.queues[i]);
    close(tap.socket);
}

static int open_tap(const char *name, unsigned int queues, const struct tap_before *before)
{
    failure.text[0] = '\0';
    int result = tap_open(&tap, name, queues, before, &failure);
    CU_ASSERT_EQUAL(result < 0, failure.text[0] != '\0');
    return result;
}

/* It fails with exactly this line for the user, and leaves no file open. */
static void refused(const char *name, unsigned int queues, const struct tap_before *before,
                    int error, const char *words)
{
    unsigned int open_before = fd_count();
    CU_ASSERT_EQUAL(open_tap(name, queues, before), -error);
    CU_ASSERT_STRING_EQUAL(failure.text, words);
    CU_ASSERT_EQUAL(fd_count(), open_before);
}

/* Each file is attached to the interface, and as a worker needs it. */
static void queues_are_right(unsigned int count, const struct interface *interface)
{
    CU_ASSERT_EQUAL_FATAL(tap.queue_count, count);
    for (unsigned int i = 0; i < count; i++) {
        int header_size = 0;
        CU_ASSERT_PTR_EQUAL(kernel_attached(tap.queues[i], &header_size), interface);
        CU_ASSERT_EQUAL(header_size, 12); /* VirtIO 1.2 §5.1.6 */
        CU_ASSERT_EQUAL(fcntl(tap.queues[i], F_GETFL) & (O_ACCMODE | O_NONBLOCK),
                        O_RDWR | O_NONBLOCK);
        CU_ASSERT_EQUAL(fcntl(tap.queues[i], F_GETFD), FD_CLOEXEC);
        for (unsigned int other = 0; other < i; other++)
            CU_ASSERT_FALSE(kernel_same_file(tap.queues[i], tap.queues[other]));
    }
}

/* ---- A device that has not run before ---- */

static void one_that_is_there(void)
{
    kernel_begin();
    is_there(LONGEST, 7, false);
    kernel.interfaces[0].mtu = 9000;
    CU_ASSERT_EQUAL_FATAL(open_tap(LONGEST, 1, &never), 0);
    queues_are_right(1, &kernel.interfaces[0]);
    CU_ASSERT_STRING_EQUAL(kernel.opened, "/dev/net/tun");
    CU_ASSERT_EQUAL(kernel.open_flags, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    CU_ASSERT_EQUAL(kernel_call(TUNSETIFF, 0)->flags, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
    CU_ASSERT_STRING_EQUAL(tap.name, LONGEST);
    CU_ASSERT(tap.index == 7 && tap.mtu == 9000);
    CU_ASSERT_FALSE(tap.made);
    CU_ASSERT_EQUAL(fcntl(tap.socket, F_GETFD), FD_CLOEXEC);
    CU_ASSERT_EQUAL(kernel.pauses, 0);
    close_tap();
}

static void several_queues(void)
{
    kernel_begin();
    is_there("tap0", 7, true);
    CU_ASSERT_EQUAL_FATAL(open_tap("tap0", 2, &never), 0);
    queues_are_right(2, &kernel.interfaces[0]);
    close_tap();
    kernel_begin();
    is_there("tap0", 7, true);
    CU_ASSERT_EQUAL_FATAL(open_tap("tap0", TAP_QUEUES_MAX, &never), 0);
    queues_are_right(TAP_QUEUES_MAX, &kernel.interfaces[0]);
    CU_ASSERT_EQUAL(kernel_call(TUNSETIFF, 0)->flags,
                    IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE);
    close_tap();
    kernel_begin();
    is_there("tap0", 7, true); /* one queue is enough, too */
    CU_ASSERT_EQUAL_FATAL(open_tap("tap0", 1, &never), 0);
    queues_are_right(1, &kernel.interfaces[0]);
    CU_ASSERT_EQUAL(kernel_call(TUNSETIFF, 1)->flags,
                    IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE);
    close_tap();
}

static void one_that_is_made(void)
{
    for (unsigned int queues = 1; queues <= 2; queues++) {
        kernel_begin();
        CU_ASSERT_EQUAL_FATAL(open_tap("tap0", queues, &never), 0);
        queues_are_right(queues, &kernel.interfaces[0]);
        CU_ASSERT_EQUAL(kernel.interfaces[0].several, queues > 1);
        CU_ASSERT_EQUAL(tap.index, kernel.interfaces[0].index);
        CU_ASSERT_TRUE(tap.made);
        close_tap();
    }
}

/* Offloads are tried on the first file, those that can most first. In the end none is on. */
static void offloads(void)
{
    static const struct {
        unsigned long known;
        uint32_t learned;
        unsigned int tries;
    } cases[] = {
        {~0ul, ALL_OFFLOADS, 1},
        {~USO, ALL_OFFLOADS & ~USO, 2},
        {~(USO | TUN_F_UFO), ALL_OFFLOADS & ~(USO | TUN_F_UFO), 3},
        {TUN_F_CSUM, TUN_F_CSUM, 4},
        {0, 0, 4},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        kernel_begin();
        kernel.offloads = cases[i].known;
        memset(&tap, 0xff, sizeof(tap));
        CU_ASSERT_EQUAL_FATAL(open_tap("tap0", 2, &never), 0);
        CU_ASSERT_EQUAL(tap.offloads, cases[i].learned);
        CU_ASSERT_EQUAL(kernel_calls(TUNSETOFFLOAD), cases[i].tries + 1);
        CU_ASSERT_EQUAL(kernel_call(TUNSETOFFLOAD, 0)->number, ALL_OFFLOADS);
        CU_ASSERT_EQUAL(kernel_call(TUNSETOFFLOAD, 0)->fd, tap.queues[0]);
        CU_ASSERT_EQUAL(kernel_offloads(tap.queues[0]), 0);
        close_tap();
    }
}

/* ---- What can fail ---- */

/* A worker that was killed still has the tap for a moment. */
static void a_busy_tap_is_waited_for(void)
{
    kernel_begin();
    is_there("tap0", 7, false);
    kernel_refuses(TUNSETIFF, EBUSY, 0, 20);
    CU_ASSERT_EQUAL_FATAL(open_tap("tap0", 1, &never), 0);
    queues_are_right(1, &kernel.interfaces[0]);
    CU_ASSERT(kernel.pauses == 20 && kernel.paused_ns == 500000000);
    close_tap();
    kernel_begin();
    is_there("tap0", 7, false);
    kernel_refuses(TUNSETIFF, EBUSY, 0, 1000);
    refused("tap0", 1, &never, EBUSY,
            "tap \"tap0\" is in use by another process: end that one first");
    CU_ASSERT(kernel.pauses == 20 && kernel.paused_ns == 500000000);
}

static void what_does_not_fit(void)
{
    kernel_begin();
    is_there("br0", 7, false);
    kernel.interfaces[0].no_tap = true;
    refused("br0", 1, &never, EINVAL,
            "interface \"br0\" is no tap that fits: expected one made by \"ip tuntap add br0 mode "
            "tap\"");
    CU_ASSERT_EQUAL(kernel_calls(TUNSETIFF), 2); /* with several queues and without */
    kernel_begin();
    is_there("tap0", 7, false);
    refused("tap0", 2, &never, EINVAL,
            "interface \"tap0\" is no tap that fits: expected one made by \"ip tuntap add tap0 "
            "mode tap multi_queue\"");
    CU_ASSERT_EQUAL(kernel_calls(TUNSETIFF), 1);
    CU_ASSERT_EQUAL(kernel.pauses, 0);
}

/* Every call that can fail is said by its name, and what was opened before is closed. */
static void calls_that_fail(void)
{
    static const struct {
        unsigned long request;
        unsigned int later; /* this many calls have succeeded */
        const char *words;
    } cases[] = {
        {CALL_SOCKET, 0, "tap \"tap0\": socket: Operation not permitted"},
        {CALL_OPEN, 0,
         "/dev/net/tun: Operation not permitted: load the module with \"modprobe tun\""},
        {CALL_OPEN, 1,
         "/dev/net/tun: Operation not permitted: load the module with \"modprobe tun\""},
        {TUNSETIFF, 0, "tap \"tap0\": TUNSETIFF: Operation not permitted"},
        {TUNSETIFF, 1, "tap \"tap0\": TUNSETIFF: Operation not permitted"},
        {TUNSETVNETHDRSZ, 0, "tap \"tap0\": TUNSETVNETHDRSZ: Operation not permitted"},
        {TUNSETVNETHDRSZ, 1, "tap \"tap0\": TUNSETVNETHDRSZ: Operation not permitted"},
        /* to switch them off */
        {TUNSETOFFLOAD, 1, "tap \"tap0\": TUNSETOFFLOAD: Operation not permitted"},
        {SIOCGIFMTU, 0, "tap \"tap0\": SIOCGIFMTU: Operation not permitted"},
        {SIOCGIFINDEX, 0, "tap \"tap0\": SIOCGIFINDEX: Operation not permitted"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        kernel_begin();
        kernel_refuses(cases[i].request, EPERM, cases[i].later, 1000);
        refused("tap0", 2, &never, EPERM, cases[i].words);
    }
}

/* A number of a file is no failure unless it is negative. */
static void a_file_may_have_the_number_0(void)
{
    static const unsigned long makers[] = {CALL_SOCKET, CALL_OPEN};
    for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
        kernel_begin();
        kernel_gives_0(makers[i]);
        CU_ASSERT_EQUAL(open_tap("tap0", 2, &never), 0);
        CU_ASSERT_EQUAL(makers[i] == CALL_SOCKET ? tap.socket : tap.queues[0], 0);
        queues_are_right(2, &kernel.interfaces[0]);
        close_tap();
        kernel_takes_0();
    }
}

/* ---- A device that has run before ---- */

/* None is made: it would be connected to nothing. */
static void one_that_has_gone(void)
{
    const struct tap_before before = {.ran = true, .index = 7};
    kernel_begin();
    refused("tap0", 1, &before, ENODEV,
            "tap \"tap0\" is not there any more: none is made for a device that has run: \"ip "
            "tuntap add tap0 mode tap\", or name the one that it has now");
    CU_ASSERT_EQUAL(kernel_calls(TUNSETIFF), 0);
    kernel_begin();
    kernel_refuses(SIOCGIFINDEX, EPERM, 0, 1);
    refused("tap0", 1, &before, EPERM, "tap \"tap0\": SIOCGIFINDEX: Operation not permitted");
}

static void one_that_has_another_name_now(void)
{
    const struct tap_before before = {.ran = true, .index = 1};
    kernel_begin();
    is_there("tap0", 8, false); /* this is another one */
    is_there(LONGEST, 1, false);
    CU_ASSERT_EQUAL_FATAL(open_tap("tap0", 1, &before), 0);
    queues_are_right(1, &kernel.interfaces[1]);
    CU_ASSERT_STRING_EQUAL(tap.name, LONGEST);
    CU_ASSERT_EQUAL(tap.index, 1);
    CU_ASSERT_FALSE(tap.made);
    close_tap();
}

/* If the index is not known, or belongs to nobody any more, the name must do. */
static void one_that_is_known_by_its_name(void)
{
    for (int index = 0; index < 2; index++) {
        const struct tap_before before = {.ran = true, .index = index};
        kernel_begin();
        is_there("tap0", 8, false);
        CU_ASSERT_EQUAL_FATAL(open_tap("tap0", 1, &before), 0);
        queues_are_right(1, &kernel.interfaces[0]);
        CU_ASSERT_EQUAL(tap.index, 8);
        CU_ASSERT_FALSE(tap.made);
        close_tap();
    }
}

static void remove_it(unsigned long request)
{
    if (request == SIOCGIFINDEX)
        kernel.interfaces[0].index = 0;
}

/* The new one that TUNSETIFF makes then must not be used. */
static void one_that_is_removed_meanwhile(void)
{
    const struct tap_before before = {.ran = true};
    kernel_begin();
    is_there("tap0", 8, false);
    kernel.after = remove_it;
    refused("tap0", 1, &before, EAGAIN, "tap \"tap0\" was removed meanwhile");
}

/* ---- Files from before ---- */

/* As many files of tap0, 7, as a device with that many queues had. */
static struct tap_before files_from_before(unsigned int count)
{
    struct tap_before before = {.ran = true, .index = 7, .file_count = count};
    kernel_begin();
    is_there("tap0", 7, true);
    CU_ASSERT_EQUAL_FATAL(open_tap("tap0", count > 0 ? count : 1, &never), 0);
    memcpy(before.files, tap.queues, sizeof(before.files));
    for (unsigned int i = count; i < TAP_QUEUES_MAX; i++)
        before.files[i] = tap.queues[0]; /* nobody may look at these */
    close(tap.socket);
    if (count == 0)
        close(tap.queues[0]);
    for (unsigned int i = 0; i < count; i++) { /* an earlier version used it */
        int size = 10;
        CU_ASSERT_EQUAL(ioctl(before.files[i], TUNSETVNETHDRSZ, &size), 0);
    }
    kernel.call_count = 0;
    return before;
}

static void close_before(const struct tap_before *before)
{
    for (unsigned int i = 0; i < before->file_count; i++)
        close(before->files[i]);
}

/* As many as are wanted are copied, and only what is missing is opened. */
static void files_are_used_again(void)
{
    static const struct {
        unsigned int had, wanted, opened;
    } cases[] = {{1, 1, 0}, {2, 2, 0}, {3, 2, 0}, {2, 3, 1}, {0, 1, 2}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tap_before before = files_from_before(cases[i].had);
        unsigned int again = cases[i].had < cases[i].wanted ? cases[i].had : cases[i].wanted;
        CU_ASSERT_EQUAL_FATAL(open_tap("tap0", cases[i].wanted, &before), 0);
        queues_are_right(cases[i].wanted, &kernel.interfaces[0]);
        CU_ASSERT_EQUAL(kernel_calls(TUNSETIFF), cases[i].opened);
        for (unsigned int q = 0; q < again; q++) {
            CU_ASSERT_TRUE(kernel_same_file(tap.queues[q], before.files[q]));
            CU_ASSERT_NOT_EQUAL(tap.queues[q], before.files[q]); /* those are borrowed */
        }
        CU_ASSERT_EQUAL(kernel_offloads(tap.queues[0]), 0);
        close_tap();
        close_before(&before);
    }
}

/* Then the device gets a file of its own interface, and not that one. */
static void not_used(struct tap_before *before)
{
    CU_ASSERT_EQUAL_FATAL(open_tap("tap0", 1, before), 0);
    CU_ASSERT_FALSE(kernel_same_file(tap.queues[0], before->files[0]));
    int header_size = 0;
    CU_ASSERT_PTR_EQUAL(kernel_attached(tap.queues[0], &header_size), &kernel.interfaces[1]);
    CU_ASSERT_EQUAL(tap.index, 8);
    CU_ASSERT_EQUAL(tap.queue_count, 1);
    close_tap();
    close_before(before);
}

static void files_of_another_interface_are_not_used(void)
{
    struct tap_before before = files_from_before(1);
    kernel.interfaces[0].elsewhere = true; /* it was moved to another network namespace */
    is_there("tap0", 8, true);             /* here this one has its name */
    not_used(&before);
    before = files_from_before(1);
    kernel.interfaces[0].elsewhere = true; /* moved, and nobody here has its name */
    snprintf(kernel.interfaces[0].name, IFNAMSIZ, "moved");
    is_there("tap0", 8, true);
    not_used(&before);
    before = files_from_before(1);
    is_there("tap0", 8, true);
    kernel.interfaces[0] = (struct interface){.name = "", .index = 0}; /* it was removed */
    not_used(&before);
}

/* A file that can't be used again is replaced by a new one, and nothing is left over. */
static void files_that_refuse(void)
{
    static const unsigned long requests[] = {TUNGETIFF, TUNSETVNETHDRSZ, CALL_COPY};
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        struct tap_before before = files_from_before(2);
        unsigned int open_before = fd_count();
        kernel_refuses(requests[i], EPERM, 0, 1);
        CU_ASSERT_EQUAL_FATAL(open_tap("tap0", 2, &before), 0);
        queues_are_right(2, &kernel.interfaces[0]);
        CU_ASSERT_TRUE(kernel_same_file(tap.queues[0], before.files[1]));
        CU_ASSERT_FALSE(kernel_same_file(tap.queues[1], before.files[0]));
        close_tap();
        CU_ASSERT_EQUAL(fd_count(), open_before);
        close_before(&before);
    }
}

static void a_copy_may_have_the_number_0(void)
{
    struct tap_before before = files_from_before(1);
    kernel_gives_0(CALL_COPY);
    CU_ASSERT_EQUAL(open_tap("tap0", 1, &before), 0);
    CU_ASSERT_EQUAL(tap.queues[0], 0);
    queues_are_right(1, &kernel.interfaces[0]);
    CU_ASSERT_TRUE(kernel_same_file(tap.queues[0], before.files[0]));
    close_tap();
    kernel_takes_0();
    close_before(&before);
}

/* Copies are closed, too, if something fails afterwards; the files themselves stay open. */
static void copies_are_closed_after_a_failure(void)
{
    struct tap_before before = files_from_before(2);
    kernel_refuses(SIOCGIFMTU, EPERM, 0, 1);
    refused("tap0", 2, &before, EPERM, "tap \"tap0\": SIOCGIFMTU: Operation not permitted");
    CU_ASSERT_TRUE(fcntl(before.files[0], F_GETFD) >= 0 && fcntl(before.files[1], F_GETFD) >= 0);
    close_before(&before);
}

/* ---- What can be seen of it ---- */

static struct tap_link look(void)
{
    struct tap_link link;
    memset(&link, 0xff, sizeof(link));
    tap_look(tap.queues[0], tap.socket, tap.index, &link);
    CU_ASSERT_FALSE(kernel.waited);
    return link;
}

static void begin_to_look(void)
{
    kernel_begin();
    is_there("tap0", 7, false);
    CU_ASSERT_EQUAL_FATAL(open_tap("tap0", 1, &never), 0);
    kernel.call_count = 0;
}

static void looks(enum tap_place place, bool up, bool carrier)
{
    struct tap_link link = look();
    CU_ASSERT_EQUAL(link.place, place);
    CU_ASSERT_EQUAL(link.up, up);
    CU_ASSERT_EQUAL(link.carrier, carrier);
}

static void link_and_carrier(void)
{
    begin_to_look();
    looks(TAP_HERE, false, false);
    kernel.interfaces[0].flags = IFF_RUNNING;
    looks(TAP_HERE, false, true);
    kernel.interfaces[0].flags = IFF_UP;
    looks(TAP_HERE, true, false);
    kernel.interfaces[0].flags = IFF_UP | IFF_RUNNING;
    looks(TAP_HERE, true, true);
    /* These take a lock that a slow process may hold. */
    CU_ASSERT_EQUAL(kernel_calls(TUNGETIFF), 0);
    close_tap();
}

static void moved_and_removed(void)
{
    begin_to_look();
    kernel.interfaces[0].elsewhere = true;
    looks(TAP_MOVED, false, true);
    kernel.interfaces[0].flags = IFF_UP;
    looks(TAP_MOVED, true, true);
    is_there("tap0", 8, false); /* another one has its name: this one is still in another place */
    looks(TAP_MOVED, true, true);
    kernel.interfaces[0].index = 0;
    looks(TAP_GONE, false, false);
    kernel.interfaces[1].flags = IFF_UP | IFF_RUNNING;
    looks(TAP_GONE, false, false);
    close_tap();
}

static unsigned int renamings;

static void rename_it(unsigned long request)
{
    if (request == SIOCGIFNAME && renamings > 0)
        snprintf(kernel.interfaces[0].name, IFNAMSIZ, "other%u", renamings-- % 10);
}

/* It gets another name between the question for its name and that for its flags. */
static void renamed_meanwhile(void)
{
    begin_to_look();
    kernel.interfaces[0].flags = IFF_UP;
    kernel.after = rename_it;
    renamings = 1;
    looks(TAP_HERE, true, false);
    renamings = 1000; /* again and again: there is an end */
    looks(TAP_MOVED, true, true);
    CU_ASSERT_EQUAL(renamings, 998);
    close_tap();
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"one that is there", one_that_is_there},
        {"several queues", several_queues},
        {"one that is made", one_that_is_made},
        {"offloads are tried, and are off in the end", offloads},
        {"a busy tap is waited for, but not for ever", a_busy_tap_is_waited_for},
        {"what does not fit", what_does_not_fit},
        {"calls that fail", calls_that_fail},
        {"a file may have the number 0", a_file_may_have_the_number_0},
        {"one that has gone", one_that_has_gone},
        {"one that has another name now", one_that_has_another_name_now},
        {"one that is known by its name", one_that_is_known_by_its_name},
        {"one that is removed meanwhile", one_that_is_removed_meanwhile},
        {"files are used again", files_are_used_again},
        {"files of another interface are not used", files_of_another_interface_are_not_used},
        {"files that refuse", files_that_refuse},
        {"a copy may have the number 0", a_copy_may_have_the_number_0},
        {"copies are closed after a failure", copies_are_closed_after_a_failure},
        {"link and carrier", link_and_carrier},
        {"moved and removed", moved_and_removed},
        {"renamed meanwhile", renamed_meanwhile},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "a tap", tests);
}
