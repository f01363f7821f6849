/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_dmctl.c, which includes it: the cases of `status` and `stats`. */
#ifndef TESTS_UNIT_DMCTL_CASES_H
#define TESTS_UNIT_DMCTL_CASES_H

#include "tests/unit/dmctl_under_test.h"

/* ---- Status ---- */

#define RNG_TEXT                                                                                   \
    "rng 0 (virtio), registers at 0x0, window of 0x0 bytes at 0x0\n"                               \
    "  dispatcher  generation B of Bao's driver\n"                                                 \
    "  worker      waiting to be started; 0 restarts\n"                                            \
    "  driver      none, status 0x0, features 0x0\n"
#define VSOCK_TEXT                                                                                 \
    "vsock 3 (virtio), registers at 0xa003e00, window of 0x1000000 bytes at 0x80000000\n"          \
    "  dispatcher  generation D of Bao's driver, which has given the device up\n"                  \
    "  worker      running, pid 4711, for 1 min 1 s; 2 restarts, last death: killed by SIGSYS\n"   \
    "  trouble     no \"tap\"\n"                                                                   \
    "  confined by fds, mdwe\n"                                                                    \
    "  without     uid, capabilities, no_new_privs, empty root, seccomp, namespaces, session, "    \
    "rlimits, not dumpable, keyring, user namespace, landlock\n"                                   \
    "  limits      memory.max, cpu.weight; not available: pids.max\n"                              \
    "  cache       unsafe\n"                                                                       \
    "  driver      running, status 0xf, features 0x400000000\n"                                    \
    "  connections up to 64, memory for them 34880 KiB\n"                                          \
    "  queue 0     ready, size 256, taken 3, used 2\n"                                             \
    "  queue 1     not ready, size 128, taken 1, used 0\n"

#define RNG_JSON                                                                                   \
    "  {\"device\": \"rng 0\", \"id\": 0, \"data_plane\": \"virtio\", \"virtio_id\": 4,\n"         \
    "   \"mmio_addr\": 0, \"shmem_addr\": 0, \"shmem_size\": 0,\n"                                 \
    "   \"dispatcher\": {\"generation\": \"B\", \"gone\": false},\n"                               \
    "   \"worker\": {\"phase\": \"waiting to be started\", \"pid\": 0, \"uptime_ms\": 0, "         \
    "\"restarts\": 0, \"last_death\": \"\", \"layers\": [], \"cgroup\": false, \"limits\": []},\n" \
    "   \"trouble\": \"\",\n"                                                                      \
    "   \"driver\": {\"state\": \"none\", \"status\": 0, \"features\": 0},\n"                      \
    "   \"queues\": []}"
#define VSOCK_JSON                                                                                 \
    "  {\"device\": \"vsock 3\", \"id\": 3, \"data_plane\": \"virtio\", \"virtio_id\": 19,\n"      \
    "   \"mmio_addr\": 167788032, \"shmem_addr\": 2147483648, \"shmem_size\": 16777216,\n"         \
    "   \"dispatcher\": {\"generation\": \"D\", \"gone\": true},\n"                                \
    "   \"worker\": {\"phase\": \"running\", \"pid\": 4711, \"uptime_ms\": 61500, "                \
    "\"restarts\": 2, \"last_death\": \"killed by SIGSYS\", \"layers\": [\"fds\", \"mdwe\"], "     \
    "\"cgroup\": true, \"limits\": [\"memory.max\", \"cpu.weight\"]},\n"                           \
    "   \"trouble\": \"no \\\"tap\\\"\",\n"                                                        \
    "   \"cache\": \"unsafe\",\n"                                                                  \
    "   \"driver\": {\"state\": \"running\", \"status\": 15, \"features\": 17179869184},\n"        \
    "   \"connections\": {\"max\": 64, \"memory_kib\": 34880},\n"                                  \
    "   \"queues\": [{\"ready\": true, \"size\": 256, \"next_avail\": 3, \"next_used\": 2}, "      \
    "{\"ready\": false, \"size\": 128, \"next_avail\": 1, \"next_used\": 0}]}"

