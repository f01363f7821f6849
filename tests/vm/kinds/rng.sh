# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# rng with virtio, see ../kinds.sh: one device without a limit, and one with 4096 bytes a second.
# shellcheck disable=SC2016,SC2034  # expanded by the frontend; read by kinds.sh
kind_title="random bytes"
kind_frontend_modules="virtio_rng"
rate_limit=4096
# Linux has all sources behind one /dev/hwrng. This chooses one.
choose='echo virtio_rng.0 >/sys/class/misc/hw_random/rng_current'

kind_prepare()
{
    device rng virtio
    device rng virtio "rate_limit: $rate_limit"
}

kind_works()
{
    [ "$(frontend "$choose && dd if=/dev/hwrng bs=512 count=4 iflag=fullblock 2>/dev/null | wc -c")" = 2048 ]
}

kind_load="$choose && [ \$(dd if=/dev/hwrng bs=1k count=16 iflag=fullblock 2>/dev/null | wc -c) = 16384 ]"

# Linux uses it as a source, and no two of its blocks are equal.
random()
{
    frontend "$choose && cat /sys/class/misc/hw_random/rng_current" | grep -x virtio_rng.0 &&
        frontend 'dd if=/dev/hwrng of=/tmp/random bs=1k count=32 iflag=fullblock 2>/dev/null &&
            [ $(gzip -c /tmp/random | wc -c) -ge 32768 ] &&
            [ $(od -An -v -tx8 -w8 /tmp/random | sort -u | wc -l) = 4096 ]'
}

# Three seconds' worth of bytes takes at least two seconds: a tenth may come in advance, and Linux
# has a few left. The upper limit is only for a device that has stopped: tests on a quiet machine
# measure how fast it is.
limited()
{
    local began took
    frontend 'echo virtio_rng.1 >/sys/class/misc/hw_random/rng_current' || return 1
    began=$(seconds)
    frontend "dd if=/dev/hwrng of=/dev/null bs=$rate_limit count=3 iflag=fullblock" || return 1
    took=$(($(seconds) - began))
    echo "$took s"
    frontend "$choose" && [ $took -ge 2 ] && [ $took -le 120 ]
}

worker_dies()
{
    frontend "$choose; rm -f /tmp/random.size; (dd if=/dev/hwrng bs=1k count=64 iflag=fullblock 2>/dev/null |
        wc -c >/tmp/random.size) &"
    kill_worker "$(device_id)" || return 1
    wait_for frontend '[ "$(cat /tmp/random.size)" = 65536 ]' || {
        echo "the reader got $(frontend 'cat /tmp/random.size') bytes of 65536"
        return 1
    }
    kind_works
}

kind_test()
{
    check "/dev/hwrng is it, and is random" random
    check "the limit of a second device holds" limited
    check "driver unbound and rebound several times, read after each" rebind_driver "$(device_id)"
    check "transport unbound and rebound several times, read after each" rebind_transport "$(device_id)"
    check "a worker killed while the frontend reads: all bytes come" worker_dies
}

kind_storm()
{
    check "all bytes come while the worker dies again and again" \
        storm "$choose && [ \$(dd if=/dev/hwrng bs=512 count=16 iflag=fullblock 2>/dev/null | wc -c) = 8192 ]" \
        --device "$(device_id)" --deaths "$(normal_or_long 8 120)"
}

kind_demo()
{
    title "Random bytes for a VM that has no source of its own"
    explain "frontend:  cat /sys/class/misc/hw_random/rng_current"
    frontend "$choose; cat /sys/class/misc/hw_random/rng_current" | indent
    explain "frontend:  od -An -tx1 -N32 /dev/hwrng       twice"
    frontend 'od -An -tx1 -N32 /dev/hwrng >/tmp/one; od -An -tx1 -N32 /dev/hwrng >/tmp/two;
        cat /tmp/one /tmp/two' | indent
    verdict "the bytes come, and are others each time" \
        frontend '[ -s /tmp/one ] && [ -s /tmp/two ] && ! cmp -s /tmp/one /tmp/two'
}
