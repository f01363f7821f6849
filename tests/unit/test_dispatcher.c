/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How each generation of the driver is found, opened and asked, and what its answers mean. The
 * driver is this test: no call gets to the kernel. An answer that can't be right is an error that
 * says what was expected, and leaves no file open. A device is asked for once.
 */
#include "tests/unit/dispatcher_under_test.h"

/* ---- Which generation ---- */

static void finds(const char *node, enum bao_generation generation)
{
    begin(BAO_GENERATIONS);
    nodes[2] = node;
    dispatcher.node = 77;
    CU_ASSERT_EQUAL(dispatcher_find(&dispatcher, &failure), 0);
    CU_ASSERT_EQUAL(dispatcher.generation, generation);
    CU_ASSERT_EQUAL(dispatcher.node, -1);
    CU_ASSERT_EQUAL(opens, 0);
}

static void each_is_found_by_its_node(void)
{
    finds("/dev/bao-io-dispatcher", BAO_A);
    finds("/dev/bao-dm0", BAO_C);
    finds("/dev/bao-dm15", BAO_C);
    finds("/dev/bao", BAO_D);
}

static void no_driver_is_told_with_advice(void)
{
    static const char words[] =
        "no node of Bao's driver is there: expected /dev/bao-io-dispatcher, /dev/bao-dm0 or "
        "/dev/bao, depending on the driver's version; ";
    begin(BAO_A);
    CU_ASSERT_EQUAL(dispatcher_find(&dispatcher, &failure), -ENOENT);
    CU_ASSERT_EQUAL(strncmp(failure.text, words, strlen(words)), 0);
    CU_ASSERT(strlen(failure.text) > strlen(words) + 10); /* and what to do */
    node_mode = S_IFDIR;
    nodes[0] = "/dev/bao"; /* a directory */
    CU_ASSERT_EQUAL(dispatcher_find(&dispatcher, &failure), -ENOENT);
}

static void two_drivers_are_one_too_many(void)
{
    begin(BAO_A);
    nodes[0] = "/dev/bao";
    nodes[1] = "/dev/bao-dm4";
    fails_with(dispatcher_find(&dispatcher, &failure), -EEXIST,
               "/dev/bao-dm4 and /dev/bao are both there: expected one driver of Bao's, since two "
               "know nothing of each other; unload one, or remove the node that no driver serves");
}

/* ---- The node ---- */

static int refusal; /* the driver's errno; 0: it does not refuse */

static int refuses_a6(int fd, unsigned long request, void *arg)
{
    const struct bao_dm_info *info = arg;
    CU_ASSERT_EQUAL(fd, dispatcher.node);
    CU_ASSERT_EQUAL(request, BAO_IOCTL_DM_GET_INFO);
    CU_ASSERT_EQUAL(info->id, UINT32_MAX); /* no device has it */
    CU_ASSERT_EQUAL(info->fd, -1);
    return refusal ? fails(refusal) : 1;
}

static int refuses_a7(int fd, unsigned long request, void *arg)
{
    CU_ASSERT_EQUAL(fd, dispatcher.node);
    CU_ASSERT_EQUAL(request, BAO_D_IOCTL_CREATE_DM);
    CU_ASSERT_PTR_NULL(arg);
    errno = refusal ? refusal : EFAULT; /* of an earlier call */
    return refusal ? -1 : 0;
}

static void opens_and_closes(enum bao_generation generation, int error, const char *path)
{
    begin(generation);
    refusal = error;
    driver = generation == BAO_D ? refuses_a7 : refuses_a6;
    CU_ASSERT_EQUAL(dispatcher_open(&dispatcher, &failure), 0);
    CU_ASSERT_EQUAL(calls, 1);
    CU_ASSERT_EQUAL(opens, 1);
    CU_ASSERT_STRING_EQUAL(opened, path);
    CU_ASSERT(dispatcher.node >= 0);
    CU_ASSERT_EQUAL(fd_count(), fds + 1);
    dispatcher_close(&dispatcher);
    CU_ASSERT_EQUAL(dispatcher.node, -1);
    CU_ASSERT_EQUAL(fd_count(), fds);
    dispatcher_close(&dispatcher); /* nothing is open */
}

