/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/claims.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/clock.h"

#define LOOK_MS 50
#define COMPARING ((off_t)CLAIMS_SIZE) /* locked to compare and take: one at a time */

/* ---- The file ---- */

static struct claim *map(int fd)
{
    struct stat status;
    if (fstat(fd, &status) < 0 || status.st_size < (off_t)CLAIMS_SIZE)
        return NULL;
    void *claims = mmap(NULL, CLAIMS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return claims == MAP_FAILED ? NULL : claims;
}

static int lock(int fd, short type, off_t start, off_t length)
{
    struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    return fcntl(fd, F_OFD_SETLK, &range) < 0 ? -errno : 0;
}

static int lock_place(int fd, short type, uint32_t id)
{
    return lock(fd, type, (off_t)(id * sizeof(struct claim)), sizeof(struct claim));
}

static bool is_others(int fd, uint32_t id)
{
    struct flock range = {.l_type = F_WRLCK,
                          .l_whence = SEEK_SET,
                          .l_start = (off_t)(id * sizeof(struct claim)),
                          .l_len = sizeof(struct claim)};
    return fcntl(fd, F_OFD_GETLK, &range) == 0 && range.l_type != F_UNLCK;
}

/* Copy a place. In the copy, the name is terminated. The other texts may not be. */
static void read_place(const struct claim *claims, uint32_t id, struct claim *ret)
{
    memcpy(ret, &claims[id], sizeof(*ret));
    if (ret->version != CLAIMS_VERSION)
        *ret = (struct claim){.kind = DEVICE_KINDS};
    ret->names.name[sizeof(ret->names.name) - 1] = '\0';
    if (ret->names.scheme > CONFIG_SCHEME_LOG || ret->names.ports > STATE_CONSOLE_PORTS)
        ret->has_names = false;
}

/* ---- What a device takes ---- */

/* Works on the text only: a look at the file could wait for a disk, or for a server. */
void claims_absolute(const char *path, char ret[PATH_MAX])
{
    char here[PATH_MAX + 1] = "";
    ssize_t length = path[0] == '/' ? 0 : readlink("/proc/self/cwd", here, PATH_MAX);
    const char *slash = length > 1 ? "/" : ""; /* "/" needs no second one */
    if (snprintf(ret, PATH_MAX, "%s%s%s", here, slash, path) >= PATH_MAX)
        ret[PATH_MAX - 1] = '\0';
}

static void name_files(const struct device_config *device, struct claim *ret)
{
    struct config_names names;
    char path[2 * PATH_MAX], absolute[PATH_MAX];
    enum config_key key;
    if (!config_names_given(device, &key, &names))
        return;
    snprintf(path, sizeof(path), "%s/%s", names.directory, names.name);
    claims_absolute(path, absolute);
    ret->has_names = config_names_from(absolute, names.scheme, names.ports, &ret->names);
}

static void describe(const struct config *config, const struct device_config *device,
                     int32_t keeper, struct claim *ret)
{
    struct stat network;
    *ret = (struct claim){
        .version = CLAIMS_VERSION,
        .keeper = keeper,
        .kind = (uint32_t)device->kind,
        .read_only = device->read_only,
        .guest_cid = device->guest_cid,
    };
    name_files(device, ret);
    if (device->tap_name && stat("/proc/self/ns/net", &network) == 0) {
        ret->network = network.st_ino;
        snprintf(ret->tap_name, sizeof(ret->tap_name), "%s", device->tap_name);
    }
    claims_absolute(config->path, ret->config);
}

/* ---- Whose it is ---- */

struct whose {
    char text[PATH_MAX + 64];
};

/* "another bao-virtio-dm's: process 812, with /etc/vm2.yaml" */
static struct whose whose(const struct claim *other)
{
    struct whose words = {"another bao-virtio-dm's"};
    if (other->version == CLAIMS_VERSION)
        snprintf(words.text, sizeof(words.text), "another bao-virtio-dm's: process %d, with %.160s",
                 other->keeper, other->config);
    return words;
}

static int id_taken(const struct claim *other, uint32_t id, enum config_key *ret_key,
                    struct failure *failure)
{
    *ret_key = CONFIG_KEY_ID;
    return failure_set(failure, -EBUSY, "id %u is %s: end that one, or leave the device out", id,
                       whose(other).text);
}

/* A tap's file id has no device number, since it is valid in one network namespace only. Taps are
 * compared by name. */
static bool same_file(const struct file_id *a, const struct file_id *b)
{
    return a->device != 0 && a->device == b->device && a->inode == b->inode;
}

static bool is_image(const struct claim *claim)
{
    return config_kind_has((enum device_kind)claim->kind, CONFIG_KEY_READ_ONLY);
}

/* Can both have one file, if both only read? They may differ in their io_engine, and so in kind. */
static bool can_share(const struct claim *a, const struct claim *b)
{
    return is_image(a) && is_image(b);
}

static bool both_read(const struct claim *a, const struct claim *b)
{
    return can_share(a, b) && a->read_only && b->read_only;
}

static int names_taken(const struct claim *mine, const struct claim *other, struct failure *failure)
{
    char name[CONFIG_NAME_SIZE];
    bool same_text = strncmp(mine->names.directory, other->names.directory, PATH_MAX) == 0;
    bool same_directory = same_text || same_file(&mine->directory, &other->directory);
    if (!mine->has_names || !other->has_names || !same_directory ||
        !config_names_meet(&mine->names, &other->names, name))
        return 0;
    if (can_share(mine, other))
        return failure_set(failure, -EEXIST,
                           "this image is %s: choose another, or read_only: true for both",
                           whose(other).text);
    return failure_set(failure, -EEXIST,
                       "the name \"%.60s\" in this directory is %s: choose another", name,
                       whose(other).text);
}

/* Does the other one have something that `mine` takes? Returns 0; -EEXIST. */
static int compare(const struct device_config *device, const struct claim *mine,
                   const struct claim *other, enum config_key *ret_key, struct failure *failure)
{
    struct config_names names;
    if (mine->tap_name[0] != '\0' && mine->network == other->network &&
        strncmp(mine->tap_name, other->tap_name, sizeof(mine->tap_name)) == 0) {
        *ret_key = CONFIG_KEY_TAP_NAME;
        return failure_set(failure, -EEXIST, "tap \"%.15s\" is %s: choose another", mine->tap_name,
                           whose(other).text);
    }
    if (mine->guest_cid != 0 && mine->guest_cid == other->guest_cid) {
        *ret_key = CONFIG_KEY_GUEST_CID;
        return failure_set(failure, -EEXIST, "guest_cid %u is %s: choose another", mine->guest_cid,
                           whose(other).text);
    }
    if (!config_names_given(device, ret_key, &names) || both_read(mine, other))
        return 0;
    if (same_file(&mine->file, &other->file))
        return failure_set(failure, -EEXIST, "this is, by another name, %s: choose another%s",
                           whose(other).text,
                           can_share(mine, other) ? ", or read_only: true for both" : "");
    return names_taken(mine, other, failure);
}

static int compare_all(int fd, const struct claim *claims, const struct device_config *device,
                       const struct claim *mine, enum config_key *ret_key, struct failure *failure)
{
    static struct claim other;
    for (uint32_t id = 0; id < BAO_DEVICES_MAX; id++) {
        if (!is_others(fd, id))
            continue;
        read_place(claims, id, &other);
        if (id == device->id)
            return id_taken(&other, id, ret_key, failure);
        int result = compare(device, mine, &other, ret_key, failure);
        if (result != 0)
            return result;
    }
    return 0;
}

/* ---- Taking ---- */

/* What was found out about the files of a running device stays true as long as its names stay the
 * same. */
static void keep_files(const struct claim *claims, uint32_t id, struct claim *mine)
{
    static struct claim before;
    read_place(claims, id, &before);
    if (memcmp(&before.names, &mine->names, sizeof(before.names)) != 0)
        return;
    mine->file = before.file;
    mine->directory = before.directory;
}

static int take_place(int fd, uint32_t id, struct failure *failure)
{
    int result = lock_place(fd, F_WRLCK, id);
    return result < 0 ? failure_set(failure, result, CLAIMS_PATH ": %s", strerror(-result)) : 0;
}

static int take(int fd, struct claim *claims, const struct config *config,
                const struct device_config *device, int32_t keeper, bool runs,
                struct claim_refused *ret_refused)
{
    static struct claim mine;
    struct claim_refused refused = {.device = device, .key = CONFIG_KEY_ID};
    describe(config, device, keeper, &mine);
    if (runs)
        keep_files(claims, device->id, &mine);
    int result = compare_all(fd, claims, device, &mine, &refused.key, &refused.failure);
    if (result == 0)
        result = take_place(fd, device->id, &refused.failure);
    if (result == 0) {
        memcpy(&claims[device->id], &mine, sizeof(mine));
        return 0;
    }
    *ret_refused = refused;
    return -EBUSY;
}

static int take_all(int fd, struct claim *claims, const struct config *config, int32_t keeper,
                    uint32_t kept, struct claim_refused *ret_refused)
{
    int result = 0;
    for (uint32_t id = 0; id < BAO_DEVICES_MAX; id++)
        (void)lock_place(fd, (kept & 1u << id) != 0 ? F_WRLCK : F_UNLCK, id);
    for (size_t i = config->device_count; i-- > 0;) { /* backwards: the first one is reported */
        const struct device_config *device = &config->devices[i];
        bool runs = (kept & 1u << device->id) != 0;
        int r = take(fd, claims, config, device, keeper, runs, ret_refused);
        result = r != 0 ? r : result;
    }
    return result;
}

static int unusable(int error, struct claim_refused *ret_refused)
{
    *ret_refused = (struct claim_refused){.key = CONFIG_KEY_ID};
    return failure_set(
        &ret_refused->failure, error, CLAIMS_PATH ": %s: who has which device can't be found out",
        error == -EAGAIN ? "another bao-virtio-dm does not let go of it" : strerror(-error));
}

/* One attempt. -EAGAIN: another bao-virtio-dm is comparing just now. */
static int attempt(int fd, struct claim *claims, const struct config *config, int32_t keeper,
                   uint32_t kept, struct claim_refused *ret_refused)
{
    int result = lock(fd, F_WRLCK, COMPARING, 1);
    if (result == -EACCES || result == -EAGAIN)
        return unusable(-EAGAIN, ret_refused);
    if (result < 0)
        return unusable(result, ret_refused);
    result = take_all(fd, claims, config, keeper, kept, ret_refused);
    (void)lock(fd, F_UNLCK, COMPARING, 1);
    return result;
}

int claims_take(int fd, const struct config *config, int32_t keeper, uint32_t kept,
                struct claim_refused *ret_refused)
{
    const int64_t begin = clock_ms();
    const int64_t patience = kept == 0 ? CLAIMS_PATIENCE_MS : CLAIMS_WAIT_MS;
    struct claim *claims = map(fd);
    int64_t wait;
    int result;
    if (!claims)
        return unusable(-EINVAL, ret_refused);
    do {
        result = attempt(fd, claims, config, keeper, kept, ret_refused);
        wait = result == -EBUSY ? CLAIMS_WAIT_MS : result == -EAGAIN ? patience : 0;
    } while (clock_ms() < begin + wait && poll(NULL, 0, LOOK_MS) == 0);
    munmap(claims, CLAIMS_SIZE);
    return result;
}

int claims_settle(int fd, const struct device_config *device, const struct file_id *file,
                  const struct file_id *directory, enum config_key *ret_key,
                  struct failure *failure)
{
    static struct claim mine;
    struct claim *claims = map(fd);
    if (!claims)
        return 0; /* claims_take has reported this */
    int result = 0;
    if (!is_others(fd, device->id)) {
        /* Write first, then compare. So if two do this at once, at least one of them sees the
         * other. */
        claims[device->id].file = *file;
        claims[device->id].directory = *directory;
        read_place(claims, device->id, &mine);
        result = compare_all(fd, claims, device, &mine, ret_key, failure);
    }
    munmap(claims, CLAIMS_SIZE);
    return result;
}
