# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# console with virtio, see ../kinds.sh: a getty on hvc0, which a terminal of the backend reaches,
# and a second port for programs.
# shellcheck disable=SC2016,SC2034  # expanded by the frontend; read by kinds.sh
kind_title="console"
kind_frontend_modules="virtio_console"
terminal=/run/frontend-console
seen=/run/console.seen # the console's output
password=correct-horse
# To get large pieces, Linux is told not to look for line ends (it forgets that at close), and
# programs write to a pipe (| cat).
raw='exec 3>/dev/hvc0 && stty -F /dev/hvc0 -opost'

kind_prepare()
{
    ln -s /dev/pts/4711 $terminal # a link that an earlier run has left
    device console virtio "pty_alias: $terminal" 'ports: 2'
}

# A user sits at the terminal, reads everything that comes, and types lines.
sit_down()
{
    : >$seen
    cat $terminal >$seen &
    echo $! >/run/console.user
}

type_line()
{
    printf '%s\r' "$1" >$terminal
}

stand_up()
{
    kill "$(cat /run/console.user)"
}

shows() # PATTERN
{
    wait_for grep -qE "$1" $seen || {
        echo "no '$1'; the last lines:"
        tail -n 5 $seen
        return 1
    }
}

kind_works()
{
    sit_down
    frontend 'echo it works >/dev/hvc0' && shows 'it works'
    local status=$?
    stand_up
    return $status
}

kind_load="$raw && seq 1 30000 | cat >&3"

# Log in as any user would: Enter, name, password, a command, exit.
# login prints its prompt before that; nobody types so fast.
echo_is_off()
{
    frontend 'stty -F /dev/hvc0 -a | grep -q -e "-echo "'
}

password_is_unseen()
{
    ! grep -q $password $seen || {
        echo "the password was echoed"
        return 1
    }
}

log_in()
{
    frontend "mkdir -p /etc && printf 'root:%s:0:0:root:/root:/bin/sh\n' \"\$(mkpasswd -m sha512 $password)\" >/etc/passwd &&
        (setsid getty -L 115200 hvc0 vt100 </dev/null >/dev/null 2>&1 & echo \$! >/tmp/getty)" || return 1
    sit_down
    sleep 1
    type_line ''
    shows 'frontend login:' && type_line root && shows 'Password:' && wait_for echo_is_off && type_line $password &&
        shows '~ # ' && type_line 'echo the sum is $((6 * 7)) on $(tty)' &&
        shows 'the sum is 42 on /dev/hvc0' && type_line 'exit' && password_is_unseen
    local status=$?
    stand_up
    frontend 'kill $(cat /tmp/getty) 2>/dev/null; true'
    return $status
}

size_is()
{
    [ "$(frontend 'stty -F /dev/hvc0 size')" = "$1" ]
}

follows_window()
{
    local size
    for size in '31 97' '50 132'; do
        stty -F $terminal rows "${size% *}" cols "${size#* }"
        wait_for size_is "$size" || {
            echo "hvc0 has $(frontend 'stty -F /dev/hvc0 size'), not $size"
            return 1
        }
    done
}

# If nobody is at the terminal, the frontend does not wait.
nobody_there()
{
    frontend_limit=120 frontend "$raw && seq 1 40000 | cat >&3"
}

# The second port, under the name that the device gives it: a megabyte in each direction.
second_port()
{
    local theirs
    dd if=/dev/urandom of=/run/to bs=64k count=16 2>/dev/null
    frontend 'port=$(grep -lx "console[0-9]*.1" /sys/class/virtio-ports/*/name) && port=${port%/name} &&
        ln -sf /dev/${port##*/} /tmp/port && dd if=/dev/urandom of=/tmp/from bs=64k count=16 2>/dev/null' ||
        return 1
    head -c 1048576 $terminal.1 >/run/from &
    local reader=$!
    frontend 'rm -f /tmp/both; (exec 3<>/tmp/port && (head -c 1048576 <&3 >/tmp/to &
        cat /tmp/from >&3; wait) && echo done >/tmp/both) >/dev/null 2>&1 &'
    cat /run/to >$terminal.1
    wait $reader && wait_for frontend 'grep -q done /tmp/both' || return 1
    theirs=$(frontend 'cat /tmp/to /tmp/from | sha256sum')
    echo "theirs $theirs, ours $(cat /run/to /run/from | sha256sum)"
    [ "$theirs" = "$(cat /run/to /run/from | sha256sum)" ]
}

# While the frontend prints, the reader gets every line in order. A piece may come twice.
prints_while() # LINES COMMAND...
{
    local last=$((1000000 + $1)) status
    shift
    sit_down
    frontend "rm -f /tmp/printed; $raw && (seq 1000000 $last | cat >&3; echo done >/tmp/printed) &"
    "$@" || return 1
    wait_for frontend 'grep -q done /tmp/printed' && shows "^$last"
    status=$?
    stand_up
    [ $status = 0 ] || return 1
    awk -v last=$last 'BEGIN { next_one = 1000000 }
        $0 == next_one { next_one++ }
        END { print "in order up to " next_one - 1; exit next_one != last + 1 }' $seen
}

three_deaths()
{
    local n
    for n in 1 2 3; do
        sleep 1
        kill_worker "$(device_id)" || return 1
    done
}

worker_dies()
{
    prints_while 150000 three_deaths
}

storm_of_deaths()
{
    bao-kill-storm --device "$(device_id)" --deaths "$1" >/run/kills 2>&1
    local status=$?
    cat /run/kills
    echo "-- $kind: $(cat /run/kills)" >>$storm_report
    return $status
}

kind_test()
{
    check "a getty on hvc0: log in, run a command" log_in
    check "rows and columns follow the terminal's window" follows_window
    check "the frontend does not wait for a reader who is not there" nobody_there
    check "the second port by its name: a megabyte each way" second_port
    check "a worker killed three times while the frontend prints: no line is lost" worker_dies
    check "it works after all that" kind_works
}

kind_storm()
{
    check "no line is lost while the worker dies again and again" \
        prints_while "$(normal_or_long 80000 600000)" storm_of_deaths "$(normal_or_long 6 120)"
}

kind_demo()
{
    title "A console: log in to the VM from a terminal here"
    explain "backend:   picocom $terminal, and at the login prompt: root, the password, echo ..."
    log_in >/dev/null
    tr -d '\r' <$seen | grep -v '^$' | indent
    verdict "the frontend's shell answers on hvc0" grep -q 'the sum is 42 on /dev/hvc0' $seen
}
