/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a broker starts for the first time: what it does in which order, what it says, and what it
 * tells the keeper. Each step that fails ends the start. And the other programs in it.
 */
#include "tests/unit/broker_main_under_test.h"

static void logged(const char *expected)
{
    if (strcmp(said.text, expected) != 0)
        fprintf(stderr, "\nexpected:\n%sbut:\n%s", expected, said.text);
    CU_ASSERT_STRING_EQUAL(said.text, expected);
}

/* ---- The first start ---- */

#define CLAIMS "handed \nclaims 3 devices, 0 run\n"
#define CONTROL "control /run/chosen, mode 640\n"
#define OPENED "open 3\nlook net 0, quiet\nlook block 1, quiet\nlook rng 2, quiet\n"
#define PLACES                                                                                     \
    "places net 0 among 0, /run/chosen\nsettle 0\nplaces block 1 among 1, /run/chosen\n"           \
    "settle 1\nplaces rng 2 among 2, /run/chosen\nsettle 2\n"
#define CREATED "create 900\nclose 900\ngenerations 3\nregister 3\n"
#define TO_LOCKDOWN CLAIMS CONTROL OPENED PLACES CREATED "init 3, text 0, /c.yaml\nlockdown \n"
#define OPEN_LINES "bao-virtio-dm: net 0: open\nbao-virtio-dm: block 1: open\n"
#define DRIVER_LINE "bao-virtio-dm: Bao's driver is of generation B (/dev/bao-io-dispatcher)\n"
#define FOUND_LINE "bao-virtio-dm: bao-dmctl finds it by /run/chosen\n"
#define READY_LINE(landlock)                                                                       \
    "bao-virtio-dm: broker ready, confined by: capabilities, own root, no_new_privs, not "         \
    "dumpable, rlimits, " landlock "seccomp\n"

static void it_does_each_step_in_its_order(void)
{
    begin(ALL);
    CU_ASSERT_EQUAL(run_broker("--config", ""), 42);
    did(TO_LOCKDOWN "go 0\ngo 1\ngo 2\nrun \n");
    logged(OPEN_LINES DRIVER_LINE FOUND_LINE READY_LINE("landlock ABI 4, "));
    keeper_gets_one(MSG_CONFIG, 1); /* the text, for later brokers */
    keeper_gets_one(MSG_RUNNING, 0);
    keeper_gets_one(0, 0);
    begin(ALL);
    landlock_abi = 0;
    has_claims = false;
    CU_ASSERT_EQUAL(run_broker("--config", "/run/its"), 42);
    did("handed \ncontrol /run/its, mode 640\n" OPENED
        "places net 0 among 0, /run/its\nplaces block 1 among 1, /run/its\n"
        "places rng 2 among 2, /run/its\n" CREATED
        "init 3, text 0, /c.yaml\nlockdown \ngo 0\ngo 1\ngo 2\nrun \n");
    logged(OPEN_LINES DRIVER_LINE READY_LINE(""));
    begin(ALL);
    its_words = "";
    CU_ASSERT_EQUAL(run_broker("--config", ""), 42);
    logged(DRIVER_LINE FOUND_LINE READY_LINE("landlock ABI 4, "));
}

static void ends_at(const char *step, const char *words)
{
    begin(ALL);
    fails_at = step;
    CU_ASSERT_EQUAL(run_broker("--config", ""), EXIT_FAILURE);
    logged(words);
    /* That was the last one that counts. */
    char *last = strstr(seen->done, step);
    CU_ASSERT_PTR_NOT_NULL_FATAL(last);
    const char *rest = strchr(last, '\n') + 1;
    CU_ASSERT(*rest == '\0' || strncmp(rest, "close ", 6) == 0 || strncmp(rest, "places ", 7) == 0);
    CU_ASSERT_PTR_NULL(strstr(seen->done, "run \n"));
}

static void a_step_that_fails_ends_it(void)
{
    ends_at("handed", "bao-virtio-dm: can't take over from the keeper: Input/output error\n");
    ends_at("claims", "bao-virtio-dm: another one has it\n");
    ends_at("open", "");
    ends_at("create", OPEN_LINES);
    ends_at("generations", OPEN_LINES);
    ends_at("register", OPEN_LINES);
    ends_at("init", OPEN_LINES DRIVER_LINE FOUND_LINE
            "bao-virtio-dm: the broker can't prepare its events: Input/output error\n");
    ends_at("lockdown", OPEN_LINES DRIVER_LINE FOUND_LINE
            "bao-virtio-dm: the broker failed to fall over: Input/output error\n");
    keeper_gets_one(MSG_CONFIG, 1);
    keeper_gets_one(0, 0);
    begin(ALL);
    keeper_is_there = false;
    CU_ASSERT_EQUAL(run_broker("--config", ""), EXIT_FAILURE);
    CU_ASSERT_PTR_NULL(strstr(seen->done, "init"));
}

