#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reports of crashes, of programs and of Postern itself, and gdb from outside."""
import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest

POSTERN = GUEST = LIBOS_GUEST = SCRIPT = ""
GDB_TIMEOUT = 120


class Outcome:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    def __str__(self):
        return f"status {self.status}\nstdout: {self.out!r}\nstderr: {self.err}"


def run(*words, options=()):
    command = [POSTERN, "run", "--timeout", "30", *options, "-v", os.path.dirname(GUEST), "--", *words]
    # Directories of the caller's path may be out of the view, and then reports name what was looked for there.
    environment = {**os.environ, "PATH": "/usr/local/bin:/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    return Outcome(done.returncode, done.stdout, done.stderr)


class Crashes(unittest.TestCase):
    def full(self, what):
        outcome = run(GUEST, what, options=("--crash-report",))
        stack = re.findall(r"^  #\d+ +[0-9a-f]{16}  (?:(\S+)\+0x[0-9a-f]+  )?(\S*)", outcome.err, re.M)
        return outcome, [name for name, _ in stack]

    def in_order(self, stack, *names):
        rest = iter(stack)
        self.assertTrue(all(any(found == name for found in rest) for name in names), stack)

    def test_short_line(self):
        outcome = run(GUEST, "sort")
        self.assertEqual(outcome.status, 128 + signal.SIGSEGV)
        self.assertRegex(outcome.err, r"^postern: process 2 \(debug-guest\) was ended by SIGSEGV: address not mapped 0x0, "
                                      r"at 0x[0-9a-f]+ \S*/debug-guest\+0x[0-9a-f]+\n$")

    def test_quiet(self):
        self.assertEqual(run(GUEST, "sort", options=("--quiet",)).err, "")
        self.assertEqual(run(GUEST, "sort", options=("--crash-report=none",)).err, "")

    def test_deliberate_ones_do_not_flood(self):
        outcome = run(GUEST, "many")
        self.assertEqual(outcome.err.count("was ended by SIGILL"), 3, outcome)
        self.assertIn("further ones are not reported", outcome.err)

    def test_signals_of_others_are_no_crash(self):
        self.assertEqual(run(GUEST, "killed").err, "")
        self.assertEqual(run("sh", "-c", "kill -TERM $$").err, "")

    def test_stack_through_a_library(self):
        outcome, stack = self.full("sort")
        self.in_order(stack, "read_null", "qsort_r", "sort_numbers", "main", "_start")
        self.assertRegex(outcome.err, r"  rax [0-9a-f]{16}  rbx ")
        self.assertRegex(outcome.err, r"last system calls[^#]*getppid\(\) = 1\n")

    def test_call_of_no_code(self):
        outcome, stack = self.full("jump")
        self.in_order(stack, "jump_away", "main")
        self.assertIn("address not mapped 0x10, at 0x10", outcome.err)

    def test_stack_through_a_signal_handler(self):
        outcome, stack = self.full("handler")
        self.in_order(stack, "handler", "raise", "raise_usr1", "main")
        self.assertRegex(outcome.err, r"rt_sigaction\(SIGUSR1, .*\n(.*\n)*.*tgkill\(2, 2, SIGUSR1\) = 0")

    def test_abort(self):
        outcome, stack = self.full("abort")
        self.assertEqual(outcome.status, 128 + signal.SIGABRT)
        self.assertIn("SIGABRT: raised by itself", outcome.err)
        self.in_order(stack, "abort", "_start")

    def test_thread(self):
        outcome, stack = self.full("thread")
        self.in_order(stack, "read_null", "sort_numbers", "in_thread")
        self.assertIn("(debug-guest, thread 3) was ended by SIGSEGV", outcome.err)

    def test_vfork_context(self):
        _, stack = self.full("vfork")
        self.in_order(stack, "read_null", "sort_numbers", "main")

    def test_nothing_caught_is_reported(self):
        script = "import faulthandler, signal, os; signal.signal(signal.SIGABRT, lambda *a: os._exit(3)); os.abort()"
        script = script.replace("os.abort()", "os.kill(os.getpid(), signal.SIGABRT)")
        outcome = run("python3", "-c", script)
        self.assertEqual((outcome.status, outcome.err), (3, ""))

    def test_failure_of_the_library_os(self):
        outcome = run("x", "crash", options=("--libos", LIBOS_GUEST, "--quiet"))
        self.assertEqual(outcome.status, 125, outcome)
        self.assertRegex(outcome.err, r"fault in the library OS: signal 11 at 0x[0-9a-f]+, address 0x8")
        self.assertRegex(outcome.err, r"Postern itself failed: signal 11 in picoprocess \d+")
        self.assertRegex(outcome.err, r"libos!LibOsInitialize\+0x")


class Gdb(unittest.TestCase):
    """gdb -p with the script that is installed beside the images."""

    def setUp(self):
        command = [POSTERN, "run", "--timeout", "200", "-v", os.path.dirname(GUEST), "--", GUEST, "wait"]
        self.run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.assertEqual(self.run.stdout.readline(), "ready\n")
        self.process = self.picoprocess()
        time.sleep(0.2)  # it has said so a moment before it waits

    def tearDown(self):
        self.run.terminate()
        self.run.wait(timeout=30)
        self.run.stdout.close()

    def picoprocess(self):
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                with open(f"/proc/{name}/maps", encoding="utf-8", errors="replace") as file:
                    maps = file.read()
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            if parent == self.run.pid and "debug-guest" in maps and "libexec/postern/libos" in maps:
                return int(name)
        self.fail("no picoprocess of the run was found")
        return 0

    def gdb(self, *commands):
        words = ["gdb", "-nx", "-q", "-batch", "-p", str(self.process), "-x", SCRIPT]
        for command in commands:
            words += ["-ex", command]
        done = subprocess.run(words, capture_output=True, text=True, timeout=GDB_TIMEOUT, check=False,
                              env=dict(os.environ, DEBUGINFOD_URLS=""))
        return done.stdout + done.stderr

    def test_symbols_and_stacks(self):
        out = self.gdb("postern modules", "postern stack", "postern registers")
        self.assertRegex(out, r"debug-guest")
        self.assertRegex(out, r"libc\.so\.6")
        self.assertRegex(out, r"#\d+ .*serve_system_call")
        self.assertRegex(out, r"#\d+ .*pause")
        self.assertRegex(out, r"#\d+ .*wait_here")
        self.assertRegex(out, r"#\d+ .*main ")
        self.assertIn("system call: 34", out)  # pause(2)
        self.assertIsNone(self.run.poll())


class Inside(unittest.TestCase):
    """strace and gdb of programs beside them, inside one run."""

    def test_strace(self):
        outcome = run("strace", "-f", "-o", "/dev/stderr", "-e", "trace=execve,exit_group", "sh", "-c",
                      "(exit 3); ls / | wc -l; exit 4", options=("--quiet",))
        self.assertEqual(outcome.status, 4, outcome)
        self.assertGreater(int(outcome.out), 5)
        # Two that begin at the same time: the first one's line is cut short and resumed later.
        programs = re.findall(r'^\d+ +execve\("[^"]*/(\w+)", .*(?: = 0|<unfinished \.\.\.>)$', outcome.err, re.M)
        self.assertEqual(sorted(programs), ["ls", "sh", "wc"])
        self.assertEqual(sorted(re.findall(r"exit_group\((\d+)", outcome.err)), ["0", "0", "3", "4"])
        self.assertEqual(len(re.findall(r"\+\+\+ exited with ", outcome.err)), 4)

    def test_gdb(self):
        commands = []
        for command in ("break wait_here", "run wait", "backtrace", "print sink", "set variable sink = 5", "print sink",
                        "stepi", "info registers rip", "kill"):
            commands += ["-ex", command]
        outcome = run("gdb", "-nx", "-q", "-batch", *commands, GUEST, options=("--quiet",))
        self.assertIn("Breakpoint 1, wait_here", outcome.out)
        self.assertRegex(outcome.out, r"#0  wait_here .*\n#1  0x\w+ in main \(")
        self.assertRegex(outcome.out, r"\$1 = 0\n\$2 = 5\n")
        self.assertRegex(outcome.out, r"rip .* <wait_here\+\d+>")


def main():
    global POSTERN, GUEST, LIBOS_GUEST, SCRIPT
    parser = argparse.ArgumentParser()
    parser.add_argument("--postern", required=True)
    parser.add_argument("--guest", required=True)
    parser.add_argument("--libos-guest", required=True)
    parser.add_argument("--script", required=True)
    parser.add_argument("tests", nargs="*")
    arguments = parser.parse_args()
    POSTERN, GUEST = os.path.realpath(arguments.postern), os.path.realpath(arguments.guest)
    LIBOS_GUEST, SCRIPT = os.path.realpath(arguments.libos_guest), os.path.realpath(arguments.script)
    if "Inside" in arguments.tests and (shutil.which("gdb") is None or shutil.which("strace") is None):
        print("SKIP: gdb or strace is not installed")
        return 77
    if "Gdb" in arguments.tests:
        if shutil.which("gdb") is None:
            print("SKIP: gdb is not installed")
            return 77
        if os.getuid() != 0:
            print("SKIP: attaching to a picoprocess needs root")
            return 77
    return 0 if unittest.main(argv=["run.py", *arguments.tests], exit=False).result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
