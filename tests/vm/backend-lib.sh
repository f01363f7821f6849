# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Sourced by the scenarios, in the backend VM. It describes devices, starts the frontend VMs that
# have them, and gives them commands. The kinds of device belong to it: one file each in kinds/.
# kinds.sh says what such a file contains.

# shellcheck disable=SC2016  # what the frontend expands is quoted here
. /root/kinds.sh
configuration=/run/configuration.yaml
device_list=/run/devices # one line for each device: ID FRONTEND INDEX KIND TYPE ADDRESS LINE
frontend_pid=
frontend_number=1 # the frontend that commands go to
frontends_max=2
device_model= # the program that is started instead of bao-virtio-dm
# There is no PCI to look for. Emulated nested KVM gives contradictory information about XSAVE. On a
# busy machine, an emulated processor may stand still for half a minute.
frontend_arguments="console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off nokaslr pci=off noxsave \
watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120"

# --- a configuration -----------------------------------------------------------------------

devices_begin()
{
    echo 'devices:' >$configuration
    : >$device_list
}

# device TYPE DATA-PLANE 'KEY: VALUE'...: add one device to frontend $frontend_number. It gets the
# next id; registers and interrupt line follow from the id.
device()
{
    local id index address type=$1 plane=$2 key
    shift 2
    id=$(wc -l <$device_list)
    index=$(grep -c "^[0-9]* $frontend_number " $device_list)
    address=$(printf '0x%x' $((0xa003e00 - 0x200 * id)))
    echo "$id $frontend_number $index ${kind:-none} $type $address $((5 + id))" >>$device_list
    {
        printf '  - id: %s\n    type: %s\n    data_plane: %s\n    mmio_addr: %s\n' \
            "$id" "$type" "$plane" "$address"
        for key in "$@"; do
            printf '    %s\n' "$key"
        done
    } >>$configuration
}

# device_id [N]: the id of this kind's Nth device (default: the first).
device_id()
{
    awk -v kind="$kind" -v n="${1:-1}" '$4 == kind && ++found == n { print $1 }' $device_list
}

device_field() # ID COLUMN
{
    awk -v id="$1" -v column="$2" '$1 == id { print $column }' $device_list
}

# The names that the frontend has for a device: of its virtio-mmio transport, and of the virtio
# device.
transport_of() # ID
{
    printf 'LNRO0005:%02x' "$(device_field "$1" 3)"
}

virtio_of() # ID
{
    frontend "cd /sys/bus/platform/devices/$(transport_of "$1") && echo virtio*"
}

# --- frontends -----------------------------------------------------------------------------

# frontends_start [CONFIG]: run `bao-virtio-dm --config CONFIG` (default: $configuration) and the
# frontends that have a device. It returns when their drivers are loaded. If a test has failed, its
# frontends may still be there: they would keep the devices that this one needs.
frontends_start()
{
    local arguments='' number id address line
    frontends_stop
    number=1
    while [ $number -le $frontends_max ]; do
        if grep -q "^[0-9]* $number " $device_list; then
            rm -f /run/frontend$number.in /run/frontend$number.out /run/lost.$number
            mkfifo /run/frontend$number.in /run/frontend$number.out
            : >/run/frontend$number.log
            eval "exec $((2 * number + 4))<>/run/frontend$number.in"
            eval "exec $((2 * number + 5))<>/run/frontend$number.out"
            arguments="$arguments ${arguments:+--next} --console /run/frontend$number.log
                --command-in /run/frontend$number.in --command-out /run/frontend$number.out"
            while read -r id _ _ _ _ address line; do
                [ "$(device_field "$id" 2)" != $number ] ||
                    arguments="$arguments --device $id,$address,$line"
            done <$device_list
        fi
        number=$((number + 1))
    done
    : >/run/dm.log
    # shellcheck disable=SC2086  # the arguments are words
    bao-monitor --kernel frontend-kernel --initrd frontend.cpio --append "$frontend_arguments" \
        $arguments -- ${device_model:-/usr/bin/bao-virtio-dm --config ${1:-$configuration}} \
        6<&- 7<&- 8<&- 9<&- 2>/run/dm.log >/run/dm.out &
    frontend_pid=$!
    for frontend_number in $(cut -d' ' -f2 $device_list | sort -u); do
        frontend_wait "$frontend_number" || {
            echo "frontend $frontend_number did not boot"
            show_stuck >/dev/ttyS0 2>&1
            show_stuck_shortly
            return 1
        }
    done
    frontend_number=1
}

# frontend_line NUMBER: read a line of that frontend into `line`; false if none ends within two
# seconds. A slow frontend prints a line in parts: the caller's `part` keeps what has come.
frontend_line()
{
    IFS= read -r -t 2 line <&$((2 * $1 + 5)) || {
        part=$part$line
        return 1
    }
    line=$part$line part=
}

# Wait until a frontend says that it is ready. If `dots` is set, print a dot every two seconds.
frontend_wait() # NUMBER
{
    local left=900 line part=
    while [ "$left" -gt 0 ]; do
        if frontend_line "$1"; then
            [ "$line" = @ready ] && return 0
            continue
        fi
        [ -d "/proc/$frontend_pid" ] || return 1
        [ -z "$dots" ] || printf . >&2
        left=$((left - 2))
    done
    return 1
}

