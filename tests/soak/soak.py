#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""./x soak: kills at random moments, half of them at the monitor, and counts what is left.

  soak.py --postern FILE [--kills N] [--seed S] [--at-once N]

This program makes itself the reaper of all its descendants (PR_SET_CHILD_SUBREAPER), so that a process which outlives
its family becomes its child and is seen. Processes, descriptors, shared memory and temporary files are counted before
and after. As root it works on private /tmp, /var/tmp and /dev/shm, so that nobody else's files disturb the count.
"""
import argparse
import ctypes
import os
import random
import shutil
import signal
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER, CLONE_NEWNS, MS_REC, MS_PRIVATE = 36, 0x20000, 0x4000, 1 << 18
# What tests that run beside this one make for themselves.
OTHER_TESTS = ("postern-soak-", "postern-canary-", "postern-plain-", "postern-real-")
TEMPORARY = ["/tmp", "/var/tmp", "/dev/shm", "/run/user"]
libc = ctypes.CDLL(None, use_errno=True)

WORKLOADS = [
    ["sleep", "30"],
    ["sh", "-c", "while :; do /bin/true; done"],
    ["bash", "-c", "while :; do for i in 1 2 3 4 5; do echo $i | cat & done; wait; done"],
    ["sh", "-c", "seq 1 1000000 | sort -rn | tail -1; sleep 30"],
    ["python3", "-c", "import threading, time\nfor i in range(8): threading.Thread(target=time.sleep, args=(30,)).start()"],
    ["python3", "-c", "import mmap, os, time\nm = mmap.mmap(-1, 8 << 20)\nfor i in range(4):\n"
                      "    if os.fork() == 0:\n        m[:] = b'x' * len(m)\n        time.sleep(30)\ntime.sleep(30)"],
    ["sh", "-c", "(sleep 30 &) ; (sleep 30 &) ; trap '' TERM INT HUP; while :; do sleep 1; done"],
    ["python3", "-c", "import os, pty, signal, time\ndef talk():\n    while True:\n        pid, fd = pty.fork()\n"
                      "        if pid == 0: os.execvp('sh', ['sh', '-c', 'while :; do tty; read x; done'])\n"
                      "        for i in range(50):\n            os.write(fd, b'line\\n')\n            os.read(fd, 100)\n"
                      "        os.write(fd, b'\\x03')\n        os.waitpid(pid, 0)\n        os.close(fd)\n"
                      "for i in range(3):\n    if os.fork() == 0: talk()\ntime.sleep(30)"],
    ["dd", "if=/dev/zero", "of=/dev/null", "bs=64k"],
    ["sh", "-c", "while :; do echo x >/tmp/f; mv /tmp/f /tmp/g; cat /tmp/g /etc/passwd; rm /tmp/g; done"],
]


# What is installed of these works, too, with sockets, shared memory and many processes.
NODE = """const http = require('http'), s = http.createServer((q, r) => r.end('x'));
s.listen(0, '127.0.0.1', function again() {
  http.get({ port: s.address().port, host: '127.0.0.1' }, r => { r.resume(); r.on('end', again); }); });"""
POSTGRES = """cd /tmp; chmod 755 .; mkdir p; B=$(ls -d /usr/lib/postgresql/*/bin | tail -1); A=
[ $(id -u) != 0 ] || { chown postgres p; A='setpriv --reuid=postgres --regid=postgres --clear-groups'; }
$A sh -c "cd p; while :; do $B/initdb -D d -A trust -N; $B/pg_ctl -D d -w -o '-k /tmp/p -c listen_addresses=' start
psql -h /tmp/p -c 'create table t as select generate_series(1, 100000)' postgres; $B/pg_ctl -D d -m fast stop; rm -r d; done" """
MAKE = """cd /tmp; for i in $(seq 40); do echo "int f$i(void) { return $i; }" > f$i.c; done
printf 'all: $(patsubst %%.c,%%.o,$(wildcard *.c))\n' > Makefile; while :; do make -s -j2; rm -f *.o; done"""
for needed, command in (("node", ["node", "-e", NODE]), ("pg_lsclusters", ["bash", "-c", POSTGRES]),
                        ("gcc", ["bash", "-c", MAKE])):
    if shutil.which(needed):
        WORKLOADS.append(command)


def private_places(postern):
    """Fresh temporary directories in a mount namespace of our own. False where that is not possible."""
    if os.geteuid() != 0 or any(postern.startswith(place + "/") for place in TEMPORARY):
        return False
    if libc.unshare(CLONE_NEWNS) != 0 or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) != 0:
        return False
    return all(libc.mount(b"tmpfs", place.encode(), b"tmpfs", 0, b"mode=1777") == 0 for place in TEMPORARY[:3])


def count():
    files = set()
    for place in TEMPORARY:
        for directory, _, names in os.walk(place):
            files.update(os.path.join(directory, name) for name in names)
    with open("/proc/sysvipc/shm", encoding="ascii") as file:
        segments = len(file.readlines()) - 1
    return {"processes": len(descendants()), "descriptors": len(os.listdir("/proc/self/fd")),
            "shared memory": segments, "temporary files": files}


def children_of(pid):
    found = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                found += [int(word) for word in file.read().split()]
    except OSError:
        pass
    return found


def descendants():
    found, queue = [], [os.getpid()]
    while queue:
        below = children_of(queue.pop())
        found += below
        queue += below
    return found


def reap():
    """Collects ended orphans; their end is what is waited for."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return


def describe(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().split(") ")[0] + ") " + os.readlink(f"/proc/{pid}/exe")
    except OSError as error:
        return f"{pid} ({error.strerror})"


def is_ours(name):
    place = next(place for place in TEMPORARY if name.startswith(place + "/"))
    top = os.path.join(place, name[len(place) + 1:].split("/")[0])
    try:
        return "postern" in top and not any(mark in top for mark in OTHER_TESTS) and os.stat(top).st_uid == os.getuid()
    except OSError:
        return False


def one_round(postern, chance, log):
    command = [postern, "run", "--quiet", "--", *chance.choice(WORKLOADS)]
    monitor = os.posix_spawn(postern, command, os.environ, file_actions=[
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)])
    # Starts take about a millisecond: half of the moments lie in them.
    time.sleep(chance.uniform(0, 0.004) if chance.random() < 0.5 else chance.uniform(0, 0.15))
    what, good = "monitor", True
    if chance.random() < 0.5:
        os.kill(monitor, signal.SIGKILL)
    else:
        below = descendants()
        below.remove(monitor)
        victim = chance.choice(below) if below and chance.random() < 0.8 else monitor
        what = f"process {describe(victim)}"
        keeper = "postern-keeper" in what
        number = signal.SIGKILL if victim != monitor else chance.choice([signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
        try:
            os.kill(victim, number)
        except ProcessLookupError:
            pass
        # The end of the keeper ends all. A program may live on without one process, or ignore a signal: then the
        # monitor is killed, too, but not in the moment in which it replaces the keeper.
        ended, deadline = False, time.monotonic() + (1 if keeper else chance.uniform(0, 0.3))
        while not ended and time.monotonic() < deadline:
            ended = os.waitpid(monitor, os.WNOHANG)[0] == monitor
            time.sleep(0.002)
        if keeper and not ended:
            print(f"the monitor lives one second after {what} was killed under {command[4:]}")
            good = False
        if not ended:
            os.kill(monitor, signal.SIGKILL)
    deadline = time.monotonic() + 1
    left = [monitor]
    while left and time.monotonic() < deadline:
        reap()
        left = descendants()
        if left:
            time.sleep(0.002)
    if left:
        print(f"left one second after killing {what} under {command[4:]}:")
        for pid in left:
            print("   ", describe(pid))
            os.kill(pid, signal.SIGKILL)
    return good and not left


def main():
    parser = argparse.ArgumentParser(prog="./x soak")
    parser.add_argument("--postern", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else int.from_bytes(os.urandom(3), "little")
    chance = random.Random(seed)
    postern = os.path.realpath(arguments.postern)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    private = private_places(postern)
    os.chdir("/")
    print(f"{arguments.kills} kills, seed {seed}, {'private' if private else 'shared'} temporary directories", flush=True)
    subprocess.run([postern, "run", "--", "true"], check=True)
    before = count()
    log = f"/tmp/postern-soak-{os.getpid()}"
    failures = 0
    started = time.monotonic()
    for number in range(arguments.kills):
        if not one_round(postern, chance, log):
            failures += 1
        if (number + 1) % 100 == 0:
            print(f"{number + 1} kills, {time.monotonic() - started:.0f} s", flush=True)
    if os.path.exists(log):
        os.unlink(log)
    after = count()
    for key, value in before.items():
        if isinstance(value, set):
            # In shared directories other programs come and go: what is new and ours counts.
            new = {name for name in after[key] - value if private or is_ours(name)}
            print(f"{key}: {len(value)} before, {len(after[key])} after")
            if new:
                failures += 1
                print("   new:", *sorted(new)[:10])
        else:
            print(f"{key}: {value} before, {after[key]} after")
            failures += value != after[key]
    if subprocess.run([postern, "run", "--", "echo", "still works"], check=False).returncode != 0:
        failures += 1
    print("nothing is left behind" if failures == 0 else f"{failures} failures; repeat with --seed {seed}")
    return 1 if failures else 0


sys.exit(main())
