/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration reader without memory or files. Whatever it lacks, it says so, and keeps
 * neither memory nor files that nobody will ever give back. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#include "broker/config/config.h"
#include "broker/shared_page.h"
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"

#define DEVICE(id, rest)                                                                           \
    "- {id: " id ", type: block, data_plane: virtio, mmio_addr: 0x" id "000, file_path: /" id rest \
    "}\n"
#define GOOD "devices:\n" DEVICE("1", "") DEVICE("2", ", features_off: [VIRTIO_F_EVENT_IDX]")
#define NO_MEMORY "cannot be read: Cannot allocate memory; expected a YAML file that can be opened"

static struct config config;
static struct config_diagnostics diags;

/* ---- Calls that fail, and the memory that is in use ---- */

static size_t in_use; /* pieces of memory, parsers and events that nobody has given back */

WRAPPED(int, memfd_create, (const char *name, unsigned int flags), (name, flags))
WRAPPED(int, fstat, (int fd, struct stat *ret), (fd, ret))
WRAPPED(void *, mmap, (void *at, size_t size, int protection, int flags, int fd, off_t offset),
        (at, size, protection, flags, fd, offset))

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
char *__wrap_strdup(const char *text);
void __real_free(void *memory);
void __wrap_free(void *memory);
int __real_yaml_parser_initialize(yaml_parser_t *parser);
int __wrap_yaml_parser_initialize(yaml_parser_t *parser);
int __real_yaml_parser_parse(yaml_parser_t *parser, yaml_event_t *event);
int __wrap_yaml_parser_parse(yaml_parser_t *parser, yaml_event_t *event);
void __real_yaml_parser_delete(yaml_parser_t *parser);
void __wrap_yaml_parser_delete(yaml_parser_t *parser);
void __real_yaml_event_delete(yaml_event_t *event);
void __wrap_yaml_event_delete(yaml_event_t *event);

void *__wrap_malloc(size_t size)
{
    void *memory = call_fails("malloc") ? NULL : __real_malloc(size);
    in_use += memory != NULL;
    return memory;
}

char *__wrap_strdup(const char *text)
{
    char *copy = call_fails("strdup") ? NULL : __real_malloc(strlen(text) + 1);
    in_use += copy != NULL;
    return copy ? strcpy(copy, text) : NULL;
}

void __wrap_free(void *memory)
{
    in_use -= memory != NULL;
    __real_free(memory);
}

int __wrap_yaml_parser_initialize(yaml_parser_t *parser)
{
    int made = call_fails("yaml_parser_initialize") ? 0 : __real_yaml_parser_initialize(parser);
    in_use += made != 0;
    return made;
}

int __wrap_yaml_parser_parse(yaml_parser_t *parser, yaml_event_t *event)
{
    if (!call_fails("yaml_parser_parse")) {
        int made = __real_yaml_parser_parse(parser, event);
        in_use += made != 0 && event->type != YAML_NO_EVENT;
        return made;
    }
    memset(event, 0, sizeof(*event));
    parser->error = YAML_MEMORY_ERROR;
    return 0;
}

void __wrap_yaml_parser_delete(yaml_parser_t *parser)
{
    in_use--;
    __real_yaml_parser_delete(parser);
}

void __wrap_yaml_event_delete(yaml_event_t *event)
{
    in_use -= event->type != YAML_NO_EVENT;
    __real_yaml_event_delete(event);
}

static int open_flags; /* of the file that was opened last */

int __real_open(const char *name, int flags, ...);
int __wrap_open(const char *name, int flags, ...);
int __wrap_open(const char *name, int flags, ...)
{
    open_flags = flags;
    return call_fails("open") ? -1 : __real_open(name, flags, 0);
}

static void expect_one_error(const char *words)
{
    CU_ASSERT_EQUAL(diags.errors, 1);
    CU_ASSERT_EQUAL_FATAL(diags.count, 1);
    CU_ASSERT_EQUAL(diags.items[0].mark.line, 0);
    CU_ASSERT_STRING_EQUAL(diags.items[0].text, words);
}

/* ---- Memory ---- */

/* How many calls of this name there are before one does not fail: each of them is made to fail. */
static unsigned int fail_each(const char *call)
{
    in_use = 0;
    for (unsigned int later = 0;; later++) {
        fail_once(call, ENOMEM, later);
        int result = config_parse("f", GOOD, strlen(GOOD), &config, &diags);
        if (failing.call) {
            failing.call = NULL;
            CU_ASSERT_EQUAL(result, 0);
            config_free(&config);
            return later;
        }
        CU_ASSERT_EQUAL(result, -ENOMEM);
        expect_one_error(NO_MEMORY);
        CU_ASSERT_EQUAL(in_use, 0);
    }
}

static void memory_for_texts(void)
{
    /* The types, the data planes, the images' paths, and the path of the file. A libyaml in the
     * same program has some, too. */
    CU_ASSERT(fail_each("strdup") >= 2 * 3 + 1);
}

static void memory_for_libyaml(void)
{
    CU_ASSERT_EQUAL(fail_each("yaml_parser_initialize"), 1);
    CU_ASSERT(fail_each("yaml_parser_parse") > 20);
}

static void memory_is_given_back(void)
{
    static const char *const wrong[] = {GOOD "- {id: 1}\n", GOOD "- [", "devices: [{tag: [x",
                                        "devices: [[[[[[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]]]]]"};
    in_use = 0;
    CU_ASSERT_EQUAL(config_parse("f", GOOD, strlen(GOOD), &config, &diags), 0);
    CU_ASSERT_EQUAL(in_use, 3); /* two paths of images, and that of the file */
    config_free(&config);
    CU_ASSERT_EQUAL(in_use, 0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CU_ASSERT_EQUAL(config_parse("f", wrong[i], strlen(wrong[i]), &config, &diags), -EINVAL);
        CU_ASSERT_EQUAL(in_use, 0);
    }
}

