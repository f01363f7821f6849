/* SPDX-License-Identifier: Apache-2.0 */
/* What a program says of the policies that it carries: the truth, on a file that was stripped and
 * of another machine as well; and no file of anybody's leads the reader astray. */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/audit/elf_notes.h"
#include "policy/catalog.h"
#include "policy/note.h"
#include "tests/cunit_main.h"
#include "tool.h"

static char directory[] = "/tmp/bao-notes-XXXXXX";

__attribute__((format(printf, 1, 0))) static void shell(const char *format, const char *argument)
{
    char command[4096];
    snprintf(command, sizeof(command), format, argument, directory);
    CU_ASSERT_EQUAL_FATAL(system(command), 0);
}

static int notes_of(const char *name, const char *options)
{
    char arguments[256];
    snprintf(arguments, sizeof(arguments), "notes %s '%s/%s'", options, directory, name);
    return tool_run(arguments);
}

static size_t read_file(const char *name, uint8_t *ret, size_t size)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    size_t length = fread(ret, 1, size, file);
    fclose(file);
    return length;
}

static void write_file(const char *name, const uint8_t *data, size_t size)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL(fwrite(data, 1, size, file), size);
    fclose(file);
}

/* ---- The hashes ---- */

/* FIPS 180-4's examples, and Nettle's of every program of the build. */
static void sha256_is_sha256(void)
{
    static const struct {
        const char *text, *hash;
    } known[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    char hash[SHA256_TEXT];
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        sha256_of_bytes(known[i].text, strlen(known[i].text), hash);
        CU_ASSERT_STRING_EQUAL(hash, known[i].hash);
    }
    for (const struct policy_listing *at = policy_catalog; at->program.name; at++) {
        sha256_of_bytes(at->program.filter, at->program.length * sizeof(*at->program.filter), hash);
        CU_ASSERT_STRING_EQUAL(hash, at->program.hash);
    }
}

/* Every length about two blocks, and a file that is longer than a buffer. */
static void sha256_of_every_length(void)
{
    static uint8_t bytes[200001];
    char hash[SHA256_TEXT], of_file[SHA256_TEXT], path[64];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * i >> 3);
    char name[32];
    for (size_t length = 0; length <= 130; length++) {
        snprintf(name, sizeof(name), "l%zu", length);
        write_file(name, bytes, length);
    }
    write_file("l131", bytes, sizeof(bytes));
    shell("cd '%s' && sha256sum l* >sums", directory);
    snprintf(path, sizeof(path), "%s/sums", directory);
    FILE *sums = fopen(path, "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(sums);
    char expected[SHA256_TEXT];
    unsigned int length, seen = 0;
    while (fscanf(sums, "%64s l%u", expected, &length) == 2) {
        sha256_of_bytes(bytes, length == 131 ? sizeof(bytes) : length, hash);
        CU_ASSERT_STRING_EQUAL(hash, expected);
        snprintf(path, sizeof(path), "%s/l%u", directory, length);
        CU_ASSERT_EQUAL(sha256_of_file(path, of_file), 0);
        CU_ASSERT_STRING_EQUAL(of_file, expected);
        seen++;
    }
    fclose(sums);
    CU_ASSERT_EQUAL(seen, 132);
    CU_ASSERT_EQUAL(sha256_of_file(directory, of_file), -EINVAL);
    CU_ASSERT_EQUAL(sha256_of_file("/dev/null", of_file), -EINVAL);
    shell("truncate -s 4T '%s/holes'", directory);
    snprintf(path, sizeof(path), "%s/holes", directory);
    CU_ASSERT_EQUAL(sha256_of_file(path, of_file), -EFBIG);
    CU_ASSERT_EQUAL(sha256_of_file("/no/such/file", of_file), -ENOENT);
}

/* ---- The notes ---- */

static void expect_policies_of_worker(const char *name)
{
    CU_ASSERT_EQUAL(notes_of(name, ""), 0);
    for (const struct policy_listing *at = policy_catalog; at->program.name; at++) {
        char line[160];
        snprintf(line, sizeof(line), "%s  %s/%s\n", at->program.hash, policy_arch_name(at->arch),
                 at->program.name);
        bool of_worker = strchr(at->program.name, '/') && at->arch == POLICY_ARCH_NATIVE;
        CU_ASSERT_EQUAL(tool_says(line), of_worker);
    }
}

