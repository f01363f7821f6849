/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/attack/session.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/standin/clock.h"
#include "tests/standin/control_client.h"

#define PATIENCE_MS 60000
#define LOOK_MS 5
#define LOAD_BYTES 1024u
#define SPARSE_SECTORS 32768u /* of a bystander's image, behind its contents; only written */

/* What an attack may cost others: on a busy machine; and, in the long form, on a quiet one. The
 * broker's time is without that for the bystanders' requests. */
#define PAUSE_MS 2000u
#define PAUSE_LONG_MS 50u
#define BROKER_PERCENT 20u
#define BROKER_ONCE_MS                                                                             \
    50u                   /* for an attack that is over at once: a share says nothing about it     \
                           */
#define SHARE_PERCENT 70u /* of what the bystanders did beside a spinning worker */
#define SPIN_PERCENT 40u  /* that, of what they did alone */

static struct session session;

const char *session_programs(void)
{
    const char *elsewhere = getenv("BVDM_ATTACKERS");
    return elsewhere ? elsewhere : ATTACK_PROGRAMS;
}

unsigned int session_flood_ms(void)
{
    return long_form() ? 3000 : 300;
}

/* ---- Bystanders ---- */

static void note_pause(struct bystander *bystander, uint64_t *last_us)
{
    uint64_t now = now_us(), pause = now - *last_us;
    uint64_t longest = atomic_load(&bystander->longest_us);
    while (pause > longest &&
           !atomic_compare_exchange_weak(&bystander->longest_us, &longest, pause))
        ;
    *last_us = now;
}

static bool read_right(struct bystander *bystander, uint64_t n)
{
    uint8_t data[LOAD_BYTES], expected[LOAD_BYTES];
    const uint64_t sector = n * 7 % (FIXTURE_IMAGE_SECTORS - LOAD_BYTES / 512);
    for (unsigned int i = 0; i < LOAD_BYTES / 512; i++)
        fixture_sector(sector + i, expected + (size_t)512 * i);
    int status = guest_block_io(&bystander->block, VIRTIO_BLK_T_IN, sector, data, LOAD_BYTES);
    return status == VIRTIO_BLK_S_OK && memcmp(data, expected, LOAD_BYTES) == 0;
}

/* It writes into a hole, so there must be room left for the hole. */
static bool write_right(struct bystander *bystander, uint64_t n)
{
    uint8_t data[LOAD_BYTES];
    memset(data, (int)(n & 0xff), sizeof(data));
    const uint64_t sector = FIXTURE_IMAGE_SECTORS + n * 8 % (SPARSE_SECTORS - 8);
    return guest_block_io(&bystander->block, VIRTIO_BLK_T_OUT, sector, data, LOAD_BYTES) ==
           VIRTIO_BLK_S_OK;
}

static void *use_device(void *argument)
{
    struct bystander *bystander = argument;
    uint64_t last = now_us();
    for (uint64_t n = 0; !atomic_load(&bystander->ending); n++) {
        if (!(n % 8 == 7 ? write_right(bystander, n) : read_right(bystander, n)))
            atomic_fetch_add(&bystander->wrong, 1);
        note_pause(bystander, &last);
        atomic_fetch_add(&bystander->requests, 1);
        if (!long_form())
            usleep(1000);
    }
    return NULL;
}

static void start_bystander(unsigned int number)
{
    struct bystander *bystander = &session.bystanders[number];
    *bystander = (struct bystander){0};
    fixture_block(&session.fixture, session.victim->devices + number, &bystander->block,
                  GUEST_BLOCK_FEATURES, 1, LOAD_BYTES);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&bystander->thread, NULL, use_device, bystander), 0);
    bystander->running = true;
}

static void stop_bystanders(void)
{
    for (unsigned int i = 0; i < session.bystander_count && i < BYSTANDERS_MAX; i++) {
        struct bystander *bystander = &session.bystanders[i];
        atomic_store(&bystander->ending, 1);
        if (bystander->running)
            pthread_join(bystander->thread, NULL);
        bystander->running = false;
        guest_block_free(&bystander->block);
    }
}