static void status_says_all_of_each_device(void)
{
    begin();
    prints("status", RNG_TEXT VSOCK_TEXT);
    prints("status 3", VSOCK_TEXT);
    prints("status 0", RNG_TEXT);
    prints("status --json", "[\n" RNG_JSON ",\n" VSOCK_JSON "\n]\n");
    prints("--control vm status --json 3", "[\n" VSOCK_JSON "\n]\n");
    CU_ASSERT_EQUAL(asked[0].version, CONTROL_VERSION);
    CU_ASSERT_EQUAL(asked[0].verb, CONTROL_STATUS);
    CU_ASSERT(asked[0].index == 0 && asked[1].index == 1 && asked[2].index == 2);
    CU_ASSERT_EQUAL(asked[0].reserved, 0);
    end();
}

static unsigned int times_in(const char *text, const char *words)
{
    unsigned int times = 0;
    while ((text = strstr(text, words))) {
        text += strlen(words);
        times++;
    }
    return times;
}

static void has_line(const char *line)
{
    CU_ASSERT_EQUAL(run("status 3"), EXIT_SUCCESS);
    if (!strstr(out.text, line))
        CU_FAIL(line);
}

static void status_says_how_long(void)
{
    static const struct {
        uint64_t ms;
        const char *words;
    } times[] = {
        {0, " for 0.0 s;"},
        {100, " for 0.1 s;"},
        {999, " for 0.9 s;"},
        {59999, " for 59.9 s;"},
        {60000, " for 1 min 0 s;"},
        {3599999, " for 59 min 59 s;"},
        {3600000, " for 1 h 0 min;"},
        {86399999, " for 23 h 59 min;"},
        {86400000, " for 1 d 0 h;"},
        {180000000, " for 2 d 2 h;"},
        {2000, " for 2.0 s;"},
        {120000, " for 2 min 0 s;"},
        {3660000, " for 1 h 1 min;"},
        {7199999, " for 1 h 59 min;"},
        {7200000, " for 2 h 0 min;"},
        {90000000, " for 1 d 1 h;"},
        {172799999, " for 1 d 23 h;"},
        {172800000, " for 2 d 0 h;"},
    };
    begin();
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        devices[1].uptime_ms = times[i].ms;
        has_line(times[i].words);
    }
    end();
}

static void status_says_how_far(void)
{
    begin();
    devices[1].uptime_ms = 172800000;
    devices[1].pid = 1;
    has_line("worker      running, pid 1, for 2 d 0 h; 2 restarts");
    has_line("  limits      memory.max");
    devices[1].status = 1;
    has_line("driver      starting, status 0x1,");
    devices[1].status = VIRTIO_CONFIG_S_FAILED | VIRTIO_CONFIG_S_DRIVER_OK;
    has_line("driver      failed,");
    devices[1].status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    has_line("driver      needs a reset,");
    devices[1].phase = CONTROL_STARTING;
    has_line("worker      starting,");
    devices[1].phase = CONTROL_ENDING;
    has_line("worker      ending,");
    devices[1].phase = CONTROL_ENDING + 1;
    has_line("worker      unknown,");
    strcpy(devices[1].trouble, "x");
    has_line("  trouble     x\n");
    strcpy(devices[1].cache, "y");
    has_line("  cache       y\n");
    strcpy(devices[1].last_death, "z");
    has_line("restarts, last death: z\n");
    CU_ASSERT_EQUAL(run("status 3 --json"), EXIT_SUCCESS);
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "   \"cache\": \"y\",\n"));
    devices[1].connections = 1;
    has_line("  connections up to 1, memory for them 545 KiB\n");
    CU_ASSERT_EQUAL(run("status 3 --json"), EXIT_SUCCESS);
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "\"connections\": {\"max\": 1, \"memory_kib\": 545}"));
    devices[1].restarts = 1;
    has_line("; 1 restart, last death");
    devices[1].features = 0;
    has_line("taken 32771, used 32770"); /* of a split ring */
    end();
}

