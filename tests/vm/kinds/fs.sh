# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# fs with vhost_user, see ../kinds.sh: a directory of the backend, which QEMU's virtiofsd serves.
# shellcheck disable=SC2016,SC2034  # expanded by the frontend; read by kinds.sh
kind_title="a directory of the host"
kind_frontend_modules="virtiofs"
kind_backend_programs="/usr/lib/qemu/virtiofsd"
shared=/run/shared
sockets=/run/vhost

kind_prepare()
{
    mkdir -p $shared $sockets
    device fs vhost_user "socket_path: $sockets/" "tag: shared"
    # virtiofsd ends with each connection, so this loop starts it again.
    [ -e /run/virtiofsd.pid ] || {
        while :; do
            virtiofsd --socket-path="$sockets/Fs$(device_id).sock" -o source=$shared -o sandbox=chroot
            sleep 0.2
        done >/run/virtiofsd.log 2>&1 &
        echo $! >/run/virtiofsd.pid
    }
}

mount_it='mkdir -p /tmp/shared && mount -t virtiofs shared /tmp/shared'
unmount_it='umount /tmp/shared'

# It mounts the file system again: what virtiofsd knows of a mounted file system ends with it.
kind_works()
{
    local text
    text="written at $(seconds)"
    echo "$text" >$shared/from-backend
    wait_for frontend "$mount_it" &&
        [ "$(frontend 'cat /tmp/shared/from-backend')" = "$text" ] &&
        frontend "echo '$text, too' >/tmp/shared/from-frontend && sync && $unmount_it" &&
        [ "$(cat $shared/from-frontend)" = "$text, too" ]
}

kind_load="$mount_it && dd if=/dev/urandom of=/tmp/shared/load bs=64k count=48 2>/dev/null &&
    a=\$(sha256sum </tmp/shared/load) && echo 3 >/proc/sys/vm/drop_caches &&
    b=\$(sha256sum </tmp/shared/load) && rm /tmp/shared/load && $unmount_it && [ \"\$a\" = \"\$b\" ]"

# The frontend writes a tree of files. It reads the same there after its caches are dropped, and in
# the backend.
tree()
{
    frontend "$mount_it" && frontend 'cd /tmp/shared && mkdir -p tree/a/b tree/c &&
        for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
            dd if=/dev/urandom of=tree/a/b/$i bs=7777 count=$i 2>/dev/null || exit 1; done &&
        dd if=/dev/urandom of=tree/c/large bs=1M count=8 2>/dev/null &&
        ln -s ../a/b/3 tree/c/link && mv tree/a/b/12 tree/c/moved && rm tree/a/b/11 &&
        find tree -type f | sort | xargs sha256sum >/tmp/sums && sync &&
        echo 3 >/proc/sys/vm/drop_caches && sha256sum -c -s /tmp/sums &&
        cmp tree/c/link tree/a/b/3' &&
        frontend 'cat /tmp/sums' >/run/sums && [ "$(wc -l </run/sums)" = 12 ] &&
        (cd $shared && sha256sum -c -s /run/sums) &&
        frontend "rm -r /tmp/shared/tree && $unmount_it" && [ ! -e $shared/tree ]
}

daemon_dies()
{
    local round
    for round in 1 2 3; do
        kill -KILL "$(pidof virtiofsd | tr ' ' '\n' | head -n 1)" || return 1
        wait_for kind_works || {
            echo "round $round: does not work after it"
            tail -n 5 /run/virtiofsd.log
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
    check "mounted, written from both sides" kind_works
    check "a tree of files, by its checksums" tree
    check "virtiofsd killed three times" daemon_dies
    check "a worker killed" worker_dies
    check "driver unbound and rebound several times, mounted after each" rebind_driver "$(device_id)"
}

# After each death it is mounted again: see above.
worker_dies_often()
{
    local n
    for n in $(seq "$(normal_or_long 4 30)"); do
        worker_dies || {
            echo "after death $n it does not work"
            return 1
        }
    done
}

kind_storm()
{
    check "it works after each of several deaths of its worker" worker_dies_often
}

kind_demo()
{
    title "A directory of the host in a VM"
    echo "Hello from the backend" >$shared/hello
    explain "frontend:  mount -t virtiofs shared /tmp/shared; cat /tmp/shared/hello"
    frontend "$mount_it; cat /tmp/shared/hello" | indent
    explain "frontend:  uname -a >/tmp/shared/answer          backend:  cat $shared/answer"
    frontend "uname -a >/tmp/shared/answer; sync"
    indent <$shared/answer
    verdict "each reads what the other has written" \
        test "$(cat $shared/answer)" = "$(frontend "uname -a; $unmount_it")"
}
