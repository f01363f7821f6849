# SPDX-License-Identifier: Apache-2.0
"""
A cell: where a mutant is built and run. It has mount, network, process, IPC and host name namespaces of
its own, and a control group if it may have one. There the file systems of the host are read-only, /run,
/tmp, /var/tmp and /dev are new, and a copy of the sources is the only thing of the host that can be
written. The end of the cell's first process ends all others.

That is enough for a program that errs. It is no prison for one that is hostile: it still is root.

run() starts the cell; main() is its first process.
"""

import contextlib
import ctypes
import glob
import json
import os
import re
import resource
import signal
import stat
import subprocess
import sys
import time

MEMORY = 6 << 30  # bytes, all processes of a cell together
PROCESSES = 4000
OUTPUT = 4000  # bytes of a command's output that are kept
DEVICES = ("full", "fuse", "kmsg", "net/tun", "null", "random", "tty", "urandom", "vhost-net", "vhost-vsock", "zero")

MS_RDONLY, MS_NOSUID, MS_REMOUNT, MS_BIND, MS_REC = 1, 2, 32, 4096, 16384
_libc = ctypes.CDLL(None, use_errno=True)


class Broken(Exception):
    """The cell itself failed: nothing is known of what was to be run."""


def mount(source, target, kind=None, flags=0, options=None):
    words = [text.encode() if text else None for text in (source, target, kind)]
    if _libc.mount(*words, ctypes.c_ulong(flags), options.encode() if options else None) != 0:
        error = ctypes.get_errno()
        raise OSError(error, "mount on %s: %s" % (target, os.strerror(error)))


# ---- From outside ----

def _groups(name):
    """Control groups made for a cell: those that this machine lets us have. [(folder, name to join by)]"""
    made = []
    for base, files in (("/sys/fs/cgroup", {"memory.max": MEMORY, "pids.max": PROCESSES}),
                        ("/sys/fs/cgroup/memory", {"memory.limit_in_bytes": MEMORY}),
                        ("/sys/fs/cgroup/pids", {"pids.max": PROCESSES}),
                        ("/sys/fs/cgroup/unified", {})):
        folder = os.path.join(base, name)
        if not os.path.exists(os.path.join(base, "cgroup.procs")):
            continue
        try:
            os.mkdir(folder)
        except OSError:
            continue
        made.append(folder)
        for file, value in files.items():
            try:
                with open(os.path.join(folder, file), "w", encoding="ascii") as limit:
                    limit.write(str(value))
            except OSError:
                pass  # the controller is not ours to use: prlimit is left
    return made


def _join(groups):
    _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: whoever ends this program ends its cells
    for folder in groups:
        with open(os.path.join(folder, "cgroup.procs"), "w", encoding="ascii") as procs:
            procs.write("0")


def run(copy, at, steps, seconds):
    """
    Runs `steps` in a new cell in which the folder `copy` is writable and is seen at `at`, until one does
    not succeed. Each is a dictionary; "do" says what:

      "run"   "argv", "seconds", and optionally "folder" (within the copy), "environment"
      "new"   "file" (within the copy), "known": fails if the hash of its content is one of these

    Returns {"passed": steps that succeeded, "why": "failed", "timeout", "known" or None, "output": text,
    "seconds": [of each step], "hashes": [of each "new"]}. The cell as a whole has `seconds`.
    """
    try:
        return _run_once(copy, at, steps, seconds)
    except Broken:
        return _run_once(copy, at, steps, seconds)  # what ended it, such as a lack of memory, may have passed


