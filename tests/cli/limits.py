#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Limits: that they hold, which error a program gets, and what its user is told. Processor time is judged by how much was
used of what was allowed, never by how fast something went.

  limits.py --postern FILE [--user ID] [TEST ...]
"""
import json
import os
import signal
import subprocess
import sys
import time

import run as command
from run import Case, main, run, sh

MIB = 1 << 20


def python(program, *options, **more):
    return run(*options, "--", "python3", "-c", program, **more)


class Memory(Case):
    def test_one_process_gets_enomem(self):
        outcome = python("try: bytearray(600 << 20)\nexcept MemoryError: print('refused')", "--memory", "128m")
        self.expect(outcome, 0, "refused\n", r"the memory limit of 128 MiB was reached \(--memory raises it\)\n")
        self.assertNotIn("ended", outcome.err)

    def test_shared_memory_gets_enomem(self):
        outcome = python("import mmap\ntry: mmap.mmap(-1, 600 << 20)\nexcept OSError as e: print(e.errno)", "--memory", "128m")
        self.expect(outcome, 0, "12\n", "the memory limit of 128 MiB was reached")

    def test_a_family_is_ended(self):
        program = ("import os, time\nfor i in range(8):\n if os.fork() == 0:\n  x = bytearray(b'x') * (40 << 20)\n  time.sleep(60)\n"
                   "time.sleep(60)")
        outcome = python(program, "--memory", "128m")
        self.expect(outcome, 137, "", r"the memory limit of 128 MiB was reached \(--memory raises it\); the program was ended")

    def test_senseless_sizes_are_no_limit(self):
        # Refused by any machine, and nothing that --memory would help.
        outcome = python("import mmap\ntry: mmap.mmap(-1, 1 << 60, flags=mmap.MAP_PRIVATE)\nexcept (OSError, OverflowError): print('no')")
        self.expect(outcome, 0, "no\n")
        self.assertEqual(outcome.err, "")

    def test_quiet(self):
        outcome = python("try: bytearray(600 << 20)\nexcept MemoryError: print('refused')", "--memory", "128m", "--quiet")
        self.expect(outcome, 0, "refused\n")
        self.assertEqual(outcome.err, "")


class Processes(Case):
    PROGRAM = ("import os, signal\nmade = 0\ntry:\n while True:\n  if os.fork() == 0: signal.pause()\n  made += 1\n"
               "except OSError as e: print(made, e.errno)")

    def test_fork_gets_eagain(self):
        outcome = python(self.PROGRAM, "--pids", "20")
        self.expect(outcome, 0, "19 11\n", r"the limit of 20 processes and threads was reached \(--pids raises it\)")

    def test_threads_count(self):
        program = ("import threading, time\nmade = 0\ntry:\n while True:\n"
                   "  threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n  made += 1\n"
                   "except RuntimeError: print(made, flush=True)\nimport os; os._exit(0)")
        self.expect(python(program, "--pids", "20"), 0, "19\n", "the limit of 20 processes and threads was reached")

    def test_within(self):
        self.assertEqual(sh("true & true & wait", "--pids", "20").err, "")


class Disk(Case):
    def test_no_space(self):
        program = """
import errno, os
def used():
    s = os.statvfs("/tmp")
    return (s.f_blocks - s.f_bfree) * s.f_frsize >> 10
s = os.statvfs("/tmp")
print("all", s.f_blocks * s.f_frsize >> 10, used())
fd = os.open("/tmp/a", os.O_RDWR | os.O_CREAT)
print("half", os.write(fd, b"x" * (4 << 20)) >> 10, used())
other = os.open("/dev/shm/b", os.O_RDWR | os.O_CREAT)
try: os.posix_fallocate(other, 0, 5 << 20)
except OSError as e: print("fallocate", e.errno == errno.ENOSPC, os.fstat(other).st_blocks, used())
memory = os.memfd_create("m")
print("partial", os.write(memory, b"x" * (6 << 20)) >> 10, used())
try: os.write(memory, b"x")
except OSError as e: print("full", e.errno == errno.ENOSPC)
os.pwrite(fd, b"y" * 100, 10)
os.ftruncate(fd, 1 << 20)
print("shrunk", used())
os.close(memory)
print("closed", used())
os.unlink("/tmp/a")
os.close(fd)
print("gone", used())
os.posix_fallocate(other, 0, 8 << 20)
print("exactly", used())
"""
        self.expect(python(program, "--disk", "8m"), 0,
                    "all 8192 0\nhalf 4096 4096\nfallocate True 0 4096\npartial 4096 8192\nfull True\nshrunk 5120\n"
                    "closed 1024\ngone 0\nexactly 8192\n",
                    r"the disk limit of 8 MiB was reached \(--disk raises it\)\n")

    def test_sparse_mapping(self):
        program = """
import mmap, os
fd = os.open("/tmp/sparse", os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 64 << 20)
m = mmap.mmap(fd, 64 << 20)
if os.fork() == 0:
    m[40 << 20] = 1
    os._exit(0)
