/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bao-dmctl and the control socket. What it says is true, and what it is asked to do is done. A
 * user who may not ask is refused. A guest feels nothing of what a client sends or fails to do.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/control.h"
#include "tests/standin/control_client.h"
#include "tests/standin/fixture.h"

#define DMCTL PROGRAM_DIR "/bao-dmctl"
#define NOBODY 65534u

struct said {
    int status;
    char text[8192];
};

/* Run bao-dmctl on the fixture's socket, as a user. */
static struct said dmctl_as(const struct fixture *fixture, unsigned int user, const char *arguments)
{
    struct said said = {0};
    char command[4096];
    snprintf(command, sizeof(command),
             "setpriv --reuid %u --clear-groups " DMCTL " --control %s/control %s 2>&1", user,
             fixture->dir, arguments);
    FILE *pipe = popen(command, "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(pipe);
    size_t length = fread(said.text, 1, sizeof(said.text) - 1, pipe);
    said.text[length] = '\0';
    said.status = WEXITSTATUS(pclose(pipe));
    return said;
}

static struct said dmctl(const struct fixture *fixture, const char *arguments)
{
    return dmctl_as(fixture, 0, arguments);
}

static bool says(const struct said *said, const char *words)
{
    bool found = strstr(said->text, words) != NULL;
    if (!found)
        fprintf(stderr, "\nnot in what it says: %s\n%s\n", words, said->text);
    return found;
}

static void start(struct fixture *fixture, const char *mode)
{
    fixture_init(fixture);
    fixture_configure_blocks(fixture, 2);
    fixture->control_mode = mode;
    fixture_start(fixture, 2, 2);
}

static void stop(struct fixture *fixture)
{
    fixture_stop(fixture);
    fixture_free(fixture);
}

static void status_names_devices_workers_layers_and_drivers(void)
{
    struct fixture fixture;
    struct guest_block block;
    char words[64];
    start(&fixture, "0600");
    fixture_block(&fixture, 1, &block, GUEST_BLOCK_FEATURES, 4, 512);
    struct said said = dmctl(&fixture, "status");
    CU_ASSERT_EQUAL(said.status, 0);
    CU_ASSERT(says(&said, "block 0 (virtio), registers at 0xa003e00"));
    CU_ASSERT(says(&said, "block 1 (virtio), registers at 0xa004000"));
    snprintf(words, sizeof(words), "running, pid %d, for ", fixture.workers[0]);
    CU_ASSERT(says(&said, words));
    CU_ASSERT(says(&said, "confined by fds, uid, capabilities, no_new_privs, empty root, seccomp"));
    CU_ASSERT(says(&said, "limits      "));
    CU_ASSERT(says(&said, "driver      none, status 0x0"));
    CU_ASSERT(says(&said, "driver      running, status 0xf"));
    said = dmctl(&fixture, "status 1");
    CU_ASSERT_PTR_NULL(strstr(said.text, "block 0"));
    CU_ASSERT(says(&said, "queue 0     ready, size 256"));
    said = dmctl(&fixture, "status 7");
    CU_ASSERT_EQUAL(said.status, 1);
    CU_ASSERT(says(&said, "no device has id 7"));
    guest_block_free(&block);
    fixture_assert_never_restarted(&fixture);
    stop(&fixture);
}

static void json_is_read_by_a_json_reader(void)
{
    struct fixture fixture;
    char command[4096];
    static const char *const programs[][2] = {
        {"status --json",
         "d=json.load(sys.stdin); assert d[1]['device']=='block 1'; assert "
         "d[0]['worker']['phase']=='running'; assert 'seccomp' in "
         "d[0]['worker']['layers']; assert len(d[0]['queues'])==1; w=d[0]['worker']; "
         "assert w['cgroup'] or w['limits']==[]"},
        {"stats --json", "d=json.load(sys.stdin); assert d['per_second'] is False; assert "
                         "d['devices'][0]['register_accesses']>=1"},
    };
    start(&fixture, "0600");
    for (size_t i = 0; i < 2; i++) {
        snprintf(command, sizeof(command),
                 DMCTL " --control %s/control %s | python3 -c \"import json,sys; %s\"", fixture.dir,
                 programs[i][0], programs[i][1]);
        CU_ASSERT_EQUAL(system(command), 0);
    }
    stop(&fixture);
}

/* The grammar of OpenMetrics 1.0 for counters and gauges: the lines of a family stand together, a
 * counter's sample ends in _total, and the text ends in # EOF. */
static void openmetrics_is_read_by_a_collector(void)
{
    static const char reader[] =
        "import re,sys\n"
        "lines=sys.stdin.read().split('\\n')\n"
        "assert lines[-2:]==['# EOF',''], lines[-2:]\n"
        "families={}; current=None; values={}\n"
        "for line in lines[:-2]:\n"
        "    m=re.fullmatch(r'# (TYPE|HELP) ([a-z_]+) (.+)',line)\n"
        "    if m:\n"
        "        current=m[2]\n"
        "        if m[1]=='TYPE': assert current not in families, current; families[current]=m[3]\n"
        "        continue\n"
        "    m=re.fullmatch(r'([a-z_]+)\\{device=\"([a-z]+ [0-9]+)\",id=\"([0-9]+)\"\\} "
        "([0-9]+)',line)\n"
        "    assert m, line\n"
        "    assert m[1]==current+('_total' if families[current]=='counter' else ''), line\n"
        "    values[m[1],m[3]]=int(m[4])\n"
        "assert len(values)==2*len(families), values\n"
        "assert values['bao_virtio_requests_total','0']==3\n"
        "assert values['bao_virtio_bytes_in_total','0']==3*512\n"
        "assert values['bao_virtio_requests_total','1']==0\n"
        "assert values['bao_virtio_worker_running','1']==1\n"
        "assert values['bao_virtio_driver_status','0']==15\n";
    struct fixture fixture;
    struct guest_block block;
    uint8_t data[512];
    char path[96], command[512];
    start(&fixture, "0600");
    fixture_block(&fixture, 0, &block, GUEST_BLOCK_FEATURES, 4, 512);
    for (unsigned int i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_IN, i, data, 512), VIRTIO_BLK_S_OK);
    snprintf(path, sizeof(path), "%s/reader.py", fixture.dir);
    FILE *file = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs(reader, file);
    fclose(file);
    snprintf(command, sizeof(command),
             DMCTL " --control %s/control stats --openmetrics | python3 %s", fixture.dir, path);
    CU_ASSERT_EQUAL(system(command), 0);
    CU_ASSERT_EQUAL(dmctl(&fixture, "stats --openmetrics --json").status, 1);
    CU_ASSERT_EQUAL(dmctl(&fixture, "status --openmetrics").status, 1);
    unlink(path);
    guest_block_free(&block);
    stop(&fixture);
}

