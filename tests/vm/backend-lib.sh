# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# Sourced by the scenarios, in the backend VM: starts a frontend VM and gives it commands.

# shellcheck disable=SC2016  # what the frontend expands is quoted here
frontend_pid=
# There is no PCI to look for, and what emulated nested KVM says of XSAVE contradicts itself.
frontend_arguments="console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off nokaslr pci=off noxsave"

# frontend_start CONFIG DEVICE...: run `bao-virtio-dm --config CONFIG` and a frontend with the
# devices (ID,ADDRESS,LINE; see bao-monitor --help). Ready when its drivers are loaded.
frontend_start()
{
    local config=$1 device arguments=
    shift
    for device in "$@"; do
        arguments="$arguments --device $device"
    done
    rm -f /run/frontend.in /run/frontend.out
    mkfifo /run/frontend.in /run/frontend.out
    exec 8<>/run/frontend.in 9<>/run/frontend.out
    : >/run/dm.log
    # shellcheck disable=SC2086  # the arguments are words
    bao-monitor --kernel frontend-kernel --initrd frontend.cpio --cpus "${frontend_cpus:-1}" \
        --append "$frontend_arguments" \
        --console /run/frontend.log --command-in /run/frontend.in \
        --command-out /run/frontend.out $arguments \
        -- /usr/bin/bao-virtio-dm --config "$config" 8<&- 9<&- 2>/run/dm.log >/run/dm.out &
    frontend_pid=$!
    frontend_wait "${frontend_boot_limit:-90}"
}

# Until the frontend says that it is ready; a dot every two seconds if `dots` is set.
frontend_wait()
{
    local left=$1 line
    while [ "$left" -gt 0 ]; do
        if read -r -t 2 line <&9; then
            [ "$line" = @ready ] && return 0
            continue
        fi
        [ -d "/proc/$frontend_pid" ] || return 1
        [ -z "$dots" ] || printf .
        left=$((left - 2))
    done
    return 1
}

# frontend COMMAND: run it in the frontend, over a serial line; shows what it prints and returns
# its exit status, or 124 if nothing was heard for a minute. A newline in it counts as a space.
frontend()
{
    local line
    printf '%s\n' "$(printf '%s' "$1" | tr '\n' ' ')" >&8
    while IFS= read -r -t "${frontend_limit:-60}" line <&9; do
        case $line in
        *"@done "*)
            printf '%s' "${line%@done *}"
            return "${line##*@done }"
            ;;
        *)
            printf '%s\n' "$line"
            ;;
        esac
    done
    echo "the frontend does not answer"
    return 124
}

# Ends the frontend and the device model; returns bao-monitor's exit status.
frontend_stop()
{
    [ -n "$frontend_pid" ] || return 0
    kill -TERM "$frontend_pid" 2>/dev/null
    wait "$frontend_pid"
    local status=$?
    frontend_pid=
    exec 8>&- 9>&-
    return "$status"
}

# Everything that was logged, for the host to keep.
show_details()
{
    local log
    for log in /run/dm.log /run/frontend.log /run/step.log; do
        [ -s "$log" ] || continue
        echo "--- $log"
        cat "$log"
    done >/dev/ttyS0 2>&1
    {
        echo "--- the backend's kernel"
        dmesg | tail -n 15
    } >/dev/ttyS0
}

seconds()
{
    cut -d. -f1 /proc/uptime
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for()
{
    local end=$(($(seconds) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(seconds)" -lt "$end" ] || return 1
        sleep 0.1
    done
}