/* ---- Files ---- */

static char path[] = "/tmp/test-config-XXXXXX";

static void make_file(const char *text)
{
    strcpy(path + strlen(path) - 6, "XXXXXX");
    int fd = mkostemp(path, O_CLOEXEC);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void calls_for_a_file(void)
{
    static const struct {
        const char *call;
        int error;
        unsigned int later;
        const char *words;
    } cases[] = {
        {"open", EIO, 0,
         "cannot be read: Input/output error; expected a YAML file that can be opened"},
        {"malloc", ENOMEM, 0, NO_MEMORY},
        {"fstat", EIO, 0,
         "cannot be read: Input/output error; expected a YAML file that can be opened"},
        {"memfd_create", EMFILE, 0,
         "cannot be read: Too many open files; expected a YAML file that can be opened"},
        {"fstat", EIO, 1,
         "cannot be read: Input/output error; expected a YAML file that can be opened"},
        {"mmap", ENOMEM, 0, NO_MEMORY},
    };
    make_file(GOOD);
    in_use = 0;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned int before = fd_count();
        fail_once(cases[i].call, cases[i].error, cases[i].later);
        CU_ASSERT_EQUAL(config_load(path, &config, &diags), -cases[i].error);
        CU_ASSERT_PTR_NULL(failing.call);
        expect_one_error(cases[i].words);
        CU_ASSERT_EQUAL(in_use, 0);
        CU_ASSERT_EQUAL(fd_count(), before);
    }
    unlink(path);
}

static unsigned int mappings(void)
{
    unsigned int count = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(maps);
    for (int c; (c = getc(maps)) != EOF;)
        count += c == '\n';
    fclose(maps);
    return count;
}

static void a_file_that_was_read_is_closed(void)
{
    make_file(GOOD);
    in_use = 0;
    unsigned int files = fd_count();
    CU_ASSERT_EQUAL(config_load(path, &config, &diags), 0);
    CU_ASSERT_EQUAL(open_flags, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    CU_ASSERT_EQUAL(diags.count, 0);
    CU_ASSERT_EQUAL(config.device_count, 2);
    config_free(&config);
    unsigned int before = mappings();
    CU_ASSERT_EQUAL(config_load(path, &config, &diags), 0);
    config_free(&config);
    CU_ASSERT_EQUAL(in_use, 0);
    CU_ASSERT_EQUAL(mappings(), before);
    CU_ASSERT_EQUAL(fd_count(), files);
    unlink(path);
}

static void a_text_can_be_read_again_and_not_changed(void)
{
    make_file(GOOD);
    unsigned int before = fd_count();
    int text = config_read_text(path, &diags);
    CU_ASSERT_FATAL(text >= 0);
    CU_ASSERT_EQUAL(diags.count, 0);
    CU_ASSERT_EQUAL(fd_count(), before + 1);
    CU_ASSERT_TRUE(shared_page_is_text(text));
    unlink(path);
    for (unsigned int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(config_load_text(text, "g", &config, &diags), 0);
        CU_ASSERT_STRING_EQUAL(config.path, "g");
        CU_ASSERT_EQUAL(config.device_count, 2);
        config_free(&config);
    }
    memset(&diags, 0xa5, sizeof(diags)); /* what it had before does not count */
    fail_once("mmap", ENOMEM, 0);
    CU_ASSERT_EQUAL(config_load_text(text, "g", &config, &diags), -ENOMEM);
    expect_one_error(NO_MEMORY);
    close(text);
}

/* A number of a file is no failure unless it is negative. */
static void a_file_may_have_the_number_0(void)
{
    static const char *const calls[] = {"open", "memfd_create"};
    make_file(GOOD);
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        unsigned int before = fd_count();
        gives_0 = calls[i];
        CU_ASSERT_EQUAL(config_load(path, &config, &diags), 0);
        CU_ASSERT_PTR_NULL(gives_0);
        CU_ASSERT_TRUE(fcntl(0, F_GETFD) < 0 && errno == EBADF); /* it is closed */
        take_0_back();
        CU_ASSERT_EQUAL(fd_count(), before);
        CU_ASSERT_EQUAL(config.device_count, 2);
        config_free(&config);
    }
    gives_0 = "memfd_create";
    CU_ASSERT_EQUAL(config_read_text(path, &diags), 0);
    CU_ASSERT_EQUAL(diags.count, 0);
    take_0_back();
    unlink(path);
}

static void a_file_without_devices_is_refused(void)
{
    static const struct {
        const char *text, *words;
    } wrong[] = {
        {"", "the file is empty; expected \"devices:\" and a list of devices"},
        {"devices: 5\n", "devices is no list; expected a device after each \"-\""},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        make_file(wrong[i].text);
        config.device_count = 99;
        CU_ASSERT_EQUAL(config_load(path, &config, &diags), -EINVAL);
        CU_ASSERT_EQUAL(config.device_count, 99); /* it is written on success only */
        CU_ASSERT_EQUAL(diags.errors, 1);
        CU_ASSERT_STRING_EQUAL(diags.items[0].text, wrong[i].words);
        unlink(path);
    }
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"memory for texts", memory_for_texts},
        {"memory for libyaml", memory_for_libyaml},
        {"memory is given back", memory_is_given_back},
        {"calls for a file", calls_for_a_file},
        {"a file that was read is closed", a_file_that_was_read_is_closed},
        {"a text can be read again and not changed", a_text_can_be_read_again_and_not_changed},
        {"a file may have the number 0", a_file_may_have_the_number_0},
        {"a file without devices is refused", a_file_without_devices_is_refused},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "trouble with the configuration", tests);
}