static void stats_count_what_the_guest_did(void)
{
    struct fixture fixture;
    struct guest_block block;
    uint8_t data[512];
    unsigned long requests = 0, in = 0, out = 0;
    start(&fixture, "0600");
    fixture_block(&fixture, 0, &block, GUEST_BLOCK_FEATURES, 4, 512);
    for (unsigned int i = 0; i < 10; i++)
        CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_IN, i, data, 512), VIRTIO_BLK_S_OK);
    for (unsigned int i = 0; i < 5; i++)
        CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_OUT, i, data, 512), VIRTIO_BLK_S_OK);
    struct said said = dmctl(&fixture, "stats 0");
    const char *line = strstr(said.text, "block 0");
    CU_ASSERT_PTR_NOT_NULL_FATAL(line);
    CU_ASSERT_EQUAL(sscanf(line, "block 0 %lu %lu %lu", &requests, &in, &out), 3);
    CU_ASSERT_EQUAL(requests, 15);
    CU_ASSERT_EQUAL(in, 10 * 512);
    CU_ASSERT_EQUAL(out, 5 * 512);
    guest_block_free(&block);
    stop(&fixture);
}

static void a_restart_replaces_the_worker_and_the_guest_goes_on(void)
{
    struct fixture fixture;
    struct guest_block block;
    start(&fixture, "0600");
    fixture_block(&fixture, 0, &block, GUEST_BLOCK_FEATURES, 4, 512);
    struct said said = dmctl(&fixture, "restart 0");
    CU_ASSERT_EQUAL(said.status, 0);
    CU_ASSERT(fixture_wait_worker(&fixture, 0, fixture.workers[0]) > 0);
    CU_ASSERT_EQUAL(fixture_worker(&fixture, 1), fixture.workers[1]);
    fixture_assert_reads(&block, 3);
    said = dmctl(&fixture, "status 0");
    CU_ASSERT(says(&said, "1 restart, last death: killed by SIGKILL"));
    guest_block_free(&block);
    stop(&fixture);
}