static uint64_t requests_so_far(void)
{
    uint64_t requests = 0;
    for (unsigned int i = 0; i < session.bystander_count; i++)
        requests += atomic_load(&session.bystanders[i].requests);
    return requests;
}

static uint64_t longest_pause_ms(void)
{
    uint64_t longest = 0;
    for (unsigned int i = 0; i < session.bystander_count; i++) {
        uint64_t pause = atomic_load(&session.bystanders[i].longest_us);
        longest = pause > longest ? pause : longest;
    }
    return longest / 1000;
}

/* ---- A session ---- */

/* Processor time of all its threads, in ns. */
static uint64_t processor_ns(pid_t pid)
{
    char path[320];
    uint64_t total = 0;
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *dir = opendir(path);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        unsigned long long ns = 0;
        snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", pid, entry->d_name);
        FILE *file = fopen(path, "re");
        if (file && fscanf(file, "%llu", &ns) == 1)
            total += ns;
        if (file)
            fclose(file);
    }
    if (dir)
        closedir(dir);
    return total;
}

static void make_image(const char *name)
{
    fixture_make_image(&session.fixture, name, FIXTURE_IMAGE_SECTORS);
    int fd = fixture_open(&session.fixture, name);
    CU_ASSERT_EQUAL(ftruncate(fd, 512l * (FIXTURE_IMAGE_SECTORS + SPARSE_SECTORS)), 0);
    close(fd);
}

static void configure(void)
{
    char yaml[4096], name[64];
    int used = snprintf(yaml, sizeof(yaml), "devices:\n%s", session.victim->yaml);
    for (unsigned int i = 0; i < session.bystander_count; i++) {
        unsigned int id = session.victim->devices + i;
        snprintf(name, sizeof(name), "%s%sbystander%u.img",
                 session.victim->folder ? session.victim->folder : "",
                 session.victim->folder ? "/" : "", i);
        make_image(name);
        used += snprintf(yaml + used, sizeof(yaml) - (size_t)used,
                         "  - id: %u\n    type: block\n    data_plane: virtio\n"
                         "    mmio_addr: 0x%llx\n    file_path: \"@/%s\"\n",
                         id, (unsigned long long)fixture_base(id), name);
    }
    CU_ASSERT_FATAL((size_t)used < sizeof(yaml));
    fixture_configure(&session.fixture, yaml);
}

static uint64_t rate_for(unsigned int ms)
{
    uint64_t before = requests_so_far(), since = now_us();
    usleep(ms * 1000);
    return (requests_so_far() - before) * 1000000 / (now_us() - since);
}

/* Measures the bystanders' fair share of the processors: what they do beside a worker that takes
 * all the time it can get, and does nothing else. */
static void measure_rates(void)
{
    session.calm_rate = rate_for(2 * session_flood_ms());
    session_attack(&session, 0, ATTACK_spin, 0);
    session.spin_rate = rate_for(2 * session_flood_ms());
    printf("\n    @attack %s: bystanders: %llu requests a second alone, %llu beside one that spins",
           session.victim->name, (unsigned long long)session.calm_rate,
           (unsigned long long)session.spin_rate);
    CU_ASSERT(session.spin_rate * 100 >= session.calm_rate * SPIN_PERCENT);
    session_replace(&session);
}

/* The broker also serves the bystanders. What that takes depends on the machine: if an emulated one
 * has little time of its host's, the processor's time counts what others had meanwhile. */
static void measure_request(void)
{
    const uint64_t requests = requests_so_far(), ns = processor_ns(session.fixture.broker);
    usleep(session_flood_ms() * 1000);
    const uint64_t served = requests_so_far() - requests;
    session.request_ns = served > 0 ? (processor_ns(session.fixture.broker) - ns) / served : 0;
}

