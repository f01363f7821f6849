/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The matrix of environment faults (cell.h). It runs the cells, each in its own process and
 * namespaces, several at a time, and prints the table.
 *
 *     test_faults [--json FILE] [--jobs N] [--only WORDS]
 *     test_faults --markdown | --documented FILE
 *
 * --only: cells that have the words in "RESOURCE, FAULT, MOMENT". BVDM_LONG=1 in the environment:
 * the long cells as well. --markdown prints what is expected, for docs/FAULTS.md; --documented
 * fails if that is not what the file says.
 */
#include "tests/cunit_main.h"
#include "tests/faults/means.h"
#include "tests/faults/report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/standin/clock.h"

#define JOBS_MAX 16
#define CELL_MS 180000 /* a cell that takes longer is killed */
#define LOOK_US 5000

struct job {
    pid_t pid; /* 0: none */
    struct matrix_cell *cell;
    int log;
    uint64_t end_ms;
};

static struct job jobs[JOBS_MAX];
static unsigned int job_count; /* jobs that may run at a time */

/* ---- A cell's process ---- */

static struct cell cell;

static void test_of_cell(void)
{
    cell_run(&cell);
}

/* Enter separate mount and network namespaces. Files in /tmp end with the namespace, unless the
 * programs are in /tmp. */
static bool enter_namespaces(void)
{
    if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return false;
    return strncmp(PROGRAM_DIR, "/tmp/", 5) == 0 || mount("none", "/tmp", "tmpfs", 0, NULL) == 0;
}

static _Noreturn void run_in_child(const struct matrix_cell *which, int log)
{
    char name[128];
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!enter_namespaces()) {
        fprintf(stderr, "cannot enter namespaces of its own: %s\n", strerror(errno));
        _exit(EXIT_FAILURE);
    }
    cell = (struct cell){.row = which->row, .moment = which->moment, .result = which->result};
    snprintf(name, sizeof(name), "%s, %s", which->row->resource, which->row->fault);
    CU_TestInfo tests[] = {{moment_words[which->moment], test_of_cell}, CU_TEST_INFO_NULL};
    char *argv[] = {name};
    int status = fixture_main(1, argv, name, tests);
    if (status != EXIT_SUCCESS)
        cell_show_log(&cell);
    which->result->over = true;
    which->result->failed = status != EXIT_SUCCESS;
    fflush(NULL);
    _exit(status); /* threads of a cell that failed may still run */
}

/* ---- Jobs ---- */

static void start_job(struct job *job, struct matrix_cell *which)
{
    fflush(NULL);
    job->log = memfd_create("cell", MFD_CLOEXEC);
    job->cell = which;
    job->end_ms = now_ms() + CELL_MS;
    job->pid = fork();
    if (job->pid == 0)
        run_in_child(which, job->log);
    if (job->pid < 0 || job->log < 0) {
        fprintf(stderr, "test_faults: cannot start a cell: %s\n", strerror(errno));
        exit(EXIT_FAILURE);
    }
}

/* Print it indented: the results in it are not those of the matrix. */
static void print_log(int log)
{
    char *line = NULL;
    size_t size = 0;
    FILE *file = fdopen(log, "re");
    rewind(file);
    while (getline(&line, &size, file) >= 0)
        printf("    | %s", line);
    free(line);
    fclose(file);
}

static void end_job(struct job *job)
{
    struct cell_result *result = job->cell->result;
    const struct row *row = job->cell->row;
    if (!result->over)
        result->failed = true;
    if (result->skipped && !result->failed)
        printf("skip: it needs %s: ", result->missing);
    printf("%s, %s, %s: %s\n", row->resource, row->fault, moment_words[job->cell->moment],
           result->failed    ? "FAILED"
           : result->skipped ? "not run"
                             : "ok");
    if (result->failed)
        print_log(job->log);
    else
        close(job->log);
    fflush(stdout);
    *job = (struct job){0};
}

static bool is_job(pid_t pid)
{
    for (unsigned int i = 0; i < JOBS_MAX; i++) {
        if (jobs[i].pid == pid)
            return true;
    }
    return false;
}

/* We are the subreaper, so the processes that a failed cell has left are our children now. */
static void kill_orphans(void)
{
    char path[64], text[4096] = "", *rest = NULL;
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && read(fd, text, sizeof(text) - 1) < 0)
        text[0] = '\0';
    if (fd >= 0)
        close(fd);
    for (const char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        pid_t pid = (pid_t)strtol(word, NULL, 10);
        if (pid > 0 && !is_job(pid))
            kill(pid, SIGKILL);
    }
}

/* Wait until a job ends. */
static void reap(void)
{
    for (;;) {
        pid_t pid;
        while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
            for (unsigned int i = 0; i < job_count; i++) {
                if (jobs[i].pid != pid)
                    continue;
                end_job(&jobs[i]);
                kill_orphans();
                group_remove_of(pid);
                return;
            }
        }
        for (unsigned int i = 0; i < job_count; i++) {
            if (jobs[i].pid > 0 && now_ms() > jobs[i].end_ms)
                kill(jobs[i].pid, SIGKILL);
        }
        usleep(LOOK_US);
    }
}

