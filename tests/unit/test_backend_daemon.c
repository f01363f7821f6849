/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices that a vhost-user daemon serves: where its socket is, what the daemon is asked for, what
 * the user is told while it is missing, and what a worker gets. The dialogue itself is tested in
 * test_vhost_user_dialogue.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_vsock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/backend/backend.h"
#include "broker/unix_socket.h"
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"

#define BIT(name) (1ull << VHOST_USER_PROTOCOL_F_##name)
#define LONGEST 98 /* of a socket's name, with "/sockets/" and the 0 at its end */

static char folder[] = "/tmp/test_backend_daemon.XXXXXX";
static char path[64];

static struct backend backend;
static struct failure failure;
static struct device_config config;
static enum config_key key;

static bool in_initramfs;

bool __wrap_root_is_initramfs(const char *root);
bool __wrap_root_is_initramfs(const char *root)
{
    CU_ASSERT_STRING_EQUAL(root, "");
    return in_initramfs;
}

int __real_eventfd(unsigned int count, int flags);
int __wrap_eventfd(unsigned int count, int flags);
int __wrap_eventfd(unsigned int count, int flags)
{
    CU_ASSERT_EQUAL(count, 0);
    return call_fails("eventfd") ? -1 : __real_eventfd(count, flags);
}

static void begin(enum device_kind kind, const char *socket_path)
{
    static char given[PATH_MAX + 8];
    snprintf(given, sizeof(given), "%s", socket_path);
    config = (struct device_config){
        .kind = kind, .id = 3, .type_name = (char *)"fs", .socket_path = given};
    backend_init(&backend, &config);
}

static int open_backend(void)
{
    failure.text[0] = '\0';
    key = CONFIG_KEY_ID;
    int result = backend.ops->open(&backend, &key, &failure);
    CU_ASSERT_EQUAL(key, CONFIG_KEY_SOCKET_PATH);
    CU_ASSERT_EQUAL(result < 0, failure.text[0] != '\0');
    return result;
}

static void close_backend(void)
{
    if (backend.files[OPENED_DIRECTORY] >= 0)
        close(backend.files[OPENED_DIRECTORY]);
    backend.files[OPENED_DIRECTORY] = -1;
}

/* ---- Its socket ---- */

static void finds(const char *given, const char *socket_path, const char *address)
{
    struct stat status, here;
    begin(DEVICE_FS_VHOST_USER, given);
    unsigned int before = fd_count();
    CU_ASSERT_EQUAL_FATAL(open_backend(), 0);
    CU_ASSERT_EQUAL(fd_count(), before + 1);
    CU_ASSERT_STRING_EQUAL(backend.socket_path, socket_path);
    CU_ASSERT_EQUAL(backend.learned.daemon.address.sun_family, AF_UNIX);
    CU_ASSERT_STRING_EQUAL(backend.learned.daemon.address.sun_path, address);
    CU_ASSERT_TRUE(backend.ops->learned_usable(&backend.learned));
    CU_ASSERT_EQUAL(backend.ops->files(&config), 1u << OPENED_DIRECTORY);
    CU_ASSERT(fstat(backend.files[OPENED_DIRECTORY], &status) == 0 && stat(folder, &here) == 0);
    CU_ASSERT(status.st_ino == here.st_ino && backend.directory_id.inode == here.st_ino &&
              backend.directory_id.device == here.st_dev);
    close_backend();
}

/* The daemon may start later, so its socket need not be there. */
static void names_of_sockets(void)
{
    char made[PATH_MAX], named[PATH_MAX];
    snprintf(made, sizeof(made), "%sFs3.sock", path);
    finds(path, made, "/sockets/daemonFs3.sock");
    snprintf(named, sizeof(named), "%s.sock", path);
    finds(named, named, "/sockets/daemon.sock");
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)); /* this is no socket */
    finds(path, made, "/sockets/daemonFs3.sock");
    unlink(path);
    int listener = unix_listen(path, SOCK_STREAM, 0600, 1);
    finds(path, path, "/sockets/daemon");
    close(listener);
    unlink(path);
}

static void refused(const char *given, int error, const char *words)
{
    begin(DEVICE_OTHER_VHOST_USER, given);
    unsigned int before = fd_count();
    CU_ASSERT_EQUAL(open_backend(), -error);
    CU_ASSERT_STRING_EQUAL(failure.text, words);
    close_backend();
    CU_ASSERT_EQUAL(fd_count(), before);
}

