# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Sourced by scenario-tests: the device model is a service of Debian's systemd, with the unit that
# is installed, while a Linux frontend works (systemd-container, systemd-init).
# shellcheck disable=SC2015,SC2016,SC2034,SC2154  # if one of several fails; expanded by the frontend; of backend-lib.sh
service=bao-virtio-dm
keeper_kills=4
[ "$BVDM_LONG" != 1 ] || keeper_kills=10

# Run a command among systemd's processes.
inside()
{
    nsenter -t "$(pidof systemd)" -m -p -- "$@"
}

property() # NAME
{
    inside systemctl show --value -p "$1" $service
}

service_starts()
{
    modprobe vhost_vsock || return 1
    truncate -s 32M /tmp/systemd.img
    devices_begin
    device block virtio 'file_path: /tmp/systemd.img'
    device vsock vhost 'guest_cid: 3'
    cp "$configuration" /etc/bao-virtio-dm.yaml
    device_model=/root/systemd-container
    comes_up
}

service_stays()
{
    wait_for service_active || {
        inside systemctl status --no-pager -l $service
        return 1
    }
}

service_active()
{
    [ "$(property ActiveState)/$(property SubState)" = active/running ]
}

service_says()
{
    inside systemctl status --no-pager $service >/run/status 2>&1
    cat /run/status
    grep -q 'Active: active (running)' /run/status &&
        grep -q 'Status: "The devices are served."' /run/status &&
        [ "$(property NFileDescriptorStore)" = $((9 + 11 + 2 + 1 + 1 + 1)) ]
    # One device has 1 queue, the other 3. In addition: an image and a page about it, a page about
    # vsock, the configuration, and who has what.
}

# The frontend writes and compares all the time. /tmp/rounds counts the rounds.
load_starts()
{
    frontend 'rm -f /tmp/stop /tmp/wrong; echo 0 >/tmp/rounds; (
        n=0; while [ ! -e /tmp/stop ]; do
            dd if=/dev/urandom of=/tmp/r bs=64k count=4 2>/dev/null;
            dd if=/tmp/r of=/dev/vda bs=64k seek=$((n % 64 * 4)) oflag=direct 2>/dev/null || echo write >/tmp/wrong;
            dd if=/dev/vda bs=64k skip=$((n % 64 * 4)) count=4 iflag=direct 2>/dev/null | cmp -s - /tmp/r || echo read >/tmp/wrong;
            n=$((n + 1)); echo $n >/tmp/rounds; done; echo >/tmp/stopped) >/dev/null 2>&1 &' &&
        frontend 'vsock-perf serve >/dev/null 2>&1 &' && load_goes_on
}

rounds()
{
    frontend 'cat /tmp/rounds' | tail -n 1
}

rounds_beyond()
{
    [ "$(rounds)" -gt "$1" ]
}

# Wait for two more rounds; one of them has begun after the call. Nothing was wrong.
load_goes_on()
{
    wait_for rounds_beyond $(($(rounds) + 1)) && frontend '[ ! -e /tmp/wrong ]' || {
        echo "the frontend's load stands still, or is wrong:"
        frontend 'cat /tmp/wrong /tmp/rounds; dmesg | tail -n 5'
        return 1
    }
}

sockets_work()
{
    wait_for vsock-perf run 3 --mib 1 --pings 5 --quiet
}

is_another() # PID
{
    local state
    state=$(inside systemctl show --value -p MainPID,ActiveState,SubState $service | tr '\n' ' ')
    case $state in
    "$1 "* | "0 "*) false ;;
    *" active running "*) ;;
    *) false ;;
    esac
}

# The pid that systemd knows is the one in its own namespace.
kills_of_keeper()
{
    local round before old_workers
    for round in $(seq $keeper_kills); do
        before=$(property MainPID)
        old_workers=$(pidof bao-virtio-worker bao-virtio-broker)
        inside kill -KILL "$before"
        wait_for is_another "$before" && load_goes_on || {
            echo "round $round"
            inside systemctl status --no-pager -l $service
            return 1
        }
        for before in $old_workers; do
            ! grep -q -s -a bao-virtio "/proc/$before/cmdline" || {
                echo "round $round: process $before lives on"
                return 1
            }
        done
    done
    [ "$(property NRestarts)" = $keeper_kills ] && sockets_work
}

restarts()
{
    local before
    before=$(property MainPID)
    inside systemctl --no-ask-password restart $service && load_goes_on && is_another "$before" &&
        inside systemctl --no-ask-password restart $service && load_goes_on && sockets_work
}

load_ends()
{
    frontend 'echo >/tmp/stop' && wait_for frontend '[ -e /tmp/stopped ]' &&
        frontend '[ ! -e /tmp/wrong ]' && no_frontend_complains
}

service_stops()
{
    frontends_stop || {
        cat /run/dm.log
        return 1
    }
    cat /run/left
    [ -e /run/left ] && [ ! -s /run/left ] &&
        ! pidof bao-virtio-dm bao-virtio-broker bao-virtio-worker
}

systemd_service()
{
    local before
    before=$(failures)
    check "systemd starts the service, and the frontend's devices come up" service_starts
    if [ "$before" = "$(failures)" ]; then
        check "systemd says that it is active and running, and keeps its files" service_says
        check "the frontend writes and compares" load_starts
        check "the keeper is killed $keeper_kills times: nothing is lost, nobody is left over" kills_of_keeper
        check "systemctl restart, twice, under the same load" restarts
        check "it is active and running as before" service_stays
        check "nothing was wrong for the frontend" load_ends
    fi
    check "after systemctl stop no process is left" service_stops
    device_model=''
}
