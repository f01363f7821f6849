# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# block with virtio, see ../kinds.sh: an image that is written (vda); the disk of tools, a block
# device that is only read (vdb); and an image with O_DIRECT and several queues (vdc).
# shellcheck disable=SC2016,SC2034  # expanded by the frontend; read by kinds.sh
kind_title="disk"
kind_frontend_programs="mkfs.ext4 e2fsck blkdiscard fstrim"
kind_frontend_tools="fio"
kind_frontend_modules="virtio_blk ext4 crc32c_generic"
kind_backend_programs="mkfs.ext4 e2fsck"
kind_backend_modules="virtio_pci virtio_blk loop ext4 crc32c_generic"
image=/var/lib/bao-virtio-dm/disk.img # on an ext4 file system of the backend, as on a board
direct=${image%/*}/direct.img
tools=/dev/vda # the backend VM's disk, which QEMU provides

kind_prepare()
{
    modprobe -a virtio_pci virtio_blk loop
    truncate -s 160M /tmp/backend.ext4
    mkfs.ext4 -q -F /tmp/backend.ext4
    mkdir -p "${image%/*}"
    mount -t ext4 -o loop /tmp/backend.ext4 "${image%/*}" || return 1
    truncate -s 64M $image
    truncate -s 32M "$direct"
    device block virtio "file_path: $image"
    device block virtio "file_path: $tools" "read_only: true"
    device block virtio "file_path: $direct" "direct: true" "queues: 4"
}

kind_works()
{
    frontend "dd if=/dev/urandom of=/tmp/r bs=64k count=4 2>/dev/null &&
        dd if=/tmp/r of=/dev/vda bs=64k oflag=direct 2>/dev/null &&
        dd if=/dev/vda bs=64k count=4 iflag=direct 2>/dev/null | cmp - /tmp/r"
}

kind_load='dd if=/dev/zero of=/dev/vda bs=1M seek=8 count=16 oflag=direct 2>/dev/null'

# Raw blocks are written, read back without the page cache, and compared with the file in the
# backend.
raw()
{
    local theirs ours
    theirs=$(frontend 'dd if=/dev/urandom of=/tmp/raw bs=1M count=8 2>/dev/null &&
        dd if=/tmp/raw of=/dev/vda bs=1M oflag=direct conv=fsync 2>/dev/null &&
        dd if=/dev/vda bs=1M count=8 iflag=direct 2>/dev/null | cmp - /tmp/raw &&
        sha256sum </tmp/raw; rm -f /tmp/raw' | tail -n 1)
    ours=$(dd if=$image bs=1M count=8 2>/dev/null | sha256sum)
    echo "frontend $theirs, image $ours"
    [ "$theirs" = "$ours" ]
}

file_system()
{
    local wrote read_back
    frontend 'mkfs.ext4 -q -F /dev/vda && mount -t ext4 /dev/vda /mnt' || return 1
    wrote=$(frontend 'mkdir -p /mnt/a/b && dd if=/dev/urandom of=/mnt/a/b/data bs=64k count=384 2>/dev/null &&
        cp -r /usr/bin /mnt/ && cd /mnt && find . -type f -exec sha256sum {} + | sort | sha256sum' |
        tail -n 1)
    frontend 'umount /mnt && echo 3 >/proc/sys/vm/drop_caches && mount -t ext4 /dev/vda /mnt' || return 1
    read_back=$(frontend 'cd /mnt && find . -type f -exec sha256sum {} + | sort | sha256sum' | tail -n 1)
    frontend 'umount /mnt' || return 1
    echo "wrote $wrote, read $read_back"
    [ "${#wrote}" -ge 64 ] && [ "$wrote" = "$read_back" ]
}

# What the frontend wrote is in the file. Seen from the backend, the file system is clean.
image_clean()
{
    e2fsck -fn $image
}

# Random reads and writes; fio verifies each block.
random_verified() # DISK BLOCK-SIZES
{
    frontend "$(printf "disk=%s sizes=%s" "$1" "$2")"'; mkdir -p /tools && { grep -q " /tools " /proc/mounts || mount -t ext4 -o ro /dev/vdb /tools; } &&
        fio --name=v --filename=$disk --size='"$(normal_or_long 8 24)"'m --ioengine=libaio --direct=1 --iodepth=16
        --rw=randrw --bsrange=$sizes --verify=crc32c --verify_fatal=1 --minimal >/tmp/fio.out 2>&1 ||
        { tail -n 5 /tmp/fio.out; false; }'
}

read_only()
{
    [ "$(frontend 'blockdev --getro /dev/vdb')" = 1 ] &&
        ! frontend 'dd if=/dev/zero of=/dev/vdb bs=4k count=1 oflag=direct' &&
        frontend 'dd if=/dev/vdb of=/dev/null bs=1M count=8 iflag=direct'
}

# The space that the backend's file system uses for the image, in KiB.
kept()
{
    du -k $image | cut -f1
}

# 24 MiB are written; then some of them are given back or zeroed. Those read as zeros in the
# frontend and in the image. The others are as they were. What was given back takes no space in the
# backend.
ranges() # BLKDISCARD-OPTION FROM-MIB LENGTH-MIB
{
    local before after theirs ours
    frontend 'dd if=/dev/urandom of=/tmp/r bs=1M count=24 2>/dev/null &&
        dd if=/tmp/r of=/dev/vda bs=1M oflag=direct conv=fsync 2>/dev/null' || return 1
    sync
    before=$(kept)
    frontend "blkdiscard $1 -o $2M -l $3M /dev/vda &&
        dd if=/dev/zero of=/tmp/r bs=1M seek=$2 count=$3 conv=notrunc 2>/dev/null && sync &&
        dd if=/dev/vda bs=1M count=24 iflag=direct 2>/dev/null | cmp - /tmp/r" || return 1
    theirs=$(frontend 'sha256sum </tmp/r; rm -f /tmp/r' | tail -n 1)
    ours=$(dd if=$image bs=1M count=24 2>/dev/null | sha256sum)
    sync
    after=$(kept)
    echo "frontend $theirs, image $ours, $before KiB before, $after KiB after"
    [ "$theirs" = "$ours" ] && { [ "$1" = -z ] || [ $((before - after)) -ge $(($3 * 1024 - 64)) ]; }
}

# kept_at_most KIB: whether the image takes no more space than that.
kept_at_most()
{
    sync
    [ "$(kept)" -le "$1" ]
}

# A file system's free blocks are given back: at least 20 of 24 MiB. Linux gives up what it has not
# yet given back when the file system is unmounted.
given_back() # MOUNT-OPTIONS COMMAND
{
    local before
    frontend "mkfs.ext4 -q -F /dev/vda && mount -t ext4 $1 /dev/vda /mnt &&
        dd if=/dev/urandom of=/mnt/data bs=1M count=24 2>/dev/null && sync" || return 1
    sync
    before=$(kept)
    frontend "rm /mnt/data && sync && $2" || return 1
    wait_for kept_at_most $((before - 20480)) || {
        echo "$before KiB before, $(kept) KiB after"
        return 1
    }
    frontend 'umount /mnt'
}

# The image becomes longer and shorter while the driver runs.
resized()
{
    local mib
    for mib in 96 48 64; do
        truncate -s ${mib}M $image
        wait_for frontend "[ \"\$(blockdev --getsz /dev/vda)\" = $((mib * 2048)) ]" || {
            echo "not $mib MiB: $(frontend 'blockdev --getsz /dev/vda') sectors"
            return 1
        }
        frontend "dd if=/dev/urandom of=/tmp/r bs=1M count=1 2>/dev/null &&
            dd if=/tmp/r of=/dev/vda bs=1M seek=$((mib - 1)) oflag=direct 2>/dev/null &&
            dd if=/dev/vda bs=1M skip=$((mib - 1)) iflag=direct 2>/dev/null | cmp - /tmp/r" || {
            echo "the last of $mib MiB cannot be used"
            return 1
        }
    done
}

# A disk with O_DIRECT and several queues. Its block size is what the file system needs. Data that
# is not aligned in memory arrives as well.
direct()
{
    [ "$(frontend 'ls /sys/block/vdc/mq | wc -l')" -ge 1 ] &&
        frontend 'dd if=/dev/urandom of=/tmp/r bs=4k count=1024 2>/dev/null &&
            dd if=/tmp/r of=/dev/vdc bs=1M oflag=direct conv=fsync 2>/dev/null &&
            dd if=/dev/vdc bs=4k count=1024 iflag=direct 2>/dev/null | cmp - /tmp/r &&
            dd if=/dev/vdc bs=1M count=4 2>/dev/null | cmp - /tmp/r' &&
        random_verified /dev/vdc 4k-64k
}

# §5.2.5: the driver switches between write-back and write-through.
cache_modes()
{
    local mode
    [ "$(frontend 'cat /sys/block/vda/cache_type')" = "write back" ] || return 1
    for mode in "write through" "write back"; do
        frontend "echo '$mode' >/sys/block/vda/cache_type &&
            [ \"\$(cat /sys/block/vda/cache_type)\" = '$mode' ]" && kind_works || {
            echo "$mode"
            return 1
        }
    done
}

known_by_serial()
{
    local first second
    first=$(frontend 'cat /sys/block/vda/serial')
    second=$(frontend 'cat /sys/block/vdb/serial')
    echo "vda '$first', vdb '$second'"
    [ -n "$first" ] && [ -n "$second" ] && [ "$first" != "$second" ]
}

worker_dies()
{
    frontend 'rm -f /tmp/dd; (dd if=/dev/urandom of=/dev/vda bs=64k count=400 oflag=direct 2>/dev/null
        && echo done >/tmp/dd) &'
    sleep 0.5
    kill_worker "$(device_id)" || return 1
    wait_for frontend '[ "$(cat /tmp/dd)" = done ]' || {
        echo "the writes did not all succeed"
        return 1
    }
    kind_works
}

kind_test()
{
    check "raw blocks are written, read back, and are in the image" raw
    check "mkfs, mount, write, unmount, remount and compare" file_system
    check "the image holds a clean file system, seen from the backend" image_clean
    check "a block device of the backend is read, and cannot be written" read_only
    check "random reads and writes at depth 16, verified by fio" random_verified /dev/vda 4k-128k
    check "blkdiscard -z writes zeroes, and touches nothing else" ranges -z 3 9
    check "blkdiscard gives blocks back to the backend" ranges "" 5 11
    check "fstrim gives back what a file system has freed" given_back "" "fstrim /mnt"
    check "mount -o discard gives it back by itself" given_back "-o discard" true
    check "the disk grows and shrinks with its image" resized
    check "O_DIRECT and several queues, verified by fio" direct
    check "write-back and write-through, changed at run time" cache_modes
    check "each disk has a serial number of its own" known_by_serial
    check "driver unbound and rebound several times, I/O after each" rebind_driver "$(device_id)"
    check "transport unbound and rebound several times, I/O after each" rebind_transport "$(device_id)"
    check "a killed worker's requests are carried out by its successor" worker_dies
}

# Files that do not change, and fio's blocks on the same file system, with flushes.
storm_begins()
{
    remember_resets "$(device_id)"
    frontend 'grep -q " /tools " /proc/mounts || { mkdir -p /tools && mount -t ext4 -o ro /dev/vdb /tools; }' &&
        frontend 'mkfs.ext4 -q -F /dev/vda && mount -t ext4 /dev/vda /mnt && mkdir /mnt/files &&
        cp /usr/bin/busybox /mnt/files && dd if=/dev/urandom of=/mnt/files/random bs=1M count=4 2>/dev/null &&
        sync && sha256sum /mnt/files/* >/tmp/sums'
}

storm_round='fio --name=v --directory=/mnt --size=2m --ioengine=libaio --direct=1 --iodepth=8
    --rw=randrw --bsrange=4k-64k --fsync=32 --verify=crc32c --verify_fatal=1 --minimal >/tmp/fio.out 2>&1 ||
    { tail -n 5 /tmp/fio.out; false; } && echo 3 >/proc/sys/vm/drop_caches && sha256sum -c -s /tmp/sums'

# Checked from both sides.
storm_ends()
{
    frontend 'umount /mnt && e2fsck -fn /dev/vda && mount -t ext4 /dev/vda /mnt && sha256sum -c -s /tmp/sums &&
        umount /mnt && sync' && e2fsck -fn $image && undisturbed "$(device_id)"
}

kind_storm()
{
    check "a file system is made for a storm" storm_begins
    check "it keeps its files, and fio its blocks, while the worker dies again and again" \
        storm "$storm_round" --device "$(device_id)" --deaths "$(normal_or_long 10 200)"
    check "and while the broker does" storm "$storm_round" --broker --deaths "$(normal_or_long 2 50)"
    check "it is clean and complete after that, and the driver has not noticed" storm_ends
    check "the driver is unbound and bound while workers die and stop" \
        rebind_storm "$(device_id)" --deaths "$(normal_or_long 4 100)" --stops "$(normal_or_long 1 5)" --moment 300
}

kind_demo()
{
    title "A disk: a file of the backend is /dev/vda in the frontend"
    explain "The frontend makes a file system on it, mounts it, and writes 16 MiB of random data." \
        "frontend:  mkfs.ext4 /dev/vda && mount -t ext4 /dev/vda /mnt && dd of=/mnt/data ... && umount /mnt"
    local sum
    sum=$(frontend 'mkfs.ext4 -q -F /dev/vda && mount -t ext4 /dev/vda /mnt &&
        dd if=/dev/urandom of=/mnt/data bs=1M count=16 2>/dev/null && sha256sum </mnt/data &&
        umount /mnt' | sed -n 's/^\([0-9a-f]\{64\}\).*/\1/p')
    explain "           sha256 of what it wrote: $(echo "$sum" | cut -c1-32)..."
    explain "The backend looks into the file $image:"
    verdict "it holds a file system without a fault" e2fsck -fn $image
    explain "Now we kill the disk's worker process while the frontend reads the data back."
    frontend 'mount -t ext4 -o ro /dev/vda /mnt; rm -f /tmp/sum; (sha256sum </mnt/data >/tmp/sum) &'
    local killed
    killed=$(worker_of "$(device_id)")
    kill_worker "$(device_id)" >>/run/step.log
    explain "           worker $killed killed; its successor is $(worker_of "$(device_id)")"
    verdict "the frontend saw no error, and read the same data" \
        wait_for frontend "[ \"\$(cut -c1-64 /tmp/sum)\" = $sum ]"
    frontend 'umount /mnt'
}