static struct job *free_job(void)
{
    for (;;) {
        for (unsigned int i = 0; i < job_count; i++) {
            if (jobs[i].pid == 0)
                return &jobs[i];
        }
        reap();
    }
}

static bool any_job(void)
{
    for (unsigned int i = 0; i < job_count; i++) {
        if (jobs[i].pid > 0)
            return true;
    }
    return false;
}

static void run_all(struct matrix *matrix)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (unsigned int i = 0; i < matrix->count; i++) {
        if (matrix->cells[i].chosen)
            start_job(free_job(), &matrix->cells[i]);
    }
    while (any_job())
        reap();
}

/* ---- Which cells ---- */

static bool is_chosen(const struct row *row, enum moment moment, const char *only)
{
    const struct expected *expected = &row->at[moment];
    char name[192];
    snprintf(name, sizeof(name), "%s, %s, %s", row->resource, row->fault, moment_words[moment]);
    if (expected->fate == NOT_APPLICABLE || (only && !strstr(name, only)))
        return false;
    return !expected->is_long || only || long_form();
}

static void add_rows(struct matrix *matrix, const struct row *rows, unsigned int count,
                     struct cell_result *results, const char *only)
{
    for (unsigned int r = 0; r < count; r++) {
        for (unsigned int m = 0; m < MOMENTS; m++) {
            struct matrix_cell *new = &matrix->cells[matrix->count];
            *new = (struct matrix_cell){.row = &rows[r],
                                        .moment = (enum moment)m,
                                        .chosen = is_chosen(&rows[r], (enum moment)m, only),
                                        .result = &results[matrix->count]};
            matrix->count++;
        }
    }
}

static bool make_matrix(struct matrix *matrix, const char *only)
{
    const size_t most = (rows_backends_count + rows_shared_count) * (size_t)MOMENTS;
    struct cell_result *results = mmap(NULL, most * sizeof(*results), PROT_READ | PROT_WRITE,
                                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    *matrix = (struct matrix){.cells = calloc(most, sizeof(*matrix->cells))};
    if (results == MAP_FAILED || !matrix->cells)
        return false;
    add_rows(matrix, rows_backends, rows_backends_count, results, only);
    add_rows(matrix, rows_shared, rows_shared_count, results, only);
    return true;
}

static int report(const struct matrix *matrix, const char *json)
{
    unsigned int passed = 0, failed = 0, skipped = 0;
    for (unsigned int i = 0; i < matrix->count; i++) {
        const struct cell_result *result = matrix->cells[i].result;
        if (!matrix->cells[i].chosen)
            continue;
        const bool is_bad = !result->over || result->failed;
        failed += is_bad;
        skipped += !is_bad && result->skipped;
        passed += !is_bad && !result->skipped;
    }
    report_table(stdout, matrix);
    if (json) {
        FILE *file = fopen(json, "we");
        if (!file) {
            fprintf(stderr, "test_faults: %s: %s\n", json, strerror(errno));
            return EXIT_FAILURE;
        }
        report_json(file, matrix);
        fclose(file);
    }
    printf("%u passed, %u failed, %u skipped\n", passed, failed, skipped);
    return failed == 0 && passed > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

struct arguments {
    const char *json, *only, *document;
    bool markdown;
};

static bool parse_arguments(int argc, char **argv, struct arguments *ret)
{
    for (int i = 1; i < argc; i++) {
        const char *const value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--markdown") == 0) {
            ret->markdown = true;
            continue;
        }
        if (!value)
            return false;
        if (strcmp(argv[i], "--json") == 0)
            ret->json = value;
        else if (strcmp(argv[i], "--only") == 0)
            ret->only = value;
        else if (strcmp(argv[i], "--documented") == 0)
            ret->document = value;
        else if (strcmp(argv[i], "--jobs") == 0)
            job_count = (unsigned int)strtoul(value, NULL, 10);
        else
            return false;
        i++;
    }
    return job_count > 0 && job_count <= JOBS_MAX;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct matrix matrix;
    job_count = (unsigned int)get_nprocs() + 1; /* a cell waits most of the time */
    if (job_count > JOBS_MAX)
        job_count = JOBS_MAX;
    if (!parse_arguments(argc, argv, &arguments)) {
        fprintf(stderr,
                "usage: test_faults [--json FILE] [--jobs 1..%d] [--only WORDS]\n"
                "       test_faults --markdown | --documented FILE\n",
                JOBS_MAX);
        return EXIT_FAILURE;
    }
    if (!make_matrix(&matrix, arguments.only))
        return EXIT_FAILURE;
    if (arguments.markdown) {
        report_markdown(stdout, &matrix);
        return EXIT_SUCCESS;
    }
    if (arguments.document) {
        bool same = report_is_in(arguments.document, &matrix);
        if (!same)
            fprintf(stderr,
                    "test_faults: %s does not hold the table that \"test_faults --markdown\" "
                    "prints: put that there\n",
                    arguments.document);
        return same ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    if (geteuid() != 0) {
        fprintf(stderr, "test_faults: root is needed: namespaces and a device model to confine\n");
        return EXIT_FAILURE;
    }
    run_all(&matrix);
    return report(&matrix, arguments.json);
}