static void status_says_what_confines(void)
{
    begin();
    devices[1].cgroup = 0;
    has_line("limits      none: it has no cgroup of its own\n");
    devices[1].cgroup = CGROUP_OWN;
    has_line("limits      none; not available: memory.max, pids.max, cpu.weight\n");
    devices[1].cgroup = CGROUP_OWN | 7;
    has_line("limits      memory.max, pids.max, cpu.weight\n");
    devices[1].layers = (1u << LAYER_COUNT) - 1;
    has_line("mdwe\n  limits"); /* nothing is missing */
    devices[1].layers = 1;
    has_line("  confined by fds\n  without     uid, ");
    devices[1].layers = UINT32_MAX; /* some of which nobody knows */
    CU_ASSERT_EQUAL(run("status 3 --json"), EXIT_SUCCESS);
    CU_ASSERT_PTR_NOT_NULL(strstr(
        out.text, "\"layers\": [\"fds\", \"uid\", \"capabilities\", \"no_new_privs\", "
                  "\"empty root\", \"seccomp\", \"namespaces\", \"session\", \"rlimits\", \"not "
                  "dumpable\", \"keyring\", \"user namespace\", \"landlock\", \"mdwe\"], "));
    end();
}

static void status_believes_no_number(void)
{
    begin();
    devices[1].queue_count = 1000;
    has_line("queue 15 ");
    CU_ASSERT_PTR_NULL(strstr(out.text, "queue 16 "));
    CU_ASSERT_EQUAL(run("status 3 --json"), EXIT_SUCCESS);
    CU_ASSERT_EQUAL(times_in(out.text, "\"next_used\""), STATE_QUEUES_MAX);
    devices[1].kind = DEVICE_KINDS;
    devices[1].generation = BAO_GENERATIONS;
    has_line("vsock 3 (unknown),");
    has_line("generation unknown of");
    end();
}

/* The state page is a worker's, and the broker's texts may hold names of files. */
static void json_text_is_escaped(void)
{
    begin();
    strcpy(devices[1].trouble, "a\"b\\c\n\x1f\x7f\x7e\x20\xc3");
    CU_ASSERT_EQUAL(run("status 3 --json"), EXIT_SUCCESS);
    CU_ASSERT_PTR_NOT_NULL(
        strstr(out.text, "\"trouble\": \"a\\\"b\\\\c\\u000a\\u001f\\u007f~ \\u00c3\",\n"));
    end();
}

/* It was printed so often, between these words. */
static void has_run_of(char letter, size_t times, const char *before, const char *after)
{
    char words[600] = "";
    memset(words + strlen(before), letter, times);
    memcpy(words, before, strlen(before));
    strcpy(words + strlen(before) + times, after);
    const char *at = strstr(out.text, words);
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    CU_ASSERT(at == out.text || at[-1] != letter);
}

static void texts_without_an_end_are_cut(void)
{
    begin();
    memset(devices[1].name, 'n', sizeof(devices[1].name));
    memset(devices[1].last_death, 'd', sizeof(devices[1].last_death));
    memset(devices[1].trouble, 't', sizeof(devices[1].trouble));
    memset(devices[1].cache, 'c', sizeof(devices[1].cache));
    memset(config, 'f', sizeof(config));
    CU_ASSERT_EQUAL(run("status --all"), EXIT_SUCCESS);
    has_run_of('f', sizeof(config) - 1, "", ": process 812, ");
    CU_ASSERT_EQUAL(run("status 3"), EXIT_SUCCESS);
    has_run_of('n', sizeof(devices[1].name) - 1, "", " (virtio), registers");
    has_run_of('d', sizeof(devices[1].last_death) - 1, "last death: ", "\n");
    has_run_of('t', sizeof(devices[1].trouble) - 1, "  trouble     ", "\n");
    has_run_of('c', sizeof(devices[1].cache) - 1, "  cache       ", "\n");
    end();
}

/* ---- Stats ---- */