static void a_node_that_refuses_as_bao_s_driver_is_opened(void)
{
    opens_and_closes(BAO_A, EINVAL, "/dev/bao-io-dispatcher");
    opens_and_closes(BAO_B, ENOENT, "/dev/bao-io-dispatcher");
    opens_and_closes(BAO_D, EFAULT, "/dev/bao");
}

static void generation_c_has_no_common_node(void)
{
    begin(BAO_C);
    CU_ASSERT_EQUAL(dispatcher_open(&dispatcher, &failure), 0);
    CU_ASSERT_EQUAL(dispatcher.node, -1);
    CU_ASSERT_EQUAL(opens + calls, 0);
}

static void file_0_is_closed_as_well(void)
{
    int before = dup(STDIN_FILENO);
    begin(BAO_A);
    dispatcher.node = STDIN_FILENO;
    dispatcher_close(&dispatcher);
    CU_ASSERT_EQUAL(fcntl(STDIN_FILENO, F_GETFD), -1);
    CU_ASSERT_EQUAL(dup2(before, STDIN_FILENO), STDIN_FILENO);
    close(before);
}

/* The file that the driver, or its node, gets next has the number 0. No number says that it is
 * none, but a negative one. */
static void a_node_may_have_the_number_0(void)
{
    begin(BAO_A);
    refusal = EINVAL;
    driver = refuses_a6;
    free_0();
    int result = dispatcher_open(&dispatcher, &failure);
    take_0_back();
    CU_ASSERT_EQUAL(result, 0);
    CU_ASSERT_EQUAL(dispatcher.node, 0);
    CU_ASSERT_EQUAL(calls, 1);
    begin(BAO_A);
    refusal = EFAULT;
    free_0();
    result = dispatcher_open(&dispatcher, &failure);
    CU_ASSERT_TRUE(fcntl(0, F_GETFD) < 0); /* it was closed again */
    take_0_back();
    CU_ASSERT_EQUAL(result, -ENOTTY);
}

static void is_another_driver(enum bao_generation generation, int error, const char *words)
{
    begin(generation);
    refusal = error;
    driver = generation == BAO_D ? refuses_a7 : refuses_a6;
    fails_with(dispatcher_open(&dispatcher, &failure), -ENOTTY, words);
    CU_ASSERT_EQUAL(dispatcher.node, -1);
}

static void another_driver_is_told_and_not_used(void)
{
#define SOMETHING_ELSE "something else than Bao's driver: to "
    is_another_driver(BAO_A, ENOTTY,
                      "/dev/bao-io-dispatcher: " SOMETHING_ELSE
                      "DM_GET_INFO (0xA6, 1) of an id that can't be it answered \"Inappropriate "
                      "ioctl for device\", expected \"Invalid argument\"");
    is_another_driver(BAO_B, 0,
                      "/dev/bao-io-dispatcher: " SOMETHING_ELSE
                      "DM_GET_INFO (0xA6, 1) of an id that can't be it answered \"Success\", "
                      "expected \"Invalid argument\"");
    is_another_driver(BAO_A, EFAULT,
                      "/dev/bao-io-dispatcher: " SOMETHING_ELSE
                      "DM_GET_INFO (0xA6, 1) of an id that can't be it answered \"Bad address\", "
                      "expected \"Invalid argument\"");
    is_another_driver(BAO_D, 0,
                      "/dev/bao: " SOMETHING_ELSE
                      "CREATE_DM (0xA7, 0) without a device it answered \"Success\", "
                      "expected \"Bad address\"");
    is_another_driver(BAO_D, EINVAL,
                      "/dev/bao: " SOMETHING_ELSE
                      "CREATE_DM (0xA7, 0) without a device it answered \"Invalid argument\", "
                      "expected \"Bad address\"");
}