static void sockets_that_fail(void)
{
    char given[PATH_MAX + 8], words[2 * PATH_MAX];
    snprintf(given, sizeof(given), "%s/none/x.sock", folder);
    snprintf(words, sizeof(words),
             "\"%s/none\": No such file or directory: make the directory of the daemon's socket "
             "first",
             folder);
    refused(given, ENOENT, words);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    snprintf(given, sizeof(given), "%s/x.sock", path);
    snprintf(words, sizeof(words),
             "\"%s\": Not a directory: make the directory of the daemon's socket first", path);
    refused(given, ENOTDIR, words);
    unlink(path);
    CU_ASSERT_EQUAL(symlink("/dev", path), 0); /* /tmp belongs to everybody */
    snprintf(words, sizeof(words),
             "socket_path \"%s\": \"daemon\" is a link in a directory that others than root may "
             "write to, and is not followed: name what it leads to",
             given);
    refused(given, ELOOP, words);
    unlink(path);
    memset(given, 'x', PATH_MAX - 1);
    given[0] = '/';
    given[PATH_MAX - 1] = '\0';
    refused(given, ENAMETOOLONG, "socket_path is too long");
}

static void long_names(void)
{
    char name[LONGEST + 2], given[PATH_MAX], words[300], address[2 * LONGEST];
    memset(name, 'x', sizeof(name));
    memcpy(name + LONGEST - 5, ".sock", sizeof(".sock"));
    snprintf(given, sizeof(given), "%s/%s", folder, name);
    snprintf(address, sizeof(address), "/sockets/%s", name);
    finds(given, given, address);
    memset(name, 'x', sizeof(name));
    memcpy(name + LONGEST - 4, ".sock", sizeof(".sock"));
    snprintf(given, sizeof(given), "%s/%s", folder, name);
    snprintf(words, sizeof(words), "the socket's name \"%s\" is too long: at most %d bytes", name,
             LONGEST);
    refused(given, ENAMETOOLONG, words);
}

static void an_address_without_an_end(void)
{
    union opened_part learned;
    memset(&learned, 'x', sizeof(learned));
    CU_ASSERT_FALSE(backend_vsock_vhost_user.learned_usable(&learned));
    learned.daemon.address.sun_path[sizeof(learned.daemon.address.sun_path) - 1] = '\0';
    CU_ASSERT_TRUE(backend_vsock_vhost_user.learned_usable(&learned));
}

/* virtiofsd calls pivot_root(2), which fails there. */
static void the_sandbox_of_virtiofsd(void)
{
    char words[2 * PATH_MAX], named[PATH_MAX];
    snprintf(named, sizeof(named), "%s.sock", path);
    snprintf(words, sizeof(words),
             "there is no virtiofsd at %s yet: in a VM whose root is an initramfs it starts with "
             "--sandbox=chroot only",
             named);
    begin(DEVICE_FS_VHOST_USER, named);
    CU_ASSERT_EQUAL(open_backend(), 0);
    CU_ASSERT_STRING_EQUAL(backend.words, "");
    close_backend();
    in_initramfs = true;
    begin(DEVICE_FS_VHOST_USER, named);
    CU_ASSERT_EQUAL(open_backend(), 0);
    CU_ASSERT_STRING_EQUAL(backend.words, words);
    close_backend();
    int listener = unix_listen(named, SOCK_STREAM, 0600, 1); /* it has started */
    begin(DEVICE_FS_VHOST_USER, named);
    CU_ASSERT_EQUAL(open_backend(), 0);
    CU_ASSERT_STRING_EQUAL(backend.words, "");
    close_backend();
    close(listener);
    unlink(named);
    begin(DEVICE_FS_VHOST_USER, "/tmp/there-is-none/x.sock");
    CU_ASSERT_EQUAL(open_backend(), -ENOENT);
    CU_ASSERT_STRING_EQUAL(backend.words, "");
    in_initramfs = false;
}

/* ---- What the daemon is asked for ---- */

