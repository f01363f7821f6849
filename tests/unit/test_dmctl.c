/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bao-dmctl prints and asks, and what it says when it gets no good answer. The broker is a
 * thread of this test, on a socket in a folder that stands for /run/bao-virtio-dm.
 */
#include "tests/unit/dmctl_cases.h"

/* ---- Asking ---- */

static void it_asks_what_the_user_wants(void)
{
    begin();
    prints("restart 3", "");
    CU_ASSERT(asked[0].verb == CONTROL_RESTART && asked[0].index == 3);
    prints("log-level debug", "");
    CU_ASSERT(asked[1].verb == CONTROL_LOG_LEVEL && asked[1].index == LOG_LEVEL_DEBUG);
    prints("log-level error", "");
    CU_ASSERT(asked[2].verb == CONTROL_LOG_LEVEL && asked[2].index == LOG_LEVEL_ERROR);
    devices[0].broker_level = LOG_LEVEL_WARNING;
    prints("log-level", "warning\n");
    devices[0].broker_level = LOG_LEVELS;
    prints("log-level", "unknown\n");
    prints("restart 010", ""); /* as people write tens */
    CU_ASSERT(asked[5].verb == CONTROL_RESTART && asked[5].index == 10);
    devices[1].id = 10;
    CU_ASSERT_EQUAL(run("status 10"), EXIT_SUCCESS);
    CU_ASSERT_EQUAL(strncmp(out.text, "vsock 3 (virtio)", 16), 0);
    CU_ASSERT_EQUAL(run("stats 010"), EXIT_SUCCESS);
    end();
}

/* The broker says how many devices it has, by an error. */
static void no_more_devices_are_asked_for_than_there_can_be(void)
{
    begin();
    device_count = BAO_DEVICES_MAX + 1;
    for (uint32_t i = 0; i < device_count; i++) {
        devices[i] = devices[0];
        devices[i].id = i;
    }
    keeper = 1234;
    CU_ASSERT_EQUAL(run("status --all"), EXIT_SUCCESS);
    CU_ASSERT_EQUAL(asked_count, BAO_DEVICES_MAX);
    CU_ASSERT_EQUAL(times_in(out.text, "rng 0 (virtio)"), BAO_DEVICES_MAX);
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, ": process 1234, "));
    device_count = 0;
    keeper = 4321;
    CU_ASSERT_EQUAL(run("status --all"), EXIT_SUCCESS);
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, ": process 4321, "));
    end();
}

static void refusals_are_told(void)
{
    begin();
    answer_error[CONTROL_RESTART] = EPERM;
    complains("restart 3", "bao-dmctl: only root may do that\n");
    answer_error[CONTROL_RESTART] = EAGAIN;
    complains("restart 3", "bao-dmctl: its worker is being replaced already\n");
    answer_error[CONTROL_RESTART] = ENODEV;
    complains("restart 8", "bao-dmctl: no device has id 8\n");
    answer_error[CONTROL_RESTART] = EINVAL;
    complains("restart 3", "bao-dmctl: refused: Invalid argument\n");
    answer_error[CONTROL_LOG_LEVEL] = EPERM;
    complains("log-level info", "bao-dmctl: only root may do that\n");
    answer_error[CONTROL_STATUS] = EINVAL;
    complains("status", "bao-dmctl: refused: Invalid argument\n");
    complains("stats", "bao-dmctl: refused: Invalid argument\n");
    complains("log-level", "bao-dmctl: refused: Invalid argument\n");
    answer_error[CONTROL_STATUS] = 0;
    complains("status 7", "bao-dmctl: no device has id 7\n");
    complains("stats 7", "bao-dmctl: no device has id 7\n");
    complains("stats 12345678", "bao-dmctl: no device has id 12345678\n");
    end();
}

static void no_good_answer_is_told(void)
{
    static const char none[] =
        "bao-dmctl: bao-virtio-dm does not answer: is it stopped, or being restarted?\n";
    static const char other[] =
        "bao-dmctl: bao-virtio-dm is of another version: use the bao-dmctl that came with it\n";
    begin();
    answer_version = CONTROL_VERSION + 1;
    complains("status", other);
    answer_version = CONTROL_VERSION;
    answer_size--;
    complains("status", other);
    answer_size++;
    answers_left = 0;
    complains("status", other); /* the end is an answer of no bytes */
    answers_left = 100;
    silent = true;
    complains("status", none);
    end();
}