static void does_not_open(enum bao_generation generation, int error, const char *words)
{
    begin(generation);
    open_error = error;
    fails_with(dispatcher_open(&dispatcher, &failure), -error, words);
    CU_ASSERT_EQUAL(dispatcher.node, -1);
    CU_ASSERT_EQUAL(calls, 0);
}

static void a_node_that_can_t_be_opened_is_told(void)
{
    does_not_open(BAO_A, EACCES, "/dev/bao-io-dispatcher: Permission denied");
    does_not_open(BAO_D, ENXIO,
                  "/dev/bao: No such device or address: no driver serves it; load Bao's, or remove "
                  "the node");
    does_not_open(BAO_D, ENODEV,
                  "/dev/bao: No such device: no driver serves it; load Bao's, or remove the node");
}

/* ---- A device ---- */

static int get_result, get_error, get_fd;
static uint32_t get_id;

static int gives_info(int fd, unsigned long request, void *arg)
{
    struct bao_dm_info *info = arg;
    CU_ASSERT(fd >= 0);
    CU_ASSERT_EQUAL(request, BAO_IOCTL_DM_GET_INFO);
    CU_ASSERT_EQUAL(info->id, ID);
    if (get_error != 0)
        return fails(get_error);
    CU_ASSERT_EQUAL(info->fd, -1);
    errno = EINVAL; /* of an earlier call */
    *info = (struct bao_dm_info){
        .id = get_id, .shmem_addr = WINDOW, .shmem_size = WINDOW_SIZE, .irq = IRQ, .fd = get_fd};
    return get_result;
}

static int ask(enum bao_generation generation)
{
    begin(generation);
    if (generation <= BAO_B)
        dispatcher.node = 500;
    driver = gives_info;
    get_id = ID;
    return dispatcher_get_device(&dispatcher, &device, &failure);
}

static void is_complete(enum bao_generation generation)
{
    CU_ASSERT_EQUAL(device.generation, generation);
    CU_ASSERT_EQUAL(device.id, ID);
    CU_ASSERT_EQUAL(device.shmem_addr, WINDOW);
    CU_ASSERT_EQUAL(device.shmem_size, WINDOW_SIZE);
    CU_ASSERT_EQUAL(device.irq, IRQ);
    CU_ASSERT_EQUAL(calls, 1);
}

static void the_answer_tells_a_from_b(void)
{
    get_error = 0;
    get_fd = 600;
    get_result = 1;
    CU_ASSERT_EQUAL(ask(BAO_A), 0);
    is_complete(BAO_A);
    CU_ASSERT_EQUAL(device.dm, 600);
    get_result = 0;
    get_fd = 0; /* a file like any other */
    CU_ASSERT_EQUAL(ask(BAO_A), 0);
    is_complete(BAO_B);
    CU_ASSERT_EQUAL(device.dm, 0);
}

static void what_a_and_b_refuse_is_told(void)
{
    static const char none[] =
        "the device tree has no dispatcher device with id 3: expected one of the entries of "
        "\"bao,io-dispatcher\", counted from 0";
    get_error = EINVAL;
    fails_with(ask(BAO_A), -EINVAL, none);
    get_error = ENOENT;
    fails_with(ask(BAO_B), -ENOENT, none);
    get_error = ENOMEM;
    fails_with(ask(BAO_A), -ENOMEM,
               "/dev/bao-io-dispatcher: DM_GET_INFO of id 3: Cannot allocate memory");
    get_error = 0;
    get_result = 2;
    get_fd = 600;
    fails_with(ask(BAO_A), -EPROTO,
               "/dev/bao-io-dispatcher: DM_GET_INFO of id 3 returned 2 and the file 600: expected "
               "0 or 1, and a file");
    get_result = 1;
    get_fd = -1;
    fails_with(ask(BAO_A), -EPROTO,
               "/dev/bao-io-dispatcher: DM_GET_INFO of id 3 returned 1 and the file -1: expected "
               "0 or 1, and a file");
    CU_ASSERT_EQUAL(device.dm, -1);
}

static int ask_c(int error)
{
    begin(BAO_C);
    nodes[0] = "/dev/bao-dm3";
    driver = gives_info;
    get_result = 0;
    get_error = error;
    return dispatcher_get_device(&dispatcher, &device, &failure);
}