static const struct vhost_user_terms *terms_of(uint32_t queues, uint32_t config_size, bool needed)
{
    memset(&backend.daemon.dialogue, 0x55, sizeof(backend.daemon.dialogue));
    backend.learned.daemon.address = (struct sockaddr_un){AF_UNIX, "/sockets/x"};
    CU_ASSERT_EQUAL(backend.ops->adopt(&backend), 0);
    const struct vhost_user_terms *terms = &backend.daemon.dialogue.terms;
    CU_ASSERT_EQUAL(backend.daemon.dialogue.fd, -1);
    CU_ASSERT_STRING_EQUAL(terms->address.sun_path, "/sockets/x");
    CU_ASSERT_EQUAL(terms->queues, queues);
    CU_ASSERT_EQUAL(terms->config_size, config_size);
    CU_ASSERT_EQUAL(terms->config_needed, needed);
    return terms;
}

/* The worker serves the event queue itself. */
static void asked_for_vsock(void)
{
    for (uint32_t cid = 0; cid < 2; cid++) {
        begin(DEVICE_VSOCK_VHOST_USER, path);
        config.guest_cid = cid;
        terms_of(2, sizeof(struct virtio_vsock_config), cid == 0);
        const struct virtio_vsock_config space = {.guest_cid = cid};
        CU_ASSERT_EQUAL(backend.daemon.config_size, cid > 0 ? sizeof(space) : 0);
        CU_ASSERT_EQUAL(memcmp(backend.daemon.config, &space, sizeof(space)), 0);
    }
}

/* VirtIO 1.2 §5.11.2: one queue more than those for requests. */
static void asked_for_fs(void)
{
    static const uint32_t queues[][2] = {{0, 1}, {1, 1}, {4, 4}};
    for (size_t i = 0; i < sizeof(queues) / sizeof(queues[0]); i++) {
        const struct virtio_fs_config space = {.tag = "tag", .num_request_queues = queues[i][1]};
        begin(DEVICE_FS_VHOST_USER, path);
        config.queues = queues[i][0];
        CU_ASSERT_EQUAL(backend.ops->queues(&config), queues[i][1] + 1);
        terms_of(queues[i][1] + 1, sizeof(space), true);
        CU_ASSERT_EQUAL(backend.daemon.config_size, 0);
        config.tag = (char *)"tag";
        terms_of(queues[i][1] + 1, sizeof(space), false);
        CU_ASSERT_EQUAL(backend.daemon.config_size, sizeof(space));
        CU_ASSERT_EQUAL(memcmp(backend.daemon.config, &space, sizeof(space)), 0);
    }
}

/* What the file says of the configuration space counts. */
static void asked_for_others(void)
{
    begin(DEVICE_OTHER_VHOST_USER, path);
    config.queues = 5;
    config.config_size = 60;
    CU_ASSERT_EQUAL(backend.ops->queues(&config), 5);
    const struct vhost_user_terms *terms = terms_of(5, 60, true);
    CU_ASSERT_EQUAL(terms->queue_size, device_kinds[DEVICE_OTHER_VHOST_USER].queue_size);
    config.config_size = 1;
    config.queue_size = 1;
    terms = terms_of(5, 1, true);
    CU_ASSERT_EQUAL(terms->queue_size, 1);
    config.config_size = 0;
    config.queue_size = 128;
    terms = terms_of(5, 0, false);
    CU_ASSERT_EQUAL(terms->queue_size, 128);
    config.config_size = 60; /* as its type has it, for a daemon that is asked */
    for (uint32_t bytes = 1; bytes <= CONFIG_SPACE_MAX; bytes += CONFIG_SPACE_MAX - 1) {
        memset(config.config, 0x37, bytes);
        config.config_bytes = bytes;
        terms_of(5, 0, false);
        CU_ASSERT_EQUAL(backend.daemon.config_size, bytes);
        CU_ASSERT_EQUAL(memcmp(backend.daemon.config, config.config, bytes), 0);
    }
}

/* ---- While it is missing ---- */

static const struct backend_memory memory = {.dm = 77, .guest_addr = 0x50000000, .size = 0x100000};

static void begin_fs(void)
{
    begin(DEVICE_FS_VHOST_USER, path);
    snprintf(backend.socket_path, sizeof(backend.socket_path), "/run/fs.sock");
    CU_ASSERT_EQUAL(backend.ops->adopt(&backend), 0);
}

static struct backend_wait prepares(int64_t now, int result, const char *news, const char *trouble)
{
    struct backend_wait wait;
    memset(&wait, 0x55, sizeof(wait));
    CU_ASSERT_EQUAL(backend.ops->prepare(&backend, &memory, now, &wait), result);
    CU_ASSERT_STRING_EQUAL(wait.news.text, news);
    CU_ASSERT_STRING_EQUAL(backend.trouble.text, trouble);
    return wait;
}

