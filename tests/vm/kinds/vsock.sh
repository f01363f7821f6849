# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# vsock with vhost, see ../kinds.sh: the frontend has CID 3.
# shellcheck disable=SC2016,SC2034  # expanded by the frontend; read by kinds.sh
kind_title="sockets between a VM and its host"
kind_frontend_programs="socat dropbear vsock-perf"
kind_frontend_modules="vsock vmw_vsock_virtio_transport"
kind_backend_programs="socat ssh vsock-perf"
kind_backend_modules="vhost_vsock"

kind_prepare()
{
    modprobe vhost_vsock
    device vsock vhost "guest_cid: 3"
    pidof vsock-perf >/dev/null || vsock-perf serve >/dev/null 2>&1 &
}

serve()
{
    frontend 'pidof vsock-perf >/dev/null || vsock-perf serve >/dev/null 2>&1 &'
    wait_for vsock-perf run 3 --mib 0 --pings 1
}

kind_works()
{
    wait_for vsock-perf run 3 --mib 0 --pings 1 && vsock-perf run 3 --mib 1 --pings 5 --quiet
}

kind_load='vsock-perf run 2 --mib 16 --pings 50 --quiet'

cid_in_use()
{
    printf 'devices:\n  - {id: 15, type: vsock, data_plane: vhost, mmio_addr: 0xa003e00, guest_cid: 3}\n' \
        >/run/vsock.yaml
    refused /run/vsock.yaml 'cid.*3' 15,0xa003e00,5 && kind_works
}

worker_dies()
{
    local server client id
    id=$(device_id)
    # One idle connection from each side. When the worker dies, each must end, at both ends.
    frontend 'socat VSOCK-LISTEN:1030 SYSTEM:"echo up; sleep 100" 2>/dev/null &'
    socat VSOCK-LISTEN:1031 SYSTEM:'echo up; sleep 100' 2>/dev/null &
    server=$!
    frontend 'rm -f /tmp/gone /tmp/up; (until [ -s /tmp/up ]; do
        socat -u VSOCK-CONNECT:2:1031 CREATE:/tmp/up 2>/dev/null || sleep 0.1; done; echo >/tmp/gone) &'
    rm -f /run/vsock.up
    until [ -s /run/vsock.up ]; do
        socat -u VSOCK-CONNECT:3:1030 CREATE:/run/vsock.up 2>/dev/null || sleep 0.1
    done &
    client=$!
    wait_for frontend '[ -s /tmp/up ]' && wait_for [ -s /run/vsock.up ] &&
        frontend '! [ -e /tmp/gone ]' && [ -d /proc/$client ] || {
        echo "the connections did not come about"
        return 1
    }
    local pid
    pid=$(worker_of "$id")
    kill -KILL "$pid" || return 1
    wait_for frontend '[ -e /tmp/gone ]' || {
        echo "the frontend's socket still hangs 3 s after the worker's death"
        return 1
    }
    wait_for [ ! -d /proc/$client ] || {
        echo "the backend's socket still hangs 3 s after the worker's death"
        return 1
    }
    kill $server 2>/dev/null
    kind_works && worker_is_new "$id" "$pid"
}

sshd()
{
    frontend "socat VSOCK-LISTEN:22,fork,reuseaddr
        EXEC:'dropbear -i -r /etc/dropbear/key' >/dev/null 2>&1 &"
}

# What is run on a real board, as it is: the dispatcher's node is in the device model's /dev only.
accepted()
{
    sshd
    nsenter -t "$(pidof bao-virtio-dm | cut -d' ' -f1)" -m -- bao-acceptance --key /root/.ssh/id_ed25519 --local-port 2223 \
        --megabytes 1 --connections 3 --seconds 200 --config $configuration --report /run/acceptance
}

# A board without a node of Bao's driver, and without what a device of the file needs.
board_lacks()
{
    bao-dmctl check-board --config /root/configs/examples/vsock.yaml >/run/board
    [ $? = 1 ] && grep -q 'MISSING.*dispatcher' /run/board && bao-dmctl check-board --json | grep -q '"missing": [1-9]' || {
        cat /run/board
        return 1
    }
}

