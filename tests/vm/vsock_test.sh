# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Sourced by scenario-tests: Linux's own tests of sockets between machines (tools/testing/vsock of the
# VMs' kernel), each case by itself, over both data planes of vsock, with the frontend on either side.
#
# Frontend 1 has vsock/vhost: the other side is a program of the backend with AF_VSOCK. Frontend 2 has
# vsock/virtio: the other side is the same program on the backend's loopback CID, and vsock-bridge
# carries its connections to and from the device's Unix sockets. The two ends of a test agree on
# their steps over TCP; each frontend has a network device for that.
# shellcheck disable=SC2016,SC2034,SC2154  # expanded by the frontend; read by backend-lib.sh; of kinds.sh
test_socket=/run/bao-vsock/v.sock # as in configs/examples/vsock-virtio.yaml
test_port=1234                    # of vsock_test, always
control_port=1235

# What cannot be asked through a bridge: PLANE, the frontend's ROLE, PROGRAM, NUMBER NAME | why.
untold_cases()
{
    local only_backend='it is asked of the backend alone, and no device takes part'
    local counts='it counts the sockets of the kernel, and those of the bridge are among them'
    local refused='the bridge would have to refuse a connection of AF_VSOCK, which no program can: see vsock_bridge.c'
    local buffer='it asks how much the other end takes before it reads: the bridge and the Unix sockets take more'
    cat <<TABLE
virtio client vsock_test 6 SOCK_SEQPACKET msg bounds|it asks for MSG_EOR, which Unix sockets do not have
virtio server vsock_test 6 SOCK_SEQPACKET msg bounds|it asks for MSG_EOR, which Unix sockets do not have
virtio server vsock_test 0 SOCK_STREAM connection reset|$refused
virtio server vsock_test 1 SOCK_STREAM bind only|$refused
virtio client vsock_test 30 SOCK_STREAM retry failed connect()|$refused
virtio server vsock_test 30 SOCK_STREAM retry failed connect()|$refused
virtio client vsock_test 38 SOCK_STREAM TX credit bounds|$buffer
virtio server vsock_test 38 SOCK_STREAM TX credit bounds|$buffer
virtio client vsock_diag_test 0 No sockets|$only_backend
virtio client vsock_diag_test 1 Listen socket|$only_backend
virtio client vsock_diag_test 2 Connect|$counts
virtio server vsock_diag_test 2 Connect|$counts
TABLE
}

# why_untold PLANE ROLE PROGRAM NUMBER NAME: prints it, and fails if there is no reason.
why_untold()
{
    local line why
    untold_cases | while IFS='|' read -r line why; do
        [ "$line" != "$*" ] || echo "$why"
    done | grep .
}

cases_of() # PROGRAM: a line each, NUMBER NAME
{
    "$1" --list | tr '\t' ' ' | grep '^[0-9]'
}

# An older kernel may not have a case yet. If it has one of that number, it is that case.
untold_cases_exist()
{
    local line program number name
    untold_cases | while IFS='|' read -r line _; do
        read -r _ _ program number name <<<"$line"
        case $(cases_of "$program" | grep "^$number ") in
        '' | "$number $name") ;;
        *)
            echo "$program of this kernel has another case than '$line'"
            return 1
            ;;
        esac
    done
}

test_devices()
{
    local number
    modprobe -a vhost_vsock vsock_loopback vsock_diag tun || return 1
    mkdir -p "${test_socket%/*}"
    devices_begin
    frontend_number=1
    device vsock vhost 'guest_cid: 3'
    frontend_number=2
    device vsock virtio 'guest_cid: 4' "socket_path: $test_socket" 'connections: 128'
    for frontend_number in 1 2; do
        ip tuntap add "control$frontend_number" mode tap &&
            ip address add "192.168.5$frontend_number.1/24" dev "control$frontend_number" &&
            ip link set "control$frontend_number" up || return 1
        device net virtio "tap_name: control$frontend_number"
    done
    frontend_number=1
    comes_up || return 1
    for number in 1 2; do
        on "$number" "modprobe vsock_diag; ip address add 192.168.5$number.2/24 dev eth0 && ip link set eth0 up" &&
            wait_for ping -c 1 -W 1 "192.168.5$number.2" || return 1
    done
}

