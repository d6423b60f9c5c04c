#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`postern run -t` as a person at a terminal sees it: keys, job control, window size, and what is left of the terminal.

  terminal.py --postern FILE [TEST ...]
"""
import argparse
import fcntl
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
import unittest

POSTERN = "postern"
PATIENCE = 30
PROMPT = b"prompt> "


class Screen:
    """A command in a pseudo-terminal of this test's own, which stays open on our side so that it can be looked at."""

    def __init__(self, *words, rows=24, columns=80, tty=True):
        self.master, self.slave = os.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""
        self.status = None
        self.process = os.fork()
        if self.process == 0:
            os.setsid()
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
            for fd in (0, 1, 2):
                os.dup2(self.slave, fd)
            environment = {"PATH": "/usr/bin:/bin", "TERM": "xterm", "LANG": "C.UTF-8", "HOME": "/root", "PS1": "prompt> "}
            option = ["-t"] if tty else []
            os.execve(POSTERN, [POSTERN, "run", "--quiet", "--timeout", "60", "-e", "PS1", *option, "--", *words], environment)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys):
        os.write(self.master, keys)

    def fill(self, seconds):
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        self.seen += os.read(self.master, 65536)
        return True

    def expect(self, text):
        """Waits for `text`; what came before it is forgotten."""
        end = time.monotonic() + PATIENCE
        while text not in self.seen:
            if time.monotonic() > end:
                raise AssertionError(f"no {text!r} in {self.seen[-2000:]!r}")
            self.fill(0.1)
        before, _, self.seen = self.seen.partition(text)
        return before

    def wait(self):
        end = time.monotonic() + PATIENCE
        while self.status is None:
            done, status = os.waitpid(self.process, os.WNOHANG)
            if done:
                self.status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                raise AssertionError(f"does not end; {self.seen[-2000:]!r}")
            self.fill(0.02)
        while self.fill(0):
            pass
        return self.status

    def settings(self):
        return termios.tcgetattr(self.slave)

    def close(self):
        if self.status is None:
            os.kill(self.process, signal.SIGKILL)
            os.waitpid(self.process, 0)
        os.close(self.master)
        os.close(self.slave)


class Case(unittest.TestCase):
    def start(self, *words, **more):
        screen = Screen(*words, **more)
        self.addCleanup(screen.close)
        return screen

    def shell(self):
        screen = self.start("bash", "--norc", "--noediting", "-i")
        screen.expect(PROMPT)
        return screen

    def finish(self, screen, status=0):
        self.assertEqual(screen.wait(), status, screen.seen[-2000:])
        self.assertEqual(screen.settings(), screen.before)