#define NO_CONNECTOR "waits for the daemon at /run/fs.sock: connect: Device or resource busy"
#define GONE "waits for the daemon at /run/fs.sock: GET_FEATURES: Broken pipe"

static int broken_connection(void)
{
    int sockets[2];
    CU_ASSERT_EQUAL_FATAL(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets), 0);
    close(sockets[1]);
    return sockets[0];
}

/* As a dialogue leaves it. */
static int finish(uint64_t protocol_features)
{
    struct vhost_user *dialogue = &backend.daemon.dialogue;
    dialogue->step = 99; /* behind the last */
    dialogue->fd = eventfd(0, EFD_CLOEXEC);
    dialogue->features = 0x123456789;
    dialogue->protocol_features = protocol_features;
    return dialogue->fd;
}

/* One line for each kind of failure, not one for each attempt. The status says it all the time. */
static void the_user_is_told_once(void)
{
    begin_fs();
    struct vhost_user *dialogue = &backend.daemon.dialogue;
    struct backend_wait wait = prepares(1000, -EINPROGRESS, NO_CONNECTOR, NO_CONNECTOR);
    CU_ASSERT(wait.fd == -1 && wait.until == 1000); /* the first pause is none */
    CU_ASSERT(dialogue->terms.memory == 77 && dialogue->terms.guest_addr == 0x50000000 &&
              dialogue->terms.memory_size == 0x100000);
    CU_ASSERT_PTR_EQUAL(dialogue->connector, &backend.connector);
    wait = prepares(1000, -EINPROGRESS, "", NO_CONNECTOR);
    CU_ASSERT_EQUAL(wait.until, 1100);
    dialogue->fd = broken_connection();
    wait = prepares(1100, -EINPROGRESS, GONE, GONE); /* this is news */
    CU_ASSERT_EQUAL(wait.fd, -1);
    dialogue->fd = broken_connection();
    (void)prepares(1200, -EINPROGRESS, "", GONE);
    (void)prepares(3000, -EINPROGRESS, NO_CONNECTOR, NO_CONNECTOR);
    (void)finish(0); /* it has come */
    wait = prepares(4000, 0, "", "");
    CU_ASSERT_EQUAL(wait.fd, -1);
    close(vhost_user_take(dialogue)); /* and has gone again */
    (void)prepares(9000, -EINPROGRESS, NO_CONNECTOR, NO_CONNECTOR);
}

/* While it does not answer, its socket is watched. */
static void an_answer_is_waited_for(void)
{
    int sockets[2];
    begin_fs();
    CU_ASSERT_EQUAL_FATAL(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets), 0);
    backend.daemon.dialogue.fd = sockets[0];
    struct backend_wait wait = prepares(1000, -EINPROGRESS, "", "");
    CU_ASSERT_EQUAL(wait.fd, sockets[0]);
    CU_ASSERT_EQUAL(wait.until, 1000 + VHOST_USER_STEP_MS);
    close(sockets[0]);
    close(sockets[1]);
}

/* ---- What a worker gets ---- */

static struct message_start start;
static struct backend_fds given;

static void give(uint32_t incarnation)
{
    memset(&given, 0x55, sizeof(given));
    start = (struct message_start){.incarnation = incarnation};
    CU_ASSERT_EQUAL(backend.ops->give(&backend, &start, &given), 0);
    CU_ASSERT_EQUAL(given.count, 4);
    CU_ASSERT_TRUE(given.owned);
    CU_ASSERT_EQUAL(given.boxed, 0);
}

/* An empty eventfd, which takes a file's place. */
static void is_placeholder(int fd)
{
    uint64_t value = 0;
    CU_ASSERT_TRUE(read(fd, &value, sizeof(value)) < 0 && errno == EAGAIN);
    value = 1;
    CU_ASSERT_EQUAL(write(fd, &value, sizeof(value)), sizeof(value));
    CU_ASSERT_EQUAL(read(fd, &value, sizeof(value)), sizeof(value));
    CU_ASSERT_EQUAL(fcntl(fd, F_GETFD), FD_CLOEXEC);
}