# bridge_starts ROLE NAME: the bridge listens for the case's server, so where a case is about a port
# without one, there is none. Sets bridge.
bridge_starts()
{
    local direction=from-frontend type=stream
    rm -f ${test_socket}_$test_port
    case $2 in
    *'connection reset' | *'bind only') return 0 ;;
    SOCK_SEQPACKET*) type=seqpacket ;;
    esac
    [ "$1" = client ] || direction=to-frontend
    vsock-bridge $direction $type $test_socket $test_port >/run/bridge.out 2>&1 &
    bridge=$!
    wait_for grep -qx ready /run/bridge.out || {
        cat /run/bridge.out
        return 1
    }
}

# Both ends of one case; whatever they say is in /run/ends, a file each.
frontend_connects() # NUMBER PROGRAM OPTION...
{
    local number=$1 program=$2 address=192.168.5$1.1 server
    shift 2
    timeout 300 "$program" --mode=server --control-host="$address" "$@" --peer-cid="$test_cid" >/run/ends/backend 2>&1 &
    server=$!
    wait_for grep -q listening /run/ends/backend &&
        on "$number" "timeout 300 $program --mode=client --control-host=$address $* --peer-cid=2 2>&1" >/run/ends/frontend
    local status=$?
    [ $status = 0 ] || kill $server 2>/dev/null
    wait $server && [ $status = 0 ]
}

frontend_serves() # NUMBER PROGRAM OPTION...
{
    local number=$1 program=$2 address=192.168.5$1.2 status
    shift 2
    on "$number" "rm -f /tmp/said /tmp/status; (timeout 300 $program --mode=server $* --peer-cid=2 >/tmp/said 2>&1;
        echo \$? >/tmp/status) &"
    wait_for on "$number" 'grep -q listening /tmp/said' &&
        timeout 300 "$program" --mode=client --control-host="$address" "$@" --peer-cid="$test_cid" >/run/ends/backend 2>&1
    status=$?
    wait_for on "$number" '[ -s /tmp/status ]'
    on "$number" 'cat /tmp/said; exit $(cat /tmp/status)' >/run/ends/frontend && [ $status = 0 ]
}

one_case() # PLANE ROLE PROGRAM NUMBER NAME
{
    local plane=$1 role=$2 program=$3 id=$4 name=$5 number=1 test_cid=3 bridge='' status=0 options file
    options="--control-port=$control_port$(cases_of "$program" | awk -v this="$id" '$1 != this { printf " --skip=%s", $1 }')"
    rm -rf /run/ends
    mkdir /run/ends
    if [ "$plane" = virtio ]; then
        number=2 test_cid=1
        bridge_starts "$role" "$name" || return 1
    fi
    # shellcheck disable=SC2086  # words
    if [ "$role" = client ]; then
        frontend_connects $number "$program" $options || status=1
    else
        frontend_serves $number "$program" $options || status=1
    fi
    [ -z "$bridge" ] || {
        kill "$bridge"
        wait "$bridge" 2>/dev/null
    }
    # Not only no end has failed: both have come through this case, which neither has skipped.
    for file in /run/ends/*; do
        grep -F "$id - $name..." "$file" | grep -qvF "$id - $name...skipped" || status=1
    done
    tail -n 5 /run/ends/*
    [ -z "$bridge" ] || cat /run/bridge.out
    return $status
}

all_cases() # PLANE ROLE WORDS
{
    local program number name why
    for program in vsock_test vsock_diag_test; do
        cases_of $program >/run/cases
        while read -r number name <&3; do
            if why=$(why_untold "$1" "$2" $program "$number" "$name"); then
                echo "-- not asked: $1, $3: $program $number, $name: $why"
            else
                check "$1, $3: $program $number, $name" one_case "$1" "$2" $program "$number" "$name"
            fi
        done 3</run/cases
    done
}

no_worker_was_replaced() # PIDS
{
    [ "$1" = "$(pidof bao-virtio-worker)" ]
}

linux_vsock_test()
{
    local before plane kind=vsock-test
    before=$(failures)
    # shellcheck disable=SC2046  # vsock_diag_test counts all sockets of the backend
    kill $(pidof vsock-perf socat) 2>/dev/null
    check "the frontends come up" test_devices
    [ "$before" = "$(failures)" ] || return
    check "what cannot be asked is named as the tests name it" untold_cases_exist
    before=$(pidof bao-virtio-worker)
    for plane in vhost virtio; do
        all_cases $plane client "the frontend connects"
        all_cases $plane server "the frontend serves"
    done
    check "no worker was replaced" no_worker_was_replaced "$before"
    check "no kernel complains" no_complaints
    check "SIGTERM ends everything, with status 0" ends_cleanly
}
