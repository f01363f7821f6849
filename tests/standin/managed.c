/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/managed.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void managed_prepare(struct managed *managed, const char *yaml, const char *kill_at, bool abstract)
{
    int pipe_fds[2];
    size_t count = 0;
    fixture_init(&managed->fixture);
    fixture_make_image(&managed->fixture, "disk0.img", FIXTURE_IMAGE_SECTORS);
    fixture_make_image(&managed->fixture, "disk1.img", FIXTURE_IMAGE_SECTORS);
    fixture_configure(&managed->fixture, yaml);
    CU_ASSERT_EQUAL_FATAL(pipe2(pipe_fds, O_CLOEXEC), 0);
    managed->commands = pipe_fds[1];
    managed->events = fixture_open(&managed->fixture, "events");
    managed->starter[count++] = SERVICE_MANAGER;
    if (kill_at) {
        managed->starter[count++] = "--kill-at";
        managed->starter[count++] = kill_at;
    }
    if (abstract)
        managed->starter[count++] = "--abstract";
    managed->starter[count] = NULL;
    managed->fixture.starter = managed->starter;
    managed->fixture.starter_in = pipe_fds[0];
    managed->fixture.starter_out = managed->events;
}

static char *events_of(const struct managed *managed)
{
    off_t size = lseek(managed->events, 0, SEEK_END);
    char *text = calloc(1, (size_t)size + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    (void)!pread(managed->events, text, (size_t)size, 0);
    return text;
}

unsigned int managed_events(const struct managed *managed, const char *begin)
{
    char *text = events_of(managed);
    unsigned int count = 0;
    for (const char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        count += strncmp(line, begin, strlen(begin)) == 0;
    free(text);
    return count;
}

void managed_wait_events(const struct managed *managed, const char *begin, unsigned int count)
{
    for (unsigned int i = 0; i < MANAGED_DEADLINE_MS && managed_events(managed, begin) < count; i++)
        usleep(1000);
    CU_ASSERT(managed_events(managed, begin) >= count);
}

void managed_command(const struct managed *managed, const char *letters)
{
    CU_ASSERT_EQUAL(write(managed->commands, letters, strlen(letters)), (ssize_t)strlen(letters));
}

void managed_restart(const struct managed *managed, const char *spoil)
{
    unsigned int ready = managed_events(managed, "ready");
    managed_command(managed, spoil);
    managed_command(managed, "r");
    managed_wait_events(managed, "ready", ready + 1);
}

void managed_stop(struct managed *managed, unsigned int devices)
{
    struct standin_counts counts;
    standin_counts(managed->fixture.standin, &counts);
    CU_ASSERT_EQUAL(counts.dm_get_info, devices);
    CU_ASSERT_EQUAL(counts.dm_releases, 0);
    fixture_stop(&managed->fixture);
    CU_ASSERT_EQUAL(managed_events(managed, "wrong"), 0);
    CU_ASSERT_EQUAL(managed_events(managed, "orphan"), 0);
    if (CU_get_number_of_failures() > managed->fixture.failures) {
        char *text = events_of(managed);
        fprintf(stderr, "\n--- the service manager:\n%s---\n", text);
        free(text);
    }
    managed_free(managed);
}

void managed_free(struct managed *managed)
{
    close(managed->commands);
    close(managed->events);
    close(managed->fixture.starter_in);
    fixture_free(&managed->fixture);
}