static void begin(const struct victim *victim)
{
    session = (struct session){
        .victim = victim,
        .failures = CU_get_number_of_failures(),
        .bystander_count = long_form() ? BYSTANDERS_MAX : 1,
    };
    fixture_init(&session.fixture);
    session.fixture.programs = session_programs();
    if (victim->prepare)
        victim->prepare(&session);
    configure();
    unsigned int devices = victim->devices + session.bystander_count;
    fixture_start(&session.fixture, devices, devices);
    victim->start(&session);
    victim->serves(&session);
    for (unsigned int i = 0; i < session.bystander_count; i++)
        start_bystander(i);
    measure_request();
    if (long_form())
        measure_rates();
}

void session_end(void)
{
    if (!session.victim)
        return;
    bool good = CU_get_number_of_failures() == session.failures;
    const struct victim *victim = session.victim;
    stop_bystanders();
    if (victim->free)
        victim->free(&session);
    if (session.fixture.standin) {
        if (good)
            fixture_stop(&session.fixture);
        else /* it may end in any way: the error was already reported */
            (void)standin_stop(session.fixture.standin);
    }
    if (victim->clean_up)
        victim->clean_up(&session);
    fixture_free(&session.fixture);
    session.victim = NULL;
}

struct session *session_of(const struct victim *victim)
{
    if (session.victim &&
        (session.victim != victim || CU_get_number_of_failures() != session.failures))
        session_end();
    if (!session.victim)
        begin(victim);
    return &session;
}

/* ---- Attacks ---- */

struct attack_report *session_report(struct session *of, unsigned int device)
{
    uint8_t *window = standin_window(of->fixture.standin, device);
    return (struct attack_report *)(void *)(window + FIXTURE_SHMEM_SIZE - ATTACK_REPORT_SIZE);
}

int session_read(struct session *of, uint64_t offset, unsigned int width, uint64_t *ret_value,
                 int timeout_ms)
{
    *ret_value = 0;
    return standin_read(of->fixture.standin, 0, fixture_base(0) + offset, width, ret_value,
                        timeout_ms);
}

void session_attack(struct session *of, unsigned int device, enum attack attack, uint64_t argument)
{
    struct attack_report *report = session_report(of, device);
    atomic_store(&report->begun, ATTACK_NONE);
    atomic_store(&report->over, 0);
    atomic_store(&report->calls, 0);
    atomic_store(&report->done, 0);
    atomic_store(&report->error, 0);
    report->argument = argument;
    int result = standin_write(of->fixture.standin, device, fixture_base(device) + ATTACK_REGISTER,
                               4, attack, PATIENCE_MS);
    CU_ASSERT_EQUAL_FATAL(result, 0);
    uint64_t end = now_ms() + PATIENCE_MS;
    while (atomic_load(&report->begun) != (uint32_t)attack && now_ms() < end)
        usleep(200);
    CU_ASSERT_EQUAL_FATAL(atomic_load(&report->begun), attack);
}

void session_watch(struct session *of, struct watch *watch)
{
    for (unsigned int i = 0; i < of->bystander_count; i++)
        atomic_store(&of->bystanders[i].longest_us, 0);
    *watch = (struct watch){
        .since_ns = now_ns(),
        .broker_ns = processor_ns(of->fixture.broker),
        .calls = atomic_load(&session_report(of, 0)->calls),
        .requests = requests_so_far(),
    };
}

uint64_t session_judge(struct session *of, const struct watch *watch, enum attack attack)
{
    static const char *const names[ATTACK_COUNT] = {
#define X(name, words) [ATTACK_##name] = #name,
        ATTACKS(X)
#undef X
    };
    const uint64_t ns = now_ns() - watch->since_ns;
    const uint64_t calls = atomic_load(&session_report(of, 0)->calls) - watch->calls;
    const uint64_t requests = requests_so_far() - watch->requests;
    const uint64_t rate = requests * 1000000000 / ns;
    const uint64_t used_ns = processor_ns(of->fixture.broker) - watch->broker_ns;
    const uint64_t served_ns = requests * of->request_ns;
    const uint64_t broker_ns = used_ns > served_ns ? used_ns - served_ns : 0;
    const uint64_t broker = broker_ns * 100 / ns;
    const uint64_t pause = longest_pause_ms();
    printf("\n    @attack %s, %s: %llu calls a second, broker %llu %% (%llu of %llu ms), "
           "bystanders %llu requests a "
           "second, longest pause %llu ms ... ",
           of->victim->name, names[attack], (unsigned long long)(calls * 1000000000 / ns),
           (unsigned long long)broker, (unsigned long long)(broker_ns / 1000000),
           (unsigned long long)(ns / 1000000), (unsigned long long)rate, (unsigned long long)pause);
    CU_ASSERT(pause <= (long_form() ? PAUSE_LONG_MS : PAUSE_MS));
    /* In the long form the bystanders ask for all that they can get. So their rate is judged
     * instead. */
    if (long_form())
        CU_ASSERT(rate * 100 >= of->spin_rate * SHARE_PERCENT);
    if (!long_form())
        CU_ASSERT(broker <= BROKER_PERCENT || broker_ns <= BROKER_ONCE_MS * 1000000ull);
    return calls;
}

