# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Sourced by tests/demo and tests/vm/run-tests: it makes the images of the backend VM and the
# frontend VM, and boots the backend. The caller sets:
#   source_dir  the project's root
#   build_dir   a CMake build directory in which everything is built
#   vm_linux_tests   yes if the images are to have Linux's tests of sockets
#   vm_suite    the suite of Debian that the kernel is from; empty: the one that is installed
# Nothing is installed on the host. Everything is kept below $build_dir/vm.

vm_dir=
vm_logs= # where the logs and the monitor of a boot are; each of several boots has its own
vm_pid=
vm_linux_tests=${vm_linux_tests:-}
vm_suite=${vm_suite:-}
vm_audit= # whether the backend's kernel audits
vm_linux_tests_dir=
vm_done= # parts of the scenario that an earlier boot has finished, separated by commas
kinds_dir=$source_dir/tests/vm/kinds
# shellcheck source=tests/vm/kinds.sh
. "$source_dir/tests/vm/kinds.sh"

vm_fail()
{
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# --- the kernel: Debian's newest, unpacked and not installed -------------------------------

vm_apt=() # options of apt

# apt's own files for another suite than the installed one are below $vm_dir. It checks Debian's
# signatures there, too.
vm_use_suite()
{
    local apt=$vm_dir/apt
    mkdir -p "$apt"/{lists/partial,cache/archives/partial}
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $vm_suite main" \
        >"$apt/sources.list"
    : >"$apt/status"
    vm_apt=(-o Acquire::Languages=none -o Acquire::Retries=3 -o Dir::State::lists="$apt/lists"
        -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache" -o Dir::Etc::sourcelist="$apt/sources.list"
        -o Dir::Etc::sourceparts=/dev/null -o APT::Architectures=amd64)
    apt-get -qq "${vm_apt[@]}" -o APT::Sandbox::User=root update ||
        echo "apt can't read the list of packages of $vm_suite" >&2
}

# PACKAGE PATTERN: the packages on which it depends, of those whose names match.
vm_depends()
{
    { apt-cache "${vm_apt[@]}" depends "$1" 2>/dev/null || true; } | sed -n "s/^ *Depends: \($2\)\$/\1/p"
}

vm_find_kernel()
{
    local package
    [ -z "$vm_suite" ] || vm_use_suite
    package=$(vm_depends linux-image-amd64 'linux-image-[0-9].*' | head -n 1)
    if [ -n "$package" ] && ! [ -e "$vm_dir/kernel/$package/complete" ]; then
        local unpacked=$vm_dir/kernel/$package deb
        rm -rf "$unpacked"
        mkdir -p "$unpacked"
        # Since Linux 7 the image is packages of their own: files for all, kernel, modules.
        # shellcheck disable=SC2046  # words
        if (cd "$unpacked" && apt-get -qq "${vm_apt[@]}" -o APT::Sandbox::User=root download "$package" \
            $(vm_depends "$package" "linux-\(base\|binary\|modules\)-${package#linux-image-}") &&
            for deb in linux-*.deb; do dpkg-deb -x "$deb" . || exit 1; done && rm -f linux-*.deb); then
            touch "$unpacked/complete"
        else
            rm -rf "$unpacked"
        fi
    fi
    local complete
    complete=$(find "$vm_dir/kernel" -mindepth 2 -maxdepth 2 -name complete 2>/dev/null |
        sort -V | tail -n 1)
    [ -n "$complete" ] ||
        vm_fail "cannot download Debian's kernel package linux-image-amd64: try 'apt-get update'"
    vm_kernel_dir=${complete%/complete}
    vm_kernel=$(find "$vm_kernel_dir" \( -path '*/boot/vmlinuz-*' -o -path '*/modules/*/vmlinuz' \) | head -n 1)
    [ -d "$vm_kernel_dir/lib/modules" ] || ln -s usr/lib "$vm_kernel_dir/lib"
    vm_kernel_version=$(ls "$vm_kernel_dir/lib/modules")
    if ! [ -e "$vm_kernel_dir/depmod-done" ]; then
        depmod -b "$vm_kernel_dir" "$vm_kernel_version"
        touch "$vm_kernel_dir/depmod-done"
    fi
}

# Linux's own tests of sockets between machines, from Debian's package of that kernel's source: built
# below $vm_dir, not installed, and no part of this project. By default the two ends of a case wait 10 s for
# each other; here 120 s, since a frontend in an emulated backend can take longer.
vm_find_linux_tests()
{
    local version # as Debian's packages have it: 6.1 of 6.1.0-57-amd64, 7.3 of 7.3.4+deb13-amd64
    version=$(grep -oE "^[0-9]+\.[0-9]+" <<<"$vm_kernel_version")
    local source=linux-source-$version
    local unpacked=$vm_dir/linux-tests/$source
    vm_linux_tests_dir=$unpacked/tools/testing/vsock
    [ ! -e "$unpacked/patient" ] || return 0
    rm -rf "$unpacked"
    mkdir -p "$unpacked"
    (cd "$unpacked" && apt-get -qq "${vm_apt[@]}" -o APT::Sandbox::User=root download "$source" &&
        dpkg-deb --fsys-tarfile "$source"_*.deb | tar -xO "./usr/src/$source.tar.xz" |
        tar -xJ --strip-components=1 "$source"/tools/{testing/vsock,include} &&
        rm -f "$source"_*.deb &&
        grep -q 'TIMEOUT = 10\b' "$vm_linux_tests_dir/timeout.h" &&
        sed -i 's/TIMEOUT = 10\b/TIMEOUT = 120/' "$vm_linux_tests_dir/timeout.h" &&
        make -s -C "$vm_linux_tests_dir" vsock_test vsock_diag_test) || {
        rm -rf "$unpacked"
        vm_fail "cannot build vsock_test of Debian's package $source: try 'apt-get update'"
    }
    touch "$unpacked/patient"
}

vm_add_linux_tests() # ROOT MODULE...
{
    [ -n "$vm_linux_tests_dir" ] || return 0
    vm_add_program "$1" "$vm_linux_tests_dir"/{vsock_test,vsock_diag_test}
    vm_add_library "$1" libgcc_s.so.1 # the C library loads it when a thread is cancelled
    vm_add_modules "$@"
}

# --- root file systems ---------------------------------------------------------------------

vm_make_root() # ROOT
{
    rm -rf "$1"
    mkdir -p "$1"/{usr/bin,usr/lib,usr/lib64,dev,proc,sys,tmp,run,root/.ssh,etc,mnt}
    chmod 700 "$1/root" "$1/root/.ssh"
    ln -s bin "$1/usr/sbin" # the kernel looks for modprobe there
    ln -s usr/bin usr/sbin usr/lib usr/lib64 "$1/"
    echo 'root::0:0:root:/root:/bin/sh' >"$1/etc/passwd"
    echo 'root:x:0:' >"$1/etc/group"
    echo '/bin/sh' >"$1/etc/shells"
    echo '127.0.0.1 localhost' >"$1/etc/hosts"
    printf '%s: files\n' hosts passwd group shadow >"$1/etc/nsswitch.conf"
    cp "$(command -v busybox)" "$1/usr/bin/busybox"
    local applet
    for applet in $(busybox --list); do
        [ "$applet" = busybox ] || ln -s busybox "$1/usr/bin/$applet"
    done
}

# Add a program of the host, found by its name, and the shared libraries that it needs.
vm_add_program() # ROOT NAME...
{
    local root=$1 name path library
    shift
    for name in "$@"; do
        path=$(PATH=$PATH:/usr/sbin:/sbin command -v "$name") ||
            vm_fail "$name is not installed; tests/install-packages installs it"
        install -m 755 "$(readlink -f "$path")" "$root/usr/bin/${name##*/}"
        # A static program has no libraries.
        while read -r library; do
            mkdir -p "$root${library%/*}"
            [ -e "$root$library" ] || cp -L "$library" "$root$library"
        done < <(ldd "$path" 2>/dev/null | grep -o '/[^ ]*')
    done
}

# Add a library that no program names, by its name.
vm_add_library() # ROOT NAME
{
    local path
    path=$(ldconfig -p | awk -v name="$2" '$1 == name { print $NF; exit }')
    [ -n "$path" ] || vm_fail "$2 is not installed; tests/install-packages installs it"
    mkdir -p "$1${path%/*}"
    cp -L "$path" "$1$path"
}

vm_add_modules() # ROOT NAME...
{
    local root=$1 file
    shift
    # One kernel has as a module what another has in itself (crc32c_generic, before Linux 6.15).
    { modprobe -d "$vm_kernel_dir" -S "$vm_kernel_version" -a --show-depends "$@" 2>/dev/null || true; } |
        sed -n 's/^insmod \([^ ]*\).*/\1/p' | sort -u | while read -r file; do
        local to=$root/usr/lib/modules/${file#*/lib/modules/}
        mkdir -p "${to%/*}"
        case $file in
        *.xz) xz -dc "$file" >"${to%.xz}" ;;
        *) cp "$file" "$to" ;;
        esac
    done
    cp "$vm_kernel_dir/lib/modules/$vm_kernel_version"/modules.{order,builtin,builtin.modinfo} \
        "$root/usr/lib/modules/$vm_kernel_version/"
    depmod -b "$root" "$vm_kernel_version"
}

