# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# vsock with virtio, see ../kinds.sh: for programs of the backend, the frontend's sockets are Unix
# sockets. Linux can have only one vsock device, so this one is the second frontend's.
# shellcheck disable=SC2016,SC2034  # expanded by the frontend; read by kinds.sh
kind_title="sockets, without help of the backend's kernel"
kind_number=2
kind_frontend_programs="socat"
kind_frontend_modules="vsock vmw_vsock_virtio_transport"
kind_backend_programs="socat"
socket=/run/bao-vsock/v.sock # as in configs/examples/vsock-virtio.yaml

kind_prepare()
{
    mkdir -p "${socket%/*}"
    device vsock virtio "guest_cid: 4" "socket_path: $socket"
    socat UNIX-LISTEN:${socket}_60,fork,backlog=32 SYSTEM:'read line; echo backend heard $line' 2>/dev/null &
    # What a program does that connects to the frontend: PORT COMMAND...; the command runs on the
    # connection.
    printf '%s\n' '#!/bin/bash' 'echo "CONNECT $1"' 'read -r ok port && [ "$ok" = OK ] || exit 1' \
        'shift' 'exec "$@"' >/run/vsock-program
    printf '%s\n' '#!/bin/bash' 'echo "$1"' 'read -r answer && echo "$answer" >"$2"' >/run/vsock-line
    chmod 755 /run/vsock-program /run/vsock-line
}

# connect PORT COMMAND: connect to the frontend. The connection is the command's standard input and
# output.
connect()
{
    socat -t 30 UNIX-CONNECT:$socket "EXEC:/run/vsock-program $1 $2"
}

serve()
{
    frontend 'socat VSOCK-LISTEN:61,fork,reuseaddr,backlog=32
        SYSTEM:'\''read line; echo frontend heard $line'\'' >/dev/null 2>&1 &'
}

# A line and its answer, from each side. Linux gives up a connection after two seconds.
kind_works()
{
    wait_for frontend_asks && wait_for asked hello
}

frontend_asks()
{
    [ "$(frontend 'echo hello | socat -t 30 - VSOCK-CONNECT:2:60')" = 'backend heard hello' ]
}

asked() # WORD
{
    rm -f "/run/answer.$1"
    connect 61 "/run/vsock-line $1 /run/answer.$1" && [ "$(cat "/run/answer.$1")" = "frontend heard $1" ]
}

kind_load='[ "$(echo load | socat -t 20 - VSOCK-CONNECT:2:60)" = "backend heard load" ]'