/* Section headers are not needed: the kernel does not need them either. */
static void a_program_says_what_it_carries(void)
{
    expect_policies_of_worker("worker");
    shell("'" STRIP "' -o '%2$s/stripped' '%1$s'", WORKER);
    expect_policies_of_worker("stripped");
    static uint8_t bytes[8 << 20];
    size_t size = read_file("stripped", bytes, sizeof(bytes));
    Elf64_Ehdr header;
    memcpy(&header, bytes, sizeof(header));
    CU_ASSERT(header.e_shoff > 0);
    header.e_shoff = header.e_shnum = header.e_shstrndx = 0;
    memcpy(bytes, &header, sizeof(header));
    write_file("no-sections", bytes, size);
    expect_policies_of_worker("no-sections");
}

static void readelf_shows_it(void)
{
    shell("readelf -nW '%1$s' >'%2$s/readelf'", WORKER);
    static uint8_t text[1 << 16];
    size_t size = read_file("readelf", text, sizeof(text) - 1);
    text[size] = '\0';
    for (const struct policy_listing *at = policy_catalog; at->program.name; at++) {
        char owner[96], bytes[128] = "description data: ";
        if (at->arch != POLICY_ARCH_NATIVE || !strchr(at->program.name, '/'))
            continue;
        snprintf(owner, sizeof(owner), "  " POLICY_NOTE_OWNER "%s ", at->program.name);
        const char *line = strstr((const char *)text, owner);
        CU_ASSERT_PTR_NOT_NULL_FATAL(line);
        for (size_t i = 0, used = strlen(bytes); i < POLICY_NOTE_SIZE; i++, used += 3)
            snprintf(bytes + used, sizeof(bytes) - used, "%.2s ", at->program.hash + 2 * i);
        const char *found = strstr(line, bytes);
        CU_ASSERT(found && !memchr(line, '\n', (size_t)(found - line)));
    }
}

