# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# A device of any type with vhost_user, see ../kinds.sh: a disk that QEMU's qemu-storage-daemon
# serves. It is the second frontend's only disk, vda.
# shellcheck disable=SC2034  # read by kinds.sh
kind_title="a disk by a daemon"
kind_number=2
kind_frontend_programs="mkfs.ext4"
kind_frontend_modules="virtio_blk ext4 crc32c_generic"
kind_backend_programs="/usr/bin/qemu-storage-daemon"
served=/run/storage

kind_prepare()
{
    mkdir -p $served
    truncate -s 48M $served/disk.img
    device block vhost_user "socket_path: $served/disk.sock"
    [ -e $served/pid ] || {
        while :; do
            rm -f $served/disk.sock
            qemu-storage-daemon --blockdev driver=file,node-name=disk,filename=$served/disk.img \
                --export type=vhost-user-blk,id=export,node-name=disk,writable=on,addr.type=unix,addr.path=$served/disk.sock
            sleep 0.2
        done >$served/log 2>&1 &
        echo $! >$served/pid
    }
}

kind_works()
{
    frontend "dd if=/dev/urandom of=/tmp/r bs=64k count=4 2>/dev/null &&
        dd if=/tmp/r of=/dev/vda bs=64k seek=600 oflag=direct 2>/dev/null &&
        dd if=/dev/vda bs=64k skip=600 count=4 iflag=direct 2>/dev/null | cmp - /tmp/r"
}

kind_load='dd if=/dev/zero of=/dev/vda bs=1M seek=8 count=8 oflag=direct 2>/dev/null'

file_system()
{
    local wrote read_back
    frontend 'mkdir -p /tmp/disk && mkfs.ext4 -q -F /dev/vda && mount -t ext4 /dev/vda /tmp/disk' || return 1
    wrote=$(frontend 'dd if=/dev/urandom of=/tmp/disk/data bs=64k count=160 2>/dev/null &&
        sha256sum </tmp/disk/data' | tail -n 1)
    frontend 'umount /tmp/disk && echo 3 >/proc/sys/vm/drop_caches && mount -t ext4 /dev/vda /tmp/disk' || return 1
    read_back=$(frontend 'sha256sum </tmp/disk/data; umount /tmp/disk' | tail -n 1)
    echo "wrote $wrote, read $read_back"
    [ -n "$wrote" ] && [ "$wrote" = "$read_back" ]
}

# It dies while nothing is in flight: it has no memory of requests that it has taken.
daemon_dies()
{
    local round
    for round in 1 2 3; do
        kill -KILL "$(pidof qemu-storage-daemon | tr ' ' '\n' | head -n 1)" || return 1
        wait_for kind_works || {
            echo "round $round: does not work after it"
            tail -n 5 $served/log
            return 1
        }
    done
}

worker_dies()
{
    kill_worker "$(device_id)" && wait_for kind_works
}

kind_test()
{
    check "written and read back past the cache" kind_works
    check "a file system, by a checksum after it was mounted again" file_system
    check "qemu-storage-daemon killed three times" daemon_dies
    check "a worker killed" worker_dies
}

kind_demo()
{
    local theirs
    title "A disk that another program serves"
    explain "frontend:  dd if=/dev/urandom of=/dev/vda bs=1M count=2; sha256sum of what it wrote"
    theirs=$(frontend "dd if=/dev/urandom of=/tmp/d bs=1M count=2 2>/dev/null &&
        dd if=/tmp/d of=/dev/vda bs=1M oflag=direct conv=fsync 2>/dev/null && sha256sum </tmp/d" | tail -n 1)
    echo "$theirs" | indent
    verdict "the daemon's image has it" \
        test "$theirs" = "$(dd if=$served/disk.img bs=1M count=2 2>/dev/null | sha256sum)"
}
