/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration reader on files that were changed at random. Whatever it is given, it ends,
 * keeps its contract and says what is wrong. The seed is fixed, so a failure can be repeated.
 */
#include "broker/config/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cunit_main.h"
#include "tests/unit/config_cases.h"

#define ITERATIONS 20000
#define SIZE_MAX_MUTATED 4096
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct text {
    size_t size;
    char data[SIZE_MAX_MUTATED];
};

static uint64_t random_state;

/* xorshift64*, by Marsaglia and Vigna. */
static uint32_t random_below(size_t limit)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * 0x2545f4914f6cdd1du >> 32) % limit);
}

static const char *const right_files[] = {
    PUBLISHED_VSOCK,
    PUBLISHED_OLDER_VSOCK,
    WITH_MMIO(PUBLISHED_BLOCK),
    BLOCK("- {id: 1, type: vsock, data_plane: vhost, mmio_addr: 0x2000, guest_cid: 9}\n"),
    TWO_VSOCK("0xa003e00", "0xa003e00", ", shmem_addr: 0x80000000", ", shmem_addr: 0x81000000"),
};

/* A blind change of bytes would hardly ever make these. */
static const char *const pieces[] = {
    "id",
    "type",
    "mmio_addr",
    "data_plane",
    "file_path",
    "read_only",
    "guest_cid",
    "shmem_addr",
    "shmem_size",
    "irq",
    "devices",
    "mac_addr",
    ": ",
    "\n- ",
    "\n  ",
    "---\n",
    "...\n",
    "? ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "!!str ",
    "%YAML 1.2",
    "\"",
    "'",
    "|\n",
    "#",
    "true",
    "~",
    "-1",
    "0xffffffff",
    "0",
    "16",
    "0x80000000",
    "vhost",
    "\xef\xbb\xbf",
    "\xc3",
    "\t",
    "\r\n",
    "18446744073709551616",
    "block",
    "virtio",
    "vsock",
    "\"\\0\"",
};

static void delete_range(struct text *text, size_t at, size_t length)
{
    if (length > text->size - at)
        length = text->size - at;
    memmove(text->data + at, text->data + at + length, text->size - at - length);
    text->size -= length;
}

static void insert(struct text *text, size_t at, const char *data, size_t length)
{
    if (length > sizeof(text->data) - text->size)
        return;
    memmove(text->data + at + length, text->data + at, text->size - at);
    memcpy(text->data + at, data, length);
    text->size += length;
}

static void mutate(struct text *text)
{
    size_t at = random_below(text->size + 1);
    size_t left = text->size - at;
    char copy[64];
    size_t length = random_below(sizeof(copy));
    switch (random_below(5)) {
    case 0:
        if (left > 0)
            text->data[at] = (char)random_below(256);
        break;
    case 1:
        if (left > 0)
            text->data[at] = (char)(text->data[at] ^ 1 << random_below(8));
        break;
    case 2:
        delete_range(text, at, length);
        break;
    case 3:
        length = length < left ? length : left;
        memcpy(copy, text->data + at, length);
        insert(text, random_below(text->size + 1), copy, length);
        break;
    case 4: {
        const char *piece = pieces[random_below(COUNT(pieces))];
        insert(text, at, piece, strlen(piece));
        break;
    }
    }
}

static bool is_daemons(enum device_kind kind)
{
    return kind == DEVICE_VSOCK_VHOST_USER || kind == DEVICE_FS_VHOST_USER ||
           kind == DEVICE_OTHER_VHOST_USER;
}

static bool is_good_device(const struct device_config *device)
{
    bool is_block = device->kind == DEVICE_BLOCK_VIRTIO;
    bool is_console = device->kind == DEVICE_CONSOLE_VIRTIO ||
                      (device->kind == DEVICE_CONSOLE_SOCKET && device->socket_path);
    bool is_vsock = device->kind == DEVICE_VSOCK_VHOST;
    return device->id < BAO_DEVICES_MAX && device->mmio_addr % 4 == 0 &&
           device->mmio_addr <= UINT64_MAX - CONFIG_REGISTERS_SIZE + 1 && device->mark.line > 0 &&
           device->virtio_id > 0 && device->type_name &&
           ((is_block && device->file_path && device->file_path[0] != '\0') ||
            (is_console && !device->file_path && device->ports >= 1 && device->ports <= 7) ||
            (is_daemons(device->kind) && device->socket_path && device->socket_path[0] != '\0') ||
            (device->kind == DEVICE_RNG_VIRTIO) ||
            (is_vsock && !device->file_path && device->guest_cid >= 3 &&
             device->guest_cid <= 0xfffffffe));
}

