# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# net with virtio, see ../kinds.sh: a wire between a tap of the backend, with the addresses .1, and
# the frontend, with the addresses .2.
# shellcheck disable=SC2016,SC2034  # expanded by the frontend; read by kinds.sh
kind_title="network"
kind_frontend_programs="ip ping iperf3 ethtool socat"
kind_frontend_modules="virtio_net 8021q"
kind_backend_programs="ip ping iperf3 socat"
kind_backend_modules="tun 8021q"
plane=virtio
tap=${tap:-tap0} net=${net:-192.168.42}
net6=fd00:42:
mac=52:54:00:12:34:56 # as in configs/examples/net.yaml

kind_prepare()
{
    modprobe -a $kind_backend_modules
    ip tuntap add $tap mode tap &&
        ip address add $net.1/24 dev $tap &&
        ip address add $net6:1/64 dev $tap nodad &&
        ip link set $tap up || return 1
    device net $plane "tap_name: $tap" "mac_addr: $mac"
    iperf3 -s -B $net.1 >/run/iperf3.$tap.log 2>&1 &
    socat TCP-LISTEN:5004,bind=$net.1,reuseaddr,fork EXEC:sha256sum &
}

# The frontend's name of the interface, as a word for its shell.
interface='$(cd /sys/bus/platform/devices/TRANSPORT/virtio*/net && echo *)'

# For who connects to a server that has just been started.
patiently=retry=600,interval=0.1

# Run a command in the frontend. IFACE stands for the interface there.
there()
{
    local name=${interface/TRANSPORT/$(transport_of "$(device_id)")}
    frontend "iface=$name; ${1//IFACE/\$iface}"
}

wire()
{
    there "ip address replace $net.2/24 dev IFACE && ip address replace $net6:2/64 dev IFACE nodad &&
        ip link set IFACE up"
}

kind_works()
{
    wire && wait_for ping -c 1 -W 1 $net.2 && frontend "ping -q -c 5 -i 0.05 -W 20 $net.1" &&
        ping -q -c 5 -i 0.05 -W 20 $net.2
}

# iperf3 would measure a time, and there is little time beside the other loads.
kind_load="dd if=/dev/urandom of=/tmp/$tap bs=64k count=32 2>/dev/null &&
    a=\$(socat -t 60 - TCP:$net.1:5004 </tmp/$tap) && b=\$(sha256sum </tmp/$tap) && rm /tmp/$tap &&
    [ \"\$a\" = \"\$b\" ]"

identity()
{
    wire && there 'ip link show IFACE' | grep "$mac" && [ "$(there 'cat /sys/class/net/IFACE/carrier')" = 1 ]
}

# Small packets, full ones and fragmented ones, with IPv4 and IPv6.
pings()
{
    local size
    for size in 0 56 1472 1473 20000; do
        ping -q -c 3 -i 0.05 -W 20 -s $size $net.2 &&
            frontend "ping -q -c 3 -i 0.05 -W 20 -s $size $net.1" || return 1
    done
    ping -q -c 3 -i 0.05 -W 20 -M 'do' -s 1472 $net.2 && ping -q -6 -c 3 -i 0.05 -W 20 $net6:2 &&
        frontend "ping -q -6 -c 3 -i 0.05 -W 20 -s 3000 $net6:1"
}

offloads()
{
    local name features
    features=$(there 'ethtool -k IFACE')
    for name in rx-checksumming tx-checksumming tcp-segmentation-offload tx-tcp6-segmentation \
        generic-receive-offload; do
        echo "$features" | grep -E "^[[:space:]]*$name: on" || {
            echo "$name is not on:"
            echo "$features"
            return 1
        }
    done
}

# A file in each direction over TCP; the checksums are compared.
files() # MIB
{
    local ours theirs
    dd if=/dev/urandom of=/tmp/net.file bs=1M count="$1" 2>/dev/null
    frontend 'rm -f /tmp/net.got; (socat -u TCP-LISTEN:5000,reuseaddr CREATE:/tmp/net.part &&
        mv /tmp/net.part /tmp/net.got) >/dev/null 2>&1 &'
    socat -u OPEN:/tmp/net.file "TCP:$net.2:5000,$patiently" && wait_for frontend '[ -e /tmp/net.got ]' ||
        return 1
    ours=$(sha256sum </tmp/net.file)
    theirs=$(frontend 'sha256sum </tmp/net.got')
    echo "sent $ours, the frontend has $theirs"
    [ "$ours" = "$theirs" ] || return 1
    socat -u TCP-LISTEN:5002,reuseaddr,bind=$net.1 CREATE:/tmp/net.back &
    local server=$!
    frontend "socat -u OPEN:/tmp/net.got TCP:$net.1:5002,$patiently; rm -f /tmp/net.got" && wait $server
    theirs=$(sha256sum </tmp/net.back)
    rm -f /tmp/net.file /tmp/net.back
    echo "sent $ours, came back $theirs"
    [ "$ours" = "$theirs" ]
}