static void stats_counts_since_the_start(void)
{
    begin();
    prints("stats 3",
           "in all            requests      bytes in     bytes out         kicks        wanted    "
           "suppressed    interrupts     registers        errors       lost in      lost out\n"
           "vsock 3                100          1000          2000            30             6    "
           "         7             5             8             9            10            11\n");
    prints("stats --json",
           "{\"per_second\": false, \"devices\": [\n"
           "  {\"device\": \"rng 0\", \"id\": 0, \"requests\": 0, \"bytes_in\": 0, \"bytes_out\": "
           "0, \"kicks\": 0, \"interrupts_sent\": 0, \"interrupts_suppressed\": 0, "
           "\"interrupts_raised\": 0, \"register_accesses\": 0, \"guest_errors\": 0, "
           "\"dropped_in\": 0, \"dropped_out\": 0},\n"
           "  {\"device\": \"vsock 3\", \"id\": 3, \"requests\": 100, \"bytes_in\": 1000, "
           "\"bytes_out\": 2000, \"kicks\": 30, \"interrupts_sent\": 6, \"interrupts_suppressed\": "
           "7, \"interrupts_raised\": 5, \"register_accesses\": 8, \"guest_errors\": 9, "
           "\"dropped_in\": 10, \"dropped_out\": 11}\n]}\n");
    end();
}

static void rates_are_differences_by_time(void)
{
    struct snapshot before = {.count = 2, .at = 10.0}, now = {.count = 3, .at = 14.0};
    before.devices[0] = before.devices[1] = a_vsock();
    before.devices[0].id = 9;
    now.devices[0] = a_vsock();
    now.devices[0].counters.requests += 12;
    now.devices[0].counters.bytes_in -= 1; /* a new page */
    now.devices[1] = a_vsock();
    now.devices[1].id = 9;
    now.devices[2] = a_vsock();
    now.devices[2].id = 5; /* it was not there before */
    before.devices[2] = now.devices[2];
    said_begin(&out, STDOUT_FILENO);
    stats_print(&now, &before, false);
    said_end(&out);
    CU_ASSERT_EQUAL(strncmp(out.text, "a second          requests      bytes in ", 41), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "\nvsock 3                  3             0"));
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "\nvsock 3                  0             0"));
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "\nvsock 3                100          1000"));
    said_begin(&out, STDOUT_FILENO);
    stats_print(&now, &before, true);
    said_end(&out);
    CU_ASSERT_EQUAL(strncmp(out.text, "{\"per_second\": true, \"devices\": [\n  {", 36), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "\"id\": 3, \"requests\": 3, \"bytes_in\": 0,"));
    before.at = 13.5; /* half a second */
    said_begin(&out, STDOUT_FILENO);
    stats_print(&now, &before, true);
    said_end(&out);
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "\"id\": 3, \"requests\": 24,"));
    before.at = 14.0; /* no time has passed */
    said_begin(&out, STDOUT_FILENO);
    stats_print(&now, &before, true);
    said_end(&out);
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "\"id\": 3, \"requests\": 0,"));
}

static void watching_prints_each_interval(void)
{
    begin();
    answers_left = 9; /* three snapshots of two devices and an end */
    CU_ASSERT_EQUAL(run("stats --watch 5"), EXIT_FAILURE);
    CU_ASSERT_EQUAL(sleeps, 3);
    CU_ASSERT_EQUAL(naps, 5);
    const char *second = strstr(out.text, "a second");
    CU_ASSERT_PTR_EQUAL(second, out.text);
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text + 1, "\na second"));
    CU_ASSERT_PTR_NULL(strstr(strstr(out.text + 1, "\na second") + 2, "\na second"));
    answers_left = 3;
    CU_ASSERT_EQUAL(run("stats --watch"), EXIT_FAILURE);
    CU_ASSERT_EQUAL(naps, 1);
    answers_left = 3;
    CU_ASSERT_EQUAL(run("stats --watch 1"), EXIT_FAILURE);
    CU_ASSERT_EQUAL(naps, 1);
    answers_left = 3;
    CU_ASSERT_EQUAL(run("stats --watch 010"), EXIT_FAILURE); /* as people write tens */
    CU_ASSERT_EQUAL(naps, 10);
    answers_left = 3;
    CU_ASSERT_EQUAL(run("stats --watch 3600"), EXIT_FAILURE);
    CU_ASSERT_EQUAL(naps, 3600);
    complains("stats --watch 0",
              "bao-dmctl: --watch takes from 1 to 3600 seconds: see bao-dmctl --help\n");
    complains("stats --watch 3601",
              "bao-dmctl: --watch takes from 1 to 3600 seconds: see bao-dmctl --help\n");
    end();
}