static void c_has_a_node_each(void)
{
    get_id = ID;
    CU_ASSERT_EQUAL(ask_c(0), 0);
    is_complete(BAO_C);
    CU_ASSERT_STRING_EQUAL(opened, "/dev/bao-dm3");
    CU_ASSERT_EQUAL(opens, 1);
    CU_ASSERT_EQUAL(fcntl(device.dm, F_GETFD), FD_CLOEXEC);
    CU_ASSERT_EQUAL(fd_count(), fds + 1);
    close(device.dm);
}

static void a_node_of_c_may_have_the_number_0(void)
{
    for (get_id = ID; get_id <= ID + 1; get_id++) {
        free_0();
        int result = ask_c(0);
        bool is_open = fcntl(0, F_GETFD) >= 0;
        take_0_back();
        CU_ASSERT_EQUAL(result, get_id == ID ? 0 : -EPROTO);
        CU_ASSERT_EQUAL(device.dm, get_id == ID ? 0 : -1);
        CU_ASSERT_EQUAL(is_open, get_id == ID); /* if not, it was closed again */
    }
}

static void what_c_refuses_is_told(void)
{
    get_id = ID;
    fails_with(ask_c(EIO), -EIO, "/dev/bao-dm3: DM_GET_INFO of id 3: Input/output error");
    get_id = 4;
    fails_with(ask_c(0), -EPROTO,
               "/dev/bao-dm3: the driver says that this is device 4: expected 3");
    begin(BAO_C);
    nodes[0] = "/dev/bao-dm4";
    fails_with(dispatcher_get_device(&dispatcher, &device, &failure), -ENOENT,
               "/dev/bao-dm3 is not there: the device tree has no device with \"bao,id\" 3");
    CU_ASSERT_EQUAL(opens, 0);
    nodes[0] = "/dev/bao-dm3";
    node_mode = S_IFDIR;
    CU_ASSERT_EQUAL(dispatcher_get_device(&dispatcher, &device, &failure), -ENOENT);
    node_mode = S_IFCHR;
    open_error = EACCES;
    fails_with(dispatcher_get_device(&dispatcher, &device, &failure), -EACCES,
               "/dev/bao-dm3: Permission denied");
    CU_ASSERT_EQUAL(calls, 0);
}

static int create_error, info_error;
static int created = -1; /* the file that the driver gives; -1: a new one */
static struct bao_d_dm_info info_said;

static int creates(int fd, unsigned long request, void *arg)
{
    struct bao_d_dm_info *info = arg;
    CU_ASSERT_EQUAL(info->id, ID);
    if (calls == 1) {
        CU_ASSERT_EQUAL(fd, 500);
        CU_ASSERT_EQUAL(request, BAO_D_IOCTL_CREATE_DM);
        CU_ASSERT(info->shmem_addr == WINDOW && info->shmem_size == WINDOW_SIZE);
        CU_ASSERT_EQUAL(info->irq, IRQ);
        if (create_error)
            return fails(create_error);
        errno = EIO; /* of an earlier call */
        return created >= 0 ? created : (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR, 0);
    }
    CU_ASSERT_EQUAL(request, BAO_D_IOCTL_GET_INFO);
    if (info_error)
        return fails(info_error);
    *info = info_said;
    return 0;
}

static int create(void)
{
    begin(BAO_D);
    dispatcher.node = 500;
    driver = creates;
    device.shmem_addr = WINDOW;
    device.shmem_size = WINDOW_SIZE;
    device.irq = IRQ;
    return dispatcher_get_device(&dispatcher, &device, &failure);
}

static void d_is_told_what_it_creates(void)
{
    create_error = info_error = 0;
    info_said = (struct bao_d_dm_info){WINDOW, WINDOW_SIZE, ID, IRQ};
    CU_ASSERT_EQUAL(create(), 0);
    CU_ASSERT_EQUAL(calls, 2);
    CU_ASSERT_EQUAL(device.generation, BAO_D);
    CU_ASSERT_EQUAL(fcntl(device.dm, F_GETFD), FD_CLOEXEC); /* no worker inherits it */
    CU_ASSERT_EQUAL(fd_count(), fds + 1);
    close(device.dm);
}

