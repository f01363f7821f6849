/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/sha256.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROUNDS 64u

static const uint32_t constants[ROUNDS] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t word, unsigned int bits)
{
    return word >> bits | word << (32 - bits);
}

/* §6.2.2, step 1: the message schedule. */
static void prepare(const uint8_t block[SHA256_BLOCK], uint32_t words[ROUNDS])
{
    for (size_t i = 0; i < 16; i++)
        words[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
                   (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (unsigned int i = 16; i < ROUNDS; i++) {
        uint32_t a = words[i - 15], b = words[i - 2];
        words[i] = words[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + words[i - 7] +
                   (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    }
}

static void take_block(struct sha256 *sha)
{
    uint32_t words[ROUNDS], s[8];
    prepare(sha->block, words);
    memcpy(s, sha->state, sizeof(s));
    for (unsigned int i = 0; i < ROUNDS; i++) {
        uint32_t first = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) +
                         ((s[4] & s[5]) ^ (~s[4] & s[6])) + constants[i] + words[i];
        uint32_t second = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) +
                          ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof(*s));
        s[4] += first;
        s[0] = first + second;
    }
    for (unsigned int i = 0; i < 8; i++)
        sha->state[i] += s[i];
}

void sha256_start(struct sha256 *sha)
{
    *sha = (struct sha256){.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f,
                                     0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void sha256_add(struct sha256 *sha, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) {
        sha->block[sha->length++ % SHA256_BLOCK] = bytes[i];
        if (sha->length % SHA256_BLOCK == 0)
            take_block(sha);
    }
}

void sha256_end(struct sha256 *sha, char ret[static SHA256_TEXT])
{
    static const uint8_t one = 0x80, zero = 0;
    uint64_t bits = sha->length * 8;
    sha256_add(sha, &one, 1);
    while (sha->length % SHA256_BLOCK != SHA256_BLOCK - 8)
        sha256_add(sha, &zero, 1);
    for (unsigned int i = 0; i < 8; i++)
        sha256_add(sha, &(uint8_t){(uint8_t)(bits >> (56 - 8 * i))}, 1);
    for (size_t i = 0; i < 8; i++)
        snprintf(ret + 8 * i, 9, "%08x", sha->state[i]);
}

void sha256_of_bytes(const void *data, size_t size, char ret[static SHA256_TEXT])
{
    struct sha256 sha;
    sha256_start(&sha);
    sha256_add(&sha, data, size);
    sha256_end(&sha, ret);
}

static int hash_file(int fd, char ret[static SHA256_TEXT])
{
    static uint8_t buffer[1 << 16];
    struct sha256 sha;
    struct stat status;
    ssize_t length;
    if (fstat(fd, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -EINVAL;
    if ((uint64_t)status.st_size > SHA256_FILE_MAX)
        return -EFBIG;
    sha256_start(&sha);
    /* The file may grow. */
    while ((length = read(fd, buffer, sizeof(buffer))) > 0 && sha.length <= SHA256_FILE_MAX)
        sha256_add(&sha, buffer, (size_t)length);
    if (length != 0)
        return length < 0 ? -errno : -EFBIG;
    sha256_end(&sha, ret);
    return 0;
}

int sha256_of_file(const char *path, char ret[static SHA256_TEXT])
{
    /* Whoever made the file must not make the reader wait: it may be a FIFO. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -errno;
    int error = hash_file(fd, ret);
    close(fd);
    return error;
}