/* As the broker does. */
static void close_given(void)
{
    for (uint32_t i = 0; i < given.count; i++) {
        if ((given.kept & 1u << i) == 0)
            close(given.fds[i]);
    }
}

static void a_daemon_that_can_do_little(void)
{
    begin_fs();
    unsigned int before = fd_count();
    int fd = finish(0);
    give(0);
    CU_ASSERT_EQUAL(given.fds[0], fd);
    CU_ASSERT_EQUAL(backend.daemon.dialogue.fd, -1); /* the worker's from now on */
    for (int i = 1; i < 4; i++)
        is_placeholder(given.fds[i]);
    CU_ASSERT(given.fds[1] != given.fds[2] && given.fds[2] != given.fds[3]);
    CU_ASSERT_EQUAL(given.kept, 0);
    CU_ASSERT_EQUAL(start.of_kind.vhost_user.features, 0x123456789);
    CU_ASSERT_EQUAL(start.of_kind.vhost_user.protocol_features, 0);
    CU_ASSERT_EQUAL(start.config_changed, 0);
    close_given();
    CU_ASSERT_EQUAL(fd_count(), before);
}

/* The buffer for requests in flight stays the broker's: the next worker needs it as well. */
static void a_daemon_that_can_do_all(void)
{
    begin_fs();
    unsigned int before = fd_count();
    struct vhost_user *dialogue = &backend.daemon.dialogue;
    int fd = finish(BIT(INFLIGHT_SHMFD) | BIT(CONFIG) | BIT(BACKEND_REQ));
    int channel = dialogue->requests = eventfd(0, EFD_CLOEXEC);
    int buffer = dialogue->inflight_fd = eventfd(0, EFD_CLOEXEC);
    dialogue->inflight = (struct vhost_user_inflight){.mmap_size = 4096, .num_queues = 2};
    memset(dialogue->config, 0x37, sizeof(dialogue->config));
    give(0);
    CU_ASSERT(given.fds[0] == fd && given.fds[2] == channel && given.fds[3] == buffer);
    is_placeholder(given.fds[1]);
    CU_ASSERT_EQUAL(given.kept, 1u << 3);
    CU_ASSERT(dialogue->fd == -1 && dialogue->requests == -1);
    CU_ASSERT(start.of_kind.vhost_user.inflight.mmap_size == 4096 &&
              start.of_kind.vhost_user.inflight.num_queues == 2);
    CU_ASSERT_EQUAL(start.of_kind.vhost_user.protocol_features,
                    BIT(INFLIGHT_SHMFD) | BIT(CONFIG) | BIT(BACKEND_REQ));
    CU_ASSERT_EQUAL(start.of_kind.vhost_user.config_size, sizeof(struct virtio_fs_config));
    CU_ASSERT_EQUAL(
        memcmp(start.of_kind.vhost_user.config, dialogue->config, VHOST_USER_CONFIG_MAX), 0);
    close_given();
    CU_ASSERT_TRUE(fcntl(buffer, F_GETFD) >= 0);
    close(buffer);
    CU_ASSERT_EQUAL(fd_count(), before);
}

/* No number says that there is no channel, but a negative one. */
static void a_channel_may_have_the_number_0(void)
{
    begin_fs();
    (void)finish(BIT(BACKEND_REQ));
    backend.daemon.dialogue.requests = 0;
    give(0);
    CU_ASSERT_EQUAL(given.fds[2], 0);
    given.kept = 1u << 2; /* it is this program's */
    close_given();
}

/* Nor does it say so of a placeholder. */
static void a_placeholder_may_have_the_number_0(void)
{
    begin_fs();
    (void)finish(0);
    gives_0 = "eventfd";
    give(0);
    CU_ASSERT_EQUAL(given.fds[1], 0);
    close_given();
    take_0_back();
}

/* What the worker was to get is closed. The buffer is what the daemon resumes from. */
static void no_placeholder_beside_a_buffer(void)
{
    begin_fs();
    unsigned int before = fd_count();
    (void)finish(BIT(INFLIGHT_SHMFD) | BIT(BACKEND_REQ));
    int buffer = backend.daemon.dialogue.inflight_fd = eventfd(0, EFD_CLOEXEC);
    free_0(); /* the channel may have this number as well */
    backend.daemon.dialogue.requests = eventfd(0, EFD_CLOEXEC);
    CU_ASSERT_EQUAL(backend.daemon.dialogue.requests, 0);
    fail_once("eventfd", ENFILE, 0);
    start = (struct message_start){0};
    CU_ASSERT_EQUAL(backend.ops->give(&backend, &start, &given), -ENFILE);
    CU_ASSERT_TRUE(fcntl(0, F_GETFD) < 0);
    take_0_back();
    CU_ASSERT_TRUE(fcntl(buffer, F_GETFD) >= 0);
    close(buffer);
    CU_ASSERT_EQUAL(fd_count(), before);
}