# Neither direction starves: each gets at least a twentieth of the other.
both_directions()
{
    local out speeds
    out=$(frontend "iperf3 -c $net.1 -t 5 --bidir -f k") || {
        echo "$out"
        return 1
    }
    speeds=$(echo "$out" | sed -n 's/.* \([0-9.]*\) Kbits\/sec .*receiver.*/\1/p')
    echo "Kbit/s:" $speeds
    echo "$speeds" | awk '$1 > 0 { n++; if (n == 1 || $1 < low) low = $1; if ($1 > high) high = $1 }
        END { exit !(n == 2 && low * 20 >= high) }'
}

# Datagrams arrive complete. A few may be lost, as on any wire.
datagrams()
{
    frontend "iperf3 -c $net.1 -u -b 4M -l 1400 -t 2" && frontend "iperf3 -c $net.1 -u -b 4M -l 4000 -t 2 -R"
}

link_follows()
{
    ip link set $tap down
    wait_for there '[ "$(cat /sys/class/net/IFACE/carrier)" = 0 ]' || {
        ip link set $tap up
        echo "the frontend still has a carrier 5 s after the tap went down"
        return 1
    }
    ip link set $tap up
    ip address replace $net6:1/64 dev $tap nodad # the address went away with the link
    wait_for there '[ "$(cat /sys/class/net/IFACE/carrier)" = 1 ]' && kind_works
}

new_mac()
{
    address_works 52:54:00:99:88:77
    local status=$?
    address_works $mac && return $status
}

address_works()
{
    there "ip link set IFACE address $1" || return 1
    ip neighbour flush dev $tap # no one was told of the new address
    kind_works && ip neighbour show $net.2 dev $tap | grep "$1"
}

# The driver asks the device for the frames of the VLANs that it has, and for no others.
vlans()
{
    ip link add link $tap name $tap.5 type vlan id 5 && ip address add $net.129/28 dev $tap.5 &&
        ip link set $tap.5 up || return 1
    there "modprobe 8021q; ip link add link IFACE name vlan5 type vlan id 5 &&
        ip address add $net.130/28 dev vlan5 && ip link set vlan5 up" &&
        ping -q -c 3 -i 0.05 -W 20 -I $tap.5 $net.130 && frontend "ping -q -c 3 -i 0.05 -W 20 -I vlan5 $net.129"
    local status=$?
    frontend 'ip link delete vlan5'
    ip link delete $tap.5
    return $status
}

promiscuous()
{
    there 'ip link set IFACE promisc on allmulticast on' && kind_works &&
        there 'ip link set IFACE promisc off allmulticast off' && kind_works
}

# A stream goes on when the worker dies. Then the frontend announces itself: a wrong entry in the
# backend's neighbour table becomes right, though nobody has asked.
worker_dies()
{
    kind_works || return 1
    frontend "rm -f /tmp/iperf; (iperf3 -c $net.1 -t 4 >/tmp/iperf 2>&1; echo \$? >>/tmp/iperf) &"
    sleep 1
    kill_worker "$(device_id)" || return 1
    wait_for frontend '[ "$(tail -n 1 /tmp/iperf)" = 0 ]' || {
        frontend 'cat /tmp/iperf'
        return 1
    }
    kind_works
}

announced()
{
    sleep 1.2 # for a second Linux keeps a new address
    ip neighbour replace $net.2 lladdr 52:54:00:00:00:01 dev $tap nud stale
    kill_worker "$(device_id)" || return 1
    wait_for eval "ip neighbour show $net.2 dev $tap | grep $mac" || {
        ip neighbour show dev $tap
        return 1
    }
    kind_works
}

