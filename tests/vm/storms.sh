# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Sourced by scenario-tests: kill storms. In those over the kernel's vhost, the stand-in and its
# driver are the frontend; they run here because the build machine's kernel may lack vhost. The
# others have Linux as the frontend: each kind has a function kind_storm (kinds.sh). BVDM_LONG=1:
# many more deaths.
# shellcheck disable=SC2016,SC2034,SC2154  # expanded by the frontend; read, and set, by others
storm_report=/run/storm.report # how long everything took, for people

# --- the stand-in's frontend ---------------------------------------------------------------

# standin_storm TEST: run one test of storm-vhost, chosen by a word of its name.
standin_storm()
{
    timeout "$(normal_or_long 300 3000)" storm-vhost "$1" >/run/storm.out 2>&1
    local status=$?
    sed -n 's/^@storm /-- /p' /run/storm.out >>$storm_report
    cat /run/storm.out
    return $status
}

standin_storms()
{
    modprobe -a tun vhost_vsock vhost_net
    check "vsock by vhost: at each death the guest is told at once, and new connections work" \
        standin_storm 'vhost: vsock: '
    check "vsock by vhost: the same when brokers die" standin_storm 'vsock brokers'
    check "net by vhost: frames go on without a reset of the driver" standin_storm 'vhost: net: '
    check "net by vhost: the same when brokers die" standin_storm 'net brokers'
    storm_says
}

storm_says()
{
    [ ! -s $storm_report ] || cat $storm_report
    : >$storm_report
}

# --- Linux's drivers -----------------------------------------------------------------------

# storm ROUND OPTION...: the frontend repeats the command ROUND, which succeeds if its data was
# right. Meanwhile bao-kill-storm does what the options say. There is at least one round, and none
# fails.
storm()
{
    local round=$1 status
    shift
    frontend "rm -f /tmp/stop /tmp/storm /tmp/rounds; (n=0; while [ ! -e /tmp/stop ] || [ \$n = 0 ]; do
        { $round; } || { echo \"round \$n went wrong\" >/tmp/storm; exit; }; n=\$((n + 1)); done;
        echo \"\$n rounds were right\" >/tmp/storm) >/tmp/rounds 2>&1 &"
    bao-kill-storm "$@" >/run/kills 2>&1
    status=$?
    cat /run/kills
    frontend 'touch /tmp/stop'
    wait_for frontend '[ -s /tmp/storm ]'
    if ! frontend '[ -s /tmp/storm ]'; then
        echo "the last round does not end"
        frontend 'cat /sys/block/vd?/inflight; dmesg | tail -n 5; ps | tail -n 5'
        bao-dmctl status
        grep -v ready /run/dm.log | tail -n 10
        return 1
    fi
    frontend 'tail -n 5 /tmp/rounds; cat /tmp/storm'
    echo "-- $kind: $(cat /run/kills); $(frontend 'cat /tmp/storm')" >>$storm_report
    [ $status = 0 ] && frontend 'grep -q "rounds were right" /tmp/storm'
}

# undisturbed ID: the device's driver has not been reset, and need not be; and the kernel has not
# complained.
undisturbed()
{
    [ "$(reset_count "$1")" = "$(cat "/run/resets.$1")" ] || {
        echo "the driver was reset, or needed it:"
        grep " $1: " /run/dm.log | tail -n 5
        return 1
    }
    no_complaints
}

remember_resets() # ID
{
    reset_count "$1" >"/run/resets.$1"
}

reset_count() # ID
{
    grep -c " $1: \(reset by the driver\|driver ready\|.*needs a* *reset\)" /run/dm.log
}

# rebind_storm ID OPTION...: the driver is unbound and bound again and again while workers die and
# are stopped. Each time it binds, and the device works afterwards.
rebind_storm()
{
    local name id=$1
    shift
    name=$(virtio_of "$id")
    storm "cd /sys/bus/virtio/devices/$name/driver/ && echo $name >unbind && echo $name >bind &&
        [ -e /sys/bus/virtio/devices/$name/driver ]" --device "$id" "$@" && wait_for kind_works
}
