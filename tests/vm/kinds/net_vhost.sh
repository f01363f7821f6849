# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# net with vhost, see ../kinds.sh: everything that net.sh tests, except the control queue, on a tap
# of its own.
# shellcheck disable=SC2034  # read by kinds.sh
tap=tap1
net=192.168.43
. "${kinds_dir:-/root/kinds}/net.sh"
kind_title="network, by the kernel's vhost"
kind_backend_modules="$kind_backend_modules vhost_net"
plane=vhost
net6=fd00:43:
mac=52:54:00:12:34:58

kind_more_tests() { :; }
