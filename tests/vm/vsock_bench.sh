# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Sourced by scenario-tests: how fast the two data planes of vsock are beside each other. Frontend 1 has vsock/vhost,
# frontend 2 vsock/virtio. A program of the backend connects to the same server in both, by turns. Rates in
# emulated machines say nothing by themselves, so the ratios count; what is checked are the checksums.
# shellcheck disable=SC2034,SC2154  # read by backend-lib.sh; of kinds.sh
bench_socket=/run/bao-vsock/v.sock
bench_turns=5

bench_devices()
{
    local number
    modprobe vhost_vsock || return 1
    mkdir -p "${bench_socket%/*}"
    devices_begin
    frontend_number=1
    device vsock vhost 'guest_cid: 3'
    frontend_number=2
    device vsock virtio 'guest_cid: 4' "socket_path: $bench_socket"
    comes_up || return 1
    for number in 1 2; do
        on "$number" 'vsock-perf serve >/dev/null 2>&1 &'
    done
    wait_for vsock-perf run 3 --mib 0 --pings 1 && wait_for vsock-perf run $bench_socket --mib 0 --pings 1
}

# PLANE PEER: one turn; its figures are added to /run/bench.PLANE, a line each: to, from, round trip.
bench_turn()
{
    vsock-perf run "$2" --mib "$(normal_or_long 8 32)" --pings 200 --quiet >/run/turn || {
        cat /run/turn
        return 1
    }
    sed -n 's/.* sent to .* \([0-9.]*\) MiB\/s.*/to \1/p; s/.* received from .* \([0-9.]*\) MiB\/s.*/from \1/p
        s/.* round trip .* median \([0-9]*\) us.*/trip \1/p' /run/turn >>"/run/bench.$1"
}

bench_planes()
{
    local turn
    rm -f /run/bench.*
    for ((turn = 0; turn < bench_turns; turn++)); do
        bench_turn vhost 3 && bench_turn virtio $bench_socket || return 1
    done
}

bench_median() # PLANE WHAT
{
    sed -n "s/^$2 //p" "/run/bench.$1" | sort -n | sed -n "$((bench_turns / 2 + 1))p"
}

bench_table()
{
    local what words vhost virtio
    printf '   | %-42s %10s %10s %8s\n' "median of $bench_turns turns" vsock/vhost vsock/virtio ratio
    for what in "to MiB/s to the frontend, 1 connection" "from MiB/s to the backend, 1 connection" \
        "trip round trip of a byte, us"; do
        words=${what#* } what=${what%% *}
        vhost=$(bench_median vhost "$what") virtio=$(bench_median virtio "$what")
        [ -n "$vhost" ] && [ -n "$virtio" ] || return 1
        printf '   | %-42s %10s %10s %8s\n' "$words" "$vhost" "$virtio" "$(awk "BEGIN { printf \"%.2f\", $virtio / $vhost }")"
    done
}

vsock_bench()
{
    local kind=vsock-bench before
    before=$(failures)
    check "the frontends come up, and a server in each" bench_devices
    [ "$before" = "$(failures)" ] || return
    check "vsock/vhost and vsock/virtio by turns, checksums right" bench_planes
    bench_table || check "each turn told all figures" false
    check "SIGTERM ends everything, with status 0" ends_cleanly
}