#define CREATE_WORDS                                                                               \
    "/dev/bao: CREATE_DM of id 3 with window 0x80000000 of 0x1000000 bytes and interrupt 47: "
#define CREATED_WORDS "/dev/bao: the device that was created has id "
#define TOLD_WORDS ": expected id 3, 0x80000000, 0x1000000, 47"

static void what_d_refuses_is_told(void)
{
    info_error = 0;
    create_error = EEXIST;
    fails_with(create(), -EEXIST,
               CREATE_WORDS "File exists: another bao-virtio-dm has the device, or its interrupt");
    create_error = EBUSY;
    fails_with(create(), -EBUSY,
               CREATE_WORDS
               "Device or resource busy: another bao-virtio-dm has the device, or its interrupt");
    create_error = EINVAL;
    fails_with(create(), -EINVAL,
               CREATE_WORDS "Invalid argument: compare them with remio_devs of the backend VM in "
                            "Bao's configuration");
    create_error = 0;
    info_error = EIO;
    fails_with(create(), -EIO, "/dev/bao: GET_INFO of id 3: Input/output error");
    CU_ASSERT_EQUAL(device.dm, -1);
}

static void a_created_device_may_have_the_number_0(void)
{
    create_error = info_error = 0;
    info_said = (struct bao_d_dm_info){WINDOW, WINDOW_SIZE, ID, IRQ};
    free_0();
    int result = create();
    take_0_back();
    CU_ASSERT_EQUAL(result, 0);
    CU_ASSERT_EQUAL(device.dm, 0);
    CU_ASSERT_EQUAL(calls, 2);
}

static void a_created_device_must_be_a_file(void)
{
    create_error = info_error = 0;
    created = 9999;
    fails_with(create(), -EBADF, "/dev/bao: the file of id 3: Bad file descriptor");
    created = -1;
    CU_ASSERT_EQUAL(calls, 1);
    CU_ASSERT_EQUAL(device.dm, -1);
}

/* A worker maps the window that the driver has. */
static void a_created_device_must_be_what_was_asked_for(void)
{
    create_error = info_error = 0;
    info_said = (struct bao_d_dm_info){WINDOW, WINDOW_SIZE, ID + 1, IRQ};
    fails_with(create(), -EPROTO,
               CREATED_WORDS "4, window 0x80000000 of 0x1000000 bytes, interrupt 47" TOLD_WORDS);
    info_said = (struct bao_d_dm_info){WINDOW + 1, WINDOW_SIZE, ID, IRQ};
    fails_with(create(), -EPROTO,
               CREATED_WORDS "3, window 0x80000001 of 0x1000000 bytes, interrupt 47" TOLD_WORDS);
    info_said = (struct bao_d_dm_info){WINDOW, WINDOW_SIZE + 1, ID, IRQ};
    fails_with(create(), -EPROTO,
               CREATED_WORDS "3, window 0x80000000 of 0x1000001 bytes, interrupt 47" TOLD_WORDS);
    info_said = (struct bao_d_dm_info){WINDOW, WINDOW_SIZE, ID, IRQ + 1};
    fails_with(create(), -EPROTO,
               CREATED_WORDS "3, window 0x80000000 of 0x1000000 bytes, interrupt 48" TOLD_WORDS);
    CU_ASSERT_EQUAL(device.dm, -1);
}

static void a_generation_that_can_t_be_is_refused(void)
{
    begin(BAO_GENERATIONS);
    fails_with(dispatcher_get_device(&dispatcher, &device, &failure), -EINVAL,
               "a generation of the driver that is not known");
    CU_ASSERT_EQUAL(calls, 0);
}

/* ---- The DM file ---- */

#define DM 700

