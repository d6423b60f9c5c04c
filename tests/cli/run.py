#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The command as people use it: options, exit statuses, what is said where. As root also once as an ordinary user.

  run.py --postern FILE [--user ID] [TEST ...]
"""
import argparse
import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

POSTERN = "postern"
WORK = "/"
EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../examples")


class Outcome:
    def __init__(self, done):
        self.status = done.returncode
        self.out = done.stdout.decode("utf-8", "replace")
        self.err = done.stderr.decode("utf-8", "replace")

    def __repr__(self):
        return f"status {self.status}\nstdout: {self.out!r}\nstderr: {self.err}"


def postern(*words, stdin=b"", env=None, cwd=None, timeout=60):
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": WORK + "/home", "LANG": "C.UTF-8", "TERM": "dumb"}
    environment.update(env or {})
    return Outcome(subprocess.run([POSTERN, *words], input=stdin, capture_output=True, env=environment,
                                  cwd=cwd or WORK, timeout=timeout, check=False))


def run(*words, **more):
    return postern("run", *words, **more)


def sh(script, *options, **more):
    return run(*options, "--", "sh", "-c", script, **more)


class Case(unittest.TestCase):
    def expect(self, outcome, status=0, out=None, err=None):
        self.assertEqual(outcome.status, status, outcome)
        if out is not None:
            self.assertEqual(outcome.out, out, outcome)
        if err is not None:
            self.assertRegex(outcome.err, err)


class Usage(Case):
    def test_version(self):
        self.expect(postern("--version"), 0)
        self.assertRegex(postern("--version").out, r"^postern \d+\.\d+\.\d+\n$")

    def test_help_begins_with_examples(self):
        for words in (["--help"], ["run", "--help"], ["help", "run"], ["routes", "--help"]):
            outcome = postern(*words)
            self.expect(outcome)
            self.assertTrue(outcome.out.startswith("Examples:\n  postern "), outcome)

    def test_unknown_option_is_named(self):
        self.expect(run("--tiemout", "3", "--", "true"), 125, "", r"--tiemout.*Did you mean '--timeout'")

    def test_options_of_docker_get_advice(self):
        self.expect(run("--network", "none", "--", "true"), 125, "", "--network.*not supported")

    def test_unknown_command(self):
        self.expect(postern("rnu"), 125, "", "Did you mean 'run'")

    def test_missing_program(self):
        self.expect(run("--quiet"), 125, "", "a program is missing")

    def test_missing_value(self):
        self.expect(run("--timeout"), 125, "", "needs a value")

    def test_bad_values(self):
        for words in (["--timeout", "soon"], ["--memory", "lots"], ["--pids", "0"], ["--disk", "0"], ["--cpus", "0"],
                      ["--cpus", "1x"], ["--cpus", "100000"], ["--stats=xml"], ["-e", "=x"]):
            self.expect(run(*words, "--", "true"), 125, "", words[0].split("=")[0])

    def test_first_positional_ends_options(self):
        self.expect(run("echo", "--timeout", "-v", "--"), 0, "--timeout -v --\n")

    def test_double_dash_is_optional(self):
        self.expect(run("--", "echo", "a"), 0, "a\n")
        self.expect(run("echo", "a"), 0, "a\n")

    def test_no_colour_outside_terminals(self):
        self.assertNotIn("\x1b", run("--bad").err)


class Status(Case):
    def test_own_status(self):
        for status in (0, 1, 42, 255):
            self.expect(sh(f"exit {status}"), status)

    def test_signal(self):
        self.expect(sh("kill -TERM $$"), 128 + signal.SIGTERM)
        self.expect(sh("kill -KILL $$"), 128 + signal.SIGKILL)

    def test_not_found(self):
        self.expect(run("--", "no-such-program-at-all"), 127, "", "no-such-program-at-all")
        self.expect(run("--", "/no/such/program"), 127, "", "/no/such/program")

    def test_not_executable(self):
        self.expect(run("--", "/etc/passwd"), 126, "", "/etc/passwd")
        self.expect(run("--", "/etc"), 126, "", "/etc")

    def test_timeout_not_reached(self):
        self.expect(run("--timeout", "30s", "--", "echo", "in time"), 0, "in time\n")

    def test_missing_volume(self):
        self.expect(run("-v", "/no/such/place", "--", "true"), 125, "", "/no/such/place")

    def test_forwarded_signal(self):
        with subprocess.Popen([POSTERN, "run", "--", "sh", "-c", "trap 'echo caught; exit 9' TERM; echo ready; sleep 20 & wait"],
                              stdout=subprocess.PIPE, cwd=WORK) as process:
            self.assertEqual(process.stdout.readline(), b"ready\n")
            process.terminate()
            self.assertEqual(process.stdout.read(), b"caught\n")
            self.assertEqual(process.wait(10), 9)


class View(Case):
    def setUp(self):
        self.directory = tempfile.mkdtemp(dir=WORK)
        os.chmod(self.directory, 0o755)
        with open(self.directory + "/file", "w", encoding="utf-8") as file:
            file.write("content\n")
        self.addCleanup(shutil.rmtree, self.directory)

    def test_volume_is_read_only_by_default(self):
        self.expect(sh("cat /data/file; echo x >/data/file || echo refused; echo x >/data/new || echo refused",
                       "-v", self.directory + ":/data"), 0, "content\nrefused\nrefused\n")
        self.assertEqual(os.listdir(self.directory), ["file"])

    def test_volume_under_its_own_name(self):
        self.expect(run("-v", self.directory, "--", "cat", self.directory + "/file"), 0, "content\n")

    def test_volume_for_writing(self):
        self.expect(sh("cd /data; echo more >>file; mkdir d; echo y >d/g; mv d/g h; rmdir d; ln -s h l; chmod 600 h; ls",
                       "-v", self.directory + ":/data:rw"), 0, "file\nh\nl\n")
        self.assertEqual(sorted(os.listdir(self.directory)), ["file", "h", "l"])
        with open(self.directory + "/file", encoding="utf-8") as file:
            self.assertEqual(file.read(), "content\nmore\n")
        self.assertEqual(os.stat(self.directory + "/h").st_mode & 0o777, 0o600)

    def test_refused_owners_are_named_as_natively(self):
        script = "cd $0 && chown 0:0 file; echo $?; chown 1 file; echo $?; chmod 640 file; chgrp 0 none; stat -c '%u %a' file"
        natively = subprocess.run(["sh", "-c", script, self.directory], capture_output=True, text=True, timeout=20)
        os.chmod(self.directory + "/file", 0o644)
        inside = run("-v", self.directory + ":rw", "--", "sh", "-c", script, self.directory)
        self.assertEqual((inside.out, inside.err), (natively.stdout, natively.stderr))

    def test_large_directories_are_listed_whole(self):
        for index in range(3000):
            os.close(os.open(f"{self.directory}/name-{index}", os.O_CREAT | os.O_WRONLY, 0o644))
        script = ("import os, sys; os.mkfifo(sys.argv[1] + '/pipe'); names = os.listdir(sys.argv[1]); "
                  "print(len(names), len(set(names)), 'pipe' in names)")
        for option in ("", ":rw"):
            inside = run("-v", self.directory + option, "--", "python3", "-c",
                         script if option else script.replace("os.mkfifo", "str"), self.directory)
            self.expect(inside, 0, "3002 3002 True\n" if option else "3001 3001 False\n")

    def test_volume_of_one_file(self):
        self.expect(run("-v", self.directory + "/file:/etc/postern-test", "--", "cat", "/etc/postern-test"), 0, "content\n")

    def test_links_do_not_lead_out(self):
        os.symlink("/etc/shadow", self.directory + "/link")
        os.symlink("../../../../../../etc/shadow", self.directory + "/up")
        outcome = sh("cat /data/link /data/up; echo $?", "-v", self.directory + ":/data:rw")
        self.assertEqual(outcome.out, "1\n", outcome)

    def test_shadow_is_not_there(self):
        self.expect(sh("test -e /etc/shadow || echo none; test -r /etc/passwd && echo passwd; test -d /root/.ssh || echo none"),
                    0, "none\npasswd\nnone\n")

    def test_private_tmp_and_home(self):
        name = f"/tmp/postern-canary-{os.getpid()}"
        with open(name, "w", encoding="utf-8") as file:
            file.write("outside\n")
        try:
            self.expect(sh(f"test -e {name} || echo hidden; echo inside >{name}; cat {name}; echo x >~/f && cat ~/f"),
                        0, "hidden\ninside\nx\n")
            with open(name, encoding="utf-8") as file:
                self.assertEqual(file.read(), "outside\n")
        finally:
            os.unlink(name)

    def test_tmp_is_fresh_each_time(self):
        self.expect(sh("echo x >/tmp/left"), 0)
        self.expect(sh("test -e /tmp/left || echo gone"), 0, "gone\n")

    def test_system_is_read_only(self):
        self.expect(sh("echo x >/usr/bin/x || echo no; rm /bin/ls || echo no; ls /usr/bin/env"), 0, "no\nno\n/usr/bin/env\n")

    def test_working_directory(self):
        self.expect(run("--", "sh", "-c", "cat file; echo x >file || echo no; pwd", cwd=self.directory), 0,
                    "content\nno\n" + os.path.realpath(self.directory) + "\n")

    def test_working_directory_option(self):
        self.expect(run("-w", "/usr/share", "--", "pwd"), 0, "/usr/share\n")
        self.expect(run("-v", self.directory + ":/data", "-w", "/data", "--", "cat", "file"), 0, "content\n")

    def test_missing_working_directory(self):
        self.expect(run("-w", "/no/such", "--", "true"), 125, "", "-w /no/such")
        self.expect(run("-w", "/etc/passwd", "--", "true"), 125, "", "-w /etc/passwd")
        self.expect(run("-w", "/tmp", "--", "pwd"), 0, "/tmp\n")

    def test_root(self):
        busybox = shutil.which("busybox")
        if busybox is None:
            self.skipTest("needs busybox (apt-get install busybox-static)")
        os.makedirs(self.directory + "/root/bin")
        shutil.copy(busybox, self.directory + "/root/bin/busybox")
        self.expect(run("--root", self.directory + "/root", "--", "/bin/busybox", "ls", "/bin"), 0, "busybox\n")
        outcome = run("--root", self.directory + "/root", "--", "/bin/busybox", "ls", "/usr")
        self.assertNotEqual(outcome.status, 0, outcome)
        self.expect(run("--root", self.directory + "/root", "--", "/bin/busybox", "pwd"), 0, "/\n")

    def test_refused_names_are_listed(self):
        outcome = run("--", "cat", "/etc/shadow")
        self.assertEqual(outcome.status, 1, outcome)
        self.assertRegex(outcome.err, r"postern: 1 name exists outside and was refused:\n  /etc/shadow  \(.+\)  allow with: -v /etc/shadow")

    def test_quiet(self):
        self.assertNotIn("postern:", run("--quiet", "--", "cat", "/etc/shadow").err)

    def test_what_does_not_exist_is_not_listed(self):
        self.assertNotIn("postern:", run("--", "cat", "/no/such/file").err)

    def test_suggested_flag_works(self):
        name = "/var/lib/dpkg/status"  # of this machine, and none of a program's business
        if not os.path.exists(name):
            self.skipTest("needs a file outside the default view")
        outcome = run("--", "head", "-c", "8", name)
        self.assertEqual(outcome.status, 1, outcome)
        flag = re.search(r"allow with: (-v \S+)", outcome.err)
        self.assertIsNotNone(flag, outcome)
        self.expect(run(*flag.group(1).split(), "--", "head", "-c", "8", name), 0, "Package:")

    def test_routes(self):
        outcome = postern("routes", "-v", self.directory + ":/data:rw")
        self.expect(outcome)
        self.assertIn("/data", outcome.out)
        self.assertIn("-v " + self.directory + ":/data:rw", outcome.out)
        rules = json.loads(postern("routes", "--json", "-v", self.directory + ":/data").out)
        self.assertTrue(isinstance(rules, list) and len(rules) > 5)


class Examples(Case):
    def setUp(self):
        # Other users may not be able to look into the source tree.
        self.directory = WORK + "/examples"
        shutil.copytree(EXAMPLES, self.directory)
        self.addCleanup(shutil.rmtree, self.directory)

    def test_hello(self):
        outcome = run("./hello.sh", cwd=self.directory)
        self.expect(outcome)
        self.assertTrue(outcome.out.startswith("hello from Linux, process 2, parent 1\nmy /tmp has 0 files"), outcome)
        self.assertTrue(outcome.out.endswith("no /etc/shadow here\n"), outcome)

    def test_largest(self):
        outcome = run("-v", "/usr/share/common-licenses:/data", "--", "sh", "largest.sh", "/data", cwd=self.directory)
        self.expect(outcome)
        self.assertIn("GPL-3", outcome.out)


class Environment(Case):
    def test_default_variables(self):
        secrets = ["SECRET_TOKEN", "github_token", "DB_PASSWORD", "AWS_REGION", "MY_API_KEY", "SIGNING_KEY", "SSH_AUTH_SOCK"]
        outside = ["TMPDIR", "XDG_RUNTIME_DIR"]
        outcome = run("--", "env", env={"LC_ALL": "C", "USER": "someone", "PLAIN": "p", "KEYBOARD": "k", "TOKE": "t",
                                        **{name: "x" for name in secrets + outside}})
        self.expect(outcome)
        for name in secrets + outside:
            self.assertNotIn(name + "=", outcome.out)
        for pair in ("PLAIN=p", "KEYBOARD=k", "TOKE=t"):
            self.assertIn(pair + "\n", outcome.out)
        self.expect(run("-e", "DB_PASSWORD", "-e", "TMPDIR=/t", "--", "sh", "-c", "echo $DB_PASSWORD $TMPDIR",
                        env={"DB_PASSWORD": "x"}), 0, "x /t\n")
        outcome = run("-e", "PLAIN", "--clear-env", "--", "env", env={"LC_ALL": "C", "USER": "someone", "PLAIN": "p", "OTHER": "o"})
        self.assertIn("PLAIN=p\n", outcome.out)
        self.assertNotIn("OTHER=", outcome.out)
        self.assertIn("LC_ALL=C\n", outcome.out)
        self.assertIn("USER=someone\n", outcome.out)
        self.assertIn("HOME=", outcome.out)

    def test_set_and_pass(self):
        self.expect(sh("echo $A-$B-$C", "-e", "A=1 2", "-e", "B", "-e", "C", env={"B": "outer"}), 0, "1 2-outer-\n")

    def test_override(self):
        self.expect(sh("echo $LANG", "-e", "LANG=C"), 0, "C\n")

    def test_path_decides_inside(self):
        self.expect(run("-e", "PATH=/nowhere", "--", "true"), 127)


class Streams(Case):
    def test_standard_input(self):
        self.expect(run("--", "wc", "-c", stdin=b"12345"), 0, "5\n")
        self.expect(run("-i", "--", "tr", "a-z", "A-Z", stdin=b"hello"), 0, "HELLO")

    def test_large_streams(self):
        self.assertEqual(run("--", "cat", stdin=b"x" * 1000000).out, "x" * 1000000)

    def test_output_order_and_streams(self):
        self.expect(sh("echo out; echo err >&2"), 0, "out\n", "^err\n")

    def test_closed_reader(self):
        with subprocess.Popen([POSTERN, "run", "--quiet", "--", "yes"], stdout=subprocess.PIPE, cwd=WORK) as process:
            process.stdout.read(10)
            process.stdout.close()
            self.assertEqual(process.wait(20), 128 + signal.SIGPIPE)

    def test_file_offset_is_shared(self):
        with tempfile.TemporaryFile() as file:
            for word in ("one", "two"):
                subprocess.run([POSTERN, "run", "--", "echo", word], stdout=file, cwd=WORK, check=True, timeout=60)
            file.seek(0)
            self.assertEqual(file.read(), b"one\ntwo\n")

    def test_leftover_children_end(self):
        start = time.monotonic()
        self.expect(sh("sleep 60 >/dev/null 2>&1 & echo started"), 0, "started\n")
        self.assertLess(time.monotonic() - start, 5)

    def test_wait_all(self):
        self.expect(sh("(sleep 0.5; echo later) & echo first", "--wait-all"), 0, "first\nlater\n")


class Reports(Case):
    def test_trace(self):
        outcome = run("--trace", "--", "cat", "/etc/debian_version")
        self.expect(outcome)
        self.assertRegex(outcome.err, r'openat\(.*"/etc/debian_version".*\) = \d')
        self.assertRegex(outcome.err, r"exit_group\(0")

    def test_trace_errors_are_named(self):
        self.assertRegex(run("--trace", "--", "cat", "/no/such").err, r'"/no/such".* = -1 ENOENT|"/no/such".*ENOENT')

    def test_trace_to_file(self):
        with tempfile.TemporaryDirectory(dir=WORK) as directory:
            outcome = run("--trace=" + directory + "/log", "--", "true")
            self.expect(outcome, 0, "", "^$")
            with open(directory + "/log", encoding="utf-8") as file:
                self.assertIn("exit_group(0)", file.read())

    def test_trace_gate(self):
        self.assertRegex(run("--trace=gate", "--", "true").err, r"DkProcessExit\(")

    def requests(self, script):
        outcome = run("--quiet", "--stats=json", "--", "/usr/bin/perl", "-e", script)
        self.assertEqual(outcome.status, 0, outcome.err)
        return json.loads(outcome.err)["monitor_requests"]

    def test_names_seen_before_are_not_asked_for(self):
        file, directory = "/usr/share/common-licenses/GPL-3", "/usr/share/common-licenses"
        once = "open(F,'<','%s')||die; read(F,$a,100); close F; stat('%s'); -e '%s.none';" % (file, file, file)
        once += "opendir(D,'%s')||die; @n=readdir D; @n>5||die; closedir D;" % directory
        alone = self.requests(once)
        self.assertLessEqual(self.requests("for (1..200) {%s}" % once), alone + 2)

    def traced(self, *words):
        """The names of the calls that were traced, in order."""
        outcome = run("--quiet", *words)
        return re.findall(r"^\[\d+\] (\w+)\(", outcome.err, re.M)

    def test_trace_filters(self):
        all_calls = set(self.traced("--trace", "--", "cat", "/etc/passwd"))
        self.assertTrue({"openat", "read", "mmap", "brk", "exit_group"} <= all_calls)
        self.assertEqual(set(self.traced("--trace-filter=openat,brk", "--", "cat", "/etc/passwd")), {"openat", "brk"})
        self.assertEqual(set(self.traced("--trace-filter=trace=!%desc,%file", "--", "cat", "/etc/passwd")) &
                         {"openat", "read", "mmap", "fstat", "newfstatat", "close"}, set())
        self.assertTrue({"brk", "exit_group"} <= set(self.traced("--trace-filter=!%desc", "--", "cat", "/etc/passwd")))
        self.assertEqual(set(self.traced("--trace-filter=/^exit", "--", "true")), {"exit_group"})
        self.assertEqual(set(self.traced("--trace-filter=memory", "--", "true")) - {"mmap", "munmap", "mprotect", "brk"}, set())
        self.assertEqual(self.traced("--trace-filter=none", "--", "true"), [])
        self.assertEqual(self.traced("--trace-filter=?nonsense,%ipc", "--", "true"), [])
        self.assertIn("Did you mean 'openat'", run("--trace-filter=openta", "--", "true").err)

    def test_trace_paths(self):
        script = "cd /etc; cat passwd group >/dev/null; cat /dev/null"
        outcome = run("--quiet", "--trace-path=/etc/passwd", "--", "sh", "-c", script)
        calls = re.findall(r"^\[\d+\] (.*)", outcome.err, re.M)
        self.assertTrue(any(re.match(r'openat\(AT_FDCWD, "passwd", O_RDONLY', call) for call in calls), calls)
        self.assertTrue(any(call.startswith("read(") for call in calls), calls)
        self.assertFalse(any("group" in call or "null" in call or "/etc\"" in call for call in calls), calls)
        outcome = run("--quiet", "--trace-path=/etc/", "--trace-filter=openat", "--", "sh", "-c", script)
        self.assertEqual(outcome.err.count('"group"'), 1)

    def test_trace_times(self):
        lines = run("--quiet", "--trace-times", "--trace-filter=openat", "--", "true").err.splitlines()
        self.assertTrue(lines)
        for line in lines:
            self.assertRegex(line, r"^\[\d+\] \d{9,}\.\d{6} openat\(.* <\d+\.\d{6}>$")

    def test_trace_as_json(self):
        script = "(exit 3); ls -l '/a\"\\\\\001' 2>/dev/null; exit 0"
        outcome = run("--quiet", "--trace-format=json", "--", "sh", "-c", script)
        records = [json.loads(line) for line in outcome.err.splitlines()]
        self.assertGreater(len({record["pid"] for record in records}), 2)
        ends = [record["arguments"] for record in records if record["call"] == "exit_group"]
        self.assertIn(["3"], ends)
        failed = [record for record in records if record.get("error") == "ENOENT"]
        self.assertTrue(failed)
        self.assertTrue(all(record["result"] == -1 and record["seconds"] >= 0 for record in failed))

    def test_trace_for_chrome(self):
        with tempfile.TemporaryDirectory() as directory:
            os.chmod(directory, 0o777)
            self.expect(run("--trace=" + directory + "/log", "--trace-format=chrome", "--", "sh", "-c", "ls / >/dev/null; true"))
            with open(directory + "/log", encoding="utf-8") as file:
                events = json.load(file)
        calls = [event for event in events if event["ph"] == "X"]
        self.assertGreater(len({event["tid"] for event in calls}), 1)
        self.assertTrue(all(event["dur"] >= 0 and event["ts"] > 0 for event in calls))
        self.assertTrue({"sh", "ls"} <= {event["args"]["name"] for event in events if event["ph"] == "M"})

    def test_stats_json(self):
        outcome = run("--quiet", "--stats=json", "--", "ls", "/")
        self.expect(outcome)
        stats = json.loads(outcome.err)
        self.assertGreater(stats["system_calls"], 10)
        self.assertGreater(stats["gate_calls"], 5)
        self.assertGreater(stats["host_calls"], 5)
        self.assertGreater(stats["peak_memory_bytes"], 100000)
        self.assertGreater(stats["wall_ns"], 100000)
        self.assertEqual(stats["status"], 0)

    def test_stats_text(self):
        self.assertRegex(run("--stats", "--", "true").err, r"postern: \d+ system calls inside")

    def test_absent_calls_are_reported_once(self):
        script = "import ctypes; l=ctypes.CDLL(None, use_errno=True); [print(l.syscall(134, 0, 0, 0), ctypes.get_errno()) for _ in range(2)]"
        outcome = run("--", "python3", "-c", script)
        self.expect(outcome, 0, "-1 38\n-1 38\n")
        self.assertEqual(outcome.err.count("uselib"), 1, outcome)

    def test_gate_json(self):
        table = json.loads(postern("gate", "--json").out)
        self.assertIn("DkStreamOpen", json.dumps(table))

    def test_syscalls_json(self):
        table = json.loads(postern("syscalls", "--json").out)
        rows = table if isinstance(table, list) else table["calls"]
        names = {row["name"] for row in rows}
        self.assertTrue({"read", "openat", "clone", "execve"} <= names)
        self.assertTrue({row["level"] for row in rows} <= {"full", "partial", "absent"})

    def test_wall_json(self):
        rules = json.loads(postern("wall", "--json").out)
        self.assertLessEqual(len({rule["number"] for rule in rules}), 44)
        self.assertTrue(all(rule["reason"] for rule in rules))

    def test_manual_page_is_complete(self):
        page = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/man/postern.1")
        with open(page, encoding="utf-8") as file:
            text = file.read().replace("\\-", "-")
        for command in ("run", "routes", "gate", "syscalls", "wall"):
            for option in re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", postern(command, "--help").out, re.M):
                self.assertIn(option, text)

    def test_waiting_for_nothing_asks_for_nothing(self):
        """An expired timer that nobody wants to read from wakes nobody: the wait sleeps, and does not look again and again."""
        script = ("import ctypes, select\n"
                  "libc = ctypes.CDLL(None)\n"
                  "timer = libc.timerfd_create(1, 0)\n"
                  "libc.timerfd_settime(timer, 0, (ctypes.c_long * 4)(0, 0, 0, 1), None)\n"
                  "poll, epoll = select.poll(), select.epoll()\n"
                  "poll.register(timer, 0); epoll.register(timer, 0)\n"
                  "print(poll.poll(300), epoll.poll(0.3), select.select([], [timer], [], 0.2)[0])\n")
        outcome = run("--stats=json", "--", "python3", "-c", script)
        self.expect(outcome, 0, "[] [] []\n")
        self.assertLess(json.loads(outcome.err.strip().splitlines()[-1])["gate_calls"], 3000)


class Cache(Case):
    """Prepared code: that it is used, and that no program can change what other runs execute."""

    def setUp(self):
        self.home = tempfile.mkdtemp(dir=WORK)
        os.chmod(self.home, 0o755)
        self.env = {"HOME": self.home, "XDG_CACHE_HOME": self.home + "/deep/cache"}
        self.texts = self.home + "/deep/cache/postern/text"

    def tearDown(self):
        shutil.rmtree(self.home)

    def traps(self, *options, program=("/bin/true",)):
        outcome = run("--stats=json", *options, "--", *program, env=self.env)
        self.expect(outcome, 0)
        return json.loads(outcome.err.strip().splitlines()[-1])["traps"]

    def test_second_start_traps_no_more(self):
        self.assertGreaterEqual(self.traps("--no-cache"), 20)
        self.assertFalse(os.path.exists(self.texts))
        self.traps()
        self.assertIn("index", os.listdir(self.texts))
        self.assertLessEqual(self.traps(), 3)
        self.assertGreaterEqual(self.traps("--no-cache"), 20)

    def test_forked_children_and_threads(self):
        script = ("import subprocess, threading\n"
                  "work = lambda: [subprocess.run(['/bin/true'], check=True) for _ in range(5)]\n"
                  "threads = [threading.Thread(target=work) for _ in range(3)]\n"
                  "[t.start() for t in threads]; [t.join() for t in threads]\n")
        program = ("python3", "-c", script)
        self.traps(program=program)
        self.assertLessEqual(self.traps(program=program), 110)  # 16 starts; 400 without, 45 to 70 by who meets whom

    def test_mapped_and_unmapped_many_times(self):
        script = (r"""