# A file in each direction; the checksums are compared.
files() # MIB
{
    local sum server
    socat -u UNIX-LISTEN:${socket}_62 CREATE:/run/vsock.got &
    server=$!
    wait_for [ -S ${socket}_62 ]
    sum=$(frontend "dd if=/dev/urandom of=/tmp/r bs=1M count=$1 2>/dev/null &&
        socat -u OPEN:/tmp/r VSOCK-CONNECT:2:62 && sha256sum </tmp/r; rm -f /tmp/r")
    wait $server
    echo "the frontend sent $sum, $(sha256sum </run/vsock.got) came"
    [ "$sum" = "$(sha256sum </run/vsock.got)" ] || return 1
    frontend 'rm -f /tmp/got; socat -u VSOCK-LISTEN:63 CREATE:/tmp/got >/dev/null 2>&1 &'
    # Try until it listens; it takes one connection.
    wait_for eval 'connect 63 "cat /run/vsock.got"; [ "$(frontend "sha256sum </tmp/got")" = "$sum" ]' || {
        echo "sent back, $(frontend 'sha256sum </tmp/got') came"
        return 1
    }
}

# Eight connections from each side at once, each with its own words. Linux gives up a connection
# that is not made within two seconds. A busy machine may need longer, so the connection is tried
# again.
many()
{
    local n programs='' failed=0
    frontend 'rm -f /tmp/many.*; for n in 1 2 3 4 5 6 7 8; do
        (t=0; until echo word$n | socat -t 20 - VSOCK-CONNECT:2:60 >/tmp/many.$n || [ $t -ge 20 ]; do t=$((t + 1)); done) &
        done; wait' &
    local others=$!
    for n in 1 2 3 4 5 6 7 8; do
        asked "many$n" &
        programs="$programs $!"
    done
    for n in $programs; do
        wait "$n" || failed=$((failed + 1))
    done
    wait $others
    [ $failed = 0 ] || {
        echo "$failed connections to the frontend failed"
        return 1
    }
    frontend 'for n in 1 2 3 4 5 6 7 8; do
        [ "$(cat /tmp/many.$n)" = "backend heard word$n" ] || { echo "$n: $(cat /tmp/many.$n)"; false; exit; }; done'
}

# If nobody listens, the other side is told at once, in both directions.
refused_at_once()
{
    local began
    began=$(seconds)
    ! frontend 'socat -T 20 - VSOCK-CONNECT:2:99 </dev/null' || return 1
    rm -f /run/answer.99
    connect 99 '/run/vsock-line hello /run/answer.99'
    [ ! -e /run/answer.99 ] || return 1
    [ $(($(seconds) - began)) -le 15 ] # a program that is not told waits 20 s
}

worker_dies()
{
    local id pid
    id=$(device_id)
    frontend 'socat VSOCK-LISTEN:64 SYSTEM:"echo up; sleep 100" >/dev/null 2>&1 &'
    socat UNIX-LISTEN:${socket}_65 SYSTEM:'echo up; sleep 100' 2>/dev/null &
    frontend 'rm -f /tmp/gone /tmp/up; (until [ -s /tmp/up ]; do
        socat -u VSOCK-CONNECT:2:65 CREATE:/tmp/up 2>/dev/null || sleep 0.1; done; echo >/tmp/gone) &'
    printf '#!/bin/bash\nread -r line; echo "$line" >/run/vsock.up; cat >/dev/null\n' >/run/vsock-up
    chmod +x /run/vsock-up
    rm -f /run/vsock.up
    until [ -s /run/vsock.up ]; do
        connect 64 /run/vsock-up >/dev/null 2>&1 || sleep 0.1
    done &
    local client=$!
    wait_for frontend '[ -s /tmp/up ]' && wait_for [ -s /run/vsock.up ] &&
        frontend '! [ -e /tmp/gone ]' && [ -d /proc/$client ] || {
        echo "the connections did not come about"
        return 1
    }
    pid=$(worker_of "$id")
    kill -KILL "$pid"
    wait_for frontend '[ -e /tmp/gone ]' || {
        echo "the frontend's socket still hangs 5 s after the worker's death"
        return 1
    }
    wait_for [ ! -d /proc/$client ] || {
        echo "the backend's socket still hangs 5 s after the worker's death"
        return 1
    }
    kind_works && worker_is_new "$id" "$pid"
}

kind_test()
{
    serve
    check "a line and its answer, from each side" kind_works
    check "6 MiB each way, checksums right" files 6
    check "eight connections from each side at once" many
    check "a port where nobody listens is refused at once, on both sides" refused_at_once
    check "driver unbound and rebound several times, lines after each" rebind_driver "$(device_id)"
    check "transport unbound and rebound several times, lines after each" rebind_transport "$(device_id)"
    check "a killed worker's sockets fail at once, new ones work" worker_dies
}

# A connection that ends by a death is tried again.
storm_round='n=0; until [ "$(echo storm | timeout 40 socat -t 30 - VSOCK-CONNECT:2:60 2>/dev/null)" = "backend heard storm" ]; do
        n=$((n + 1)); [ $n -lt 40 ] || break; sleep 0.1; done; [ $n -lt 40 ]'

kind_storm()
{
    kind_works || serve
    remember_resets "$(device_id)"
    check "new connections work while the worker dies again and again" \
        storm "$storm_round" --device "$(device_id)" --deaths "$(normal_or_long 6 100)" --moment 300 --idle 100
    check "they work after that, from each side, and the driver has not noticed" storm_ends
}

storm_ends()
{
    kind_works && undisturbed "$(device_id)"
}

kind_demo()
{
    title "Sockets where the backend's kernel has no vhost_vsock: Unix sockets instead"
    explain "A second frontend VM has its sockets served by our worker alone. In the backend they are" \
        "files, so that any program can use them:" \
        "backend:   socat UNIX-LISTEN:${socket}_60,fork SYSTEM:'read line; echo backend heard \$line' &" \
        "frontend:  echo Hello | socat - VSOCK-CONNECT:2:60"
    frontend 'echo Hello | socat -t 30 - VSOCK-CONNECT:2:60' >/run/vsock.answer
    indent </run/vsock.answer
    verdict "the frontend's line arrived, and the answer came back" \
        grep -qx 'backend heard Hello' /run/vsock.answer
}
