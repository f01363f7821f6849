/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two bao-virtio-dm never use one device or one resource. Each is an open file on one claims file
 * here. What is free is taken at once; what another one has is refused, in words that name that
 * one; what a dead one has left is free. Time passes only when this test says so.
 */
#include "tests/unit/claims_under_test.h"

/* ---- Waiting ---- */

static void one_that_ends_is_waited_for(void)
{
    struct claim_refused refused;
    struct config *config = configured("/etc/vm1.yaml", RNG("1"));
    begin();
    they_take(RNG("1"));
    lets_go_at = now_ms + CLAIMS_WAIT_MS / 2;
    const int64_t before = now_ms;
    CU_ASSERT_EQUAL(take(mine, config, MINE, 0, &refused), 0);
    CU_ASSERT(now_ms >= lets_go_at && now_ms - before < CLAIMS_WAIT_MS);
    drop(config);
    end();
}

static void hold_comparing(int fd)
{
    struct flock range = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)CLAIMS_SIZE, .l_len = 1};
    CU_ASSERT_EQUAL_FATAL(syscall(SYS_fcntl, fd, F_OFD_SETLK, &range), 0);
}

/* Returns how long it took. */
static int64_t waits_for_its_turn(uint32_t kept, int expected)
{
    struct claim_refused refused;
    struct config *config = configured("/etc/vm1.yaml", RNG("1"));
    const int64_t before = now_ms;
    CU_ASSERT_EQUAL(take(mine, config, MINE, kept, &refused), expected);
    if (expected < 0) {
        CU_ASSERT_PTR_NULL(refused.device);
        CU_ASSERT_EQUAL(refused.key, CONFIG_KEY_ID);
        CU_ASSERT_STRING_EQUAL(refused.failure.text,
                               CLAIMS_PATH ": another bao-virtio-dm does not let go of it: who has "
                                           "which device can't be found out");
    }
    CU_ASSERT_EQUAL(held(mine), 0);
    drop(config);
    return now_ms - before;
}

static void its_turn_is_waited_for_but_not_for_ever(void)
{
    begin();
    hold_comparing(theirs);
    CU_ASSERT_EQUAL(waits_for_its_turn(0, -EAGAIN), CLAIMS_PATIENCE_MS);
    CU_ASSERT_EQUAL(waits_for_its_turn(1u << 3, -EAGAIN), CLAIMS_WAIT_MS);
    end();
}

static void its_turn_comes(void)
{
    struct claim_refused refused;
    struct config *config = configured("/etc/vm1.yaml", RNG("1"));
    begin();
    hold_comparing(theirs);
    lets_go_at = now_ms + CLAIMS_PATIENCE_MS - 1000;
    CU_ASSERT_EQUAL(take(mine, config, MINE, 0, &refused), 0);
    CU_ASSERT(now_ms >= lets_go_at && now_ms < lets_go_at + 200);
    theirs = open_again(mine);
    hold_comparing(theirs); /* it has let go of it */
    CU_ASSERT_EQUAL(held(mine), 1u << 1);
    drop(config);
    end();
}

static void a_refusal_lets_others_compare(void)
{
    begin();
    they_take(RNG("1"));
    i_am_refused(RNG("1"), 0, CONFIG_KEY_ID,
                 "id 1 is " THEIR_OWN ": end that one, or leave the device out");
    hold_comparing(theirs);
    end();
}

/* ---- A file that can't be used ---- */

static void unusable(int fd, int error, const char *words)
{
    struct claim_refused refused;
    struct config *config = configured("/etc/vm1.yaml", RNG("1"));
    const int64_t before = now_ms;
    CU_ASSERT_EQUAL(take(fd, config, MINE, 0, &refused), error);
    CU_ASSERT_EQUAL(now_ms, before); /* waiting does not help */
    CU_ASSERT_PTR_NULL(refused.device);
    CU_ASSERT_EQUAL(refused.key, CONFIG_KEY_ID);
    CU_ASSERT_STRING_EQUAL(refused.failure.text, words);
    drop(config);
}

#define CANT_BE_FOUND ": who has which device can't be found out"