void session_assert_unnoticed(struct session *of)
{
    CU_ASSERT_EQUAL(standin_find_process(of->fixture.standin, "bao-virtio-broker", 0),
                    of->fixture.broker);
    CU_ASSERT_PTR_NULL(standin_protocol_error(of->fixture.standin));
    for (unsigned int i = 0; i < of->bystander_count; i++) {
        struct bystander *bystander = &of->bystanders[i];
        unsigned int id = of->victim->devices + i;
        uint64_t before = atomic_load(&bystander->requests), end = now_ms() + PATIENCE_MS;
        while (atomic_load(&bystander->requests) == before && now_ms() < end)
            usleep(LOOK_MS * 1000);
        CU_ASSERT(atomic_load(&bystander->requests) > before);
        CU_ASSERT_EQUAL(atomic_load(&bystander->wrong), 0);
        CU_ASSERT_EQUAL(fixture_worker(&of->fixture, id), of->fixture.workers[id]);
    }
}

/* The limit is a time: looking for a process takes time, too. */
pid_t session_wait_worker(struct session *of, unsigned int device, pid_t before)
{
    pid_t pid = -1;
    for (uint64_t end = now_ms() + PATIENCE_MS; now_ms() < end; usleep(LOOK_MS * 1000)) {
        pid = fixture_worker(&of->fixture, device);
        if (pid > 0 && pid != before)
            break;
    }
    CU_ASSERT_FATAL(pid > 0 && pid != before);
    return pid;
}

pid_t session_wait_successor(struct session *of, pid_t before)
{
    return session_wait_worker(of, 0, before);
}

static void replace(struct session *of, unsigned int device)
{
    char path[96];
    struct control_reply reply;
    struct attack_report *report = session_report(of, device);
    pid_t before = fixture_worker(&of->fixture, device);
    int result = -EAGAIN;
    memset(report, 0, sizeof(*report));
    snprintf(path, sizeof(path), "%s/control", of->fixture.dir);
    for (uint64_t end = now_ms() + PATIENCE_MS; result == -EAGAIN && now_ms() < end;) {
        result = control_client_ask(path, CONTROL_RESTART, device, &reply);
        if (result == -EAGAIN)
            usleep(LOOK_MS * 1000);
    }
    CU_ASSERT_EQUAL_FATAL(result, 0);
    session_wait_worker(of, device, before);
}

void session_replace(struct session *of)
{
    for (unsigned int i = 0; i < of->victim->devices; i++)
        replace(of, i);
    of->victim->start(of);
    of->victim->serves(of);
    session_assert_unnoticed(of);
}

void session_flood(const struct victim *victim, enum attack attack, uint64_t argument)
{
    struct session *of = session_of(victim);
    struct watch watch;
    session_attack(of, 0, attack, argument);
    session_watch(of, &watch);
    usleep(session_flood_ms() * 1000);
    /* On a busy machine the worker may not have made its first call yet. */
    uint64_t end = now_ms() + PATIENCE_MS;
    while (atomic_load(&session_report(of, 0)->calls) == watch.calls && now_ms() < end)
        usleep(LOOK_MS * 1000);
    CU_ASSERT(session_judge(of, &watch, attack) > 0);
    session_replace(of);
}