/* The error is that of the file that could not be made, and what was there is closed: the daemon is
 * connected to again. */
static void no_file_for_a_placeholder(void)
{
    struct rlimit usual, none;
    begin_fs();
    unsigned int before = fd_count();
    (void)finish(0);
    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_NOFILE, &usual), 0);
    none = (struct rlimit){0, usual.rlim_max};
    CU_ASSERT_EQUAL(setrlimit(RLIMIT_NOFILE, &none), 0);
    start = (struct message_start){0};
    int result = backend.ops->give(&backend, &start, &given);
    CU_ASSERT_EQUAL(setrlimit(RLIMIT_NOFILE, &usual), 0);
    CU_ASSERT_EQUAL(result, -EMFILE);
    CU_ASSERT_EQUAL(backend.daemon.dialogue.fd, -1);
    CU_ASSERT_EQUAL(fd_count(), before);
}

/* Without the daemon's, the configuration space is that of the file. A driver is told if it is not
 * the one that it has seen. */
static void the_configuration_space(void)
{
    const struct virtio_fs_config space = {.tag = "tag", .num_request_queues = 1};
    begin_fs();
    config.tag = (char *)"tag";
    CU_ASSERT_EQUAL(backend.ops->adopt(&backend), 0);
    for (uint32_t incarnation = 0; incarnation < 3; incarnation++) {
        (void)finish(0);
        give(incarnation);
        CU_ASSERT_EQUAL(start.of_kind.vhost_user.config_size, sizeof(space));
        CU_ASSERT_EQUAL(memcmp(start.of_kind.vhost_user.config, &space, sizeof(space)), 0);
        CU_ASSERT_EQUAL(start.config_changed, 0);
        close_given();
        backend.ops->ready(&backend);
    }
    /* The first worker with another one may end before the driver can see it. */
    for (uint32_t incarnation = 1; incarnation < 3; incarnation++) {
        (void)finish(BIT(CONFIG));
        memset(backend.daemon.dialogue.config, 0x37, VHOST_USER_CONFIG_MAX);
        give(incarnation);
        CU_ASSERT_EQUAL(start.of_kind.vhost_user.config[0], 0x37);
        CU_ASSERT_EQUAL(start.config_changed, 1);
        close_given();
    }
    backend.ops->ready(&backend);
    (void)finish(BIT(CONFIG));
    give(3);
    CU_ASSERT_EQUAL(start.config_changed, 0);
    close_given();
    (void)finish(0);
    give(0); /* nobody has seen the other one */
    CU_ASSERT_EQUAL(start.config_changed, 0);
    close_given();
}

static int make_folder(void)
{
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/daemon", folder);
    return 0;
}

static int remove_folder(void)
{
    return rmdir(folder);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"names of sockets", names_of_sockets},
        {"sockets that fail", sockets_that_fail},
        {"long names", long_names},
        {"an address without an end", an_address_without_an_end},
        {"the sandbox of virtiofsd", the_sandbox_of_virtiofsd},
        {"asked for: vsock", asked_for_vsock},
        {"asked for: fs", asked_for_fs},
        {"asked for: others", asked_for_others},
        {"the user is told once", the_user_is_told_once},
        {"an answer is waited for", an_answer_is_waited_for},
        {"a daemon that can do little", a_daemon_that_can_do_little},
        {"a daemon that can do all", a_daemon_that_can_do_all},
        {"a channel may have the number 0", a_channel_may_have_the_number_0},
        {"a placeholder may have the number 0", a_placeholder_may_have_the_number_0},
        {"no placeholder beside a buffer", no_placeholder_beside_a_buffer},
        {"no file for a placeholder", no_file_for_a_placeholder},
        {"the configuration space", the_configuration_space},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {.pName = "devices of a vhost-user daemon",
         .pInitFunc = make_folder,
         .pCleanupFunc = remove_folder,
         .pTests = tests},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