static bool is_good_config(const struct config *config)
{
    if (config->device_count == 0 || config->device_count > BAO_DEVICES_MAX)
        return false;
    for (size_t i = 0; i < config->device_count; i++) {
        const struct device_config *device = &config->devices[i];
        if (!is_good_device(device))
            return false;
        for (size_t j = 0; j < i; j++) {
            const struct device_config *other = &config->devices[j];
            if (other->id == device->id)
                return false;
        }
    }
    return true;
}

/* Every message is one line. The messages are in order, and each is at a place that exists in the
 * file. */
static bool is_good_report(const struct config_diagnostics *diags, size_t size)
{
    size_t errors = 0;
    for (size_t i = 0; i < diags->count; i++) {
        const struct config_diagnostic *item = &diags->items[i];
        const struct config_diagnostic *previous = i > 0 ? item - 1 : item;
        size_t length = strnlen(item->text, sizeof(item->text));
        errors += item->severity == CONFIG_ERROR;
        if (length == 0 || length >= sizeof(item->text) - 1 || strpbrk(item->text, "\n\r\t\x1b") ||
            item->mark.line == 0 || item->mark.column == 0 || item->mark.line > size + 2 ||
            item->mark.column > size + 2 || item->mark.line < previous->mark.line ||
            (item->mark.line == previous->mark.line && item->mark.column < previous->mark.column))
            return false;
    }
    return diags->count <= CONFIG_DIAGNOSTICS_MAX &&
           (diags->omitted > 0 ? diags->errors >= errors : diags->errors == errors) &&
           (diags->errors == 0 || errors > 0);
}

static bool check(const struct text *text)
{
    struct config config = {0};
    static struct config_diagnostics diags;
    char *data = malloc(text->size > 0 ? text->size : 1); /* of the exact size, for the sanitizer */
    if (!data)
        return false;
    memcpy(data, text->data, text->size);
    int result = config_parse("f", data, text->size, &config, &diags);
    free(data);
    bool good = is_good_report(&diags, text->size);
    if (result == 0)
        good = good && diags.errors == 0 && is_good_config(&config);
    else
        good = good && result == -EINVAL && diags.errors > 0 && !config.path;
    if (!good) {
        fprintf(stderr, "\n--- result %d\n%.*s\n---\n", result, (int)text->size, text->data);
        config_diagnostics_print(&diags, "f", stderr);
    }
    config_free(&config);
    return good;
}

static void set(struct text *text, const char *yaml)
{
    text->size = 0;
    insert(text, 0, yaml, strlen(yaml));
}

static const char *any_seed(void)
{
    static const struct {
        const struct config_case *cases;
        size_t count;
    } tables[] = {
        {published_cases, COUNT(published_cases)},
        {structure_cases, COUNT(structure_cases)},
        {key_cases, COUNT(key_cases)},
        {value_cases, COUNT(value_cases)},
        {between_cases, COUNT(between_cases)},
        {yaml_cases, COUNT(yaml_cases)},
        {&many_errors, 1},
    };
    if (random_below(2) == 0)
        return right_files[random_below(COUNT(right_files))];
    size_t table = random_below(COUNT(tables));
    return tables[table].cases[random_below(tables[table].count)].yaml;
}

static void test_mutated(void)
{
    static struct text text;
    random_state = 0x62617664;
    for (unsigned int i = 0; i < ITERATIONS; i++) {
        set(&text, any_seed());
        for (uint32_t changes = random_below(6) + 1; changes > 0; changes--)
            mutate(&text);
        CU_ASSERT_TRUE_FATAL(check(&text));
    }
}

/* Every beginning of a correct file: a board that loses power while it writes would find one. */
static void test_cut(void)
{
    static struct text text;
    for (size_t i = 0; i < COUNT(right_files); i++) {
        set(&text, right_files[i]);
        while (text.size > 0) {
            text.size--;
            CU_ASSERT_TRUE_FATAL(check(&text));
        }
    }
}

static void test_noise(void)
{
    static const char letters[] = "\n :-[]{}\"'&*!|>%@`,?#~0x\\a\t\r\xc3\xa4";
    static struct text text;
    random_state = 0x6e6f6973;
    for (unsigned int i = 0; i < ITERATIONS / 10; i++) {
        text.size = random_below(200);
        for (size_t k = 0; k < text.size; k++)
            text.data[k] = letters[random_below(sizeof(letters) - 1)];
        CU_ASSERT_TRUE_FATAL(check(&text));
    }
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"changed at random", test_mutated},
        {"cut off", test_cut},
        {"YAML's punctuation at random", test_noise},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "mutated configuration", tests);
}