import mmap, os, re, sys
text = next(l.split() for l in open('/proc/self/maps') if 'r-xp' in l and 'libc.so.6' in l)
low, high = (int(x, 16) for x in text[0].split('-'))
fd, offset, size = os.open(text[5], os.O_RDONLY), int(text[2], 16), high - low
plain = os.pread(fd, size, offset)
prepared = 0
for i in range(300):
    text = mmap.mmap(fd, size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC, offset=offset)
    prepared += text[:len(plain)] != plain
    text.close()
print(prepared, len(open('/proc/self/maps').readlines()) < 120)
""")
        self.expect(run("--no-cache", "--", "python3", "-c", script, env=self.env), 0, "0 True\n")
        run("--", "python3", "-c", "", env=self.env)
        self.expect(run("--", "python3", "-c", script, env=self.env), 0, "300 True\n")

    def test_no_program_writes_it(self):
        self.traps()
        sh("ls; cat /dev/null; rm -f x; mkdir -p x; mv x y; ln -s x z; touch x", env=self.env, cwd="/")
        before = {name: os.stat(self.texts + "/" + name).st_mtime_ns for name in os.listdir(self.texts)}
        attack = ("cd {0}/deep; ls cache/postern; cat cache/postern/text/index; echo x > cache/postern/text/index;"
                  "echo x > cache/postern/starts/x; mkdir -p cache/postern/starts; mv cache/postern cache/x;"
                  "rm -rf cache/postern; mkdir -p cache/postern/text; mv cache moved; mv {0}/deep {0}/moved;"
                  "ln -s cache link; ls link/postern; ls moved {0}/moved; touch {0}/ok")
        for where in (self.home, "/mnt/home"):
            outcome = sh(attack.format(where), "-v", f"{self.home}:{where}:rw", env=self.env)
            self.expect(outcome, 0, "")
            self.assertTrue(os.path.exists(self.home + "/ok"), outcome)
            os.unlink(self.home + "/ok")
            os.unlink(self.home + "/deep/link")
        after = {name: os.stat(self.texts + "/" + name).st_mtime_ns for name in os.listdir(self.texts)}
        self.assertEqual(before, after)
        self.assertLessEqual(self.traps(), 3)

    def asked(self, *program):
        """Questions that the monitor was asked, and those that it had answered ahead."""
        outcome = run("--quiet", "--stats=json", "--", *program, env=self.env)
        self.expect(outcome, 0)
        stats = json.loads(outcome.err.strip().splitlines()[-1])
        return stats["monitor_requests"], stats["answers_ahead"], outcome.out

    def test_third_start_asks_no_more(self):
        program = ("/usr/bin/python3", "-c", "import json")
        first = self.asked(*program)
        self.asked(*program)
        self.assertGreater(first[0], 30)
        self.assertEqual(first[1], 0)
        later = self.asked(*program)
        self.assertLessEqual(later[0], first[0] // 10)
        self.assertGreater(later[1], 20)
        # Other operands: what they have in common.
        self.asked("/usr/bin/python3", "-c", "import csv")
        other = self.asked("/usr/bin/python3", "-c", "import cmd")
        self.assertGreater(other[1], 20)
        self.assertGreater(other[0], 0)

    def test_children_and_threads_share_what_was_foreseen(self):
        script = ("for i in 1 2 3 4 5 6; do (/usr/bin/perl -e 'use POSIX; print 1'; cat /usr/share/common-licenses/BSD | wc -l) & done;"
                  "wait; /usr/bin/perl -e 'use POSIX; print 2'")
        outs = [sorted(self.asked("/bin/bash", "-c", script)[2]) for _ in range(5)]
        self.assertEqual(outs, [outs[0]] * 5)
        self.assertEqual("".join(outs[0]).strip(), "1" * 6 + "2" * 7 + "6" * 6)
        script = ("import threading\n"
                  "names = ['/usr/share/common-licenses/' + n for n in ('BSD', 'GPL-2', 'GPL-3', 'Artistic')]\n"
                  "sizes = set()\n"
                  "work = lambda: sizes.add(tuple(len(open(n, 'rb').read()) for n in names))\n"
                  "threads = [threading.Thread(target=work) for _ in range(8)]\n"
                  "[t.start() for t in threads]; [t.join() for t in threads]; print(len(sizes))\n")
        for _ in range(5):
            self.assertEqual(self.asked("/usr/bin/python3", "-c", script)[2], "1\n")

    def test_few_descriptors(self):
        script = "import json, re, ssl, threading, subprocess, asyncio, email, logging, unittest; print('fine')"
        command = [POSTERN, "run", "--quiet", "--", "/usr/bin/python3", "-c", script]
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        for limits in (None, None, None, (1024, 1024), (100, most), (40, most), (300, 300), (128, 128)):
            limit = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limits)) if limits else None
            done = subprocess.run(command, capture_output=True, timeout=60, preexec_fn=limit, check=False,
                                  env={**os.environ, **self.env})
            self.assertEqual((done.returncode, done.stdout), (0, b"fine\n"), (limits, done))
        # As many of the user's are on their way between processes as may be: perhaps too many for what was foreseen.
        ends = socket.socketpair()
        for _ in range(19):
            socket.send_fds(ends[0], [b"x"], [0] * 10)
        limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (195, most))
        done = subprocess.run(command, capture_output=True, timeout=60, preexec_fn=limit, check=False,
                              env={**os.environ, **self.env})
        self.assertEqual((done.returncode, done.stdout), (0, b"fine\n"), done)
        for end in ends:
            end.close()

    def test_without_what_was_foreseen(self):
        program = ("/usr/bin/python3", "-c", "import json; print('fine')")
        counts = [self.asked(*program)[1] for _ in range(3)]
        self.assertGreater(counts[2], 20)
        outcome = run("--quiet", "--stats=json", "--force-fallback=foreseen", "--", *program, env=self.env)
        self.expect(outcome, 0, "fine\n")
        self.assertEqual(json.loads(outcome.err)["answers_ahead"], 0)

    def test_refusals_are_reported_each_time(self):
        for _ in range(4):
            self.assertRegex(sh("cat /etc/shadow /var/log", env=self.env).err, r"refused:\n  /etc/shadow .*\n  /var/log  ")

    def test_homes_that_are_not_there_or_foreign(self):
        foreign = self.home + "/foreign"
        os.mkdir(foreign)
        if os.getuid() == 0:
            os.chown(foreign, 1, 1)
        missing = self.home + "/missing"
        for home in (missing, foreign) if os.getuid() == 0 else (missing,):
            self.env = {"HOME": home}
            self.traps()
            # Root keeps it elsewhere, and others do without.
            self.assertLessEqual(self.traps(), 3) if os.getuid() == 0 else self.assertGreaterEqual(self.traps(), 20)
        self.assertFalse(os.path.exists(missing))
        self.assertEqual(os.listdir(foreign), [])

    def test_it_cannot_be_a_volume(self):
        self.traps()
        for source in (self.home + "/deep/cache/postern/text", self.texts):
            self.expect(run("-v", source + ":/x:rw", "--", "true", env=self.env), 125, "", "which no program may write")


class Processors(Case):
    """Who opens many files shares a processor with the monitor for that time, and only for that."""

    def masks(self, process):
        """The processors that the monitor and its children may run on."""
        with open(f"/proc/{process}/task/{process}/children", encoding="ascii") as file:
            members = [str(process)] + file.read().split()
        masks = set()
        for member in members:
            with contextlib.suppress(OSError), open(f"/proc/{member}/status", encoding="ascii") as file:
                masks.add(re.search(r"^Cpus_allowed_list:\s*(\S+)", file.read(), re.M)[1])
        return masks

    def watched(self, script, *flags):
        """What the masks are after each line of the program's."""
        mine = re.search(r"^Cpus_allowed_list:\s*(\S+)", open("/proc/self/status", encoding="ascii").read(), re.M)[1]
        files = os.path.realpath(EXAMPLES)
        command = [POSTERN, "run", "--quiet", "--timeout", "60", "-v", files, *flags, "--", "/usr/bin/python3", "-u", "-c", script, files]
        program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        seen = []
        for _ in program.stdout:
            seen.append(self.masks(program.pid))
            program.stdin.write("\n")
            program.stdin.flush()
        program.communicate()
        self.assertEqual(program.returncode, 0)
        return mine, seen

    OPENS = "for i in range(300): open(sys.argv[1] + '/' + names[i % len(names)], 'rb').close()\n"
    START = "import os, sys, time\nnames = [n for n in os.listdir(sys.argv[1]) if os.path.isfile(sys.argv[1] + '/' + n)]\n"
    TELL = "print('.'); os.read(0, 1)\n"  # one byte: two processes read here

    def test_all_may_be_used_again(self):
        script = self.START + self.OPENS + "time.sleep(0.3)\n" + self.TELL + self.OPENS + "pid = os.fork()\n" + self.TELL
        mine, seen = self.watched(script + "if pid: os.waitpid(pid, 0)\n")
        self.assertEqual(seen, [{mine}] * 3)

    def test_threads_are_not_held_together(self):
        script = (self.START + self.OPENS + "import threading\nstop = threading.Event()\n"
                  "threads = [threading.Thread(target=stop.wait) for _ in range(3)]\n[t.start() for t in threads]\n" +
                  self.OPENS + self.TELL + "stop.set()\n")
        mine, seen = self.watched(script)
        self.assertEqual(seen, [{mine}])