# frontend COMMAND: run the command in frontend $frontend_number, over a serial line. Shows what the
# command prints, and returns its exit status; 124 if nothing was heard for ten minutes (fio prints
# nothing, and a busy machine is ten times as slow as a quiet one). A newline in the command counts
# as a space. A frontend that once did not answer gets no more commands: answers would belong to
# earlier commands, and each command would take as long again.
frontend()
{
    local line
    [ ! -e /run/lost.$frontend_number ] || {
        echo "frontend $frontend_number did not answer before"
        return 124
    }
    printf '%s\n' "$(printf '%s' "$1" | tr '\n' ' ')" >&$((2 * frontend_number + 4))
    # A reader like grep -q may leave early. The answer is read to its end nevertheless.
    trap '' PIPE
    local part='' limit=${frontend_limit:-600} silent=0
    while [ $silent -lt "$limit" ] && [ -d "/proc/$frontend_pid" ]; do
        frontend_line "$frontend_number" || {
            silent=$((silent + 2))
            continue
        }
        silent=0
        case $line in
        *"@done "*)
            printf '%s' "${line%@done *}" 2>/dev/null
            trap - PIPE
            return "${line##*@done }"
            ;;
        *)
            printf '%s\n' "$line" 2>/dev/null
            ;;
        esac
    done
    trap - PIPE
    echo "frontend $frontend_number does not answer$([ -d "/proc/$frontend_pid" ] || echo ', since bao-monitor has ended')"
    : >/run/lost.$frontend_number
    show_stuck >/dev/ttyS0 2>&1
    show_stuck_shortly
    return 124
}

# on NUMBER COMMAND: run the command in that frontend.
on()
{
    frontend_number=$1
    frontend "$2"
    local status=$?
    frontend_number=1
    return $status
}

# The same in few words, for somebody who sees only the end of a log (`check` shows 12 lines): what
# each of our threads waits for, and the last output of the device model and of the frontends. A
# frontend that is idle waits in kvm_vcpu_block; one that computes is R.
show_stuck_shortly()
{
    local task log
    for task in /proc/[0-9]*/task/*; do
        case $(cat "$task/comm" 2>/dev/null) in
        bao-* | block* | console* | fs* | net* | rng* | vsock* | input* | broker* | vhost* | virtiofsd | kvm*)
            printf '%s:%s:%s ' "$(cat "$task/comm")" "$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "$task/status")" \
                "$(cat "$task/wchan")"
            ;;
        esac
    done 2>/dev/null
    echo
    tail -n 12 /run/dm.log
    for log in /run/frontend[12].log; do
        [ ! -s "$log" ] || tail -n 3 "$log"
    done
}

# Show what every process that serves a frontend is doing while the frontend is silent.
show_stuck()
{
    local task
    echo "--- frontend $frontend_number is silent at $(seconds) s; what every thread waits in:"
    for task in /proc/[0-9]*/task/*; do
        [ -n "$(tr -d '\0' <"$task/cmdline" 2>/dev/null)" ] || continue # skip the kernel's own threads
        printf '%s %s: %s, %s; system call %s\n' "${task##*/}" "$(cat "$task/comm")" \
            "$(sed -n 's/^State:[[:space:]]*//p' "$task/status")" "$(cat "$task/wchan")" \
            "$(cat "$task/syscall")"
    done
    echo "--- interrupts and run times"
    head -n 40 /proc/interrupts
    head -n 5 /proc/meminfo
    top -b -n 1 | head -n 20
    sleep 2
    top -b -n 1 | head -n 20
    bao-dmctl status
    bao-dmctl stats
    show_details
}

# End the frontends and the device model. Returns bao-monitor's exit status.
frontends_stop()
{
    [ -n "$frontend_pid" ] || return 0
    kill -TERM "$frontend_pid" 2>/dev/null
    wait "$frontend_pid"
    local status=$?
    frontend_pid=
    exec 6>&- 7>&- 8>&- 9>&-
    return "$status"
}

# --- workers -------------------------------------------------------------------------------

worker_of() # ID: the pid of the device's worker
{
    local pid name
    name="$(device_field "$1" 5) $1"
    for pid in $(pidof bao-virtio-worker); do
        [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != "$name" ] || echo "$pid"
    done
}

worker_is_new() # ID OLD-PID
{
    local pid
    pid=$(worker_of "$1")
    [ -n "$pid" ] && [ "$pid" != "$2" ]
}

# kill_worker ID: kill the device's worker, and wait for its successor.
kill_worker()
{
    local pid
    pid=$(worker_of "$1")
    [ -n "$pid" ] || {
        echo "device $1 has no worker"
        return 1
    }
    kill -KILL "$pid"
    wait_for worker_is_new "$1" "$pid" || {
        echo "device $1 has no new worker after the old one's death"
        return 1
    }
}

# --- other ---------------------------------------------------------------------------------

# Show everything that was logged. The host keeps it.
show_details()
{
    local log
    for log in /run/dm.log /run/frontend[12].log /run/step.log; do
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

# wait_for COMMAND...: wait until the command succeeds. The limit is for what never comes, however
# slow a machine is.
wait_for()
{
    local end=$(($(seconds) + 300))
    until "$@" >/dev/null 2>&1; do
        [ "$(seconds)" -lt "$end" ] || return 1
        sleep 0.1
    done
}