static void only_root_changes_anything_and_the_mode_lets_in(void)
{
    struct fixture fixture;
    start(&fixture, "0666");
    CU_ASSERT_EQUAL(dmctl_as(&fixture, NOBODY, "status").status, 0);
    struct said said = dmctl_as(&fixture, NOBODY, "restart 0");
    CU_ASSERT_EQUAL(said.status, 1);
    CU_ASSERT(says(&said, "only root may do that"));
    said = dmctl_as(&fixture, NOBODY, "log-level warning");
    CU_ASSERT(says(&said, "only root may do that"));
    fixture_assert_never_restarted(&fixture);
    stop(&fixture);

    start(&fixture, "0600");
    said = dmctl_as(&fixture, NOBODY, "status");
    CU_ASSERT_EQUAL(said.status, 1);
    CU_ASSERT(says(&said, "does not let you in"));
    stop(&fixture);
}

/* Returns what is logged while the driver starts, the worker is killed, and its successor resumes.
 */
static char *log_of_a_death(const char *level)
{
    struct fixture fixture;
    struct guest_block block;
    uint8_t data[512];
    char arguments[64], *before, *after;
    start(&fixture, "0600");
    snprintf(arguments, sizeof(arguments), "log-level %s", level);
    CU_ASSERT_EQUAL(dmctl(&fixture, arguments).status, 0);
    snprintf(arguments, sizeof(arguments), "%s\n", level);
    CU_ASSERT_STRING_EQUAL(dmctl(&fixture, "log-level").text, arguments);
    before = fixture_log(&fixture);
    fixture_block(&fixture, 0, &block, GUEST_BLOCK_FEATURES, 4, 512);
    kill(fixture.workers[0], SIGKILL);
    CU_ASSERT(fixture_wait_worker(&fixture, 0, fixture.workers[0]) > 0);
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_IN, 3, data, 512), VIRTIO_BLK_S_OK);
    guest_block_free(&block);
    if (strcmp(level, "info") == 0 || strcmp(level, "debug") == 0)
        fixture_wait_logged(&fixture, "resumed with status", 60000); /* the broker's last line */
    after = fixture_log(&fixture);
    memmove(after, after + strlen(before), strlen(after + strlen(before)) + 1);
    free(before);
    stop(&fixture);
    return after;
}

static void each_log_level_says_what_those_before_it_say_and_more(void)
{
    static const char *const levels[] = {"error", "warning", "info", "debug"};
    static const struct {
        const char *words;
        unsigned int level; /* the first level at which they are logged */
    } expected[] = {
        {"died: killed by SIGKILL", 1},
        {"driver ready", 2},
        {"resumed with status", 2},
        {" started, number 2 of this broker", 3},
    };
    for (unsigned int level = 0; level < 4; level++) {
        char *text = log_of_a_death(levels[level]);
        for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
            bool said = strstr(text, expected[i].words) != NULL;
            if (said != (level >= expected[i].level))
                fprintf(stderr, "\nlevel %s: \"%s\"\n%s\n", levels[level], expected[i].words, text);
            CU_ASSERT_EQUAL(said, level >= expected[i].level);
        }
        CU_ASSERT(level > 0 || strlen(text) == 0);
        free(text);
    }
}