class Fallbacks(Case):
    """The same program where the kernel has less."""

    def test_forced(self):
        for name in ("openat2", "landlock", "tgkill", "killable", "memfd_seal"):
            with self.subTest(name):
                self.expect(sh("echo $(uname -s) | tr a-z A-Z; kill -TERM $$", "--force-fallback=" + name, "--quiet"), 143, "LINUX\n")

    def test_without_second_walls(self):
        self.expect(run("--no-landlock", "--no-namespaces", "--", "echo", "x"), 0, "x\n")


def main():
    global POSTERN, WORK, EXAMPLES
    parser = argparse.ArgumentParser()
    parser.add_argument("--postern", required=True)
    parser.add_argument("--user", type=int, help="run as this user and group")
    parser.add_argument("tests", nargs="*")
    arguments = parser.parse_args()
    POSTERN = os.path.realpath(arguments.postern)
    copied = None
    if arguments.user is not None:
        if os.getuid() != 0:
            print("SKIP: changing the user needs root; the other runs of these tests are an ordinary user's already")
            return 77
        # The build may lie where other users cannot look: take along what is needed.
        copied = tempfile.mkdtemp(dir="/var/tmp")
        build = os.path.dirname(os.path.dirname(POSTERN))
        os.chmod(copied, 0o755)
        os.makedirs(copied + "/bin")
        shutil.copy(POSTERN, copied + "/bin/postern")
        shutil.copytree(build + "/libexec", copied + "/libexec")
        POSTERN = copied + "/bin/postern"
        shutil.copytree(EXAMPLES, copied + "/examples")
        EXAMPLES = copied + "/examples"
    # Not below /tmp, which is private inside; not below a home directory that others cannot enter.
    WORK = tempfile.mkdtemp(dir="/var/tmp")
    os.makedirs(WORK + "/home")
    os.chmod(WORK, 0o755)
    if arguments.user is not None:
        os.chown(WORK, arguments.user, arguments.user)
        os.chown(WORK + "/home", arguments.user, arguments.user)
        child = os.fork()
        if child == 0:
            os.setgroups([])
            os.setgid(arguments.user)
            os.setuid(arguments.user)
            os._exit(0 if verdict(arguments.tests) else 1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    else:
        status = 0 if verdict(arguments.tests) else 1
    shutil.rmtree(WORK, ignore_errors=True)
    if copied:
        shutil.rmtree(copied, ignore_errors=True)
    return status


def verdict(names):
    loader = unittest.defaultTestLoader
    module = sys.modules["__main__"]
    suite = loader.loadTestsFromNames(names, module) if names else loader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(verbosity=1, stream=sys.stdout).run(suite)
    for test, reason in result.skipped:
        print(f"SKIP: {test}: {reason}")
    sys.stdout.flush()
    return result.wasSuccessful()


if __name__ == "__main__":
    sys.exit(main())
