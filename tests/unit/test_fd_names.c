/* SPDX-License-Identifier: Apache-2.0 */
/* The names under which a service manager keeps files, and what its environment variables say. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/keeper/fd_names.h"
#include "common/bao_abi.h"
#include "common/message.h"
#include "common/state.h"
#include "tests/cunit_main.h"

static void names_are_read_as_they_are_written(void)
{
    unsigned int read = 0;
    for (uint32_t dm_id = 0; dm_id < BAO_DEVICES_MAX; dm_id++) {
        for (uint32_t item = 0; item <= STORE_QUEUE_FIRST + STATE_QUEUES_MAX; item++) {
            char text[FD_NAME_SIZE];
            struct fd_name name = {.dm_id = dm_id, .item = item}, found = {0};
            if (item == STORE_QUEUE_FIRST + STATE_QUEUES_MAX)
                name.item = FD_NAME_RECORD;
            if (fd_name_is_page(name.item))
                name.generation = 4294967295u - dm_id;
            fd_name_format(&name, text);
            CU_ASSERT_PTR_NULL(strchr(text, ':'));
            CU_ASSERT_TRUE(fd_name_parse(text, strlen(text), &found));
            CU_ASSERT_EQUAL(memcmp(&found, &name, sizeof(name)), 0);
            read++;
        }
    }
    CU_ASSERT_EQUAL(read, 16 * 24);
}

static void is_read_as_written(const struct fd_name *name, const char *expected)
{
    char text[FD_NAME_SIZE];
    struct fd_name found = {0};
    fd_name_format(name, text);
    CU_ASSERT_STRING_EQUAL(text, expected);
    CU_ASSERT_TRUE(fd_name_parse(text, strlen(text), &found));
    CU_ASSERT_EQUAL(memcmp(&found, name, sizeof(found)), 0);
}

static void names_of_what_can_be_had_again(void)
{
    is_read_as_written(&(struct fd_name){3, FD_NAME_OPENED, 0}, "device-3-opened");
    is_read_as_written(&(struct fd_name){15, FD_NAME_FILE_FIRST, 0}, "device-15-file-0");
    is_read_as_written(&(struct fd_name){0, FD_NAME_FILE_FIRST + OPENED_FILES - 1, 0},
                       "device-0-file-18");
    is_read_as_written(&(struct fd_name){FD_NAME_NO_DEVICE, FD_NAME_CONFIG, 4294967295u},
                       "config-4294967295");
    is_read_as_written(&(struct fd_name){FD_NAME_NO_DEVICE, FD_NAME_CONFIG, 1}, "config-1");
    is_read_as_written(&(struct fd_name){FD_NAME_NO_DEVICE, FD_NAME_CLAIMS, 0}, "claims");
    is_read_as_written(&(struct fd_name){9, STORE_STATE, 1}, "device-9-state-1");
    is_read_as_written(&(struct fd_name){10, STORE_JOURNAL, 19}, "device-10-journal-19");
}

static void other_names_are_refused(void)
{
    static const char *const others[] = {
        "",
        "stored",
        "claim",
        "claims-1",
        "claimsx",
        "device-",
        "device-3",
        "device-3-",
        "device--3-dm",
        "device-+3-dm",
        "device- 3-dm",
        "device-03-dm",
        "device-16-dm",
        "device-4294967299-dm",
        "device-99999999999999999999-dm",
        "device-3-dm-1",
        "device-3-dmx",
        "device-3-d",
        "device-3-ir",
        "device-3-null",
        "device-3-state1",
        "Device-3-dm",
        "device-3-state",
        "device-3-state-",
        "device-3-state-0",
        "device-3-state-01",
        "device-3-state--1",
        "device-3-state-4294967296",
        "device-3-state-1-1",
        "device-3-queue",
        "device-3-queue-16",
        "device-3-queue-4294967295",
        "device-3-queue-0x1",
        "device-3-record-1",
        "device-3-file-19",
        "device-3-file-",
        "device-3-opened-1",
        "config",
        "config-",
        "config-0",
        "config-01",
        "config-4294967296",
        "config-1-1",
        "device-3-journal-000000000000000000000000000001",
        "xdevice-3-dm",
    };
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct fd_name name = {77, 77, 77};
        CU_ASSERT_FALSE(fd_name_parse(others[i], strlen(others[i]), &name));
        CU_ASSERT(name.dm_id == 77 && name.item == 77 && name.generation == 77);
    }
    struct fd_name name;
    CU_ASSERT_FALSE(fd_name_parse("device-3-dm\0x", 13, &name)); /* the length counts */
    CU_ASSERT_TRUE(fd_name_parse("device-3-dm:device-4-dm", 11, &name));
}

static void the_number_of_files_is_read_strictly(void)
{
    CU_ASSERT_EQUAL(listen_count("42", "7", 42), 7);
    CU_ASSERT_EQUAL(listen_count("42", "1000", 42), 1000);
    CU_ASSERT_EQUAL(listen_count("42", "0010", 42), 10); /* it is decimal */
    CU_ASSERT_EQUAL(listen_count("123456789", "1", 123456789), 1);
    CU_ASSERT_EQUAL(listen_count("1234567890", "1", 1234567890), -EINVAL); /* no pid is so large */
    CU_ASSERT_EQUAL(listen_count("42", "7", 43), 0); /* meant for another process */
    CU_ASSERT_EQUAL(listen_count(NULL, "7", 42), 0);
    CU_ASSERT_EQUAL(listen_count("42", NULL, 42), 0);
    CU_ASSERT_EQUAL(listen_count(NULL, NULL, 42), 0);
    CU_ASSERT_EQUAL(listen_count("42", "0", 42), 0);
    static const char *const wrong[] = {"",  "-1",   "+1",        " 1",         "1 ",
                                        "x", "1001", "999999999", "4294967297", "0x10"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        CU_ASSERT_EQUAL(listen_count("42", wrong[i], 42), -EINVAL);
    CU_ASSERT_EQUAL(listen_count("42x", "1", 42), -EINVAL);
}

static void names_are_told_apart(void)
{
    const char *rest = "a:bc::d", *name;
    CU_ASSERT(listen_next_name(&rest, &name) == 1 && *name == 'a');
    CU_ASSERT(listen_next_name(&rest, &name) == 2 && strncmp(name, "bc", 2) == 0);
    CU_ASSERT(listen_next_name(&rest, &name) == 0);
    CU_ASSERT(listen_next_name(&rest, &name) == 1 && *name == 'd');
    CU_ASSERT(listen_next_name(&rest, &name) == 0);
    CU_ASSERT(listen_next_name(&rest, &name) == 0); /* and so on */
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"names are read as they are written", names_are_read_as_they_are_written},
        {"names of what can be had again", names_of_what_can_be_had_again},
        {"other names are refused", other_names_are_refused},
        {"the number of files is read strictly", the_number_of_files_is_read_strictly},
        {"names are told apart", names_are_told_apart},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "names", tests);
}