vm_pack() # ROOT FILE
{
    (cd "$1" && find . -print0 | cpio --quiet --null -o -H newc -R 0:0) >"$2.new"
    mv "$2.new" "$2"
}

vm_make_keys()
{
    [ -e "$vm_dir/keys/complete" ] && return
    rm -rf "$vm_dir/keys"
    mkdir -p "$vm_dir/keys"
    ssh-keygen -q -t ed25519 -N '' -C backend -f "$vm_dir/keys/user"
    dropbearkey -t ed25519 -f "$vm_dir/keys/host" >/dev/null 2>&1
    touch "$vm_dir/keys/complete"
}

# The programs that all kinds of device need, as words. A program of ours is known by its name.
vm_kinds_programs() # VARIABLE
{
    local name
    for name in $(kinds_value "$1"); do
        if [ -x "$build_dir/bin/$name" ]; then
            echo "$build_dir/bin/$name"
        else
            echo "$name"
        fi
    done
}

vm_make_frontend()
{
    local root=$vm_dir/frontend-root tool
    vm_make_root "$root"
    # shellcheck disable=SC2046  # words
    vm_add_program "$root" dash $(vm_kinds_programs kind_frontend_programs)
    # shellcheck disable=SC2046
    vm_add_modules "$root" virtio_mmio $(kinds_value kind_frontend_modules)
    vm_add_linux_tests "$root" vsock_diag
    mkdir -p "$root/etc/dropbear" "$root/tools"
    cp "$vm_dir/keys/host" "$root/etc/dropbear/key"
    cp "$vm_dir/keys/user.pub" "$root/root/.ssh/authorized_keys"
    for tool in $(kinds_value kind_frontend_tools); do
        install -m 755 "$source_dir/tests/vm/frontend-tool" "$root/usr/bin/$tool"
    done
    install -m 755 "$source_dir/tests/vm/frontend-init" "$root/init"
    vm_pack "$root" "$vm_dir/frontend.cpio"
}

