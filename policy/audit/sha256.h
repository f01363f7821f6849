/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 (FIPS 180-4). The hashes of policies come from the build, which has Nettle for it; this
 * one is for what is found on a board. No library for it is needed there, and the tests compare
 * both.
 */
#ifndef POLICY_AUDIT_SHA256_H
#define POLICY_AUDIT_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_TEXT 65 /* 64 hexadecimal digits and a 0 */
#define SHA256_BLOCK 64

struct sha256 {
    uint32_t state[8];
    uint64_t length; /* bytes so far */
    uint8_t block[SHA256_BLOCK];
};

void sha256_start(struct sha256 *sha);
void sha256_add(struct sha256 *sha, const void *data, size_t size);
void sha256_end(struct sha256 *sha, char ret[static SHA256_TEXT]);

void sha256_of_bytes(const void *data, size_t size, char ret[static SHA256_TEXT]);

/*
 * Of a regular file. Returns 0; -EINVAL if it is not regular; -EFBIG if it is longer than
 * SHA256_FILE_MAX bytes: a process may run a file with holes of any size, which would keep the
 * reader busy for ever; -errno.
 */
#define SHA256_FILE_MAX ((uint64_t)1 << 30)
int sha256_of_file(const char *path, char ret[static SHA256_TEXT]);

#endif
