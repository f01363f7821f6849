# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Sourced by scenario-tests: what a worker of the kernel's vhost tries after it was taken over
# (tests/attack/). The frontend is the stand-in and its driver. It runs here because the build
# machine's kernel may lack vhost.

# vhost_attack TEST: run one test of attack-vhost, chosen by a word of its name.
vhost_attack()
{
    BVDM_ATTACKERS=/usr/lib/attack timeout 300 attack-vhost "$1" >/run/attack.out 2>&1
    local status=$?
    sed -n 's/^ *@attack /-- /p' /run/attack.out >>/run/attack.report
    cat /run/attack.out
    return $status
}

vhost_attacks()
{
    local kind
    modprobe -a tun vhost_vsock vhost_net
    : >/run/attack.report
    for kind in vsock net; do
        check "$kind by vhost: features and starts without end leave the kernel's memory alone" \
            vhost_attack "vhost_features, $kind"
        check "$kind by vhost: rings of any place concern nobody else" vhost_attack "vhost_rings, $kind"
        check "$kind by vhost: so do kicks without end" vhost_attack "kick_flood, $kind"
        check "$kind by vhost: full kicks are emptied for the successor" vhost_attack "kick_full, $kind"
    done
    check "net by vhost: nothing but its tap is a backend" vhost_attack vhost_backend
    check "vsock by vhost: interrupts without end concern nobody else" vhost_attack interrupt_flood
    check "no kernel complains" eval '! dmesg | complaints'
    cat /run/attack.report
}
