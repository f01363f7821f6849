/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a broker that was taken over can't make the keeper do. Once the broker has said RUNNING, it
 * is confined. Then it can't choose the text by which files are opened as root, nor the text that
 * its successors use. The broker is rogue_broker.c; the keeper is the real one.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/standin/fixture.h"

#define DEADLINE_MS 20000

struct run {
    char dir[32];
    pid_t keeper;
    int log;
};

static void copy(const char *from, const char *to)
{
    char buffer[65536];
    ssize_t length;
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    CU_ASSERT_FATAL(in >= 0 && out >= 0);
    while ((length = read(in, buffer, sizeof(buffer))) > 0)
        CU_ASSERT_EQUAL_FATAL(write(out, buffer, (size_t)length), length);
    close(in);
    close(out);
}

static void path_of(const struct run *run, const char *name, char ret[64])
{
    snprintf(ret, 64, "%s/%s", run->dir, name);
}

/* The keeper starts the programs in its own directory. */
static void start(struct run *run, const char *wanted)
{
    char path[64], keeper[64], log[64];
    strcpy(run->dir, "/tmp/bao-rogue-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(run->dir));
    path_of(run, "bao-virtio-dm", keeper);
    copy(PROGRAM_DIR "/bao-virtio-dm", keeper);
    path_of(run, "bao-virtio-broker", path);
    CU_ASSERT_EQUAL(symlink(ROGUE, path), 0);
    path_of(run, "bao-virtio-worker", path);
    CU_ASSERT_EQUAL(symlink(PROGRAM_DIR "/bao-virtio-worker", path), 0);
    path_of(run, "log", log);
    run->log = open(log, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    CU_ASSERT_FATAL(run->log >= 0);
    run->keeper = fork();
    CU_ASSERT_FATAL(run->keeper >= 0);
    if (run->keeper == 0) {
        dup2(run->log, STDERR_FILENO);
        execl(keeper, keeper, "--config", wanted, (char *)NULL);
        _exit(127);
    }
}

static bool says(const struct run *run, const char *words)
{
    char text[8192];
    ssize_t length = pread(run->log, text, sizeof(text) - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    return strstr(text, words) != NULL;
}

static void wait_said(const struct run *run, const char *words)
{
    for (unsigned int i = 0; i < DEADLINE_MS && !says(run, words); i++)
        usleep(1000);
    if (!says(run, words))
        fprintf(stderr, "\nnot said: %s\n", words);
    CU_ASSERT_TRUE(says(run, words));
}

static void stop(const struct run *run)
{
    static const char *const names[] = {"bao-virtio-dm", "bao-virtio-broker", "bao-virtio-worker",
                                        "log"};
    char path[64];
    int status;
    CU_ASSERT_FALSE(says(run, "rogue: failed"));
    CU_ASSERT_EQUAL(kill(run->keeper, SIGTERM), 0);
    CU_ASSERT_EQUAL(waitpid(run->keeper, &status, 0), run->keeper);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        path_of(run, names[i], path);
        unlink(path);
    }
    rmdir(run->dir);
    close(run->log);
}

/* At this time the broker could still open the files itself. */
static void before_it_is_confined_it_names_a_text(void)
{
    struct run run;
    start(&run, "open-early");
    wait_said(&run, "rogue: its opener goes by another");
    wait_said(&run, "rogue: it waits");
    stop(&run);
}

static void afterwards_the_settled_text_counts(void)
{
    struct run run;
    start(&run, "open-late");
    wait_said(&run, "rogue: its opener goes by settled");
    wait_said(&run, "rogue: it waits");
    stop(&run);
}

static void afterwards_no_text_is_settled(void)
{
    struct run run;
    start(&run, "config-late");
    wait_said(&run, "the broker is ended: a message that it must not send");
    wait_said(&run, "rogue: its successor goes by settled");
    stop(&run);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"before it is confined it names a text", before_it_is_confined_it_names_a_text},
        {"afterwards the settled text counts", afterwards_the_settled_text_counts},
        {"afterwards no text is settled", afterwards_no_text_is_settled},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "what the keeper does for a broker", tests);
}