kind_test()
{
    check "the frontend has the card, with its address and its link" identity
    check "pings both ways" kind_works
    check "pings of all sizes, fragmented ones too, by IPv4 and IPv6" pings
    check "the offloads are there" offloads
    check "4 MiB by TCP each way, checksums right" files 4
    check "TCP in both directions at once, neither starves" both_directions
    check "datagrams both ways, larger than a packet too" datagrams
    check "the frontend's link follows the tap's" link_follows
    kind_more_tests
    check "driver unbound and rebound several times, pings after each" rebind_driver "$(device_id)"
    check "transport unbound and rebound several times, pings after each" rebind_transport "$(device_id)"
    check "a TCP stream survives a killed worker" worker_dies
}

# Linux's driver counts on it that the device takes what it allows, and refuses what it does not. Each
# queue for itself: Linux 6.6 and newer.
coalescing()
{
    there 'ethtool -C IFACE rx-usecs 200 rx-frames 8 tx-usecs 300 tx-frames 16' && kind_works &&
        there 'ethtool -c IFACE' | grep -E '^tx-usecs:[[:space:]]*300$' &&
        there '! ethtool -C IFACE rx-usecs 20000' && files 1 && coalescing_of_a_queue &&
        there 'ethtool -C IFACE rx-usecs 0 rx-frames 0 tx-usecs 0 tx-frames 1' && kind_works
}

coalescing_of_a_queue()
{
    there 'ethtool -Q IFACE queue_mask 1 --show-coalesce' || return 0
    # ethtool does not fail if the device refuses it; what was set before stays.
    there 'ethtool -Q IFACE queue_mask 1 --coalesce rx-usecs 100 rx-frames 4' && kind_works &&
        there 'ethtool -Q IFACE queue_mask 1 --coalesce rx-usecs 20000' &&
        there 'ethtool -Q IFACE queue_mask 1 --show-coalesce' | grep -E '^rx-usecs:[[:space:]]*100$'
}

# Only the user-space device has this: its control queue.
kind_more_tests()
{
    check "the address is changed while it runs" new_mac
    check "a VLAN" vlans
    check "promiscuous, and back" promiscuous
    check "interrupts wait for each other (ethtool -C), and no longer" coalescing
    check "after its worker was replaced the frontend announces itself" announced
}

# A stream in each direction: a program sends back what it gets, and what comes back is compared.
storm_begins()
{
    kind_works || return 1
    remember_resets "$(device_id)"
    socat TCP-LISTEN:5003,fork,reuseaddr,bind=$net.1 EXEC:cat >/dev/null 2>&1 &
    frontend 'dd if=/dev/urandom of=/tmp/net.storm bs=64k count=16 2>/dev/null'
}

storm_round="socat -t 60 - TCP:$net.1:5003 </tmp/net.storm | cmp - /tmp/net.storm"

storm_ends()
{
    kind_works && undisturbed "$(device_id)"
}

kind_storm()
{
    check "a server for a storm" storm_begins
    check "TCP streams both ways are right while the worker dies again and again" \
        storm "$storm_round" --device "$(device_id)" --deaths "$(normal_or_long 8 120)"
    check "it works after that, and the driver has not noticed" storm_ends
    check "the driver is unbound and bound while workers die and stop" \
        rebind_storm "$(device_id)" --deaths "$(normal_or_long 4 100)" --stops "$(normal_or_long 1 5)" --moment 300
}

kind_demo()
{
    title "A network card by $plane: $tap of the backend is the other end of its wire"
    explain "backend:   ip address add $net.1/24 dev $tap" \
        "frontend:  ip address add $net.2/24 dev $(there 'echo IFACE')" \
        "frontend:  ping -c 3 $net.1"
    wire
    frontend "ping -c 3 -i 0.2 -W 20 $net.1" >/run/ping.out
    local status=$?
    sed -n '/bytes from/p; /transmitted/p' /run/ping.out | indent
    verdict "the backend answers" [ $status = 0 ]
    explain "frontend:  iperf3 -c $net.1 -t 3        (how fast is TCP, inside emulation?)"
    frontend "iperf3 -c $net.1 -t 3" >/run/iperf.out
    status=$?
    sed -n '/receiver/s/\[ *[0-9]*\] *//p' /run/iperf.out | indent
    verdict "data flows" [ $status = 0 ]
}
