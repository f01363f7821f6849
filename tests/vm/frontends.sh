# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Sourced by scenario-tests: many devices in one frontend, and two frontends in one configuration.
# One device model serves all of them.
# shellcheck disable=SC2016,SC2034  # expanded by the frontend; read by backend-lib.sh
many_images=/run/many

many_devices()
{
    local n
    modprobe vhost_vsock || return 1
    mkdir -p $many_images
    devices_begin
    frontend_number=1
    device vsock vhost 'guest_cid: 3'
    for n in 1 2 3 4 5 6 7 8 9; do
        [ $n -lt 8 ] || frontend_number=2
        truncate -s 8M $many_images/$n.img
        device block virtio "file_path: $many_images/$n.img"
    done
    device vsock vhost 'guest_cid: 4'
    frontend_number=1
    comes_up
}

own_identities()
{
    local uids
    uids=$(for pid in $(pidof bao-virtio-worker); do
        sed -n 's/^Uid:[[:space:]]*\([0-9]*\).*/\1/p' "/proc/$pid/status"
    done)
    echo "$uids"
    [ "$(echo "$uids" | sort -u | wc -l)" = "$(wc -l <$device_list)" ]
}

# Each frontend writes its number on each of its disks. Each image contains that number and no
# other.
own_images()
{
    local disk n=0 image
    for disk in 1:vda 1:vdb 1:vdc 1:vdd 1:vde 1:vdf 1:vdg 2:vda 2:vdb; do
        on "${disk%:*}" "yes 'frontend ${disk%:*} ${disk#*:}' | head -c 65536 |
            dd of=/dev/${disk#*:} bs=64k oflag=direct 2>/dev/null" || return 1
    done
    for disk in 1:vda 1:vdb 1:vdc 1:vdd 1:vde 1:vdf 1:vdg 2:vda 2:vdb; do
        n=$((n + 1))
        image=$(head -c 65536 $many_images/$n.img | sort -u | tr '\n' '/')
        case $image in
        *"/frontend ${disk%:*} ${disk#*:}/"* | "frontend ${disk%:*} ${disk#*:}/"*) ;;
        *)
            echo "$n.img has '$image' of $disk"
            return 1
            ;;
        esac
    done
}

sockets_of_both()
{
    local number
    for number in 1 2; do
        on $number 'vsock-perf serve >/dev/null 2>&1 &'
        wait_for vsock-perf run $((number + 2)) --mib 0 --pings 1 || return 1
    done
    vsock-perf run 3 --mib 4 --pings 20 --quiet && vsock-perf run 4 --mib 4 --pings 20 --quiet
}

# pids_but ID: the pids of all workers except that device's.
pids_but()
{
    local id
    for id in $(cut -d' ' -f1 $device_list); do
        [ "$id" = "$1" ] || worker_of "$id"
    done
}

# All disks and both vsock devices are at work. The worker of the first frontend's third disk is
# killed twice. No other worker changes, no request to any disk fails, and no other stream breaks.
others_never_notice()
{
    local victim=3 before number write
    write='for disk in /dev/vd?; do
            (dd if=/dev/zero of=$disk bs=64k count=120 oflag=direct 2>/dev/null || echo "$disk failed") &
        done; wait'
    before=$(pids_but $victim)
    for number in 1 2; do
        on $number "rm -f /tmp/done; ($write; echo done) >/tmp/all 2>&1 &"
    done
    vsock-perf run 3 --mib 8 --pings 20 --quiet >/run/stream.3 2>&1 &
    local stream3=$!
    vsock-perf run 4 --mib 8 --pings 20 --quiet >/run/stream.4 2>&1 &
    local stream4=$!
    kill_worker $victim && sleep 1 && kill_worker $victim || return 1
    wait $stream3 && wait $stream4 || {
        echo "a stream broke:"
        cat /run/stream.[34]
        return 1
    }
    for number in 1 2; do
        wait_for on $number 'tail -n 1 /tmp/all | grep -qx done' &&
            [ "$(on $number 'cat /tmp/all')" = done ] || {
            echo "frontend $number:"
            on $number 'cat /tmp/all'
            return 1
        }
    done
    [ "$before" = "$(pids_but $victim)" ] || {
        echo "other workers changed"
        return 1
    }
}

# One frontend ends. The devices of the other work as before.
other_frontend_stays()
{
    local before
    before=$(pidof bao-virtio-worker)
    printf 'poweroff -f\n' >&8
    wait_for sh -c '! read -r -t 2 line <&9' # it prints nothing any more
    on 1 'dd if=/dev/zero of=/dev/vdg bs=64k count=8 oflag=direct' &&
        vsock-perf run 3 --mib 1 --pings 5 --quiet &&
        [ "$before" = "$(pidof bao-virtio-worker)" ] && [ -d "/proc/$frontend_pid" ]
}

two_frontends()
{
    local before
    before=$(failures)
    check "all devices of two frontends come up" many_devices
    [ "$before" = "$(failures)" ] || return
    check "each device of both frontends has a confined worker of its own" workers_confined
    check "each worker has a user id of its own" own_identities
    check "nine disks of two frontends go to nine images" own_images
    check "both frontends' sockets work, each by its own CID" sockets_of_both
    check "a worker killed under load: the other devices and frontends never notice" \
        others_never_notice
    check "no kernel complains while two frontends run" no_complaints
    check "a frontend that switches itself off leaves the other one working" other_frontend_stays
    check "SIGTERM ends the rest, with status 0" ends_cleanly
}
