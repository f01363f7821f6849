# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# The kinds of device, as the tests in virtual machines see them. Each is one file, kinds/KIND.sh.
# To add a kind, nothing else need be changed. The file only defines:
#
#   kind_title               a word or two for people
#   kind_frontend_programs   programs that the frontend (or the backend) needs besides BusyBox, as
#   kind_backend_programs    names or paths on the host; tests/install-packages has their packages
#   kind_frontend_tools      large programs of the frontend: they come on a disk that the block kind
#                            mounts at /tools, and are started by their names alone
#   kind_frontend_modules    kernel modules that it needs; a virtio device's driver is loaded because
#   kind_backend_modules     the device is there, all others when something asks for them
#   kind_number              which of the two frontends has the devices (1)
#
#   kind_prepare    before the device model starts: load modules, make images, interfaces, daemons;
#                   call `device TYPE DATA-PLANE 'KEY: VALUE'...` for each device (backend-lib.sh)
#   kind_test       tests by `check WORDS COMMAND...`, which prints "ok KIND: WORDS" or "not ok ...".
#                   `frontend COMMAND` runs a command there: what a user would do, not more
#   kind_storm      (optional) the same while workers and brokers are killed (storms.sh)
#   kind_works      whether the devices do their job, within a second or two; leaves nothing behind
#   kind_load       (a text) a command for the frontend that keeps the devices at work for some
#                   seconds and succeeds if they were right; the loads of all kinds run at once
#   kind_demo       its step of the demonstration: title, explain, verdict (scenario-demo)
#
# Each function runs in its own subshell. So what must be remembered goes into files in /run, and
# names do not collide with others. `kind` is the file's name without .sh.

kinds_all()
{
    local file
    for file in "${kinds_dir:-/root/kinds}"/*.sh; do
        file=${file##*/}
        echo "${file%.sh}"
    done
}

# kind_run KIND COMMAND...: run the command in a subshell in which the kind's names are defined.
kind_run()
{
    (
        kind=$1
        shift
        kind_number=1
        kind_load='' kind_frontend_programs='' kind_backend_programs=''
        kind_frontend_tools='' kind_frontend_modules='' kind_backend_modules=''
        . "${kinds_dir:-/root/kinds}/$kind.sh"
        frontend_number=$kind_number
        "$@"
    )
}

# kinds_value NAME: the values that all kinds have for a variable, one word a line.
kinds_value()
{
    local kind
    for kind in $(kinds_all); do
        kind_run "$kind" eval "printf '%s\n' \$$1"
    done | sort -u
}

# --- tests ---------------------------------------------------------------------------------

# How many deaths, MiB or rounds, in the tests as they always run and in the long form.
normal_or_long() # NORMAL LONG
{
    if [ "$BVDM_LONG" = 1 ]; then echo "$2"; else echo "$1"; fi
}

# check WORDS COMMAND...: one test. If the command fails, its output is shown, and what the device
# model and the frontends are doing.
check()
{
    local words="${kind:+$kind: }$1" began
    shift
    began=$(seconds)
    if "$@" >/run/check.out 2>&1; then
        echo "ok $words ($(($(seconds) - began)) s)"
    else
        echo "not ok $words ($(($(seconds) - began)) s)"
        { head -n -12 /run/check.out | grep -E '^ +[0-9]+\. '; tail -n 12 /run/check.out; } | sed 's/^/     | /'
        [ -z "$frontend_pid" ] || show_stuck_shortly | sed 's/^/     | /'
        echo "$words" >>/run/failures
    fi
}

# How many tests have failed. The rest of a part is of no use if its start has failed.
failures()
{
    grep -c . /run/failures 2>/dev/null
}

# refused CONFIG PATTERN DEVICE...: the device model ends with status 1 at once. One line of its
# output has the pattern, and no worker was started. DEVICE is as for bao-monitor. The device model
# has its own control socket, since another one may be running.
refused()
{
    local config=$1 pattern=$2 arguments='' device status
    shift 2
    for device in "$@"; do
        arguments="$arguments --device $device"
    done
    # shellcheck disable=SC2086  # the arguments are words
    timeout 120 bao-monitor --kernel frontend-kernel $arguments \
        -- /usr/bin/bao-virtio-dm --config "$config" --control /run/refused.socket \
        >/run/refused.out 2>&1
    status=$?
    cat /run/refused.out
    [ "$status" = 1 ] || {
        echo "exit status $status instead of 1"
        return 1
    }
    grep -v '^bao-monitor' /run/refused.out | grep -qi "$pattern" || {
        echo "no line with '$pattern'"
        return 1
    }
}

# Commands for `check`, about a device of this kind. kind_works says whether the device does its
# job.

# Unbind and bind the virtio driver (or the transport's) twice (ten times in the long form). The
# device works after each time.
rebind_driver() # ID
{
    local name
    name=$(virtio_of "$1")
    rebind "/sys/bus/virtio/devices/$name/driver" "$name"
}

rebind_transport() # ID
{
    rebind /sys/bus/platform/drivers/virtio-mmio "$(transport_of "$1")"
}

rebind() # DRIVER DEVICE
{
    local round
    for round in $(seq "$(normal_or_long 2 10)"); do
        frontend "cd $1/ && echo $2 >unbind && echo $2 >bind" || {
            echo "round $round: unbind and bind failed"
            return 1
        }
        kind_works || {
            echo "round $round: does not work after it"
            frontend 'dmesg | tail -n 8'
            return 1
        }
    done
}
