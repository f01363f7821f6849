/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/cunit_main.h"

#define DEVICE_MODEL "bao-virtio-dm"
#define BROKER "bao-virtio-broker"
#define WORKER "bao-virtio-worker"
#define WAIT_MS 60000 /* longer than the longest pause before a restart, on a busy machine */
#define LOOK_MS 10
#define STOP_MS 30000 /* on a busy machine the kernel takes seconds to end a namespace */
#define PATH_SIZE 128
#define ARGUMENTS_MAX 16
#define READ_MAX 4096u

uint64_t fixture_format;

uint64_t fixture_base(unsigned int id)
{
    return 0xa003e00 + 0x200ull * id;
}

uint64_t fixture_shmem(unsigned int id)
{
    return 0x50000000 + FIXTURE_SHMEM_SIZE * id;
}

void fixture_init(struct fixture *fixture)
{
    *fixture = (struct fixture){.log_fd = -1, .failures = CU_get_number_of_failures()};
    strcpy(fixture->dir, "/tmp/bao-standin-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(fixture->dir));
    /* A broker without capabilities may have to open an image again as another user. */
    CU_ASSERT_EQUAL(chmod(fixture->dir, 0755), 0);
}

static void path_of(const struct fixture *fixture, const char *name, char ret[PATH_SIZE])
{
    snprintf(ret, PATH_SIZE, "%s/%s", fixture->dir, name);
}

int fixture_open(const struct fixture *fixture, const char *name)
{
    char path[PATH_SIZE];
    path_of(fixture, name, path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CU_ASSERT_FATAL(fd >= 0);
    return fd;
}

void fixture_sector(uint64_t sector, uint8_t ret[512])
{
    for (unsigned int i = 0; i < 512; i++)
        ret[i] = (uint8_t)(sector * 7 + i);
    memcpy(ret, &sector, sizeof(sector));
}

void fixture_make_image(const struct fixture *fixture, const char *name, unsigned int sectors)
{
    uint8_t *data = malloc(512ul * sectors);
    CU_ASSERT_PTR_NOT_NULL_FATAL(data);
    for (unsigned int s = 0; s < sectors; s++)
        fixture_sector(s, data + 512ul * s);
    int fd = fixture_open(fixture, name);
    CU_ASSERT_EQUAL_FATAL(write(fd, data, 512ul * sectors), (ssize_t)(512ul * sectors));
    close(fd);
    free(data);
}

/* --- What the driver of generation D has to be told ------------------------------------------ */

/* The device whose lines are being written. */
struct told {
    bool wanted; /* its id is known, and nobody has written the keys */
    unsigned int id;
    size_t dash, indent; /* columns: of its "-", and of its keys */
};

static void write_told(struct told *told, FILE *file)
{
    if (told->wanted)
        fprintf(file, "%*sshmem_addr: 0x%llx\n%*sshmem_size: 0x%llx\n%*sirq: %u\n",
                (int)told->indent, "", (unsigned long long)fixture_shmem(told->id),
                (int)told->indent, "", FIXTURE_SHMEM_SIZE, (int)told->indent, "",
                STANDIN_IRQ + told->id);
    told->wanted = false;
}

/* Finds "id: 3" as a key, anywhere in the line: also in a device that is one line, in braces. */
static bool find_id(const char *line, size_t length, size_t *ret_end, unsigned int *ret_id)
{
    for (size_t at = 0; at + 4 < length; at++) {
        if (strncmp(line + at, "id: ", 4) != 0 || (at > 0 && !strchr(" {,-", line[at - 1])))
            continue;
        char *end;
        *ret_id = (unsigned int)strtoul(line + at + 4, &end, 0);
        *ret_end = (size_t)(end - line);
        return *ret_end > at + 4 && *ret_id < STANDIN_DEVICES_MAX;
    }
    return false;
}

/* Returns how much of the line has been written: if the device is in braces, up to its id;
 * otherwise 0. */
static size_t look_at_line(struct told *told, const char *line, size_t length, FILE *file)
{
    size_t blanks = strspn(line, " "), end = 0;
    unsigned int id;
    bool item = line[blanks] == '-' && line[blanks + 1] == ' ';
    if (item && blanks <= told->dash)
        write_told(told, file);
    if (told->wanted && strncmp(line + blanks, "shmem_", 6) == 0)
        told->wanted = false;
    if (!find_id(line, length, &end, &id) || memmem(line, length, "shmem_addr", 10))
        return 0;
    if (memchr(line, '{', end)) {
        fprintf(file, "%.*s, shmem_addr: 0x%llx, shmem_size: 0x%llx, irq: %u", (int)end, line,
                (unsigned long long)fixture_shmem(id), FIXTURE_SHMEM_SIZE, STANDIN_IRQ + id);
        return end;
    }
    *told = (struct told){true, id, item ? blanks : blanks - 2, item ? blanks + 2 : blanks};
    return 0;
}

#define TOLD_LINES 3u /* of each device */

static bool is_told(const struct fixture *fixture)
{
    enum standin_abi abi = fixture->abi != STANDIN_DEFAULT ? fixture->abi : standin_default_abi();
    return abi == STANDIN_D && !fixture->as_written;
}

const char *fixture_line(const struct fixture *fixture, unsigned int line, unsigned int devices,
                         const char *rest)
{
    static char texts[4][96];
    static unsigned int next;
    char *text = texts[next++ % 4];
    if (is_told(fixture))
        line += TOLD_LINES * devices;
    snprintf(text, sizeof(texts[0]), "config.yaml:%u:%s", line, rest);
    return text;
}

const char *fixture_lacks_device(unsigned int id)
{
    static const char *const words[] = {
        [STANDIN_A] = "no dispatcher device with id ",
        [STANDIN_B] = "no dispatcher device with id ",
        [STANDIN_C] = "no device with \"bao,id\" ",
        [STANDIN_D] = "CREATE_DM of id ",
    };
    static char text[64];
    snprintf(text, sizeof(text), "%s%u", words[standin_default_abi()], id);
    return text;
}

/* BVDM_ENGINE in the environment is the io_engine of each disk. */
static void write_engine(const char *line, size_t length, FILE *file)
{
    static const char image[] = "    file_path:";
    const char *engine = getenv("BVDM_ENGINE");
    if (engine && length > strlen(image) && strncmp(line, image, strlen(image)) == 0)
        fprintf(file, "%s    io_engine: %s\n", line[length - 1] == '\n' ? "" : "\n", engine);
}

static void write_yaml(const struct fixture *fixture, const char *yaml, FILE *file)
{
    struct told told = {.dash = SIZE_MAX};
    while (*yaml) {
        size_t length = strcspn(yaml, "\n"), written = 0;
        length += yaml[length] == '\n';
        if (is_told(fixture))
            written = look_at_line(&told, yaml, length, file);
        for (size_t i = written; i < length; i++) {
            if (yaml[i] == '@')
                fputs(fixture->dir, file);
            else
                fputc(yaml[i], file);
        }
        write_engine(yaml, length, file);
        yaml += length;
        if (told.wanted && yaml[-1] != '\n')
            fputc('\n', file);
    }
    write_told(&told, file);
}

void fixture_configure(const struct fixture *fixture, const char *yaml)
{
    fixture_configure_as(fixture, "config.yaml", yaml);
}

void fixture_configure_as(const struct fixture *fixture, const char *name, const char *yaml)
{
    char path[PATH_SIZE];
    path_of(fixture, name, path);
    FILE *file = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    write_yaml(fixture, yaml, file);
    CU_ASSERT_EQUAL_FATAL(fclose(file), 0);
}

void fixture_configure_blocks(struct fixture *fixture, unsigned int count)
{
    char yaml[1024] = "devices:\n", name[32];
    for (unsigned int i = 0; i < count; i++) {
        size_t used = strlen(yaml);
        snprintf(yaml + used, sizeof(yaml) - used,
                 "  - id: %u\n    type: block\n    data_plane: virtio\n"
                 "    mmio_addr: 0x%llx\n    file_path: \"@/disk%u.img\"\n"
                 "    read_only: false\n    advertise_flush: true\n",
                 i, (unsigned long long)fixture_base(i), i);
        snprintf(name, sizeof(name), "disk%u.img", i);
        fixture_make_image(fixture, name, FIXTURE_IMAGE_SECTORS);
    }
    fixture_configure(fixture, yaml);
}

static void show_log(const struct fixture *fixture)
{
    char *log = fixture_log(fixture);
    fprintf(stderr, "\n--- log of the device model:\n%s---\n", log);
    free(log);
}

void fixture_start(struct fixture *fixture, unsigned int devices, unsigned int workers)
{
    char program[2 * PATH_SIZE], config[PATH_SIZE], log[PATH_SIZE], control[PATH_SIZE];
    snprintf(program, sizeof(program), "%s/" DEVICE_MODEL,
             fixture->programs ? fixture->programs : PROGRAM_DIR);
    path_of(fixture, fixture->control_name ? fixture->control_name : "control", control);
    path_of(fixture, fixture->config_name ? fixture->config_name : "config.yaml", config);
    path_of(fixture, "log", log);
    const char *mode = fixture->control_mode ? fixture->control_mode : "0600";
    const char *const own[] = {program, "--config",       config, "--control",
                               control, "--control-mode", mode,   NULL};
    const char *argv[ARGUMENTS_MAX];
    size_t count = 0;
    for (const char *const *argument = fixture->starter; argument && *argument; argument++)
        argv[count++] = *argument;
    memcpy(&argv[count], own, sizeof(own));
    fixture->log_fd = open(log, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    fixture->device_count = devices;
    struct standin_options options = {
        .abi = fixture->abi,
        .other_node = fixture->other_node,
        .no_driver = fixture->no_driver,
        .argv = argv,
        .stdin_fd = fixture->starter ? fixture->starter_in : -1,
        .stdout_fd = fixture->starter ? fixture->starter_out : fixture->log_fd,
        .stderr_fd = fixture->stderr_fd > 0 ? fixture->stderr_fd : fixture->log_fd,
    };
    for (unsigned int i = 0; i < devices; i++)
        options.devices[i] = (struct standin_device){
            .present = true,
            .shmem_addr = fixture_shmem(i),
            .shmem_size = FIXTURE_SHMEM_SIZE,
            .refused_irqfds = fixture->refused_irqfds,
        };
    CU_ASSERT_EQUAL_FATAL(standin_start(&options, &fixture->standin), 0);
    for (unsigned int i = 0; i < workers; i++) {
        /* A register access is answered only when the worker runs. */
        uint64_t value = 0;
        int result = standin_read(fixture->standin, i, fixture_base(i), 4, &value, WAIT_MS);
        fixture->workers[i] = fixture_worker(fixture, i);
        if (result < 0 || value != 0x74726976 || fixture->workers[i] <= 0) {
            show_log(fixture);
            fprintf(stderr, "device %u: %s, %#llx, worker %d\n", i, strerror(-result),
                    (unsigned long long)value, (int)fixture->workers[i]);
            CU_FAIL_FATAL("the device model does not come up");
        }
    }
    if (workers > 0)
        fixture->broker = standin_find_process(fixture->standin, BROKER, 0);
}

void fixture_guest(struct fixture *fixture, unsigned int id, struct guest *guest)
{
    guest_init(guest, fixture->standin, id, fixture_base(id), fixture_shmem(id),
               FIXTURE_SHMEM_SIZE);
    guest->timeout_ms = WAIT_MS;
}

void fixture_start_blocks(struct fixture *fixture, unsigned int count)
{
    fixture_init(fixture);
    fixture_configure_blocks(fixture, count);
    fixture_start(fixture, count, count);
}

void fixture_block(struct fixture *fixture, unsigned int id, struct guest_block *block,
                   uint64_t features, unsigned int depth, uint32_t request_size)
{
    *block = (struct guest_block){0};
    fixture_guest(fixture, id, &block->guest);
    CU_ASSERT_EQUAL_FATAL(guest_block_start(block, features | fixture_format, depth, request_size),
                          0);
}

void fixture_assert_reads(struct guest_block *block, uint64_t sector)
{
    uint8_t data[READ_MAX] = {0}, expected[READ_MAX];
    const uint32_t size = block->request_size < READ_MAX ? block->request_size : READ_MAX;
    for (uint32_t i = 0; i < size / 512; i++)
        fixture_sector(sector + i, expected + 512ul * i);
    /* Data of an earlier request in the driver's buffer must not count as this request's answer. */
    memset(block->requests[0].data, 0, size);
    CU_ASSERT_EQUAL(guest_block_io(block, VIRTIO_BLK_T_IN, sector, data, size), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(memcmp(data, expected, size), 0);
}

void fixture_assert_running(struct guest *guest)
{
    const uint32_t running = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
                             VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FEATURES_OK;
    CU_ASSERT_EQUAL(guest_status(guest), running);
    CU_ASSERT_EQUAL(guest->error, 0);
}

char *fixture_log(const struct fixture *fixture)
{
    struct stat file;
    CU_ASSERT_EQUAL_FATAL(fstat(fixture->log_fd, &file), 0);
    char *text = calloc(1, (size_t)file.st_size + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    (void)!pread(fixture->log_fd, text, (size_t)file.st_size, 0);
    return text;
}

static bool is_logged(const struct fixture *fixture, const char *words)
{
    char *log = fixture_log(fixture);
    bool found = strstr(log, words) != NULL;
    free(log);
    return found;
}

void fixture_wait_logged(const struct fixture *fixture, const char *words, int timeout_ms)
{
    bool found = is_logged(fixture, words);
    for (int i = 0; i < timeout_ms / LOOK_MS && !found; i++) {
        usleep(LOOK_MS * 1000);
        found = is_logged(fixture, words);
    }
    if (!found)
        fprintf(stderr, "\nnot in the log: %s\n", words);
    CU_ASSERT_TRUE(found);
}

void fixture_assert_logged(const struct fixture *fixture, const char *words)
{
    fixture_wait_logged(fixture, words, WAIT_MS); /* lines come by way of other processes */
}

/* Is the name "TYPE ID"? */
static bool is_name_of(const char *name, unsigned int id)
{
    char wanted[16];
    const char *found = strchr(name, ' ');
    snprintf(wanted, sizeof(wanted), " %u\n", id);
    return found && strcmp(found, wanted) == 0;
}

/* A worker is named after its device by prctl(PR_SET_NAME). */
pid_t fixture_worker(const struct fixture *fixture, unsigned int id)
{
    char path[64], name[32];
    for (unsigned int i = 0;; i++) {
        pid_t pid = standin_find_process(fixture->standin, WORKER, i);
        if (pid < 0)
            return pid;
        snprintf(path, sizeof(path), "/proc/%d/comm", pid);
        FILE *comm = fopen(path, "re");
        bool found = comm && fgets(name, sizeof(name), comm) && is_name_of(name, id);
        if (comm)
            fclose(comm);
        if (found)
            return pid;
    }
}

pid_t fixture_wait_broker(const struct fixture *fixture, pid_t before)
{
    for (unsigned int i = 0; i < WAIT_MS / LOOK_MS; i++) {
        pid_t pid = standin_find_process(fixture->standin, BROKER, 0);
        if (pid > 0 && pid != before)
            return pid;
        usleep(LOOK_MS * 1000);
    }
    return -1;
}

pid_t fixture_wait_worker(const struct fixture *fixture, unsigned int id, pid_t before)
{
    for (unsigned int i = 0; i < WAIT_MS / LOOK_MS; i++) {
        pid_t pid = fixture_worker(fixture, id);
        if (pid > 0 && pid != before)
            return pid;
        usleep(LOOK_MS * 1000);
    }
    return -1;
}

pid_t fixture_managed_keeper(const struct fixture *fixture)
{
    char path[PATH_SIZE], line[128];
    int pid = -1;
    path_of(fixture, "events", path);
    FILE *events = fopen(path, "re");
    while (events && fgets(line, sizeof(line), events))
        (void)!sscanf(line, "started %d\n", &pid);
    if (events)
        fclose(events);
    return pid;
}

void fixture_assert_never_restarted(const struct fixture *fixture)
{
    CU_ASSERT_EQUAL(standin_find_process(fixture->standin, BROKER, 0), fixture->broker);
    for (unsigned int i = 0; i < FIXTURE_DEVICES_MAX && fixture->workers[i] > 0; i++)
        CU_ASSERT_EQUAL(fixture_worker(fixture, i), fixture->workers[i]);
}

/* An irqfd that outlives its device crashes the driver's kernel (broker/dispatcher.h). */
void fixture_assert_irqs_taken_back(const struct fixture *fixture)
{
    for (unsigned int i = 0; i < STANDIN_DEVICES_MAX; i++)
        CU_ASSERT(standin_irq_fd(fixture->standin, i) < 0);
}

void fixture_assert_start_fails(struct fixture *fixture, int timeout_ms)
{
    standin_expect_end(fixture->standin);
    int status = standin_wait(fixture->standin, timeout_ms);
    CU_ASSERT(status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

void fixture_stop_failed(struct fixture *fixture)
{
    int status = standin_stop(fixture->standin);
    fixture->standin = NULL;
    CU_ASSERT(status >= 0);
}

void fixture_stop(struct fixture *fixture)
{
    CU_ASSERT_PTR_NULL(standin_protocol_error(fixture->standin));
    if (!fixture->starter) { /* if a service manager started it, that may keep all files */
        standin_expect_end(fixture->standin);
        kill(standin_pid(fixture->standin), SIGTERM);
        CU_ASSERT(standin_wait(fixture->standin, STOP_MS) >= 0);
        fixture_assert_irqs_taken_back(fixture);
    }
    int status = standin_stop(fixture->standin);
    fixture->standin = NULL;
    CU_ASSERT_FATAL(status >= 0);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

void fixture_free(struct fixture *fixture)
{
    if (fixture->log_fd >= 0) {
        /* After a failure, the log of the device model helps. */
        if (CU_get_number_of_failures() > fixture->failures)
            show_log(fixture);
        close(fixture->log_fd);
    }
    char path[PATH_SIZE + 256];
    DIR *dir = opendir(fixture->dir);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        snprintf(path, sizeof(path), "%s/%s", fixture->dir, entry->d_name);
        unlink(path);
    }
    if (dir)
        closedir(dir);
    rmdir(fixture->dir);
}

static bool is_root(const char *program)
{
    if (geteuid() != 0)
        fprintf(stderr, "%s: root is needed: namespaces and a device model to confine\n", program);
    return geteuid() == 0;
}

bool fixture_own_directory(void)
{
    if (unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
        mount("none", FIXTURE_OWN, "tmpfs", 0, "mode=0755") == 0)
        return true;
    fprintf(stderr, "cannot make a directory that is root's own: %s\n", strerror(errno));
    return false;
}

int fixture_main(int argc, char **argv, const char *suite, CU_TestInfo *tests)
{
    return is_root(argv[0]) ? run_tests(argc, argv, suite, tests) : EXIT_FAILURE;
}

static int use_packed(void)
{
    fixture_format = GUEST_PACKED;
    return 0;
}

int fixture_main_formats(int argc, char **argv, const char *suite, CU_TestInfo *split,
                         CU_TestInfo *packed)
{
    char packed_name[128];
    snprintf(packed_name, sizeof(packed_name), "%s, packed ring", suite);
    CU_SuiteInfo suites[] = {
        {.pName = suite, .pTests = split},
        {.pName = packed_name, .pInitFunc = use_packed, .pTests = packed},
        CU_SUITE_INFO_NULL,
    };
    return is_root(argv[0]) ? run_suites(argc, argv, suites) : EXIT_FAILURE;
}