static void a_file_that_can_t_be_used_is_told(void)
{
    begin();
    CU_ASSERT_EQUAL(ftruncate(mine, CLAIMS_SIZE - 1), 0);
    unusable(mine, -EINVAL, CLAIMS_PATH ": Invalid argument" CANT_BE_FOUND);
    CU_ASSERT_EQUAL(ftruncate(mine, CLAIMS_SIZE), 0);
    unusable(-1, -EINVAL, CLAIMS_PATH ": Invalid argument" CANT_BE_FOUND);
    int sockets[2];
    CU_ASSERT_EQUAL_FATAL(pipe(sockets), 0);
    unusable(sockets[0], -EINVAL, CLAIMS_PATH ": Invalid argument" CANT_BE_FOUND);
    close(sockets[0]);
    close(sockets[1]);
    lock_error = ENOLCK;
    error_at = (off_t)CLAIMS_SIZE;
    unusable(mine, -ENOLCK, CLAIMS_PATH ": No locks available" CANT_BE_FOUND);
    CU_ASSERT_EQUAL(held(mine), 0);
    CU_ASSERT_EQUAL(mappings(), 0);
    end();
}

/* fcntl has two errors for a lock that another one has. */
static void both_errors_of_a_held_lock_mean_its_turn(void)
{
    begin();
    lock_error = EACCES;
    error_at = (off_t)CLAIMS_SIZE;
    CU_ASSERT_EQUAL(waits_for_its_turn(0, -EAGAIN), CLAIMS_PATIENCE_MS);
    end();
}

static void a_place_that_can_t_be_locked_is_told(void)
{
    begin();
    lock_error = ENOLCK;
    error_at = (off_t)(3 * sizeof(struct claim));
    i_am_refused(RNG("1") RNG("3"), 1, CONFIG_KEY_ID, CLAIMS_PATH ": No locks available");
    CU_ASSERT_EQUAL(held(mine), 1u << 1);
    CU_ASSERT_EQUAL(place(3)->version, 0);
    end();
}

/* ---- What the names led to ---- */

static const struct file_id none, file = {8, 100}, directory = {8, 2};

static int settle(int fd, const struct config *config, const struct file_id *its_file,
                  const struct file_id *its_directory, enum config_key *ret_key,
                  struct failure *failure)
{
    *ret_key = CONFIG_KEYS;
    failure->text[0] = '\0';
    return claims_settle(fd, &config->devices[0], its_file, its_directory, ret_key, failure);
}

static void they_settle(const char *devices, const struct file_id *its_file,
                        const struct file_id *its_directory)
{
    struct failure failure;
    enum config_key key;
    they_take(devices);
    struct config *config = configured("/etc/vm2.yaml", devices);
    CU_ASSERT_EQUAL(settle(theirs, config, its_file, its_directory, &key, &failure), 0);
    drop(config);
}

static void i_settle(const char *devices, const struct file_id *its_file,
                     const struct file_id *its_directory, enum config_key its_key,
                     const char *words)
{
    struct failure failure;
    enum config_key key;
    i_get(devices);
    const unsigned int before = fd_count();
    struct config *config = configured("/etc/vm1.yaml", devices);
    CU_ASSERT_EQUAL(settle(mine, config, its_file, its_directory, &key, &failure),
                    words ? -EEXIST : 0);
    CU_ASSERT_STRING_EQUAL(failure.text, words ? words : "");
    if (words)
        CU_ASSERT_EQUAL(key, its_key);
    const struct claim *claim = place(config->devices[0].id);
    CU_ASSERT(claim->file.device == its_file->device && claim->file.inode == its_file->inode);
    CU_ASSERT_EQUAL(claim->directory.inode, its_directory->inode);
    CU_ASSERT_EQUAL(fd_count(), before);
    CU_ASSERT_EQUAL(mappings(), 0);
    drop(config);
}