static unsigned long expected_request;
static int dm_error;
static unsigned int interrupted; /* so many calls fail with EINTR first */
static union {
    struct bao_ioeventfd kick;
    struct bao_irqfd irq;
    struct bao_io_request request;
} got;
static size_t got_size;

static int takes(int fd, unsigned long request, void *arg)
{
    CU_ASSERT_EQUAL(fd, DM);
    CU_ASSERT_EQUAL(request, expected_request);
    memcpy(&got, arg, got_size);
    if (interrupted > 0) {
        interrupted--;
        return fails(EINTR);
    }
    errno = EIO;                                           /* an older one means nothing */
    return dm_error ? fails(dm_error) : calls % 2 ? 0 : 5; /* 0 and more are success */
}

static void expect_request(unsigned long a6, unsigned long a7, enum bao_generation generation,
                           size_t size)
{
    begin(generation);
    driver = takes;
    expected_request = generation == BAO_D ? a7 : a6;
    got_size = size;
    interrupted = 0;
}

static void each_eventfd_is_registered_for_what_it_is(void)
{
    for (enum bao_generation i = BAO_A; i < BAO_GENERATIONS; i++) {
        dm_error = 0;
        expect_request(BAO_IOCTL_IOEVENTFD, BAO_D_IOCTL_IOEVENTFD, i, sizeof(got.kick));
        CU_ASSERT_EQUAL(dispatcher_add_kick(i, DM, 33, 0xa003e00, 2), 0);
        CU_ASSERT_EQUAL(got.kick.fd, 33);
        CU_ASSERT_EQUAL(got.kick.flags, BAO_IOEVENTFD_DATAMATCH);
        CU_ASSERT_EQUAL(got.kick.addr, 0xa003e00 + VIRTIO_MMIO_QUEUE_NOTIFY);
        CU_ASSERT_EQUAL(got.kick.len, 4);
        CU_ASSERT_EQUAL(got.kick.data, 2);
        expect_request(BAO_IOCTL_IRQFD, BAO_D_IOCTL_IRQFD, i, sizeof(got.irq));
        CU_ASSERT_EQUAL(dispatcher_add_irq(i, DM, 34), 0);
        CU_ASSERT(got.irq.fd == 34 && got.irq.flags == 0);
        CU_ASSERT_EQUAL(dispatcher_remove_irq(i, DM, 35), 0);
        CU_ASSERT(got.irq.fd == 35 && got.irq.flags == BAO_IRQFD_DEASSIGN);
        CU_ASSERT_EQUAL(dispatcher_remove_irq(i, DM, 35), 0); /* with the other success */
        dm_error = EEXIST;
        CU_ASSERT_EQUAL(dispatcher_add_irq(i, DM, 34), -EEXIST);
        CU_ASSERT_EQUAL(dispatcher_remove_irq(i, DM, 34), -EEXIST);
        expect_request(BAO_IOCTL_IOEVENTFD, BAO_D_IOCTL_IOEVENTFD, i, sizeof(got.kick));
        CU_ASSERT_EQUAL(dispatcher_add_kick(i, DM, 33, 0, 0), -EEXIST);
    }
}

static int attach(enum bao_generation generation, int error)
{
    struct bao_io_request slot = {.request_id = 9};
    expect_request(BAO_IOCTL_IO_CLIENT_ATTACH, BAO_D_IOCTL_IO_CLIENT_ATTACH, generation,
                   sizeof(got.request));
    dm_error = error;
    int result = dispatcher_attach(generation, DM, &slot);
    CU_ASSERT_EQUAL(got.request.request_id, 9); /* the kernel writes into the slot itself */
    CU_ASSERT_EQUAL(calls, 1);
    return result;
}