static void what_another_one_has_is_told(void)
{
    begin(ALL);
    fails_at = "claims";
    refuses_device = true;
    CU_ASSERT_EQUAL(run_broker("--config", ""), EXIT_FAILURE);
    did(CLAIMS);
    char words[256];
    snprintf(words, sizeof(words), "bao-virtio-dm: net 0: %s:2:8: another one has it\n",
             config_file);
    logged(words);
}

static void a_control_socket_that_was_asked_for_must_be_there(void)
{
    begin(ALL);
    control_result = -EADDRINUSE;
    CU_ASSERT_EQUAL(run_broker("--config", "/run/its"), EXIT_FAILURE);
    logged("bao-virtio-dm: there is no control socket\n");
    did(CLAIMS "control /run/its, mode 640\n");
    begin(ALL);
    control_result = -EADDRINUSE;
    CU_ASSERT_EQUAL(run_broker("--config", ""), 42);
    CU_ASSERT_PTR_NOT_NULL(
        strstr(said.text, "bao-virtio-dm: there is no control socket: bao-dmctl can't be used\n"));
}

static void registers_must_not_lie_in_a_window(void)
{
    begin(ALL);
    window_of_second = 0x1000;
    CU_ASSERT_EQUAL(run_broker("--config", ""), EXIT_FAILURE);
    CU_ASSERT_PTR_NOT_NULL(strstr(seen->done, "generations"));
    CU_ASSERT_PTR_NULL(strstr(seen->done, "register"));
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text, "c.yaml:3:"));
}

/* ---- Backends ---- */

static void slow_ones_are_waited_for(void)
{
    begin(ALL);
    looks_before[1] = 1;
    CU_ASSERT_EQUAL(run_broker("--config", ""), 42);
    did(CLAIMS CONTROL OPENED
        "wait for 1, the first is 51, 10000 ms\n"
        "look net 0, quiet\nlook block 1, quiet\nlook rng 2, quiet\n" PLACES CREATED
        "init 3, text 0, /c.yaml\nlockdown \ngo 0\ngo 1\ngo 2\nrun \n");
    begin(ALL);
    looks_before[0] = looks_before[1] = 99; /* they hang: the start goes on without them */
    CU_ASSERT_EQUAL(run_broker("--config", ""), 42);
    CU_ASSERT_PTR_NOT_NULL(strstr(seen->done, "wait for 2, the first is 50, 10000 ms\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(seen->done, "wait for 2, the first is 50, 6000 ms\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(seen->done, "wait for 2, the first is 50, 2000 ms\n"));
    CU_ASSERT_PTR_NULL(strstr(seen->done, ", 0 ms"));
    begin(ALL);
    looks_before[0] = 99;
    fails_at = "wait";
    CU_ASSERT_EQUAL(run_broker("--config", ""), 42);
    CU_ASSERT_PTR_NULL(strstr(strstr(seen->done, "wait") + 1, "wait"));
}

static void one_that_does_not_open_ends_it(void)
{
    char words[256];
    begin(ALL);
    opener_fails[1] = true;
    looks_before[0] = 1; /* it is not opened again meanwhile */
    CU_ASSERT_EQUAL(run_broker("--config", ""), EXIT_FAILURE);
    did(CLAIMS CONTROL OPENED
        "wait for 1, the first is 50, 10000 ms\nlook net 0, quiet\nlook rng 2, quiet\n"
        "places net 0 among 0, /run/chosen\nsettle 0\nplaces block 1 among 1, /run/chosen\n"
        "settle 1\nplaces block 1 among 3, /run/chosen\nplaces rng 2 among 2, /run/chosen\n"
        "settle 2\nclose 900\n");
    snprintf(words, sizeof(words), "bao-virtio-dm: block 1: %s:3:8: it does not open\n",
             config_file);
    logged(words);
}

static void another_s_file_is_told_instead(void)
{
    char words[256];
    for (unsigned int fails = 0; fails < 2; fails++) {
        begin(ALL);
        opener_fails[1] = fails == 1;
        place_taken = 1;
        CU_ASSERT_EQUAL(run_broker("--config", ""), EXIT_FAILURE);
        snprintf(words, sizeof(words), "bao-virtio-dm: block 1: %s:3:8: another has its file\n",
                 config_file);
        logged(words);
    }
    begin(ALL);
    fails_at = "settle";
    CU_ASSERT_EQUAL(run_broker("--config", ""), EXIT_FAILURE);
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text, "net 0: "));
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text, "block 1: "));
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text, "rng 2: "));
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text, ": it is another's\n"));
    CU_ASSERT_PTR_NULL(strstr(seen->done, "create"));
}

