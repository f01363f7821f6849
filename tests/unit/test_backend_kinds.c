/* SPDX-License-Identifier: Apache-2.0 */
/* What all kinds have in common in the broker; and the one that is made of nothing, entropy. */
#include <string.h>

#include "broker/backend/backend.h"
#include "tests/cunit_main.h"

/* Nothing is open at first: 0 would be a file. */
static void nothing_is_open_at_first(void)
{
    for (enum device_kind kind = 0; kind < DEVICE_KINDS; kind++) {
        const struct device_config config = {.kind = kind};
        struct {
            struct backend backend;
            int behind;
        } room;
        memset(&room, 0x55, sizeof(room));
        backend_init(&room.backend, &config);
        const struct backend *backend = &room.backend;
        CU_ASSERT_EQUAL(room.behind, 0x55555555);
        CU_ASSERT_PTR_EQUAL(backend->config, &config);
        CU_ASSERT_PTR_EQUAL(backend->ops, backend_kinds[kind]);
        CU_ASSERT(backend->ops->open && backend->ops->give);
        CU_ASSERT(backend->client == -1 && backend->connector.socket == -1);
        for (size_t file = 0; file < OPENED_FILES; file++)
            CU_ASSERT_EQUAL(backend->files[file], -1);
        CU_ASSERT(backend->words[0] == '\0' && backend->news.text[0] == '\0' &&
                  backend->trouble.text[0] == '\0');
        CU_ASSERT(backend->file_id.device == 0 && backend->directory_id.inode == 0);
    }
}

static void entropy_has_no_files(void)
{
    const struct device_config config = {.kind = DEVICE_RNG_VIRTIO, .rate_limit = 4096};
    struct backend backend;
    struct failure failure;
    enum config_key key;
    struct message_start start;
    struct backend_fds given;
    memset(&start, 0xff, sizeof(start));
    memset(&given, 0xff, sizeof(given));
    backend_init(&backend, &config);
    CU_ASSERT_TRUE(backend_rng.opens_nothing && backend_rng.wants_entropy);
    CU_ASSERT_PTR_NULL(backend_rng.files);
    CU_ASSERT_EQUAL(backend_rng.open(&backend, &key, &failure), 0);
    CU_ASSERT_EQUAL(backend_rng.give(&backend, &start, &given), 0);
    CU_ASSERT_EQUAL(start.of_kind.rng.rate_limit, 4096);
    CU_ASSERT(given.count == 0 && given.boxed == 0 && !given.owned);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"nothing is open at first", nothing_is_open_at_first},
        {"entropy has no files", entropy_has_no_files},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "kinds of device in the broker", tests);
}