print(os.WTERMSIG(os.wait()[1]))
m[0] = 1
os.ftruncate(fd, 0)
"""
        self.expect(python(program, "--disk", "8m"), 0, "7\n", "the disk limit of 8 MiB was reached")

    def test_names_are_counted(self):
        program = """
import errno, os
made = 0
try:
    while made < 100000:
        os.close(os.open("/tmp/%d" % made, os.O_CREAT | os.O_WRONLY))
        made += 1
except OSError as e: print(e.errno == errno.ENOSPC, made <= os.statvfs("/tmp").f_files, os.statvfs("/tmp").f_ffree)
for i in range(made): os.unlink("/tmp/%d" % i)
print(os.statvfs("/tmp").f_ffree >= made)
"""
        self.expect(python(program, "--disk", "8m"), 0, "True True 0\nTrue\n", "the disk limit of 8 MiB was reached")

    def test_a_killed_writer_leaves_no_trace(self):
        script = ("for i in 1 2 3 4 5; do (head -c 60m /dev/zero > /tmp/f$i) 2>/dev/null & p=$!; sleep 0.05; kill -9 $p; wait $p; done;"
                  "rm /tmp/f*; df --output=used /tmp | tail -1")
        outcome = run("--disk", "64m", "--quiet", "--", "bash", "-c", script)
        self.assertEqual(outcome.out.split()[-1], "0", outcome)

    def test_default_leaves_room(self):
        outcome = sh("df -k --output=size /tmp | tail -1", "--memory", "256m")
        self.assertEqual(int(outcome.out), 240 << 10)

    def test_more_than_memory(self):
        self.expect(run("--disk", "1g", "--memory", "512m", "--", "true"), 125, "", "--disk 1 GiB is more than the memory limit of 512 MiB")


class Volumes(Case):
    def test_a_file_stops_growing(self):
        program = """
import errno, os, signal
got = []
signal.signal(signal.SIGXFSZ, lambda *a: got.append(1))
fd = os.open("/vol/f", os.O_RDWR | os.O_CREAT)
total = 0
try:
    while True: total += os.write(fd, b"x" * 100000)
except OSError as e: error = e.errno
str()  # handlers run between calls
print(total, error == errno.EFBIG, len(got))
got.clear()
try: os.ftruncate(fd, (1 << 20) + 1)
except OSError as e: error = -e.errno
str()
print(error == -errno.EFBIG, len(got))
os.ftruncate(fd, 1 << 20)
try: os.truncate("/vol/f", (1 << 20) + 1)
except OSError as e: print(e.errno == errno.EFBIG)
"""
        where = command.WORK + "/volume"
        os.makedirs(where, exist_ok=True)
        self.expect(python(program, "--disk", "1m", "-v", where + ":/vol:rw"), 0, "1048576 True 1\nTrue 1\nTrue\n",
                    r"the limit of 1 MiB for a file on a volume was reached \(--disk raises it\)")
        self.assertEqual(os.path.getsize(where + "/f"), 1 << 20)

    def test_no_limit_unless_asked_for(self):
        where = command.WORK + "/volume"
        os.makedirs(where, exist_ok=True)
        self.expect(sh("truncate -s 100g /vol/big", "-v", where + ":/vol:rw", "--memory", "64m"), 0)
        self.assertEqual(os.path.getsize(where + "/big"), 100 << 30)


BUSY = """
import os, threading, time
end = time.monotonic() + {seconds}
def spin():
    while time.monotonic() < end: pass
for i in range({children}):
    if os.fork() == 0:
        thread = threading.Thread(target=spin)
        thread.start(); spin(); thread.join()
        os._exit(0)
spin()
while True:
    try: os.wait()
    except ChildProcessError: break
print(len(os.sched_getaffinity(0)), os.cpu_count(), os.sysconf("SC_NPROCESSORS_ONLN"),
      sum(line.startswith("processor") for line in open("/proc/cpuinfo")))
"""
PROCESSORS = len(os.sched_getaffinity(0))


class Processors(Case):
    WAYS = ((), ("--force-fallback", "cgroup"))

    def used(self, cpus, *options, seconds=1.5, children=2):
        outcome = python(BUSY.format(seconds=seconds, children=children), "--cpus", cpus, "--stats=json", "--quiet", *options)
        self.expect(outcome)
        stats = json.loads(outcome.err)
        return (stats["user_ns"] + stats["system_ns"]) / stats["wall_ns"], stats, outcome.out

    def test_half(self):
        for way in self.WAYS:
            with self.subTest(way):
                share, stats, out = self.used("0.5", *way)
                self.assertLess(share, 0.7, stats)
                self.assertEqual((stats["cpus"], stats["limits_reached"]), (0.5, []))
                self.assertEqual(out, "1 1 1 1\n")

    def test_little(self):
        for way in self.WAYS:
            with self.subTest(way):
                share, stats, _ = self.used("0.05", *way)
                self.assertLess(share, 0.2)
                self.assertGreater(stats["throttled_ns"], 0, stats)

    def test_one(self):
        for way in self.WAYS:
            with self.subTest(way):
                share, _, out = self.used("1", *way, seconds=1)
                self.assertLess(share, 1.2)
                self.assertEqual(out, "1 1 1 1\n")

    def test_more_than_one(self):
        if PROCESSORS < 2:
            self.skipTest("one processor")
        for way in self.WAYS:
            with self.subTest(way):
                share, _, out = self.used("1.25", *way, seconds=1)
                self.assertLess(share, 1.6)
                self.assertEqual(out, "2 2 2 2\n")

    def test_not_visible_inside(self):
        """Being held back is nothing that a program sees: no call is cut short, no child looks stopped."""
        program = """