static void a_connection_that_fails_is_told(void)
{
    begin();
    complains("--control nobody status",
              "bao-dmctl: /run/bao-virtio-dm/nobody.socket: no bao-virtio-dm is running there\n");
    connect_error = ECONNREFUSED;
    complains("--control /x/y status", "bao-dmctl: /x/y: no bao-virtio-dm is running there\n");
    connect_error = EACCES;
    complains("--control ./x status", "bao-dmctl: ./x: the socket's mode does not let you in: see "
                                      "--control-mode of bao-virtio-dm\n");
    connect_error = ENFILE;
    complains("--control vm restart 3",
              "bao-dmctl: /run/bao-virtio-dm/vm.socket: Too many open files in system\n");
    connect_error = 0;
    char line[200], words[300];
    memset(line, 'a', sizeof(line));
    memcpy(line, "--control /", 11);
    strcpy(line + 11 + 107, " status");
    snprintf(words, sizeof(words), "bao-dmctl: %.108s: longer than the name of a socket can be\n",
             line + 10);
    complains(line, words);
    line[11 + 106] = ' ';
    strcpy(line + 11 + 106, " status");
    snprintf(words, sizeof(words), "bao-dmctl: %.107s: no bao-virtio-dm is running there\n",
             line + 10);
    complains(line, words);
    end();
}

static void usage_is_explained(void)
{
    static const struct {
        const char *line, *words;
    } cases[] = {
        {"", "no command"},
        {"status a", "status takes one DEVICE, a number"},
        {"status 1 2", "status takes one DEVICE, a number"},
        {"status 1 2 3 4", "status takes one DEVICE, a number"},
        {"status ''", "status takes one DEVICE, a number"},
        {"--markdown", "no command"},
        {"--openmetrics", "no command"},
        {"status 123456789", "status takes one DEVICE, a number"},
        {"stats 1 2", "stats takes one number"},
        {"stats x", "stats takes one number"},
        {"stats --openmetrics --json", "--openmetrics stands alone"},
        {"stats --openmetrics --watch", "--openmetrics stands alone"},
        {"restart", "restart takes a DEVICE, a number"},
        {"restart x", "restart takes a DEVICE, a number"},
        {"restart 1 2", "restart takes a DEVICE, a number"},
        {"log-level loud", "log-level takes error, warning, info or debug"},
        {"log-level info info", "log-level takes error, warning, info or debug"},
        {"status --markdown", "--markdown, --against and --output are for audit"},
        {"status --against x", "--markdown, --against and --output are for audit"},
        {"status --output x", "--markdown, --against and --output are for audit"},
        {"status --openmetrics", "--openmetrics is for stats"},
        {"status --config x", "--config is for check-board"},
        {"check-board 1 --config x", "--config is for check-board"},
        {"stats --all", "--all is for status, of all devices of all"},
        {"status 1 --all", "--all is for status, of all devices of all"},
        {"status --all --control x", "--all is for status, of all devices of all"},
        {"--config x", "--config is for check-board"},
    };
    begin();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char words[256];
        snprintf(words, sizeof(words), "bao-dmctl: %s: see bao-dmctl --help\n", cases[i].words);
        complains(cases[i].line, words);
    }
    complains("dance", "bao-dmctl: unknown command \"dance\": see bao-dmctl --help\n");
    complains("check-board 1",
              "bao-dmctl: unknown command \"check-board\": see bao-dmctl --help\n");
    CU_ASSERT_EQUAL(run("--dance status"), EXIT_FAILURE);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "Try 'bao-dmctl --help'.\n"));
    CU_ASSERT_EQUAL(asked_count, 0);
    prints("--version", "bao-dmctl " BVDM_VERSION "\n");
    CU_ASSERT_EQUAL(run("-h"), EXIT_SUCCESS);
    CU_ASSERT_EQUAL(strncmp(out.text, "Usage: bao-dmctl ", 17), 0);
    end();
}

/* ---- Which of several ---- */

