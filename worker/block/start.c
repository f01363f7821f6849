/* SPDX-License-Identifier: Apache-2.0 */
/* What a block device does with its START message before there is a device. */
#include <unistd.h>

#include "worker/block/block.h"

#define SECTOR_SIZE 512u /* VirtIO 1.2 §5.2.4 */

bool block_start_usable(const struct message_start *start)
{
    const struct start_block *from = &start->of_kind.block;
    uint32_t size = from->blk_size, memory = from->mem_alignment;
    return from->capacity <= INT64_MAX / SECTOR_SIZE && size >= SECTOR_SIZE && size <= 65536 &&
           __builtin_popcount(size) == 1 &&
           (!from->direct || (memory <= 4096 && __builtin_popcount(memory) == 1));
}

/* Set the present size of the image; if that can't be found out, the broker's value stays. */
void block_measure(struct message_start *start)
{
    off_t size = lseek(WORKER_FD_BACKEND, 0, SEEK_END);
    if (size >= 0)
        start->of_kind.block.capacity =
            block_sectors((uint64_t)size, start->of_kind.block.blk_size);
}

uint64_t block_file_size_max(const struct message_start *start)
{
    return start->of_kind.block.read_only ? 0 : start->of_kind.block.capacity * SECTOR_SIZE;
}