import os, select, signal, subprocess, sys, threading, time
seen = []
for s in (signal.SIGCONT, signal.SIGCHLD): signal.signal(s, lambda n, f: seen.append(n))
end = time.monotonic() + 1.2
read, write = os.pipe()
child = os.fork()
if child == 0:
    while time.monotonic() < end: pass
    os.write(write, b"x")
    os._exit(0)
poller = select.epoll(); poller.register(read, select.EPOLLIN)
threads = [threading.Thread(target=time.sleep, args=(0.9,)) for i in range(3)]
for t in threads: t.start()
print(len(poller.poll(20)), os.read(read, 1))
for t in threads: t.join()
pid, status = os.waitpid(child, os.WUNTRACED | os.WCONTINUED)
print(pid == child, status, [s for s in seen if s == signal.SIGCONT])
"""
        outcome = python(program, "--cpus", "0.3", "--force-fallback", "cgroup")
        self.expect(outcome, 0, "1 b'x'\nTrue 0 []\n")

    def test_continue_still_arrives(self):
        with subprocess.Popen([command.POSTERN, "run", "--cpus", "0.5", "--force-fallback", "cgroup", "--", "bash", "-c",
                               "trap 'echo on; exit 7' CONT; echo ready; while :; do :; done"],
                              stdout=subprocess.PIPE, cwd=command.WORK) as process:
            self.assertEqual(process.stdout.readline(), b"ready\n")
            time.sleep(0.3)
            process.send_signal(signal.SIGCONT)
            self.assertEqual(process.stdout.readline(), b"on\n")
            self.assertEqual(process.wait(30), 7)

    def groups(self):
        for line in open("/proc/self/cgroup"):
            number, controllers, path = line.rstrip("\n").split(":", 2)
            if "cpu" in controllers.split(","):
                for mount in open("/proc/self/mountinfo"):
                    words = mount.split()
                    if "cgroup" in words and "cpu" in words[-1].split(","):
                        where = words[4] + path
                        return [name for name in os.listdir(where) if name.startswith("postern-")]
        return []

    def test_nothing_is_left(self):
        before = set(self.groups())
        self.expect(run("--cpus", "0.5", "--", "true"))
        with subprocess.Popen([command.POSTERN, "run", "--cpus", "0.5", "--", "sh", "-c", "echo ready; while :; do :; done"],
                              stdout=subprocess.PIPE, cwd=command.WORK) as process:
            self.assertEqual(process.stdout.readline(), b"ready\n")
            mine = f"postern-{process.pid}"
            process.kill()
        for _ in range(100):
            if mine not in self.groups():
                break
            time.sleep(0.1)
        self.assertNotIn(mine, self.groups(), before)


class Time(Case):
    def test_message(self):
        start = time.monotonic()
        self.expect(run("--timeout", "300ms", "--", "sleep", "30"), 124, "",
                    r"^postern: the time limit of 0.3 s was reached \(--timeout raises it\); the program was ended\n$")
        self.assertLess(time.monotonic() - start, 5)


class Report(Case):
    def test_json(self):
        outcome = run("--quiet", "--stats=json", "--memory", "1g", "--disk", "8m", "--pids", "100", "--", "sh", "-c",
                      "head -c 9m /dev/zero > /tmp/x")
        stats = json.loads(outcome.err[outcome.err.index("{"):])
        self.assertEqual((stats["memory_limit_bytes"], stats["disk_limit_bytes"], stats["process_limit"], stats["cpus"]),
                         (1024 * MIB, 8 * MIB, 100, 0))
        self.assertEqual(stats["limits_reached"], ["disk"])

    def test_throttle_is_told_where_asked_for(self):
        words = ("--cpus", "0.02", "--", "timeout", "0.5", "sh", "-c", "while :; do :; done")
        self.assertNotIn("throttled", run(*words).err)
        for option in ("--stats", "--verbose"):
            self.assertRegex(run(option, *words).err, r"postern: throttled for \d+\.\d s \(--cpus 0\.02\)")


if __name__ == "__main__":
    sys.exit(main())