# The disk of large programs: only the pages that are used are ever read from it.
vm_make_tools()
{
    local root=$vm_dir/tools-root
    rm -rf "$root"
    mkdir -p "$root"/usr/{bin,lib,lib64}
    ln -s usr/lib usr/lib64 "$root/"
    # shellcheck disable=SC2046  # words
    vm_add_program "$root" $(kinds_value kind_frontend_tools)
    rm -f "$vm_dir/tools.img"
    truncate -s "$(($(du -sm "$root" | cut -f1) * 5 / 4 + 16))M" "$vm_dir/tools.img"
    mkfs.ext4 -q -O ^has_journal -d "$root" "$vm_dir/tools.img"
}

# Debian's systemd, with as few units as a system needs, and our unit unmodified.
vm_add_systemd() # ROOT
{
    local root=$1 units=$1/usr/lib/systemd/system
    vm_add_program "$root" systemctl journalctl unshare nsenter \
        /usr/lib/systemd/systemd /usr/lib/systemd/systemd-journald
    mkdir -p "$units"/{sysinit,multi-user}.target.wants "$root"/{etc/systemd,var/log}
    ln -s ../../bin/systemd ../../bin/systemd-journald "$root/usr/lib/systemd/"
    cp /usr/lib/systemd/system/*.target /usr/lib/systemd/system/systemd-journald{.service,.socket,-dev-log.socket} \
        "$units/"
    cp "$source_dir/configs/bao-virtio-dm.service" "$units/"
    ln -s ../systemd-journald.service "$units/sysinit.target.wants/"
    ln -s ../bao-virtio-dm.service "$units/multi-user.target.wants/"
    echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
    install -m 644 "$source_dir/tests/vm/systemd.sh" "$root/root/"
    install -m 755 "$source_dir"/tests/vm/systemd-{container,init} "$root/root/"
}

vm_make_backend()
{
    local root=$vm_dir/backend-root program
    vm_make_root "$root"
    for program in bao-virtio-dm bao-virtio-broker bao-virtio-worker bao-seccomp bao-dmctl \
        ../tests/test_landlock bao-monitor bao-kill-storm storm-vhost attack-vhost vsock-bridge; do
        vm_add_program "$root" "$build_dir/bin/$program"
    done
    install -D -t "$root/usr/lib/attack" "$build_dir"/tests/attack/bin/bao-virtio-*
    # shellcheck disable=SC2046  # words
    vm_add_program "$root" bash $(vm_kinds_programs kind_backend_programs)
    # shellcheck disable=SC2046
    vm_add_modules "$root" kvm_amd kvm_intel $(kinds_value kind_backend_modules)
    vm_add_linux_tests "$root" vsock_diag vsock_loopback
    cp -r "$source_dir/configs" "$source_dir/tests/vm/kinds" "$root/root/"
    cp "$vm_dir/keys/user" "$root/root/.ssh/id_ed25519"
    printf 'Host localhost\n  StrictHostKeyChecking accept-new\n  LogLevel ERROR\n' \
        >"$root/root/.ssh/config"
    vm_add_systemd "$root"
    cp "$vm_kernel" "$root/root/frontend-kernel"
    cp "$vm_dir/frontend.cpio" "$root/root/frontend.cpio"
    install -m 644 "$source_dir"/tests/vm/{backend-lib,kinds,frontends,landlock,storms,attacks,vsock_test,vsock_bench}.sh "$root/root/"
    install -m 755 "$source_dir"/tests/vm/scenario-* "$root/root/"
    install -m 755 "$source_dir/packaging/bao-acceptance" "$root/usr/bin/"
    install -m 755 "$source_dir/tests/vm/backend-init" "$root/init"
    vm_pack "$root" "$vm_dir/backend.cpio"
}

vm_prepare()
{
    [ "$(uname -m)" = x86_64 ] ||
        vm_fail "the virtual machines are x86_64; this machine is $(uname -m)"
    vm_dir=$build_dir/vm${vm_suite:+-$vm_suite}
    vm_logs=$vm_dir
    mkdir -p "$vm_dir"
    vm_find_kernel
    [ -z "$vm_linux_tests" ] || vm_find_linux_tests
    vm_make_keys
    vm_make_frontend
    vm_make_tools
    vm_make_backend
}

# --- the backend VM ------------------------------------------------------------------------

# QEMU's arguments, after vm_accelerator: SCENARIO ARGUMENT TERMINAL-CHARDEV
vm_arguments()
{
    vm_qemu=(qemu-system-x86_64 -no-user-config -nodefaults -display none -no-reboot
        -machine q35 -m 1536)
    # Emulated, the machine has one processor. With two, and a nested machine, the kernel's
    # processors were seen to wait for each other for ever; and it is not faster. Its counter is that
    # of this machine. Beside load, its kernel was seen to measure a tenth of the frequency. So its
    # clock was ten times as fast, and no time limit was right.
    local counter=
    if [ "$vm_accelerator" = kvm ]; then
        vm_qemu+=(-accel kvm -cpu host -smp 2)
    else
        vm_qemu+=(-accel tcg -cpu max,la57=off -smp 1)
        counter=tsc_early_khz=$("$build_dir/bin/bao-monitor" --probe-counter)
    fi
    vm_qemu+=(-chardev "file,id=log,path=$vm_logs/backend.log" -serial chardev:log
        -chardev "$3" -serial chardev:terminal
        -monitor "unix:$vm_logs/monitor,server=on,wait=off"
        -monitor "unix:$vm_logs/keyboard,server=on,wait=off"
        -drive "file=$vm_dir/tools.img,if=none,id=tools,format=raw,readonly=on"
        -device virtio-blk-pci,drive=tools
        -kernel "$vm_kernel" -initrd "$vm_dir/backend.cpio"
        -append "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off nokaslr tsc=reliable $counter watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120 $vm_audit \
bvdm.scenario=$1 bvdm.argument=$2 bvdm.long=${BVDM_LONG:-0} bvdm.done=$vm_done")
    : >"$vm_logs/backend.log"
}

vm_result() # NAME: the last "@NAME value" line
{
    tr -d '\r' <"$vm_logs/backend.log" | sed -n "s/^@$1 //p" | tail -n 1
}

# Set vm_accelerator, and vm_accelerator_words for people. A /dev/kvm may exist and be unable to run
# a kernel, or run a kernel that can't run another one: only a boot shows that. The answer is kept
# until this machine restarts.
vm_choose_accelerator()
{
    local known=$vm_dir/accelerator boot
    boot=$(cat /proc/sys/kernel/random/boot_id)
    if ! [ -w /dev/kvm ]; then
        vm_accelerator=tcg
    elif [ "$(sed -n 1p "$known" 2>/dev/null)" = "$boot" ]; then
        vm_accelerator=$(sed -n 2p "$known")
    else
        vm_accelerator=kvm
        vm_arguments probe none null,id=terminal
        (timeout -k 2 15 "${vm_qemu[@]}" || true) </dev/null >/dev/null 2>&1
        [ "$(vm_result exit)" = 0 ] || vm_accelerator=tcg
        printf '%s\n%s\n' "$boot" "$vm_accelerator" >"$known"
    fi
    if [ "$vm_accelerator" = kvm ]; then
        vm_accelerator_words="on KVM, the frontends nested in it"
    else
        vm_accelerator_words="emulated (TCG), since KVM cannot be used here"
    fi
}

# Boot the backend, run a scenario in it, and return its exit status. Its output goes to stdout and
# to terminal.log. Do not call this in a pipeline: a signal would not reach the VM. If the emulator
# is stuck, the scenario goes on in another boot, after the parts that it has finished.
# SCENARIO ARGUMENT TIME-LIMIT-SECONDS (of all boots)
vm_run()
{
    local status end=$((SECONDS + $3))
    vm_done=
    : >"$vm_logs/terminal.log"
    while :; do
        status=0
        vm_run_once "$1" "$2" $((end - SECONDS)) || status=$?
        [ "$status" = "$vm_hung" ] || return "$status"
        vm_done=$vm_done$(tr -d '\r' <"$vm_logs/backend.log" | sed -n 's/^@done //p' | tr '\n' ',')
        printf -- '-- The emulator has lost an interrupt, and the backend VM is stuck for good: once more, after %s\n' \
            "${vm_done:-nothing}"
    done
}

vm_hung=99

vm_run_once()
{
    vm_arguments "$1" "$2" "stdio,id=terminal,signal=off,logfile=$vm_logs/terminal.log,logappend=on"
    "${vm_qemu[@]}" </dev/null 2>"$vm_logs/qemu.log" &
    vm_pid=$!
    vm_press_key &
    local status=0 exit_status end=$((SECONDS + $3)) why=
    while [ -z "$why" ] && kill -0 "$vm_pid" 2>/dev/null; do
        sleep 0.2
        if [ "$SECONDS" -ge "$end" ]; then
            why=late
        elif [ $((SECONDS % 10)) = 0 ] && vm_lost_interrupt; then
            why=hung
        fi
    done
    if [ -n "$why" ]; then
        vm_show_processor >>"$vm_logs/qemu.log"
        kill -KILL "$vm_pid"
    fi
    wait "$vm_pid" || status=$?
    vm_pid=
    exit_status=$(vm_result exit)
    if [ -n "$exit_status" ]; then
        return "$exit_status"
    fi
    case $why in
    hung) return $vm_hung ;;
    late) printf 'the backend VM did not finish within %s s\n' "$3" >&2 ;;
    *) printf 'the backend VM ended early (QEMU status %s)\n' "$status" >&2 ;;
    esac
    vm_show_logs
    return 1
}

vm_ask() # COMMAND: send it to QEMU's monitor
{
    { echo "$1"; sleep 0.5; } | timeout 5 socat - "UNIX-CONNECT:$vm_logs/monitor" 2>/dev/null | tr -d '\r'
}

# QEMU's emulation of a nested machine loses an interrupt now and then, until another interrupt
# makes it look again (7.2: its processor and its timers change the word of pending interrupts
# without a lock). If that of an idle machine's only timer is lost, no other interrupt comes. So a
# key of the machine's keyboard is pressed each second.
vm_press_key()
{
    [ "$vm_accelerator" = tcg ] || return 0
    while sleep 1; do
        echo 'sendkey shift'
    done | socat - "UNIX-CONNECT:$vm_logs/keyboard,retry=300,interval=0.1" >/dev/null 2>&1 || true
}

# An emulated machine in which another one runs was seen to end like this (QEMU 7.2): its one
# processor is halted with interrupts on. Its timer's interrupt is pending in its APIC, and is never
# delivered; not even an NMI wakes it. No program in the machine can cause that, or repair it.
# Returns true if that is so: the backend says every ten seconds that it is alive, and has said
# nothing for a minute and a half; and three looks find its processor in that state.
vm_lost_interrupt()
{
    local look
    [ "$vm_accelerator" = tcg ] &&
        [ $(($(date +%s) - $(stat -c %Y "$vm_logs/backend.log"))) -ge 90 ] || return 1
    for look in 1 2 3; do
        vm_ask 'info registers' | grep -q 'RFL=[0-9a-f]*[2367abef][0-9a-f][0-9a-f] .*II=0.*HLT=1' &&
            vm_ask 'info lapic' | grep -qE '^IRR.* [0-9]+' || return 1
        sleep 1
    done
}

# Show the state of the backend's processor, three times: is it stuck, and does the frontend run?
vm_show_processor()
{
    local moment
    for moment in 1 2 3; do
        echo "--- the backend's processor, look $moment"
        vm_ask 'info registers' | grep -aE '^(RIP|CS|CR[0-4]|R[A-D]X|EFER)' || echo "no answer from QEMU"
        vm_ask 'info lapic' | grep -aE '^(ISR|IRR|LVTT)'
    done
}

# The same with the user's terminal, until the user leaves it. SCENARIO ARGUMENT
vm_run_interactive()
{
    vm_arguments "$1" "$2" stdio,id=terminal,signal=off
    vm_press_key &
    "${vm_qemu[@]}" 2>"$vm_logs/qemu.log" || true
    local exit_status
    exit_status=$(vm_result exit)
    return "${exit_status:-1}"
}

vm_show_logs()
{
    local log
    for log in qemu.log backend.log; do
        if [ -s "$vm_logs/$log" ]; then
            printf -- '--- the end of %s\n' "$vm_logs/$log" >&2
            tr -d '\r' <"$vm_logs/$log" | grep -av '^@alive' | tail -n 60 >&2
        fi
    done
    echo "the backend was alive $(vm_result alive) s after its boot" >&2
}

# For the EXIT trap of the caller.
vm_clean_up()
{
    if [ -n "$vm_pid" ]; then
        kill "$vm_pid" 2>/dev/null || true
        wait "$vm_pid" 2>/dev/null || true
        vm_pid=
    fi
}