static void several_have_to_be_told_apart(void)
{
    begin();
    remove_file("vm.socket");
    complains("status", "bao-dmctl: no bao-virtio-dm is running: none has a socket in "
                        "/run/bao-virtio-dm; for another place use --control PATH\n");
    folder_missing = true;
    complains("status", "bao-dmctl: no bao-virtio-dm is running: none has a socket in "
                        "/run/bao-virtio-dm; for another place use --control PATH\n");
    end();
    begin();
    second_instance();
    complains("status",
              "bao-dmctl: several are running: say which by --control NAME, or use status --all\n"
              "  /run/bao-virtio-dm/a.socket: process 812, /etc/\"vm\".yaml\n"
              "  /run/bao-virtio-dm/vm.socket: process 812, /etc/\"vm\".yaml\n");
    CU_ASSERT_EQUAL(fcntl(connected, F_GETFD), -1); /* it is closed */
    prints("--control a status 0", RNG_TEXT);
    connect_error = EACCES;
    complains("status",
              "bao-dmctl: several are running: say which by --control NAME, or use status --all\n"
              "  /run/bao-virtio-dm/a.socket: Permission denied\n"
              "  /run/bao-virtio-dm/vm.socket: Permission denied\n");
    connect_error = 0;
    end();
}

static void all_are_shown(void)
{
    begin();
    device_count = 1;
    prints("status --all",
           "/etc/\"vm\".yaml: process 812, /run/bao-virtio-dm/vm.socket\n" RNG_TEXT);
    CU_ASSERT_EQUAL(fcntl(connected, F_GETFD), -1); /* it is closed */
    second_instance();
    prints("status --all",
           "/etc/\"vm\".yaml: process 812, /run/bao-virtio-dm/a.socket\n" RNG_TEXT
           "\n/etc/\"vm\".yaml: process 812, /run/bao-virtio-dm/vm.socket\n" RNG_TEXT);
    prints("status --all --json",
           "[\n{\"config\": \"/etc/\\\"vm\\\".yaml\", \"pid\": 812, \"socket\": "
           "\"/run/bao-virtio-dm/a.socket\", \"devices\":\n[\n" RNG_JSON "\n]\n}\n,\n{\"config\": "
           "\"/etc/\\\"vm\\\".yaml\", \"pid\": 812, \"socket\": \"/run/bao-virtio-dm/vm.socket\", "
           "\"devices\":\n[\n" RNG_JSON "\n]\n}\n]\n");
    answers_left = 2; /* the second one does not answer */
    CU_ASSERT_EQUAL(run("status --all"), EXIT_FAILURE);
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "a.socket\n" RNG_TEXT));
    end();
    begin();
    connect_error = EACCES;
    complains("status --all", "bao-dmctl: /run/bao-virtio-dm/vm.socket: the socket's mode does not "
                              "let you in: see --control-mode of bao-virtio-dm\n");
    put_file("z.socket"); /* it is not this one that is told about later */
    CU_ASSERT_EQUAL(run("status"), EXIT_FAILURE);
    remove_file("z.socket");
    complains("status", "bao-dmctl: /run/bao-virtio-dm/vm.socket: the socket's mode does not "
                        "let you in: see --control-mode of bao-virtio-dm\n");
    connect_error = 0;
    remove_file("vm.socket");
    complains("status --all", "bao-dmctl: no bao-virtio-dm is running: none has a socket in "
                              "/run/bao-virtio-dm\n");
    end();
}