static void one_file_by_two_names(void)
{
    static const struct file_id others[] = {{8, 101}, {9, 100}, {0, 0}};
    begin();
    they_settle(IMAGE("1", "/a/x"), &file, &directory);
    for (size_t i = 0; i < 3; i++)
        i_settle(IMAGE("2", "/b/y"), &others[i], &others[i], CONFIG_KEYS, NULL);
    i_settle(IMAGE("2", "/b/y"), &file, &none, CONFIG_KEY_FILE_PATH,
             "this is, by another name, " THEIR_OWN
             ": choose another, or read_only: true for both");
    i_settle(LOG("2", "/b/y"), &file, &none, CONFIG_KEY_LOG_PATH,
             "this is, by another name, " THEIR_OWN ": choose another");
    i_settle(RNG("2"), &file, &none, CONFIG_KEYS, NULL); /* it has no file */
    i_get(RNG("3"));
    they_settle(READ_IMAGE("1", "/a/x"), &file, &none);
    i_settle(READ_IMAGE("2", "/b/y"), &file, &none, CONFIG_KEYS, NULL);
    i_settle(READ_BY_RING("2", "/b/y"), &file, &none, CONFIG_KEYS, NULL);
    end();
}

/* A file without a device is a tap's; two of them have nothing in common. */
static void a_file_that_is_not_known_is_no_file_of_two(void)
{
    static const struct file_id index = {0, 5};
    begin();
    they_settle(IMAGE("1", "/a/x"), &index, &index);
    i_settle(IMAGE("2", "/b/y"), &index, &index, CONFIG_KEYS, NULL);
    i_settle(IMAGE("2", "/b/x"), &none, &index, CONFIG_KEYS, NULL);
    end();
}

static void one_name_in_one_directory_by_two_paths(void)
{
    begin();
    they_settle(LOG("1", "/a/log"), &none, &directory);
    i_settle(LOG("2", "/b/log"), &none, &directory, CONFIG_KEY_LOG_PATH,
             "the name \"log\" in this directory is " THEIR_OWN ": choose another");
    i_settle(LOG("2", "/b/other"), &none, &directory, CONFIG_KEYS, NULL);
    end();
}

/* At its next start of a broker, a device that runs still has its files. */
static void the_longest_name_counts_whole(void)
{
    char devices[2][512], name[256];
    memset(name, 'x', 255);
    name[255] = '\0';
    for (size_t i = 0; i < 2; i++) {
        name[254] = i == 0 ? 'x' : 'y';
        snprintf(devices[i], sizeof(devices[i]), IMAGE("2", "/a/%s"), name);
    }
    begin();
    name[254] = 'x';
    char theirs_have[512];
    snprintf(theirs_have, sizeof(theirs_have), IMAGE("1", "/a/%s"), name);
    they_take(theirs_have);
    i_get(devices[1]);
    i_am_refused(devices[0], 0, CONFIG_KEY_FILE_PATH,
                 "this image is " THEIR_OWN ": choose another, or read_only: true for both");
    end();
}

static void what_a_running_device_has_found_stays_true(void)
{
    struct claim_refused refused;
    begin();
    i_settle(IMAGE("2", "/b/y"), &file, &directory, CONFIG_KEYS, NULL);
    struct config *config = configured("/etc/vm1.yaml", IMAGE("2", "/b/y"));
    CU_ASSERT_EQUAL(take(mine, config, MINE, 1u << 2, &refused), 0);
    CU_ASSERT(place(2)->file.inode == file.inode && place(2)->file.device == file.device);
    CU_ASSERT_EQUAL(place(2)->directory.inode, directory.inode);
    drop(config);
    config = configured("/etc/vm1.yaml", IMAGE("2", "/b/z"));
    CU_ASSERT_EQUAL(take(mine, config, MINE, 1u << 2, &refused), 0);
    CU_ASSERT_EQUAL(place(2)->file.inode, 0); /* another name: it is not known yet */
    drop(config);
    i_settle(IMAGE("2", "/b/z"), &file, &directory, CONFIG_KEYS, NULL);
    i_get(IMAGE("2", "/b/z"));
    CU_ASSERT_EQUAL(place(2)->file.inode, 0); /* it did not run */
    end();
}