kind_test()
{
    serve
    check "bao-acceptance passes: the board, ssh, bandwidth, a replaced worker, the audit" accepted
    check "bao-dmctl check-board names what a board lacks" board_lacks
    check "streams each way, checksums right at both ends" \
        vsock-perf run 3 --mib "$(normal_or_long 32 100)" --pings 200 --quiet
    check "the frontend connects to CID 2 and streams both ways" \
        frontend 'vsock-perf run 2 --mib 16 --pings 200 --quiet'
    check "a CID in use is named, and the first user goes on" cid_in_use
    check "driver unbound and rebound several times, I/O after each" rebind_driver "$(device_id)"
    check "transport unbound and rebound several times, I/O after each" rebind_transport "$(device_id)"
    check "a killed worker's sockets fail at once, new ones work" worker_dies
}

# A connection that ends by a death is tried again. It fails at once, and no data is wrong.
storm_round='n=0; until timeout 40 vsock-perf run 2 --mib 1 --pings 5 --quiet >/tmp/perf 2>&1; do
        n=$((n + 1)); [ $n -lt 40 ] || { cat /tmp/perf; false; break; }; ! grep -i -e differ -e wrong /tmp/perf || break;
        sleep 0.1; done && [ $n -lt 40 ]'

kind_storm()
{
    serve
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
    lines
    speed
    login
}

# Each sets `answer`. It fails as long as the other end's server does not listen yet.
backend_says()
{
    answer=$(echo 'Hello, frontend' | socat -t 30 - VSOCK-CONNECT:3:1024)
    [ -n "$answer" ]
}

frontend_says()
{
    answer=$(frontend "echo 'Hello, backend' | socat -t 30 - VSOCK-CONNECT:2:1024")
    [ -n "$answer" ]
}

lines()
{
    title "Sockets: lines of text, both ways (socat, vsock port 1024)"
    explain "vsock is a socket between a VM and its host: no IP address, no network. The frontend" \
        "is CID 3, as the configuration says; the backend is always CID 2."
    frontend 'socat VSOCK-LISTEN:1024,fork,reuseaddr
        SYSTEM:'\''read line; echo frontend heard $line'\'' >/dev/null 2>&1 &'
    socat VSOCK-LISTEN:1024,fork,reuseaddr SYSTEM:'read line; echo backend heard $line' &
    explain "backend:   echo 'Hello, frontend' | socat - VSOCK-CONNECT:3:1024"
    local answer=
    wait_for backend_says
    explain "           $answer"
    verdict "the backend's line arrived, and the frontend's answer came back" \
        [ "$answer" = 'frontend heard Hello, frontend' ]
    explain "frontend:  echo 'Hello, backend' | socat - VSOCK-CONNECT:2:1024"
    answer=
    wait_for frontend_says
    explain "           $answer"
    verdict "the frontend's line arrived, and the backend's answer came back" \
        [ "$answer" = 'backend heard Hello, backend' ]
}

speed()
{
    title "Sockets: how much, and how fast (vsock-perf, checksums compared at both ends)"
    explain "Measured inside emulation: real hardware is many times faster."
    verdict "the measurement's server answers" serve
    explain "backend:   vsock-perf run 3 --mib 64 --pings 500"
    # shellcheck disable=SC2086,SC2154  # an option or nothing, of scenario-demo
    vsock-perf run 3 --mib 64 --pings 500 $perf_option
    verdict "all that was streamed arrived, unchanged, in both directions" [ $? = 0 ]
    explain "frontend:  vsock-perf run 2 --mib 16 --pings 500"
    frontend 'vsock-perf run 2 --mib 16 --pings 500 --quiet'
    verdict "the same for connections that the frontend opens" [ $? = 0 ]
}

# The frontend's dropbear is behind both forwarders. It sends its version first.
sshd_answers()
{
    socat -t 30 - TCP:127.0.0.1:2222 </dev/null | grep -q '^SSH-'
}

login()
{
    title "Sockets: a real ssh session over vsock"
    explain "backend:   socat TCP-LISTEN:2222,fork VSOCK-CONNECT:3:22 &" \
        "frontend:  socat VSOCK-LISTEN:22,fork EXEC:'dropbear -i' &" \
        "backend:   ssh root@localhost -p 2222 'hostname; uname -sr'"
    sshd
    socat TCP-LISTEN:2222,fork,reuseaddr,bind=127.0.0.1 VSOCK-CONNECT:3:22 2>/dev/null &
    wait_for sshd_answers
    ssh root@localhost -p 2222 'hostname; uname -sr' </dev/null >/run/ssh.out 2>>/run/step.log
    local status=$?
    indent </run/ssh.out
    verdict "ssh reached the frontend and ran commands there" \
        [ "$status $(head -n 1 /run/ssh.out)" = '0 frontend' ]
}