class Terminal(Case):
    def test_the_program_has_one(self):
        screen = self.start("sh", "-c", "tty; tty </dev/tty; test -t 0 && test -t 1 && test -t 2 && stty size; exit 7")
        screen.expect(b"/dev/pts/0\r\n")
        screen.expect(b"/dev/tty\r\n")
        screen.expect(b"24 80\r\n")
        self.finish(screen, 7)

    def test_none_without_asking(self):
        screen = self.start("sh", "-c", "tty; test -t 1 || echo piped; stty -a </dev/tty || echo none", tty=False)
        screen.expect(b"not a tty\r\n")
        screen.expect(b"piped\r\n")
        screen.expect(b"none\r\n")
        self.finish(screen)

    def test_without_a_terminal(self):
        done = subprocess.run([POSTERN, "run", "-it", "--", "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        self.assertEqual(done.returncode, 125)
        self.assertIn(b"the input device is not a TTY", done.stderr)

    def test_keys_are_the_programs(self):
        screen = self.start("sh", "-c", "stty raw -echo; echo ready; dd bs=1 count=4 2>/dev/null | od -An -tx1")
        screen.expect(b"ready\n")
        self.assertNotEqual(screen.settings(), screen.before)
        screen.type(b"\x03\x1a\x13\r")
        screen.expect(b"03 1a 13 0d")
        self.finish(screen)

    def test_much_of_both(self):
        screen = self.start("sh", "-c", "stty raw -echo; seq 1 20000; echo go; head -c 50000 | md5sum; seq 1 3000")
        shown = screen.expect(b"go\n")
        self.assertTrue(shown.endswith(b"19999\n20000\n"))
        self.assertEqual(len(shown.split(b"\n")), 20001)
        for _ in range(100):
            screen.type(b"0123456789" * 50)
        screen.expect(b"  -")
        screen.expect(b"\n2999\n3000\n")
        self.finish(screen)

    def test_window(self):
        screen = self.start("bash", "-c", "trap 'stty size; exit' WINCH; echo ready; while :; do read -t 0.1; done")
        screen.expect(b"ready")
        screen.resize(33, 99)
        screen.expect(b"33 99")
        self.finish(screen)


class Wall(Case):
    def test_no_descriptor_of_a_terminal_inside(self):
        screen = self.start("sh", "-c", "sleep 100 & echo ready; wait")
        screen.expect(b"ready")
        inside = 0
        for process in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{process}/stat", encoding="latin-1") as file:
                    name, parent = file.read().rsplit(")", 1)[0].split("(", 1)[1], 0
                with open(f"/proc/{process}/status", encoding="latin-1") as file:
                    parent = next(int(line.split()[1]) for line in file if line.startswith("PPid:"))
                if parent != screen.process or name.startswith("postern-"):
                    continue
                targets = [os.readlink(f"/proc/{process}/fd/{fd}") for fd in os.listdir(f"/proc/{process}/fd")]
            except (FileNotFoundError, ProcessLookupError):
                continue
            except PermissionError:
                self.skipTest("only root can look")
            inside += 1
            self.assertFalse([target for target in targets if target.startswith(("/dev/pts", "/dev/tty", "socket:"))])
        self.assertGreaterEqual(inside, 1)


class Jobs(Case):
    def test_stop_and_continue(self):
        screen = self.shell()
        screen.type(b"sleep 100\r")
        screen.expect(b"sleep 100\r\n")
        time.sleep(0.3)
        screen.type(b"\x1a")
        screen.expect(b"Stopped")
        screen.expect(PROMPT)
        screen.type(b"bg; jobs\r")
        screen.expect(b"sleep 100 &\r\n")
        screen.expect(b"Running")
        screen.expect(PROMPT)
        screen.type(b"fg\r")
        screen.expect(b"sleep 100\r\n")
        time.sleep(0.3)
        screen.type(b"\x03")
        screen.expect(PROMPT)
        screen.type(b"echo status $?\r")
        screen.expect(b"status 130\r\n")
        screen.type(b"exit 3\r")
        self.finish(screen, 3)

    def test_interrupt_of_a_busy_program(self):
        screen = self.shell()
        screen.type(b"while :; do :; done\r")
        screen.expect(b"done\r\n")
        time.sleep(0.3)
        screen.type(b"\x03")
        screen.expect(PROMPT)
        screen.type(b"exit\r")
        self.finish(screen, 130)

    def test_background_reader_stops(self):
        screen = self.shell()
        screen.type(b"cat &\r")
        screen.expect(PROMPT)
        time.sleep(0.3)
        screen.type(b"jobs\r")
        screen.expect(b"Stopped")
        screen.expect(PROMPT)
        screen.type(b"fg\r")
        screen.expect(b"cat\r\n")
        screen.type(b"words\r")
        screen.expect(b"words\r\nwords\r\n")
        screen.type(b"\x04")
        screen.expect(PROMPT)
        screen.type(b"exit 0\r")
        self.finish(screen)


class Ends(Case):
    """However it ends, the terminal is as before."""

    def raw(self):
        screen = self.start("sh", "-c", "echo ready; sleep 100")
        screen.expect(b"ready\r\n")
        self.assertNotEqual(screen.settings(), screen.before)
        return screen

    def test_program_killed(self):
        screen = self.start("sh", "-c", "stty raw; kill -KILL $$")
        self.finish(screen, 137)

    def test_command_terminated(self):
        for number in (signal.SIGTERM, signal.SIGHUP):
            screen = self.raw()
            os.kill(screen.process, number)
            self.finish(screen, 128 + number)

    def test_command_killed(self):
        screen = self.raw()
        os.kill(screen.process, signal.SIGKILL)
        self.assertEqual(screen.wait(), -signal.SIGKILL)
        end = time.monotonic() + PATIENCE  # the keeper does it
        while screen.settings() != screen.before and time.monotonic() < end:
            time.sleep(0.01)
        self.assertEqual(screen.settings(), screen.before)

    def test_terminal_gone(self):
        screen = self.raw()
        os.close(screen.slave)
        os.close(screen.master)
        self.assertIn(os.waitstatus_to_exitcode(os.waitpid(screen.process, 0)[1]), (129, -signal.SIGHUP))
        screen.status = 0
        screen.master, screen.slave = os.openpty()

    def test_not_started(self):
        screen = self.start("no-such-program-at-all")
        self.finish(screen, 127)


class Programs(Case):
    def need(self, name):
        if shutil.which(name) is None:
            self.skipTest(f"{name} is not installed")

    def test_vim(self):
        self.need("vim")
        screen = self.start("sh", "-c", "vim -Nu NONE /tmp/text; echo saved: $(cat /tmp/text)")
        screen.expect(b"text")
        screen.type(b"ihello world\x1b")
        screen.expect(b"world")
        screen.type(b":wq\r")
        screen.expect(b"saved: hello world")
        self.finish(screen)

    def test_tmux(self):
        self.need("tmux")
        screen = self.start("tmux", "-f", "/dev/null", "-S", "/tmp/socket", "new-session", "sh")
        screen.expect(b"[0]")
        screen.type(b"echo a-$((6*7)) $(tty)\r")
        screen.expect(b"a-42 /dev/pts/")
        screen.resize(30, 100)
        time.sleep(0.3)
        screen.type(b"stty size\r")
        screen.expect(b"29 100")
        screen.type(b"exit\r")
        screen.expect(b"[exited]")
        self.finish(screen)

    def test_less(self):
        self.need("less")
        screen = self.start("sh", "-c", "seq 1 500 | less")
        screen.expect(b"\r\n23\r\n")
        screen.type(b"G")
        screen.expect(b"500")
        screen.type(b"q")
        self.finish(screen)

    def test_top(self):
        self.need("top")
        screen = self.start("top", "-d", "1")
        screen.expect(b"load average")
        screen.expect(b"top")
        screen.type(b"q")
        self.finish(screen)

    def test_script(self):
        self.need("script")
        screen = self.start("script", "-qec", "stty rows 33 cols 99; tty; stty size; exit 5", "/dev/null")
        screen.expect(b"/dev/pts/1")
        screen.expect(b"33 99")
        self.finish(screen, 5)


def main():
    global POSTERN
    parser = argparse.ArgumentParser()
    parser.add_argument("--postern", required=True)
    parser.add_argument("tests", nargs="*")
    arguments = parser.parse_args()
    POSTERN = os.path.abspath(arguments.postern)
    loader = unittest.defaultTestLoader
    module = sys.modules["__main__"]
    suite = loader.loadTestsFromNames(arguments.tests, module) if arguments.tests else loader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(verbosity=1, stream=sys.stdout).run(suite)
    for test, reason in result.skipped:
        print(f"SKIP: {test}: {reason}")
    return 0 if result.wasSuccessful() else 1


sys.exit(main())
