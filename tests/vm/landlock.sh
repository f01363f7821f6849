# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Sourced by scenario-tests: Landlock, as far as the backend's kernel has it. From Linux 6.15 on the
# kernel audits.

# The version that is to be used with this kernel. These kernels were the first with 1, 2 and so on: Linux
# 5.13, 5.19 ... 7.3.
landlock_abi()
{
    local major minor first abi=0
    IFS=.- read -r major minor _ <<<"$(uname -r)"
    for first in 5013 5019 6002 6007 6010 6012 6015 7000 7001 7002 7003; do
        ((major * 1000 + minor < first)) || abi=$((abi + 1))
    done
    echo $abi
}

# A device with a connector, and one without.
landlock_devices()
{
    devices_begin
    mkdir -p /run/landlock
    device vsock virtio 'guest_cid: 4' 'socket_path: /run/landlock/v.sock'
    device rng virtio
    # By default the kernel prints ten lines in five seconds, and a refusal has four.
    echo 0 >/proc/sys/kernel/printk_ratelimit
    frontends_start
}

start_line_names_abi()
{
    grep -o 'broker ready, confined by.*' /run/dm.log
    grep -q "^[^,]*broker ready, .* landlock ABI $1, " /run/dm.log && bao-dmctl check-board |
        grep -i landlock && bao-dmctl check-board | grep -q "Landlock.* ABI $1\$"
}

# From ABI 7 on the kernel logs the refusal that each process provokes at its start.
audit_has_evidence()
{
    bao-dmctl audit >/run/audit.out || {
        grep -A 1 WRONG /run/audit.out
        return 1
    }
    grep 'landlock  ' /run/audit.out
    local seen told
    seen=$(grep -c '^  ok     landlock .* domain [0-9a-f]* of this process' /run/audit.out)
    told=$(grep -c '^  ?      landlock ' /run/audit.out)
    if [ "$1" -ge 7 ]; then
        # The broker, a connector and two workers.
        [ "$seen" = 4 ] && [ "$told" = 0 ]
    else
        [ "$seen" = 0 ] && [ "$told" = 4 ]
    fi
}

# The tests of the rulesets, whose expectations depend on the kernel.
rulesets_hold()
{
    test_landlock && uname -r
}

landlock_tests()
{
    local abi
    abi=$(landlock_abi)
    check "a connector connects to the sockets of its directory, and, from ABI 9 on, to no others" rulesets_hold
    check "the device model starts" landlock_devices
    check "the start line and bao-dmctl check-board name the version" start_line_names_abi "$abi"
    check "the kernel's log is evidence of it, from ABI 7 on" audit_has_evidence "$abi"
    check "SIGTERM ends everything" ends_cleanly
}
