/* SPDX-License-Identifier: Apache-2.0 */
/*
 * If something exists and can't work, the log and bao-dmctl status say so, and say what to do about
 * it. They stop saying so when it works.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/standin/clock.h"
#include "tests/standin/net_fixture.h"

#define DMCTL PROGRAM_DIR "/bao-dmctl"
#define TOLD_MS 20000

/* What bao-dmctl prints; the caller frees it. */
static char *ask(const struct fixture *fixture, const char *words)
{
    char command[4096], *said = NULL;
    size_t size = 0, length;
    snprintf(command, sizeof(command), DMCTL " --control %s/control %s", fixture->dir, words);
    FILE *pipe = popen(command, "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(pipe);
    FILE *memory = open_memstream(&said, &size);
    char part[4096];
    while ((length = fread(part, 1, sizeof(part), pipe)) > 0)
        fwrite(part, 1, length, memory);
    fclose(memory);
    CU_ASSERT_EQUAL(pclose(pipe), 0);
    return said;
}

/* Wait until status says these words or, if not `told`, until it does not. */
static void wait_told(const struct fixture *fixture, const char *words, bool told)
{
    for (uint64_t end = now_ms() + TOLD_MS; now_ms() < end; usleep(50000)) {
        char *said = ask(fixture, "status");
        bool found = strstr(said, words) != NULL;
        free(said);
        if (found == told)
            return;
    }
    CU_FAIL("status does not change");
}

static void a_tap_that_was_made_is_down(void)
{
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_configure(&fixture, "devices:\n  - id: 0\n    type: net\n    data_plane: virtio\n"
                                "    mmio_addr: 0xa003e00\n    tap_name: tap7\n");
    fixture_start(&fixture, 1, 1);
    fixture_wait_logged(&fixture, "\"tap7\" did not exist and was made: it has no address",
                        TOLD_MS);
    fixture_wait_logged(&fixture, "\"ip address add ADDRESS/24 dev tap7\"", TOLD_MS);
    fixture_wait_logged(&fixture, "tap \"tap7\" is down", TOLD_MS);
    wait_told(&fixture,
              "trouble     tap \"tap7\" is down, and the frontend's link with it: "
              "\"ip link set tap7 up\"",
              true);
    char *json = ask(&fixture, "status --json");
    CU_ASSERT_PTR_NOT_NULL(strstr(json, "\"trouble\": \"tap \\\"tap7\\\" is down"));
    free(json);

    net_fixture_ip("link set tap7 up");
    wait_told(&fixture, "trouble", false);
    net_fixture_ip("link set tap7 down");
    wait_told(&fixture, "trouble", true);
    fixture_assert_never_restarted(&fixture);
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

/* A tap that exists and is up is not reported. */
static void a_tap_that_is_up_is_no_trouble(void)
{
    struct fixture fixture;
    net_fixture_ip("tuntap add tap8 mode tap");
    net_fixture_ip("link set tap8 up");
    fixture_init(&fixture);
    fixture_configure(&fixture, "devices:\n  - id: 0\n    type: net\n    data_plane: virtio\n"
                                "    mmio_addr: 0xa003e00\n    tap_name: tap8\n");
    fixture_start(&fixture, 1, 1);
    char *log = fixture_log(&fixture);
    CU_ASSERT_PTR_NULL(strstr(log, "tap8"));
    free(log);
    char *said = ask(&fixture, "status");
    CU_ASSERT_PTR_NULL(strstr(said, "trouble"));
    free(said);
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

static void a_daemon_that_is_not_there_is_told(void)
{
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_configure(&fixture, "devices:\n  - id: 0\n    type: fs\n    data_plane: vhost_user\n"
                                "    mmio_addr: 0xa003e00\n    tag: shared\n"
                                "    socket_path: \"@/daemon.sock\"\n");
    fixture_start(&fixture, 1, 0);
    fixture_wait_logged(&fixture, "waits for the daemon", TOLD_MS);
    wait_told(&fixture, "trouble     waits for the daemon at ", true);
    wait_told(&fixture, "/daemon.sock", true);
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"a tap that was made is down, and this is told", a_tap_that_was_made_is_down},
        {"a tap that is up is no trouble", a_tap_that_is_up_is_no_trouble},
        {"a daemon that is not there is told", a_daemon_that_is_not_there_is_told},
        CU_TEST_INFO_NULL,
    };
    return net_fixture_namespace() ? fixture_main(argc, argv, "trouble", tests) : EXIT_FAILURE;
}