static void only_sockets_that_answer_count(void)
{
    static struct instance instances[INSTANCES_MAX];
    char path[256], long_name[160];
    begin();
    snprintf(path, sizeof(path), "%s/dead.socket", folder);
    close(listen_at("dead.socket"));
    close(listen_at(".socket")); /* no name at all */
    int other = listen_at("other"), third = listen_at("m.socket");
    close(third);
    memset(long_name, 'l', sizeof(long_name));
    strcpy(long_name + 100, CONTROL_SUFFIX);
    char long_path[320];
    snprintf(long_path, sizeof(long_path), "%s/%s", folder, long_name);
    close(open(long_path, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    CU_ASSERT_EQUAL(instances_find(instances), 1);
    CU_ASSERT_STRING_EQUAL(instances[0].path, "/run/bao-virtio-dm/vm.socket");
    CU_ASSERT(instances[0].fd >= 0);
    CU_ASSERT_EQUAL(fcntl(instances[0].fd, F_GETFD), FD_CLOEXEC);
    int found_one = instances[0].fd;
    instances[1].fd = -7;
    instances_close(instances, 1);
    CU_ASSERT_EQUAL(instances[0].fd, -1);
    CU_ASSERT_EQUAL(instances[1].fd, -7);
    CU_ASSERT_EQUAL(send(found_one, "", 1, MSG_NOSIGNAL), -1);
    close(other);
    connect_error = EACCES;
    stop_serving(); /* it closes its end of the first connection at any time */
    const unsigned int before = fd_count();
    CU_ASSERT_EQUAL(instances_find(instances), 3);
    CU_ASSERT_EQUAL(fd_count(), before);
    go_on_serving();
    CU_ASSERT_STRING_EQUAL(instances[0].path, "/run/bao-virtio-dm/dead.socket");
    CU_ASSERT_STRING_EQUAL(instances[1].path, "/run/bao-virtio-dm/m.socket");
    CU_ASSERT_STRING_EQUAL(instances[2].path, "/run/bao-virtio-dm/vm.socket");
    CU_ASSERT_EQUAL(instances[0].fd, -EACCES);
    CU_ASSERT_EQUAL(fcntl(refused, F_GETFD), -1); /* it is closed */
    unlink(path);
    unlink(long_path);
    remove_file(".socket");
    remove_file("other");
    remove_file("m.socket");
    end();
}

/* The longest is as long as the name of a socket can be. */
static void long_names_and_many_are_found(void)
{
    static struct instance instances[INSTANCES_MAX + 1];
    const size_t room = CONTROL_PATH_SIZE - sizeof(CONTROL_DIRECTORY "/" CONTROL_SUFFIX);
    char name[CONTROL_PATH_SIZE + 1], path[256];
    begin();
    connect_error = EACCES;
    remove_file("vm.socket");
    for (size_t letters = room; letters <= room + 1; letters++) {
        memset(name, 'l', letters);
        strcpy(name + letters, CONTROL_SUFFIX);
        put_file(name);
        CU_ASSERT_EQUAL(instances_find(instances), letters == room ? 1 : 0);
        snprintf(path, sizeof(path), CONTROL_DIRECTORY "/%s", name);
        if (letters == room)
            CU_ASSERT_STRING_EQUAL(instances[0].path, path);
        remove_file(name);
    }
    instances[INSTANCES_MAX].fd = -7;
    for (int round = 0; round < 2; round++) {
        for (unsigned int i = 0; i < INSTANCES_MAX + 2; i++) {
            snprintf(name, sizeof(name), "many%u" CONTROL_SUFFIX, i);
            if (round == 0)
                put_file(name);
            else
                remove_file(name);
        }
        CU_ASSERT_EQUAL(instances_find(instances), round == 0 ? INSTANCES_MAX : 0);
    }
    CU_ASSERT_EQUAL(instances[INSTANCES_MAX].fd, -7);
    end();
}

/* Its parent may have closed them. What is meant for the user must not go to the broker. */
static void no_socket_stands_for_the_first_three_files(void)
{
    begin();
    int input_before = dup(STDIN_FILENO);
    said_begin(&err, STDERR_FILENO);
    int next = dup(STDIN_FILENO); /* the lowest free number */
    close(next);
    close(STDIN_FILENO);
    close(STDERR_FILENO);
    int status = run_bare("--control vm restart 3");
    CU_ASSERT_EQUAL(dup2(input_before, STDIN_FILENO), STDIN_FILENO);
    said_end(&err);
    close(input_before);
    CU_ASSERT_EQUAL(status, EXIT_SUCCESS);
    CU_ASSERT_EQUAL(asked_count, 1);
    CU_ASSERT_EQUAL(connected, next); /* no other file was left open */
    end();
}

/* ---- Audit ---- */

static int audit(const char *line)
{
    int before = dup(STDIN_FILENO);
    executed[0] = input[0] = '\0';
    execs = 0;
    int status = run(line);
    (void)syscall(SYS_dup3, before, STDIN_FILENO, 0);
    close(before);
    return status;
}

static void the_auditor_gets_what_the_broker_says(void)
{
    char expected[512];
    begin();
    CU_ASSERT_EQUAL(audit("audit"), 2);
    CU_ASSERT_STRING_EQUAL(executed, "/usr/sbin/bao-seccomp: bao-seccomp verify --told -\n"
                                     "/usr/sbin/../bin/bao-seccomp: bao-seccomp verify --told -\n");
    snprintf(expected, sizeof(expected),
             "broker %d broker\ndevice 0 0 0 rng/virtio rng 0\ndevice 3 4711 %x vsock/virtio vsock "
             "3\n",
             (int)getpid(), a_vsock().layers);
    CU_ASSERT_STRING_EQUAL(input, expected);
    CU_ASSERT_STRING_EQUAL(err.text, "bao-dmctl: bao-seccomp can't be run: No such file or "
                                     "directory: it belongs beside bao-dmctl, or into ../bin\n");
    devices[0].generation = BAO_D;
    devices[0].kind = DEVICE_KINDS;
    exec_error[0] = EACCES;
    CU_ASSERT_EQUAL(audit("audit --json --against old --output new"), 2);
    CU_ASSERT_STRING_EQUAL(
        executed,
        "/usr/sbin/bao-seccomp: bao-seccomp verify --told - --json --against old --output new\n");
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "can't be run: Permission denied: "));
    CU_ASSERT_PTR_NOT_NULL(strstr(input, " broker_d\ndevice 0 0 0 unknown rng 0\n"));
    CU_ASSERT_EQUAL(audit("audit --markdown"), 2);
    CU_ASSERT_STRING_EQUAL(executed,
                           "/usr/sbin/bao-seccomp: bao-seccomp verify --told - --markdown\n");
    program = "bao-dmctl"; /* without a folder */
    CU_ASSERT_EQUAL(audit("audit"), 2);
    CU_ASSERT_STRING_EQUAL(executed, "");
    program = NULL;
    CU_ASSERT_EQUAL(audit("audit"), 2);
    CU_ASSERT_STRING_EQUAL(executed, "");
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "bao-seccomp can't be run: Too many levels of "));
    program = "/bao-dmctl";
    dup2_error = EBUSY;
    CU_ASSERT_EQUAL(audit("audit"), 2);
    CU_ASSERT_STRING_EQUAL(executed, "");
    CU_ASSERT_STRING_EQUAL(err.text,
                           "bao-dmctl: what the broker says can't be handed on: Device or "
                           "resource busy\n");
    dup2_error = 0;
    devices[0].generation = BAO_GENERATIONS;
    (void)audit("audit");
    CU_ASSERT_PTR_NOT_NULL(strstr(input, " unknown\ndevice"));
    device_count = 1;
    devices[0].generation = BAO_D;
    (void)audit("audit");
    CU_ASSERT_PTR_NOT_NULL(strstr(input, " broker_d\n"));
    device_count = 0;
    (void)audit("audit");
    CU_ASSERT_PTR_NOT_NULL(strstr(input, " broker\n"));
    end();
}