/* Each time it compares with the time before. */
static void watching_compares_with_the_last_time(void)
{
    begin();
    growth = 40;
    answers_left = 9;
    CU_ASSERT_EQUAL(run("stats --watch 5"), EXIT_FAILURE);
    CU_ASSERT_EQUAL(times_in(out.text, "\nvsock 3                  8             0 "), 2);
    CU_ASSERT_EQUAL(times_in(out.text, "\nrng 0                    8             0 "), 2);
    end();
}

/* Run it on a disk that is full. */
static int run_on_full_disk(const char *words)
{
    int before = dup(STDOUT_FILENO), full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    fflush(stdout);
    CU_ASSERT_EQUAL_FATAL(dup2(full, STDOUT_FILENO), STDOUT_FILENO);
    int status = run_bare(words);
    __fpurge(stdout);
    clearerr(stdout);
    CU_ASSERT_EQUAL(dup2(before, STDOUT_FILENO), STDOUT_FILENO);
    close(before);
    close(full);
    return status;
}

/* What was piped to a program that has ended, or to a full disk, goes on for nobody. */
static void watching_ends_with_its_reader(void)
{
    begin();
    answers_left = 30;
    CU_ASSERT_EQUAL(run_on_full_disk("stats --watch 5"), EXIT_FAILURE);
    CU_ASSERT_EQUAL(sleeps, 1);
    end();
}

static void what_cannot_be_written_is_no_success(void)
{
    static const char *const all[] = {"status", "status --json", "stats", "--help"};
    for (unsigned int i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        begin();
        CU_ASSERT_EQUAL(run_on_full_disk(all[i]), EXIT_FAILURE);
        end();
    }
}

static void openmetrics_has_every_counter_and_state(void)
{
    static const char *const lines[] = {
        "# TYPE bao_virtio_requests counter\n# HELP bao_virtio_requests Requests that the worker "
        "has completed.\nbao_virtio_requests_total{device=\"rng 0\",id=\"0\"} "
        "0\nbao_virtio_requests_total{device=\"vsock 3\",id=\"3\"} 100\n# TYPE bao_virtio_bytes_in "
        "counter\n",
        "bao_virtio_bytes_in_total{device=\"vsock 3\",id=\"3\"} 1000\n",
        "bao_virtio_interrupts_raised_total{device=\"vsock 3\",id=\"3\"} 5\n",
        "bao_virtio_dropped_out_total{device=\"vsock 3\",id=\"3\"} 11\n",
        "# TYPE bao_virtio_worker_restarts counter\n# HELP bao_virtio_worker_restarts Workers that "
        "were replaced since the broker started.\nbao_virtio_worker_restarts_total{device=\"rng "
        "0\",id=\"0\"} 0\nbao_virtio_worker_restarts_total{device=\"vsock 3\",id=\"3\"} 2\n",
        "# TYPE bao_virtio_worker_running gauge\n# HELP bao_virtio_worker_running 1 while the "
        "device has a worker at work.\nbao_virtio_worker_running{device=\"rng 0\",id=\"0\"} "
        "0\nbao_virtio_worker_running{device=\"vsock 3\",id=\"3\"} 1\n",
        "# TYPE bao_virtio_driver_status gauge\n# HELP bao_virtio_driver_status The device's "
        "status "
        "register, VirtIO 1.2 section 2.1.\nbao_virtio_driver_status{device=\"rng 0\",id=\"0\"} "
        "0\nbao_virtio_driver_status{device=\"vsock 3\",id=\"3\"} 15\n",
        "# TYPE bao_virtio_trouble gauge\n# HELP bao_virtio_trouble 1 while something that the "
        "device needs can't work: see status.\nbao_virtio_trouble{device=\"rng 0\",id=\"0\"} "
        "0\nbao_virtio_trouble{device=\"vsock 3\",id=\"3\"} 1\n# EOF\n",
    };
    begin();
    strcpy(devices[1].trouble, "x");
    CU_ASSERT_EQUAL(run("stats --openmetrics"), EXIT_SUCCESS);
    const char *at = out.text;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        const char *next = at ? strstr(at, lines[i]) : NULL;
        if (!next)
            CU_FAIL(lines[i]);
        at = next;
    }
    CU_ASSERT_EQUAL(times_in(out.text, "\n"), 15 * (2 + 2) + 1); /* two lines, and two devices */
    end();
}

#endif
