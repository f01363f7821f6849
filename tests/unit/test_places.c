/* SPDX-License-Identifier: Apache-2.0 */
/* No two devices get one file or one name, by whatever paths. Which file and directory a path led
 * to is what this test says. */
#include "broker/places.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/control.h"
#include "tests/cunit_main.h"

int __wrap_stat(const char *path, struct stat *ret);
int __wrap_stat64(const char *path, void *ret);

/* The directory that exists besides CONTROL_DIRECTORY. */
static const char *directory;
static bool control_directory_exists;

int __wrap_stat(const char *path, struct stat *ret)
{
    *ret = (struct stat){.st_dev = 1};
    if (strcmp(path, CONTROL_DIRECTORY) == 0 && control_directory_exists)
        ret->st_ino = 1;
    else if (directory && strcmp(path, directory) == 0)
        ret->st_ino = 2;
    else
        ret->st_dev = 0;
    errno = ENOENT;
    return ret->st_dev != 0 ? 0 : -1;
}

int __wrap_stat64(const char *path, void *ret)
{
    return __wrap_stat(path, ret);
}

#define DEVICE(id, type, plane, keys)                                                              \
    "- {id: " id ", type: " type ", data_plane: " plane ", mmio_addr: 0x" id "000, " keys "}\n"
#define IMAGE(id, path) DEVICE(id, "block", "virtio", "file_path: " path)
#define READ_IMAGE(id, path) DEVICE(id, "block", "virtio", "read_only: true, file_path: " path)
#define READ_BY_RING(id, path)                                                                     \
    DEVICE(id, "block", "virtio", "io_engine: io_uring, read_only: true, file_path: " path)
#define LOG(id, path) DEVICE(id, "console", "virtio", "log_path: " path)
#define TAP(id, name) DEVICE(id, "net", "virtio", "tap_name: " name)
#define RNG(id) DEVICE(id, "rng", "virtio", "rate_limit: 9")
#define FS(id, path) DEVICE(id, "fs", "vhost_user", "socket_path: " path)

static struct config config;
static struct config_diagnostics diags;
static struct device devices[3];
static enum config_key key;
static struct failure failure;

static void configured(const char *text_of_devices)
{
    char text[1024];
    config_free(&config);
    snprintf(text, sizeof(text), "devices:\n%s", text_of_devices);
    CU_ASSERT_EQUAL_FATAL(config_parse("f", text, strlen(text), &config, &diags), 0);
    for (uint32_t i = 0; i < config.device_count; i++) {
        devices[i] = (struct device){.index = i};
        device_init(&devices[i], &config.devices[i]);
    }
    directory = NULL;
    control_directory_exists = true;
}

static void led_to(uint32_t i, uint64_t file, uint64_t its_directory)
{
    devices[i].backend.file_id = (struct file_id){file ? 8 : 0, file};
    devices[i].backend.directory_id = (struct file_id){its_directory ? 1 : 0, its_directory};
}

static void compared(uint32_t which, enum config_key expected_key, const char *words)
{
    key = CONFIG_KEYS;
    failure.text[0] = '\0';
    CU_ASSERT_EQUAL(
        places_compare(&config, devices, config.device_count, &devices[which], &key, &failure),
        words ? -EEXIST : 0);
    CU_ASSERT_STRING_EQUAL(failure.text, words ? words : "");
    if (words)
        CU_ASSERT_EQUAL(key, expected_key);
}

static void checked(const char *control, const char *words)
{
    key = CONFIG_KEYS;
    failure.text[0] = '\0';
    CU_ASSERT_EQUAL(
        places_check(&config, devices, config.device_count, &devices[0], control, &key, &failure),
        words ? -EEXIST : 0);
    CU_ASSERT_STRING_EQUAL(failure.text, words ? words : "");
    if (words)
        CU_ASSERT_EQUAL(key, CONFIG_KEY_LOG_PATH);
}

static void one_image_by_two_paths(void)
{
    configured(IMAGE("1", "/a/x") RNG("2") IMAGE("3", "/b/y"));
    compared(2, CONFIG_KEYS, NULL); /* nothing has been opened */
    led_to(0, 7, 0);
    led_to(2, 8, 0);
    compared(2, CONFIG_KEYS, NULL);
    led_to(2, 7, 0);
    compared(2, CONFIG_KEY_FILE_PATH,
             "this image is also that of block 1, f:2:74: choose another, or read_only: true for "
             "both");
    compared(0, CONFIG_KEY_FILE_PATH,
             "this image is also that of block 3, f:4:74: choose another, or read_only: true for "
             "both");
    devices[2].backend.file_id.device = 9;
    compared(2, CONFIG_KEYS, NULL);
    configured(READ_IMAGE("1", "/a/x") READ_IMAGE("2", "/b/y"));
    led_to(0, 7, 0);
    led_to(1, 7, 0);
    compared(1, CONFIG_KEYS, NULL);
    configured(READ_IMAGE("1", "/a/x") LOG("2", "/b/y"));
    led_to(0, 7, 0);
    led_to(1, 7, 0);
    compared(0, CONFIG_KEY_FILE_PATH,
             "this image is also that of console 2, f:3:75: choose another");
    compared(1, CONFIG_KEY_LOG_PATH,
             "this log file is also that of block 1, f:2:91: choose another");
}