static void the_log_level_is_info_at_first_and_nothing_else_is_taken(void)
{
    struct fixture fixture;
    start(&fixture, "0600");
    CU_ASSERT_STRING_EQUAL(dmctl(&fixture, "log-level").text, "info\n");
    struct said said = dmctl(&fixture, "log-level loud");
    CU_ASSERT_EQUAL(said.status, 1);
    CU_ASSERT(says(&said, "error, warning, info or debug"));
    CU_ASSERT_STRING_EQUAL(dmctl(&fixture, "log-level").text, "info\n");
    struct control_reply reply;
    char path[96];
    snprintf(path, sizeof(path), "%s/control", fixture.dir);
    CU_ASSERT_EQUAL(control_client_ask(path, CONTROL_LOG_LEVEL, LOG_LEVELS, &reply), -EINVAL);
    stop(&fixture);
}

/* ---- Clients that misbehave ---- */

static int connect_to(const struct fixture *fixture)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/control", fixture->dir);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void nonsense_is_answered_and_nobody_is_waited_for(void)
{
    struct fixture fixture;
    struct guest_block block;
    start(&fixture, "0600");
    fixture_block(&fixture, 0, &block, GUEST_BLOCK_FEATURES, 4, 512);
    uint8_t packet[300], data[512];
    static struct control_reply reply;
    for (unsigned int length = 1; length < sizeof(packet); length += 7) {
        int fd = connect_to(&fixture);
        memset(packet, (int)length, sizeof(packet));
        CU_ASSERT_EQUAL(send(fd, packet, length, MSG_NOSIGNAL), (ssize_t)length);
        CU_ASSERT_EQUAL(recv(fd, &reply, sizeof(reply), 0), (ssize_t)sizeof(reply));
        CU_ASSERT_EQUAL(reply.error, EPROTO);
        close(fd);
    }
    /* Clients that never read: more of them than there is room for. */
    int fds[40];
    const struct control_request request = {CONTROL_VERSION, CONTROL_STATUS, 0, 0};
    for (size_t i = 0; i < 40; i++) {
        fds[i] = connect_to(&fixture);
        for (unsigned int n = 0; n < 2000; n++) {
            if (send(fds[i], &request, sizeof(request), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                break;
        }
    }
    for (unsigned int i = 0; i < 20; i++)
        CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_IN, i, data, 512), VIRTIO_BLK_S_OK);
    for (size_t i = 0; i < 40; i++)
        close(fds[i]);
    usleep(50000);
    CU_ASSERT_EQUAL(dmctl(&fixture, "status").status, 0);
    guest_block_free(&block);
    fixture_assert_never_restarted(&fixture);
    stop(&fixture);
}

static void a_successor_of_the_broker_serves_the_same_socket(void)
{
    struct fixture fixture;
    start(&fixture, "0600");
    kill(fixture.broker, SIGKILL);
    CU_ASSERT(fixture_wait_broker(&fixture, fixture.broker) > 0);
    uint64_t value;
    CU_ASSERT_EQUAL(standin_read(fixture.standin, 0, fixture_base(0), 4, &value, 8000), 0);
    CU_ASSERT_EQUAL(dmctl(&fixture, "status").status, 0);
    stop(&fixture);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"status names devices, workers, layers and drivers",
         status_names_devices_workers_layers_and_drivers},
        {"OpenMetrics is read by a collector", openmetrics_is_read_by_a_collector},
        {"JSON is read by a JSON reader", json_is_read_by_a_json_reader},
        {"stats count what the guest did", stats_count_what_the_guest_did},
        {"a restart replaces the worker, and the guest goes on",
         a_restart_replaces_the_worker_and_the_guest_goes_on},
        {"only root changes anything, and the mode lets in",
         only_root_changes_anything_and_the_mode_lets_in},
        {"each log level says what those before it say, and more",
         each_log_level_says_what_those_before_it_say_and_more},
        {"the log level is info at first, and nothing else is taken",
         the_log_level_is_info_at_first_and_nothing_else_is_taken},
        {"nonsense is answered, and nobody is waited for",
         nonsense_is_answered_and_nobody_is_waited_for},
        {"a successor of the broker serves the same socket",
         a_successor_of_the_broker_serves_the_same_socket},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "control", tests);
}