static uint8_t *find_note(uint8_t *bytes, size_t size, const char *owner)
{
    uint8_t *at = memmem(bytes, size, owner, strlen(owner) + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    return at;
}

/* Another hash, another name: neither is taken for this build's. */
static void another_policy_is_told(void)
{
    static uint8_t bytes[8 << 20];
    size_t size = read_file("worker", bytes, sizeof(bytes));
    uint8_t *note = find_note(bytes, size, POLICY_NOTE_OWNER "block/virtio");
    uint8_t *hash = note + (sizeof(POLICY_NOTE_OWNER "block/virtio") + 3) / 4 * 4;
    hash[31] ^= 1;
    write_file("changed", bytes, size);
    CU_ASSERT_EQUAL(notes_of("changed", ""), 1);
    CU_ASSERT(tool_says("/block/virtio  not that of this build\n"));
    CU_ASSERT_EQUAL(notes_of("changed", "--json"), 1);
    CU_ASSERT(tool_says("\"of_this_build\": false"));
    CU_ASSERT(tool_says("\"of_this_build\": true"));
    CU_ASSERT_EQUAL(tool_run("notes --json '" WORKER "' | '" SHAPE "' '" DOCUMENT "' notes"), 0);
    hash[31] ^= 1;
    note[strlen(POLICY_NOTE_OWNER)] = 'c';
    write_file("changed", bytes, size);
    CU_ASSERT_EQUAL(notes_of("changed", ""), 1);
    CU_ASSERT(tool_says("/clock/virtio  this build has no such policy\n"));
    note[strlen(POLICY_NOTE_OWNER)] = '\n'; /* would go to a terminal */
    write_file("changed", bytes, size);
    CU_ASSERT_EQUAL(notes_of("changed", ""), 2);
}

/* A program for another machine is read as well. */
static void of_another_machine(void)
{
    static uint8_t bytes[8 << 20];
    size_t size = read_file("worker", bytes, sizeof(bytes));
    Elf64_Ehdr header;
    memcpy(&header, bytes, sizeof(header));
    header.e_machine = header.e_machine == EM_RISCV ? EM_AARCH64 : EM_RISCV;
    memcpy(bytes, &header, sizeof(header));
    write_file("foreign", bytes, size);
    /* The hashes are still the native ones: of that machine's policies the build has others. */
    CU_ASSERT_EQUAL(notes_of("foreign", ""), 1);
    CU_ASSERT(tool_says(header.e_machine == EM_RISCV ? "  riscv64/block/virtio  not that"
                                                     : "  aarch64/block/virtio  not that"));
}

static void nonsense_is_refused(void)
{
    CU_ASSERT_EQUAL(tool_run("notes"), 2);
    CU_ASSERT_EQUAL(tool_run("notes /no/such/file"), 2);
    CU_ASSERT(tool_says("/no/such/file: No such file or directory\n"));
    CU_ASSERT_EQUAL(tool_run("notes /dev/null"), 2);
    CU_ASSERT_EQUAL(tool_run("notes /"), 2);
    CU_ASSERT(tool_says("expected a program of 64 bits"));
    CU_ASSERT_EQUAL(tool_run("notes \"$(command -v cat)\""), 2);
    CU_ASSERT(tool_says("found no note of one"));
    /* One wrong file does not hide the others. */
    CU_ASSERT_EQUAL(tool_run("notes /dev/null '" WORKER "' 2>/dev/null"), 2);
    CU_ASSERT(tool_says("/block/virtio\n"));
}

/* Cut off anywhere in the headers or notes: refused, or with the notes before the cut. */
static void a_file_that_breaks_off(void)
{
    static uint8_t bytes[8 << 20];
    struct elf_notes whole, notes;
    size_t size = read_file("worker", bytes, sizeof(bytes));
    CU_ASSERT_EQUAL_FATAL(elf_notes_parse(bytes, size, &whole), 0);
    CU_ASSERT(whole.count > 10);
    for (size_t length = 0; length < 4096; length++) {
        uint8_t *cut = malloc(length + 1); /* a sanitizer sees each byte beyond */
        CU_ASSERT_PTR_NOT_NULL_FATAL(cut);
        memcpy(cut, bytes, length);
        int error = elf_notes_parse(cut, length, &notes);
        CU_ASSERT(error == -ENOEXEC || (error == 0 && notes.count == whole.count));
        free(cut);
    }
}

/* The whole file as the notes of each of thousands of segments: no program is like that, and
 * reading it would take hours. */
static void a_file_that_would_take_hours(void)
{
    static uint8_t bytes[8 << 20];
    struct elf_notes notes;
    Elf64_Ehdr header;
    size_t size = read_file("worker", bytes, sizeof(bytes));
    memcpy(&header, bytes, sizeof(header));
    header.e_phnum = 65000;
    header.e_phoff = size;
    memcpy(bytes, &header, sizeof(header));
    const Elf64_Phdr segment = {
        .p_type = PT_NOTE, .p_offset = sizeof(bytes) / 2, .p_filesz = 1 << 20};
    for (size_t i = 0; i < header.e_phnum && size + sizeof(segment) <= sizeof(bytes); i++) {
        memcpy(bytes + size, &segment, sizeof(segment));
        size += sizeof(segment);
    }
    CU_ASSERT_EQUAL(elf_notes_parse(bytes, sizeof(bytes), &notes), -E2BIG);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"SHA-256 is SHA-256", sha256_is_sha256},
        {"SHA-256 of every length", sha256_of_every_length},
        {"a program says what it carries", a_program_says_what_it_carries},
        {"readelf shows it", readelf_shows_it},
        {"another policy is told", another_policy_is_told},
        {"of another machine", of_another_machine},
        {"nonsense is refused", nonsense_is_refused},
        {"a file that breaks off", a_file_that_breaks_off},
        {"a file that would take hours", a_file_that_would_take_hours},
        CU_TEST_INFO_NULL,
    };
    if (!mkdtemp(directory))
        return 1;
    char command[4096];
    snprintf(command, sizeof(command), "cp '" WORKER "' '%s/worker'", directory);
    int status = system(command) == 0 ? run_tests(argc, argv, "notes of programs", tests) : 1;
    snprintf(command, sizeof(command), "rm -rf '%s'", directory);
    return system(command) == 0 ? status : 1;
}