static void nothing_is_written_about_another_one_s_device(void)
{
    struct failure failure;
    enum config_key key;
    begin();
    they_take(IMAGE("2", "/b/y"));
    struct config *config = configured("/etc/vm1.yaml", IMAGE("2", "/b/y"));
    CU_ASSERT_EQUAL(settle(mine, config, &file, &directory, &key, &failure), 0);
    CU_ASSERT_EQUAL(place(2)->file.inode, 0);
    CU_ASSERT_EQUAL(settle(-1, config, &file, &directory, &key, &failure), 0); /* no file at all */
    CU_ASSERT_EQUAL(mappings(), 0);
    drop(config);
    end();
}

/* A comparison of the other one's is no claim. */
static void it_settles_while_the_other_one_compares(void)
{
    begin();
    i_get(LOG("1", "/l/log"));
    hold_comparing(theirs);
    struct failure failure;
    enum config_key key;
    struct config *config = configured("/etc/vm1.yaml", LOG("1", "/l/log"));
    CU_ASSERT_EQUAL(settle(mine, config, &file, &directory, &key, &failure), 0);
    CU_ASSERT_EQUAL(place(1)->file.inode, file.inode);
    drop(config);
    end();
}

/* What is behind the last place is none, though that is where the other one's lock is. */
static void there_is_no_place_behind_the_last_one(void)
{
    struct failure failure;
    enum config_key key;
    begin();
    they_take(CID("1", "9"));
    struct claim behind = *place(1);
    close(theirs);
    theirs = open_again(mine);
    put(BAO_DEVICES_MAX, &behind);
    i_get(CID("2", "9"));
    hold_comparing(theirs);
    struct config *config = configured("/etc/vm1.yaml", CID("2", "9"));
    CU_ASSERT_EQUAL(settle(mine, config, &file, &directory, &key, &failure), 0);
    CU_ASSERT_STRING_EQUAL(failure.text, "");
    drop(config);
    end();
}

int main(int argc, char **argv)
{
    CU_TestInfo taking[] = {
        {"what is free is taken and written down", what_is_free_is_taken_and_written_down},
        {"what is no longer wanted is given back", what_is_no_longer_wanted_is_given_back},
        {"what runs stays taken", what_runs_stays_taken},
        {"what another one has stays its own", what_another_one_has_stays_its_own},
        {"what can be had is taken", what_can_be_had_is_taken_and_the_first_refusal_is_told},
        {"what a dead one has left is free", what_a_dead_one_has_left_is_free},
        {"of another version only the id counts", of_another_version_only_the_id_counts},
        {"one tap", one_tap},
        {"one CID", one_cid},
        {"one image", one_image},
        {"one name", one_name},
        {"relative paths", a_relative_path_is_one_in_the_working_directory},
        {"a broken place is read within its bounds", a_broken_place_is_read_within_its_bounds},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo waiting[] = {
        {"one that ends is waited for", one_that_ends_is_waited_for},
        {"its turn is waited for, but not for ever", its_turn_is_waited_for_but_not_for_ever},
        {"its turn comes", its_turn_comes},
        {"a refusal lets others compare", a_refusal_lets_others_compare},
        {"a file that can't be used is told", a_file_that_can_t_be_used_is_told},
        {"both errors of a held lock", both_errors_of_a_held_lock_mean_its_turn},
        {"a place that can't be locked is told", a_place_that_can_t_be_locked_is_told},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo settling[] = {
        {"one file by two names", one_file_by_two_names},
        {"a file that is not known", a_file_that_is_not_known_is_no_file_of_two},
        {"one name in one directory by two paths", one_name_in_one_directory_by_two_paths},
        {"the longest name counts whole", the_longest_name_counts_whole},
        {"what a running device has found stays true", what_a_running_device_has_found_stays_true},
        {"there is no place behind the last", there_is_no_place_behind_the_last_one},
        {"the other one compares", it_settles_while_the_other_one_compares},
        {"another one's device", nothing_is_written_about_another_one_s_device},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"taking", NULL, NULL, NULL, NULL, taking},
        {"waiting", NULL, NULL, NULL, NULL, waiting},
        {"settling", NULL, NULL, NULL, NULL, settling},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