def _run_once(copy, at, steps, seconds):
    groups = _groups("bao-mutate-%d-%d" % (os.getpid(), time.monotonic_ns()))
    command = ["unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--cgroup", "--fork", "--kill-child",
               "--propagation", "private", sys.executable, "-I", "-S", "-B", os.path.abspath(__file__), copy, at]
    try:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              start_new_session=True, preexec_fn=lambda: _join(groups)) as process:
            try:
                out, errors = process.communicate(json.dumps(steps).encode(), timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                return {"passed": 0, "why": "timeout", "output": "", "seconds": [], "hashes": []}
            except BaseException:
                process.kill()
                raise
    finally:
        for folder in groups:
            _remove(folder)
    try:
        return json.loads(out)
    except ValueError:
        raise Broken("the cell ended without an answer: %s" % errors.decode(errors="replace")[-2000:]) from None


def _remove(folder):
    """Removes a control group, with those below it, which its processes leave a moment after their end."""
    for _ in range(200):
        try:
            for below in sorted(glob.glob(folder + "/**/", recursive=True), reverse=True):
                os.rmdir(below)
            return
        except OSError:
            time.sleep(0.02)


# ---- Within ----

def _mounts():
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            yield re.sub(r"\\([0-7]{3})", lambda code: chr(int(code.group(1), 8)), line.split()[4])


def _make_dev():
    nodes = []
    for name in DEVICES:
        try:
            nodes.append((name, os.stat("/dev/" + name)))
        except OSError:
            pass
    mount("dev", "/dev", "tmpfs", MS_NOSUID, "mode=755,size=1m")
    os.umask(0)
    for name, node in nodes:
        if stat.S_ISCHR(node.st_mode):
            os.makedirs(os.path.dirname("/dev/" + name), exist_ok=True)
            os.mknod("/dev/" + name, node.st_mode, node.st_rdev)
    os.umask(0o022)
    for link, target in (("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
                         ("stderr", "/proc/self/fd/2"), ("ptmx", "pts/ptmx")):
        os.symlink(target, "/dev/" + link)
    for folder in ("pts", "shm"):
        os.mkdir("/dev/" + folder)
    mount("devpts", "/dev/pts", "devpts", 0, "newinstance,ptmxmode=0666,mode=620")
    mount("shm", "/dev/shm", "tmpfs", MS_NOSUID, "size=1g,mode=1777")


def _make(copy, at):
    mount(copy, at, None, MS_BIND)
    for target in list(_mounts()):
        if target != at:
            try:
                mount(None, target, None, MS_REMOUNT | MS_BIND | MS_RDONLY)
            except OSError:
                if not target.startswith(("/proc", "/sys", "/dev")):  # which are covered below
                    raise
    mount("proc", "/proc", "proc")
    mount("/proc/sys", "/proc/sys", None, MS_BIND)
    mount("/proc/sys/net", "/proc/sys/net", None, MS_BIND)
    mount(None, "/proc/sys", None, MS_REMOUNT | MS_BIND | MS_RDONLY)
    if os.path.exists("/proc/sysrq-trigger"):
        mount("/dev/null", "/proc/sysrq-trigger", None, MS_BIND)
    mount("sysfs", "/sys", "sysfs", MS_RDONLY)
    try:
        mount("cgroup2", "/sys/fs/cgroup", "cgroup2")
    except OSError:
        pass  # the tests of control groups say that there is none
    _make_dev()
    for target, options in (("/run", "mode=755"), ("/tmp", "mode=1777"), ("/var/tmp", "mode=1777")):
        mount("none", target, "tmpfs", MS_NOSUID, options + ",size=1g")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # One byte: no core file, and no program of the host that is to take one (core(5)).
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))


def _set_oom(score):
    """How likely the kernel is to end this process where the cell's memory does not suffice; -1000: never, where it may."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(str(score))


def _run(step, at):
    # What tells a test to take its long form, or one case, was meant for somebody else.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BVDM_")}
    environment.update(HOME="/tmp", CCACHE_READONLY="1", CCACHE_TEMPDIR="/tmp/ccache", CCACHE_BASEDIR=at)
    environment.update(step.get("environment", {}))
    with open("/tmp/.output", "w+b") as output:
        process = subprocess.Popen(step["argv"], cwd=os.path.join(at, step.get("folder", "")), env=environment,
                                   stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                                   preexec_fn=lambda: _set_oom(0))
        end, why = time.monotonic() + step["seconds"], None
        while True:
            # The first process of a pid namespace reaps all orphans.
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == process.pid:
                break
            if pid == 0 and time.monotonic() > end:
                return "timeout", ""  # the cell's end ends it
            if pid == 0:
                time.sleep(0.01)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            why = "failed"
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - OUTPUT))
        text = output.read().decode(errors="replace")
        return why, text + ("" if process.returncode >= 0 else "\nended by signal %d\n" % -process.returncode)


def _hash(path):
    import hashlib
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def main():
    copy, at = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    steps = json.load(sys.stdin)
    _make(copy, at)
    _set_oom(-1000)
    result = {"passed": 0, "why": None, "output": "", "seconds": [], "hashes": []}
    for step in steps:
        started = time.monotonic()
        if step["do"] == "new":
            found = _hash(os.path.join(at, step["file"]))
            result["hashes"].append(found)
            result["why"] = "known" if found in step["known"] else None
        else:
            result["why"], result["output"] = _run(step, at)
        result["seconds"].append(time.monotonic() - started)
        if result["why"]:
            break
        result["passed"] += 1
    print(json.dumps(result))


if __name__ == "__main__":
    main()