/* ---- Other programs in it ---- */

static int run_args(char *first, char *second, char *third, char *fourth, char *fifth)
{
    char *argv[] = {"broker", first, second, third, fourth, fifth, "9", NULL};
    int argc = 1;
    while (argv[argc] && strcmp(argv[argc], "9") != 0)
        argc++;
    argv[argc] = NULL;
    return run_with(argc, argv);
}

static const char *checks(const char *text, char *control, int status)
{
    static struct said out;
    begin(text);
    said_begin(&out, STDOUT_FILENO);
    CU_ASSERT_EQUAL(run_args("--check-config", config_file, control, NULL, NULL), status);
    return said_end(&out);
}

static void what_can_t_be_said_is_a_failure(void)
{
    int before = dup(STDOUT_FILENO), full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    fflush(stdout);
    begin("devices:\n" RNG("1"));
    CU_ASSERT_EQUAL(dup2(full, STDOUT_FILENO), STDOUT_FILENO);
    CU_ASSERT_EQUAL(run_args("--check-config", config_file, NULL, NULL, NULL), EXIT_FAILURE);
    CU_ASSERT_EQUAL(dup2(before, STDOUT_FILENO), STDOUT_FILENO);
    close(before);
    close(full);
    logged("bao-virtio-dm: can't write to standard output: No space left on device\n");
}

/* A broker that only checks ends by itself: its output is flushed by main. */
static void a_configuration_can_be_checked(void)
{
    char words[256];
    snprintf(words, sizeof(words), "%s: ok, 3 devices\n", config_file);
    CU_ASSERT_STRING_EQUAL(checks(ALL, NULL, EXIT_SUCCESS), words);
    logged("");
    snprintf(words, sizeof(words), "%s: ok, 1 device\n", config_file);
    CU_ASSERT_STRING_EQUAL(checks("devices:\n" RNG("1"), "", EXIT_SUCCESS), words);
    snprintf(words, sizeof(words), "%s: ok, 2 devices\n", config_file);
    CU_ASSERT_STRING_EQUAL(checks("devices:\n" RNG("1") RNG("2"), "/run/x", EXIT_SUCCESS), words);
    what_can_t_be_said_is_a_failure();
    CU_ASSERT_STRING_EQUAL(checks("devices: 3\n", NULL, EXIT_FAILURE), "");
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text, "c.yaml:1:"));
    CU_ASSERT_STRING_EQUAL(checks(NULL, NULL, EXIT_FAILURE), "");
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text, "c.yaml"));
    did("");
}

#define VSOCK(path)                                                                                \
    "devices:\n- {id: 1, type: vsock, data_plane: virtio, mmio_addr: 0x1000, guest_cid: 3, "       \
    "socket_path: " path "}\n"

static void no_device_may_have_the_name_of_the_control_socket(void)
{
    (void)checks(VSOCK("/run/its"), "/run/its", EXIT_FAILURE);
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text, "c.yaml:2:"));
    (void)checks(VSOCK("/run/its"), "/run/other", EXIT_SUCCESS);
    (void)checks(VSOCK("/run/c.yaml.1"), NULL, EXIT_FAILURE); /* its own name, if none is given */
    (void)checks(VSOCK("/run/c.yaml.1"), "", EXIT_FAILURE);
    (void)checks(VSOCK("/run/c.yaml.1"), "c", EXIT_SUCCESS);
    begin(VSOCK("/run/its"));
    CU_ASSERT_EQUAL(run_broker("--config", "/run/its"), EXIT_FAILURE);
    did("handed \n");
    begin(VSOCK("/run/c.yaml.1"));
    CU_ASSERT_EQUAL(run_broker("--config", ""), EXIT_FAILURE);
    did("handed \n");
}