/* It does not matter in which way they read. */
static void all_who_only_read_share_an_image(void)
{
    configured(READ_IMAGE("1", "/a/x") READ_BY_RING("2", "/b/y") IMAGE("3", "/c/z"));
    led_to(0, 7, 0);
    led_to(1, 7, 0);
    compared(0, CONFIG_KEYS, NULL);
    compared(1, CONFIG_KEYS, NULL);
    led_to(2, 7, 0);
    compared(2, CONFIG_KEY_FILE_PATH,
             "this image is also that of block 1, f:2:91: choose another, or read_only: true for "
             "both");
    compared(0, CONFIG_KEY_FILE_PATH,
             "this image is also that of block 3, f:4:74: choose another, or read_only: true for "
             "both");
}

/* A tap's file has no device number. */
static void one_tap_by_two_names(void)
{
    configured(TAP("1", "tap0") TAP("2", "tap1"));
    devices[0].backend.file_id = devices[1].backend.file_id = (struct file_id){0, 4};
    compared(1, CONFIG_KEY_TAP_NAME, "this tap is also that of net 1, f:2:71: choose another");
    devices[0].backend.file_id.inode = 5;
    compared(1, CONFIG_KEYS, NULL);
}

static void one_name_in_one_directory(void)
{
    configured(LOG("1", "/a/log") IMAGE("2", "/b/log.1") RNG("3"));
    led_to(0, 7, 5);
    led_to(1, 8, 6);
    led_to(2, 0, 5);
    compared(1, CONFIG_KEYS, NULL);
    led_to(1, 8, 5);
    compared(1, CONFIG_KEY_FILE_PATH,
             "this stands for the name \"log.1\", and so does, in the same directory, that of "
             "console 1, f:2:75: choose another path for one of them");
    compared(2, CONFIG_KEYS, NULL); /* it has no names */
    configured(LOG("1", "/a/log") IMAGE("2", "/b/log2"));
    led_to(0, 7, 5);
    led_to(1, 8, 5);
    compared(1, CONFIG_KEYS, NULL);
}

/* The socket of a daemon is found when it is opened. */
static void the_socket_that_was_found_counts(void)
{
    configured(FS("1", "/a/") LOG("2", "/b/Fs1.sock"));
    led_to(0, 7, 5);
    led_to(1, 8, 5);
    strcpy(devices[0].backend.socket_path, "/a/other.sock");
    compared(1, CONFIG_KEYS, NULL);
    strcpy(devices[0].backend.socket_path, "/a/Fs1.sock");
    compared(1, CONFIG_KEY_LOG_PATH,
             "this stands for the name \"Fs1.sock\", and so does, in the same directory, that of "
             "fs 1, f:2:77: choose another path for one of them");
}

static void the_control_socket_s_name_is_taken(void)
{
    static const char words[] =
        "this stands for the name \"log.1\", and so does, in the same directory, that of the "
        "control socket (--control): choose another path for one of them";
    configured(LOG("1", "/a/log") RNG("2"));
    led_to(0, 7, 2);
    directory = "/c";
    checked("/c/log.1", words);
    checked("/c/log.2", NULL);
    checked("/c/", NULL); /* no name */
    checked("/d/log.1", NULL);
    led_to(0, 7, 3);
    checked("/c/log.1", NULL);
    configured(RNG("1"));
    led_to(0, 7, 2);
    directory = "/c";
    checked("/c/log.1", NULL); /* it has no names */
}

static void the_directory_of_control_sockets_is_theirs(void)
{
    configured(LOG("1", "/a/log"));
    led_to(0, 7, 1);
    checked("/c/x", "this is in /run/bao-virtio-dm, which is for control sockets: choose another "
                    "directory");
    control_directory_exists = false;
    checked("/c/x", NULL);
}

static void devices_are_compared_first(void)
{
    configured(LOG("1", "/a/log") LOG("2", "/b/log"));
    led_to(0, 7, 1);
    led_to(1, 8, 1);
    checked("/c/x", "this stands for the name \"log\", and so does, in the same directory, that of "
                    "console 2, f:3:75: choose another path for one of them");
}

static void only_the_devices_that_there_are_are_compared(void)
{
    configured(LOG("1", "/a/log") LOG("2", "/b/other"));
    led_to(0, 7, 5);
    led_to(1, 8, 6);
    devices[2] = devices[0]; /* it is behind the last one */
    led_to(2, 8, 6);
    compared(1, CONFIG_KEYS, NULL);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"one image by two paths", one_image_by_two_paths},
        {"all who only read share an image", all_who_only_read_share_an_image},
        {"one tap by two names", one_tap_by_two_names},
        {"one name in one directory", one_name_in_one_directory},
        {"the socket that was found counts", the_socket_that_was_found_counts},
        {"the control socket's name is taken", the_control_socket_s_name_is_taken},
        {"the directory of control sockets", the_directory_of_control_sockets_is_theirs},
        {"only those that there are", only_the_devices_that_there_are_are_compared},
        {"devices are compared first", devices_are_compared_first},
        CU_TEST_INFO_NULL,
    };
    int status = run_tests(argc, argv, "places", tests);
    config_free(&config);
    return status;
}