static void each_end_of_attach_has_its_meaning(void)
{
    for (enum bao_generation i = BAO_A; i < BAO_GENERATIONS; i++) {
        const int signalled = i == BAO_D ? EINTR : EFAULT;
        CU_ASSERT_EQUAL(attach(i, 0), 0);
        CU_ASSERT_EQUAL(attach(i, signalled), -ETIME);
        CU_ASSERT_EQUAL(attach(i, i == BAO_D ? EFAULT : EINTR), i == BAO_D ? -EFAULT : -EINTR);
        CU_ASSERT_EQUAL(attach(i, EAGAIN), -EAGAIN);
        CU_ASSERT_EQUAL(attach(i, EPERM), -ENODEV);
        CU_ASSERT_EQUAL(attach(i, ENODEV), -ENODEV);
        CU_ASSERT_EQUAL(attach(i, ENXIO), -ENODEV);
        CU_ASSERT_EQUAL(attach(i, ESHUTDOWN), -ENODEV);
        CU_ASSERT_EQUAL(attach(i, ENOTTY), -ENOTTY);
    }
    CU_ASSERT_FALSE(dispatcher_is_gone(0));
    CU_ASSERT_FALSE(dispatcher_is_gone(-EINTR));
    CU_ASSERT_FALSE(dispatcher_is_gone(EPERM));
    CU_ASSERT_TRUE(dispatcher_is_gone(-EPERM));
}

/* A vCPU would wait for ever. */
static void a_completion_is_repeated_until_it_is_made(void)
{
    for (enum bao_generation i = BAO_A; i < BAO_GENERATIONS; i++) {
        const struct bao_io_request request = {.request_id = 4, .value = 8};
        expect_request(BAO_IOCTL_IO_REQUEST_COMPLETE, BAO_D_IOCTL_IO_REQUEST_COMPLETE, i,
                       sizeof(got.request));
        dm_error = 0;
        interrupted = 3;
        CU_ASSERT_EQUAL(dispatcher_complete(i, DM, &request), 0);
        CU_ASSERT_EQUAL(calls, 4);
        CU_ASSERT(got.request.request_id == 4 && got.request.value == 8);
        CU_ASSERT_EQUAL(dispatcher_complete(i, DM, &request), 0); /* with the other success */
        CU_ASSERT_EQUAL(calls, 5);
        dm_error = EPERM;
        CU_ASSERT_EQUAL(dispatcher_complete(i, DM, &request), -EPERM);
        CU_ASSERT_EQUAL(calls, 6);
    }
}

int main(int argc, char **argv)
{
    CU_TestInfo node[] = {
        {"each is found by its node", each_is_found_by_its_node},
        {"no driver is told, with advice", no_driver_is_told_with_advice},
        {"two drivers are one too many", two_drivers_are_one_too_many},
        {"a node that refuses as Bao's driver", a_node_that_refuses_as_bao_s_driver_is_opened},
        {"generation C has no common node", generation_c_has_no_common_node},
        {"file 0 is closed as well", file_0_is_closed_as_well},
        {"a node may have the number 0", a_node_may_have_the_number_0},
        {"another driver is told and not used", another_driver_is_told_and_not_used},
        {"a node that can't be opened is told", a_node_that_can_t_be_opened_is_told},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo devices[] = {
        {"the answer tells A from B", the_answer_tells_a_from_b},
        {"what A and B refuse is told", what_a_and_b_refuse_is_told},
        {"C has a node each", c_has_a_node_each},
        {"a node of C may have the number 0", a_node_of_c_may_have_the_number_0},
        {"what C refuses is told", what_c_refuses_is_told},
        {"D is told what it creates", d_is_told_what_it_creates},
        {"what D refuses is told", what_d_refuses_is_told},
        {"a created device may have the number 0", a_created_device_may_have_the_number_0},
        {"a created device must be a file", a_created_device_must_be_a_file},
        {"a created device", a_created_device_must_be_what_was_asked_for},
        {"a generation that can't be", a_generation_that_can_t_be_is_refused},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo dm[] = {
        {"each eventfd is registered", each_eventfd_is_registered_for_what_it_is},
        {"each end of ATTACH has its meaning", each_end_of_attach_has_its_meaning},
        {"a completion is repeated", a_completion_is_repeated_until_it_is_made},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"node", NULL, NULL, NULL, NULL, node},
        {"devices", NULL, NULL, NULL, NULL, devices},
        {"DM file", NULL, NULL, NULL, NULL, dm},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