/* Half of it would look like a broker that has fewer devices. */
static void the_auditor_gets_all_or_nothing(void)
{
    static const char words[] = "bao-dmctl: what the broker says can't be handed on: %s\n";
    char expected[256];
    begin();
    for (unsigned int i = 0; i < 3; i++) {
        writes_before_error = i;
        CU_ASSERT_EQUAL(audit("audit"), 2);
        snprintf(expected, sizeof(expected), words, "File too large");
        CU_ASSERT_STRING_EQUAL(err.text, expected);
        CU_ASSERT_EQUAL(execs, 0);
    }
    writes_before_error = UINT_MAX;
    write_most = 3;
    CU_ASSERT_EQUAL(audit("audit"), 2);
    snprintf(expected, sizeof(expected), words, "Input/output error");
    CU_ASSERT_STRING_EQUAL(err.text, expected);
    CU_ASSERT_EQUAL(execs, 0);
    write_most = SIZE_MAX;
    memfd_error = EMFILE;
    CU_ASSERT_EQUAL(audit("audit"), 2);
    snprintf(expected, sizeof(expected), words, "Too many open files");
    CU_ASSERT_STRING_EQUAL(err.text, expected);
    CU_ASSERT_EQUAL(execs, 0);
    end();
}

/* Also if its own standard input was closed. */
static void the_auditor_has_what_it_is_given_as_its_input(void)
{
    begin();
    int before = dup(STDIN_FILENO);
    said_begin(&err, STDERR_FILENO);
    close(STDIN_FILENO);
    int status = run_bare("audit");
    CU_ASSERT_EQUAL(dup2(before, STDIN_FILENO), STDIN_FILENO);
    said_end(&err);
    close(before);
    CU_ASSERT_EQUAL(status, 2);
    CU_ASSERT_EQUAL(execs, 2);
    CU_ASSERT_EQUAL(input_flags, 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(input, "device 3 4711 "));
    end();
}