static void it_is_a_connector_if_it_is_told_so(void)
{
    begin(NULL);
    CU_ASSERT_EQUAL(run_args("--connect", NULL, NULL, NULL, NULL), 34);
    CU_ASSERT_EQUAL(run_args("--connect", "x", NULL, NULL, NULL), EXIT_FAILURE);
    CU_ASSERT_EQUAL(run_args("--connected", NULL, NULL, NULL, NULL), EXIT_FAILURE);
}

static void opens(char *how, char *id, char *index, char *taps, unsigned int files)
{
    begin(NULL);
    CU_ASSERT_EQUAL(run_args(how, id, "file.yaml", index, taps), 77);
    CU_ASSERT_EQUAL(seen->opener.socket, SPAWN_SOCKET_FD);
    CU_ASSERT_EQUAL(seen->opener.text, SPAWN_TEXT_FD);
    CU_ASSERT_STRING_EQUAL(seen->path, "file.yaml");
    CU_ASSERT_EQUAL(seen->opener.dm_id, 10);
    CU_ASSERT_EQUAL(seen->opener.tap.index, 11);
    CU_ASSERT_EQUAL(seen->opener.tap.file_count, files);
    for (unsigned int i = 0; i < TAP_QUEUES_MAX; i++)
        CU_ASSERT_EQUAL(seen->opener.tap.files[i], i < files ? SPAWN_TAPS_FD + (int)i : 0);
}

static void it_is_an_opener_if_it_is_told_so(void)
{
    opens("--open", "10", "11", "0", 0);
    CU_ASSERT_FALSE(seen->opener.tap.ran);
    opens("--open-again", "10", "11", "2", 2);
    CU_ASSERT_TRUE(seen->opener.tap.ran);
    opens("--open-again", "010", "011", "09", TAP_QUEUES_MAX); /* decimal, and no more than fit */
    begin(NULL);
    CU_ASSERT_EQUAL(run_args("--open", "10", "file.yaml", "11", NULL), EXIT_FAILURE);
    CU_ASSERT_EQUAL(run_args("--opener", "10", "file.yaml", "11", "0"), EXIT_FAILURE);
    did("");
}

static void nothing_else_starts_it(void)
{
    static const char words[] = "bao-virtio-dm: bao-virtio-broker is started by bao-virtio-dm: "
                                "use that\n";
    begin(ALL);
    CU_ASSERT_EQUAL(run_args(NULL, NULL, NULL, NULL, NULL), EXIT_FAILURE);
    logged(words);
    CU_ASSERT_EQUAL(run_args("--check-config", NULL, NULL, NULL, NULL), EXIT_FAILURE);
    logged(words);
    CU_ASSERT_EQUAL(run_args("--check-config", config_file, "", "", NULL), EXIT_FAILURE);
    logged(words);
    CU_ASSERT_EQUAL(run_args("--config", config_file, "", NULL, NULL), EXIT_FAILURE);
    logged(words);
    CU_ASSERT_EQUAL(run_args("--config", config_file, "", "640", "x"), EXIT_FAILURE);
    logged(words);
    CU_ASSERT_EQUAL(run_args("--configuration", config_file, "", "640", NULL), EXIT_FAILURE);
    logged(words);
    CU_ASSERT_EQUAL(run_args("--kept-config", config_file, "", NULL, NULL), EXIT_FAILURE);
    logged(words);
    did("");
}

int main(int argc, char **argv)
{
    CU_TestInfo first[] = {
        {"it does each step in its order", it_does_each_step_in_its_order},
        {"a step that fails ends it", a_step_that_fails_ends_it},
        {"what another one has is told", what_another_one_has_is_told},
        {"a control socket that was asked for", a_control_socket_that_was_asked_for_must_be_there},
        {"registers in a window", registers_must_not_lie_in_a_window},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo backends[] = {
        {"slow ones are waited for", slow_ones_are_waited_for},
        {"one that does not open ends it", one_that_does_not_open_ends_it},
        {"another's file is told instead", another_s_file_is_told_instead},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo others[] = {
        {"a configuration can be checked", a_configuration_can_be_checked},
        {"the name of the control socket", no_device_may_have_the_name_of_the_control_socket},
        {"it is a connector", it_is_a_connector_if_it_is_told_so},
        {"it is an opener", it_is_an_opener_if_it_is_told_so},
        {"nothing else starts it", nothing_else_starts_it},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"first start", make_folder, NULL, NULL, NULL, first},
        {"backends", NULL, NULL, NULL, NULL, backends},
        {"other programs", NULL, remove_folder, NULL, NULL, others},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
