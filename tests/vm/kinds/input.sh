# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# input with virtio, see ../kinds.sh: a keyboard that the backend makes with uinput, and Linux's
# virtio_input in the frontend.
# shellcheck disable=SC2016,SC2034  # expanded by the frontend; read by kinds.sh
kind_title="keyboard"
kind_backend_programs="uinput-keyboard"
kind_backend_modules="uinput evdev"
kind_frontend_modules="virtio_input evdev"
keyboard_name="bao test keyboard"
keyboard=/run/keyboard     # .in: the keys to type; .out: its event device, and its lights
a=30                       # KEY_A
caps=1                     # LED_CAPSL

# In the frontend: the path of the event device in $event, and the events as lines "type code
# value".
find_event='modprobe evdev; for name in /sys/class/input/event*/device/name; do
    grep -qx "bao test keyboard" $name && event=$(echo $name | cut -d/ -f5); done; [ -n "$event" ] && event=/dev/input/$event'
show_events='od -An -v -tu2 -w24 /tmp/events | awk "{ print \$9, \$10, \$11; fflush() }"'

kind_prepare()
{
    modprobe -a uinput evdev
    mkfifo $keyboard.in
    # This holds the pipe open, so that the keyboard stays between two writers.
    (exec 3<>$keyboard.in && exec uinput-keyboard "$keyboard_name" <&3 >$keyboard.out 2>&1) &
    wait_for grep -q '^device ' $keyboard.out
    device input virtio "device_path: $(sed -n 's/^device //p' $keyboard.out)"
}

press() # KEY...
{
    local key
    for key in "$@"; do
        printf 'key %s 1\nkey %s 0\n' "$key" "$key" >$keyboard.in
    done
}

# From now on, the frontend writes what it reads to /tmp/events. A program that opens the device
# later hears nothing of what was typed before.
listen()
{
    frontend "$find_event"' && { [ ! -e /tmp/listener ] || kill $(cat /tmp/listener) 2>/dev/null;
        rm -f /tmp/events; cat $event >/tmp/events & echo $! >/tmp/listener; } </dev/null >/dev/null 2>&1' &&
        wait_for frontend 'ls -l /proc/$(cat /tmp/listener)/fd | grep -q /dev/input/event'
}

heard() # LINE: it is among the events
{
    frontend "$show_events" | grep -qx "$1"
}

kind_works()
{
    listen && press $a && wait_for heard "1 $a 1" && wait_for heard "1 $a 0"
}

# A light goes on and off: as many times as the device accepts in some seconds. All events are in
# one write, as an event device needs them.
light="$find_event"' && light() { { printf "%016d" 0 | tr 0 "\000"; printf "\021\000\001\000\\$1\000\000\000"; } >/tmp/light &&
    dd if=/tmp/light of=$event bs=24 conv=notrunc 2>/dev/null; }'
kind_load="$light && for i in \$(seq 1 20); do light 001 && light 000 || exit 1; done"

is_the_device()
{
    frontend "$find_event"' && cd /sys/class/input/${event##*/}/device &&
        [ $(cat id/vendor) = 1234 ] && [ $(cat id/product) = 5678 ] && [ "$(cat capabilities/led)" = 3 ]'
}

# All keys of the alphabet's first row, in order, each pressed and released.
types()
{
    local expected
    listen || return 1
    press 16 17 18 19 20 21 22 23 24 25
    expected=$(for key in 16 17 18 19 20 21 22 23 24 25; do printf '1 %s 1\n1 %s 0\n' $key $key; done)
    wait_for heard '1 25 0' || return 1
    [ "$(frontend "$show_events" | grep '^1 ')" = "$expected" ]
}

lit() # VALUE: the last request to the keyboard
{
    [ "$(grep "^light $caps " $keyboard.out | tail -n 1)" = "light $caps $1" ]
}

lights()
{
    frontend "$light && light 001" && wait_for lit 1 &&
        frontend "$light && light 000" && wait_for lit 0
}

# No other program in the backend gets what is typed for the frontend.
nobody_else_hears()
{
    local device reader
    device=$(sed -n 's/^device //p' $keyboard.out)
    cat "$device" >/run/overheard &
    reader=$!
    wait_for eval "ls -l /proc/$reader/fd | grep -q $device" && kind_works || return 1
    kill $reader
    [ ! -s /run/overheard ]
}

# A key is pressed before the worker dies, and released while there is no worker. It does not stay
# pressed in the frontend.
no_key_sticks()
{
    local round
    for round in 1 2 3; do
        listen || return 1
        echo "key $a 1" >$keyboard.in
        wait_for heard "1 $a 1" || return 1
        kill_worker "$(device_id)" || return 1
        echo "key $a 0" >$keyboard.in
        wait_for heard "1 $a 0" || return 1
    done
    kind_works
}

kind_test()
{
    check "Linux has it with its name, numbers and lights" is_the_device
    check "what is typed comes, in order" types
    check "the frontend lights the lights" lights
    check "what is typed reaches nobody else in the backend" nobody_else_hears
    check "driver unbound and rebound several times, typed after each" rebind_driver "$(device_id)"
    check "transport unbound and rebound several times, typed after each" rebind_transport "$(device_id)"
    check "a worker killed while a key is down: the key does not stick" no_key_sticks
}

kind_storm()
{
    check "the keyboard works after its worker died again and again" storm "$kind_load" \
        --device "$(device_id)" --deaths "$(normal_or_long 5 120)"
}

kind_demo()
{
    title "A keyboard of this VM, for the other one alone"
    explain "backend:   uinput-keyboard plays one; a key is pressed"
    listen && press $a && wait_for heard "1 $a 0"
    explain "frontend:  od /dev/input/event0: type, code, value"
    frontend "$show_events" | indent
    verdict "the frontend's Linux hears the key" heard "1 $a 1"
}