static void without_the_broker_nothing_is_audited(void)
{
    begin();
    CU_ASSERT_EQUAL(audit("audit --json --markdown"), 2);
    CU_ASSERT_EQUAL(audit("audit 3"), 2);
    CU_ASSERT_STRING_EQUAL(err.text,
                           "bao-dmctl: audit takes --json or --markdown: see bao-dmctl --help\n");
    silent = true;
    CU_ASSERT_EQUAL(audit("audit"), 2);
    connect_error = EACCES;
    CU_ASSERT_EQUAL(audit("audit"), 2);
    CU_ASSERT_STRING_EQUAL(executed, "");
    end();
    /* Its other end is no socket. */
    struct snapshot snapshot = {0};
    const struct audit_options options = {0};
    said_begin(&err, STDERR_FILENO);
    audit_run(STDERR_FILENO, &snapshot, false, &options);
    said_end(&err);
    CU_ASSERT_STRING_EQUAL(err.text, "bao-dmctl: what the broker says can't be handed on: Socket "
                                     "operation on non-socket\n");
    CU_ASSERT_EQUAL(execs, 0);
}

/* ---- The board ---- */

static void the_board_s_findings_are_printed(void)
{
    found = (struct board_report){.count = 3,
                                  .items = {{BOARD_OK, "kernel", "6.12", ""},
                                            {BOARD_NOTE, "mdwe", "missing", "use \"6.3\""},
                                            {BOARD_NOTE, "tun", "none", ""}}};
    prints("check-board", "ok       kernel: 6.12\n"
                          "note     mdwe: missing: use \"6.3\"\n"
                          "note     tun: none\n"
                          "1 ok, 2 to know, 0 missing\n");
    CU_ASSERT_FALSE(judged_with_config);
    prints("check-board --json",
           "{\"findings\": [\n"
           "  {\"level\": \"ok\", \"check\": \"kernel\", \"found\": \"6.12\", \"cure\": \"\"},\n"
           "  {\"level\": \"note\", \"check\": \"mdwe\", \"found\": \"missing\", \"cure\": \"use "
           "\\\"6.3\\\"\"},\n"
           "  {\"level\": \"note\", \"check\": \"tun\", \"found\": \"none\", \"cure\": \"\"}\n"
           "], \"ok\": 1, \"notes\": 2, \"missing\": 0}\n");
    strcpy(found.items[2].cure, "x");
    found.items[2].level = BOARD_MISSING;
    CU_ASSERT_EQUAL(run("check-board --json"), EXIT_FAILURE);
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "{\"level\": \"missing\", "));
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "\"ok\": 1, \"notes\": 1, \"missing\": 1}\n"));
    CU_ASSERT_EQUAL(run("check-board"), EXIT_FAILURE);
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "MISSING  tun: none: x\n1 ok, 1 to know, 1 missing\n"));
}

static void the_board_is_judged_with_its_configuration(void)
{
    char line[256], path[128], words[1024];
    snprintf(path, sizeof(path), "%s/good.yaml", folder);
    FILE *file = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs("devices:\n- {id: 0, type: rng, data_plane: virtio, mmio_addr: 0}\n", file);
    fclose(file);
    found = (struct board_report){.count = 1, .items = {{BOARD_OK, "kernel", "6.12", ""}}};
    snprintf(line, sizeof(line), "check-board --config %s", path);
    snprintf(words, sizeof(words),
             "ok       kernel: 6.12\nok       configuration: %s\n2 ok, 0 to know, 0 missing\n",
             path);
    prints(line, words);
    CU_ASSERT_TRUE(judged_with_config);
    unlink(path);
    CU_ASSERT_EQUAL(run(line), EXIT_FAILURE);
    CU_ASSERT_FALSE(judged_with_config);
    snprintf(words, sizeof(words),
             "ok       kernel: 6.12\n"
             "MISSING  configuration: %s is not right: \"bao-virtio-dm --check-config --config "
             "%s\"\n1 ok, 0 to know, 1 missing\n",
             path, path);
    CU_ASSERT_STRING_EQUAL(out.text, words);
    /* The one with the usual name counts if it is there. */
    is_there_by_default = true;
    CU_ASSERT_EQUAL(run("check-board"), EXIT_FAILURE);
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "configuration: " BOARD_CONFIG " is not right: "));
    is_there_by_default = false;
    /* It is left out if there is no room. */
    found.count = BOARD_FINDINGS_MAX;
    for (size_t i = 0; i < BOARD_FINDINGS_MAX; i++)
        found.items[i] = (struct board_finding){BOARD_OK, "x", "y", ""};
    CU_ASSERT_EQUAL(run(line), EXIT_SUCCESS);
    CU_ASSERT_PTR_NULL(strstr(out.text, "configuration"));
}

int main(int argc, char **argv)
{
    CU_TestInfo status[] = {
        {"status says all of each device", status_says_all_of_each_device},
        {"how long a worker has run", status_says_how_long},
        {"how far worker and driver are", status_says_how_far},
        {"what confines a worker", status_says_what_confines},
        {"numbers that nobody knows", status_believes_no_number},
        {"JSON text is escaped", json_text_is_escaped},
        {"texts without an end are cut", texts_without_an_end_are_cut},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo stats[] = {
        {"stats counts since the start", stats_counts_since_the_start},
        {"rates are differences by time", rates_are_differences_by_time},
        {"watching prints each interval", watching_prints_each_interval},
        {"watching compares with the last time", watching_compares_with_the_last_time},
        {"watching ends with its reader", watching_ends_with_its_reader},
        {"what cannot be written is no success", what_cannot_be_written_is_no_success},
        {"OpenMetrics", openmetrics_has_every_counter_and_state},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo asking[] = {
        {"it asks what the user wants", it_asks_what_the_user_wants},
        {"no more devices than there can be", no_more_devices_are_asked_for_than_there_can_be},
        {"refusals are told", refusals_are_told},
        {"no good answer is told", no_good_answer_is_told},
        {"a connection that fails is told", a_connection_that_fails_is_told},
        {"usage is explained", usage_is_explained},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo several[] = {
        {"several have to be told apart", several_have_to_be_told_apart},
        {"all are shown", all_are_shown},
        {"only sockets that answer count", only_sockets_that_answer_count},
        {"long names, and many", long_names_and_many_are_found},
        {"the first three files", no_socket_stands_for_the_first_three_files},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo others[] = {
        {"the auditor gets what the broker says", the_auditor_gets_what_the_broker_says},
        {"the auditor gets all or nothing", the_auditor_gets_all_or_nothing},
        {"the auditor's input", the_auditor_has_what_it_is_given_as_its_input},
        {"without the broker nothing is audited", without_the_broker_nothing_is_audited},
        {"the board's findings are printed", the_board_s_findings_are_printed},
        {"the board and its configuration", the_board_is_judged_with_its_configuration},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"status", NULL, NULL, NULL, NULL, status}, {"stats", NULL, NULL, NULL, NULL, stats},
        {"asking", NULL, NULL, NULL, NULL, asking}, {"several", NULL, NULL, NULL, NULL, several},
        {"others", NULL, NULL, NULL, NULL, others}, CU_SUITE_INFO_NULL,
    };
    if (!mkdtemp(folder))
        return EXIT_FAILURE;
    int status_of_all = run_suites(argc, argv, suites);
    rmdir(folder);
    return status_of_all;
}
