#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the hostile guest behind the wall and judges from outside what it reached.

  run.py --postern BIN --guest FILE [--only NAME] [--user UID] [--option OPT ...]

Canary files, sockets and processes are set up before each attack and compared after it.
"""
import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ap = argparse.ArgumentParser()
ap.add_argument("--postern", required=True)
ap.add_argument("--guest", required=True)
ap.add_argument("--only", default="")
ap.add_argument("--user", type=int, default=-1, help="run as this uid (needs root)")
ap.add_argument("--option", action="append", default=[], help="option for postern run, e.g. --no-namespaces")
args = ap.parse_args()

if args.user >= 0 and os.geteuid() != 0:
    print("skipped: becoming another user needs root")
    sys.exit(77)

PASSED, FAILED = [], []


def verdict(name, ok, detail=""):
    (PASSED if ok else FAILED).append(name)
    print(f"{'ok  ' if ok else 'FAIL'} {name}{': ' + detail if detail else ''}", flush=True)


def as_user():
    if args.user >= 0:
        os.setgroups([])
        os.setresgid(args.user, args.user, args.user)
        os.setresuid(args.user, args.user, args.user)


class Canaries:
    """Things outside that no picoprocess was given."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="postern-canary-", dir="/var/tmp")
        os.chmod(self.dir, 0o777)
        self.secret = os.path.join(self.dir, "secret")
        with open(self.secret, "w") as f:
            f.write("CANARY-SECRET-4711\n")
        os.chmod(self.secret, 0o666)
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(os.path.join(self.dir, "sock"))
        os.chmod(os.path.join(self.dir, "sock"), 0o777)
        self.sock.listen(5)
        self.abstract = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.abstract.bind(f"\0postern-canary-{os.getpid()}")
        self.abstract.setblocking(False)
        # A stranger of the same user: any catchable signal makes it say so, any fatal one ends it.
        code = ("import signal,time,sys\n"
                "def h(n,f): print('signal',n,flush=True)\n"
                "for n in range(1,65):\n"
                "  try: signal.signal(n,h)\n"
                "  except (OSError,ValueError): pass\n"
                "print('ready',flush=True)\n"
                "while True: time.sleep(1)\n")
        # The system's interpreter: another user may not be able to reach this one's.
        python = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
        self.stranger = subprocess.Popen([python, "-c", code], stdout=subprocess.PIPE, preexec_fn=as_user)
        self.stranger.stdout.readline()
        os.set_blocking(self.stranger.stdout.fileno(), False)
        self.shadow = os.stat("/etc/shadow").st_mtime_ns if os.path.exists("/etc/shadow") else 0
        self.hostname = socket.gethostname()

    def damage(self):
        found = []
        if open(self.secret).read() != "CANARY-SECRET-4711\n":
            found.append("canary file changed")
        self.sock.settimeout(0.01)
        try:
            self.sock.accept()
            found.append("canary socket reached")
        except OSError:
            pass
        try:
            self.abstract.recv(1)
            found.append("abstract socket reached")
        except OSError:
            pass
        if self.stranger.poll() is not None:
            found.append(f"stranger ended ({self.stranger.returncode})")
        else:
            heard = self.stranger.stdout.read() or b""
            if heard:
                found.append(f"stranger got {heard.decode().strip()!r}")
            state = open(f"/proc/{self.stranger.pid}/stat").read().rsplit(")", 1)[1].split()[0]
            if state in "tT":
                found.append("stranger stopped")
        if self.shadow and os.stat("/etc/shadow").st_mtime_ns != self.shadow:
            found.append("/etc/shadow changed")
        if socket.gethostname() != self.hostname:
            found.append("host name changed")
        if sorted(os.listdir(self.dir)) != ["secret", "sock"]:
            found.append(f"files appeared: {os.listdir(self.dir)}")
        return found

    def close(self):
        self.stranger.kill()
        self.stranger.wait()
        self.stranger.stdout.close()
        self.sock.close()
        self.abstract.close()
        subprocess.run(["rm", "-rf", self.dir])


def command(*guest_args, extra=()):
    guest = os.path.abspath(args.guest)
    return [args.postern, "run", "--quiet", *args.option, *extra, "-v", f"{guest}:/hostile", "--", "/hostile", *guest_args]


def children_of(pid):
    """All descendants by parent links, and everything in their sessions."""
    found, sessions = set(), set()
    table = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = open(f"/proc/{entry}/stat").read().rsplit(")", 1)[1].split()
                table[int(entry)] = (int(fields[1]), int(fields[3]), fields[0])
            except OSError:
                pass
    grew = True
    found.add(pid)
    while grew:
        grew = False
        for process, (parent, session, _) in table.items():
            if process in found:
                if process != pid and session not in sessions and session != table.get(pid, (0, 0))[1]:
                    sessions.add(session)
                    grew = True
            elif parent in found or session in sessions:
                found.add(process)
                grew = True
    found.discard(pid)
    return found


def alive(pids):
    left = []
    for pid in pids:
        try:
            if open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] not in "ZX":
                left.append(pid)
        except OSError:
            pass
    return left


def run(*guest_args, extra=(), timeout=240):
    p = subprocess.Popen(command(*guest_args, extra=extra), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, preexec_fn=as_user, text=True, errors="replace")
    try:
        out, _ = p.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        p.kill()
        out, _ = p.communicate()
        out += "\nharness: timed out\n"
    return out, p.returncode


def allowed_numbers():
    out = subprocess.run([args.postern, "wall", "--json"], capture_output=True, text=True).stdout
    return {call["number"]: call["name"] for call in json.loads(out)}


ATTACKS = {}


def attack(function):
    ATTACKS[function.__name__.replace("_", "-")] = function
    return function


@attack
def numbers_here(canaries):
    out, status = run("numbers-here", timeout=300)
    lines = re.findall(r"^here (\S+) (\w+) (-?\d+)$", out, re.M)
    verdict("numbers-here: every number was tried and the guest went on", len(lines) == 1202 and status == 0,
            f"{len(lines)} tried, status {status} {out[-300:] if status else ''}")
    unknown = [l for l in lines if not l[0].startswith("x32+") and int(l[0]) > 470 and l[1] == "returned" and l[2] != "-38"]
    verdict("numbers-here: numbers that Linux does not have answer ENOSYS", not unknown, str(unknown[:5]))


@attack
def numbers_gate(canaries):
    allowed = allowed_numbers()
    out, status = run("numbers-gate", timeout=400)
    lines = re.findall(r"^gate (\S+) (\w+) (-?\d+)$", out, re.M)
    verdict("numbers-gate: every number was tried", len(lines) == 1202, f"{len(lines)} tried, status {status} {out[-300:]}")
    # The kernel lets uretprobe (335, since 6.14) and uprobe (336, since 6.18) past every filter; called from anywhere
    # but its own trampolines the one ends the caller and the other answers ENXIO.
    harmless = {("335", "-6"), ("336", "-6"), ("335", "-38"), ("336", "-38")}
    passed = [n for n, ending, value in lines if ending in ("returned", "hung") and (n, value) not in harmless
              and (n.startswith("x32+") or int(n) not in allowed)]
    verdict("numbers-gate: nothing off the list returns to the caller", not passed, str(passed[:10]))


@attack
def forbidden_gate(canaries):
    out, _ = run("forbidden-gate")
    lines = re.findall(r"^forbidden (\S+) (\w+) (-?\d+)$", out, re.M)
    bad = [l for l in lines if l[1] != "killed"]
    verdict("forbidden-gate: all calls with paths, programs, pids or destinations end the caller",
            len(lines) > 50 and not bad, f"{len(lines)} tried {bad[:5]} {out[-200:] if not lines else ''}")


@attack
def other_entries(canaries):
    out, _ = run("other-entries")
    lines = dict(re.findall(r"^entry (\S+) (\w+)", out, re.M))
    verdict("other-entries: int 0x80 and sysenter never return a number",
            all(lines.get(k) in ("killed", "ended") for k in ("int80-getpid", "int80-open", "sysenter")), str(lines))
    verdict("other-entries: the vsyscall page is served inside or faults",
            lines.get("vsyscall-time") in ("returned", "ended", "killed"), str(lines))


@attack
def arguments_gate(canaries):
    out, status = run("arguments-gate", str(canaries.stranger.pid))
    rows = re.findall(r"^argument (\S+) (-?\d+) (\w+) (-?\d+)$", out, re.M)
    bad = []
    for what, detail, ending, value in rows:
        detail, value = int(detail), int(value)
        returned_ok = ending == "returned" and value >= 0
        if what == "fcntl" and detail in (4, 5, 6, 7, 8, 10, 15, 16, 17, 1024, 1026, 1033) and returned_ok:
            bad.append((what, detail, value))
        if what == "fcntl-wide" and returned_ok:
            bad.append((what, detail, value))
        if what == "madvise" and detail in (100, 101) and returned_ok:
            bad.append((what, detail, value))
        if what == "futex" and detail in (6, 7, 8, 11, 12, 13) and returned_ok:
            bad.append((what, detail, value))
        if what.startswith("clone") and returned_ok:
            bad.append((what, detail, value))
        if what == "clock_gettime" and detail < 0 and returned_ok:
            bad.append((what, detail, value))
    verdict("arguments-gate: dangerous arguments of allowed calls have no effect", len(rows) > 200 and not bad,
            f"{len(rows)} tried {bad[:8]} {out[-200:] if not rows else ''}")


@attack
def allowed_gate(canaries):
    numbers = allowed_numbers()
    # fork-like clone and exit only make or end children of the attacker; the doorbell has an attack of its own.
    out, status = run("allowed-gate", str(canaries.stranger.pid), *[str(n) for n in sorted(numbers)], timeout=400)
    rows = re.findall(r"^fuzzed (\d+) returned=(\d+) killed=(\d+) other=(\d+)$", out, re.M)
    verdict("allowed-gate: every allowed call was fuzzed", len(rows) == len(numbers), f"{len(rows)} of {len(numbers)} {out[-200:]}")
    exact = re.findall(r"^exact (\S+) (\w+) (-?\d+)$", out, re.M)
    survived = [name for name, ending, value in exact if ending != "killed" and int(value) >= 0]
    unexpected = [(name, value) for name, ending, value in exact if ending != "killed" and int(value) < 0]
    verdict("allowed-gate: no forbidden argument takes effect", len(exact) == 25 and not survived, f"{len(exact)} {survived}")
    verdict("allowed-gate: each ends the caller", not unexpected, str(unexpected))
    verdict("allowed-gate: the permitted form passes (control)", "control returned 0" in out, out[-200:])


@attack
def remap_gate(canaries):
    out, _ = run("remap-gate")
    rows = re.findall(r"^remap (\S+) (\w+) (-?\d+)$", out, re.M)
    opened = [r for r in rows if r[1] == "returned" and int(r[2]) >= 0]
    verdict("remap-gate: whatever lies at the gate's address opens nothing", len(rows) == 4 and not opened, str(rows) or out[-200:])


@attack
def signals(canaries):
    # The monitor and the keeper are found from outside and told to the guest.
    p = subprocess.Popen(command("session-storm"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, preexec_fn=as_user)
    p.stdout.readline()
    family = children_of(p.pid)
    out, _ = run("signals", str(canaries.stranger.pid), str(p.pid), *[str(x) for x in sorted(family)[:4]], str(os.getpid()))
    verdict("signals: another monitor, its keeper and its family live on", p.poll() is None and "harness: timed out" not in out)
    hit = [l for l in re.findall(r"^argument tgkill (\d+) returned 0$", out, re.M)]
    verdict("signals: no tgkill at a stranger succeeds", "argument tgkill" in out and not hit, str(hit))
    traced = [l for l in re.findall(r"^ptrace (\d+) (-?\d+)$", out, re.M) if int(l[1]) >= 0]
    verdict("signals: no ptrace of a stranger succeeds", not traced, str(traced))
    p.kill()
    p.wait()


@attack
def descriptors(canaries):
    out, _ = run("descriptors")
    rows = re.findall(r"^descriptor (\d+) mode=(\d+)", out, re.M)
    sockets = [fd for fd, mode in rows if int(mode, 8) & 0o170000 == 0o140000]
    directories = [fd for fd, mode in rows if int(mode, 8) & 0o170000 == 0o040000]
    verdict("descriptors: no socket and no directory is open", "descriptor 1 " in out and not sockets and not directories,
            f"sockets {sockets} directories {directories} of {len(rows)}")


@attack
def overmap(canaries):
    out, _ = run("overmap")
    rows = re.findall(r"^overmap (\w+) (\w+) (-?\d+)$", out, re.M)
    verdict("overmap: own code at the gate's address opens nothing", len(rows) == 2 and
            not [r for r in rows if r[1] == "returned" and int(r[2]) >= 0], str(rows) + ("" if rows else out[-200:]))


def described(directory):
    """Everything that a program could have changed below a directory."""
    rows = []
    for root, directories, files in os.walk(directory):
        for name in [".", *directories, *files]:
            path = os.path.join(root, name)
            st = os.lstat(path)
            rows.append((path, st.st_mode, st.st_uid, st.st_gid, st.st_size, st.st_mtime_ns, st.st_nlink, st.st_ino,
                         open(path, "rb").read() if os.path.isfile(path) else b""))
    return sorted(rows)


@attack
def slots(canaries):
    # What may be read but not changed, and what may not even be seen: both are canaries.
    plain = tempfile.mkdtemp(prefix="postern-plain-", dir="/var/tmp")
    with open(os.path.join(plain, "file"), "w") as f:
        f.write("PLAIN\n")
    os.mkdir(os.path.join(plain, "directory"))
    for path, mode in ((plain, 0o777), (os.path.join(plain, "file"), 0o666), (os.path.join(plain, "directory"), 0o777)):
        os.chmod(path, mode)
    try:
        before, secret_before = described(plain), described(canaries.dir)
        mounted = ("-v", f"{plain}:/plain:ro")
        out, _ = run("slots", canaries.secret, "3000", "/plain/file", extra=mounted)
        m = re.search(r"slots answered=(\d+) leaked=(\d+)", out)
        verdict("slots: forged and racing requests never open the canary", bool(m) and m.group(2) == "0", out[-300:])
        verdict("slots: the race was run, the permitted name opens (control)", bool(m) and int(m.group(1)) > 0, out[-300:])
        verdict("slots: numbers beyond the file end the caller", out.count("slots outside killed") == 3, out[-300:])
        verdict("slots: the monitor still serves", "still-served yes" in out, out[-300:])
        verdict("slots: a read-only route is unchanged", described(plain) == before)
        verdict("slots: what is not routed is unchanged", described(canaries.dir) == secret_before)
        # Control: where the routes do lead there, the same attack reads the one and changes the other.
        out, _ = run("slots", "/canary/secret", "3000", "/plain/file",
                     extra=("-v", f"{plain}:/plain:rw", "-v", f"{canaries.dir}:/canary:ro"))
        m = re.search(r"slots answered=(\d+) leaked=(\d+)", out)
        verdict("slots: a reachable canary is read (control)", bool(m) and int(m.group(2)) > 0, out[-300:])
        verdict("slots: a writable route is changed (control)", described(plain) != before)
    finally:
        subprocess.run(["rm", "-rf", plain])


@attack
def uninvited(canaries):
    out, _ = run("uninvited")
    m = re.search(r"uninvited made=(\d+) ended=(\d+)", out)
    verdict("uninvited: picoprocesses made past the library OS end", bool(m) and m.group(1) == m.group(2), out[-300:])
    verdict("uninvited: they were made (control)", bool(m) and int(m.group(1)) > 0, out[-300:])
    verdict("uninvited: the family's table is unharmed", "self found" in out and "child killed" in out, out[-300:])


@attack
def fork_bomb(canaries):
    out, _ = run("fork-bomb", extra=("--pids", "64"))
    m = re.search(r"made=(\d+) refused=(\d+)", out)
    verdict("fork-bomb: stops at the family's limit", bool(m) and int(m.group(1)) <= 64 and int(m.group(2)) > 0, out[-200:])


def measured(*guest_args, extra=()):
    """As run(); also the processor time of the command with all of the family, and how long it took."""
    start = time.monotonic()
    p = subprocess.Popen(command(*guest_args, extra=extra), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, preexec_fn=as_user, text=True, errors="replace")
    timer = threading.Timer(120, p.kill)
    timer.start()
    out = p.stdout.read()
    _, status, usage = os.wait4(p.pid, 0)
    took = time.monotonic() - start
    timer.cancel()
    p.returncode = os.waitstatus_to_exitcode(status)
    p.stdout.close()
    return out, usage.ru_utime + usage.ru_stime, took


@attack
def cpu_bomb(canaries):
    for way, options in (("as it comes", ()), ("without a control group", ("--force-fallback", "cgroup"))):
        out, used, took = measured("cpu-bomb", extra=("--pids", "40", "--cpus", "0.5", *options))
        m = re.search(r"made=(\d+) refused=(\d+)", out)
        verdict(f"cpu-bomb {way}: stops at the limit of processes", bool(m) and int(m.group(1)) < 40 and int(m.group(2)) > 0, out[-200:])
        # The start is not measured, and machines that test are busy: this is about holding at all.
        verdict(f"cpu-bomb {way}: gets half a processor", took > 2.5 and used < 0.65 * took + 0.2, f"{used:.2f} s of {took:.2f} s")


@attack
def memory_bomb(canaries):
    for kind in ("private", "shared"):
        out, status = run("memory-bomb", kind, extra=("--memory", "512M"))
        reached = [int(x) for x in re.findall(r"reached=(\d+)", out)]
        verdict(f"memory-bomb {kind}: ends near the limit", bool(reached) and max(reached) <= 1024, f"{reached[-1:]} status {status} {out[-100:]}")


@attack
def answered(canaries):
    out, _ = run("answered")
    m = re.search(r"answered opened=(\d+) worst_ms=(\d+)", out)
    verdict("answered: a sibling is served while another floods", bool(m) and m.group(1) == "200" and int(m.group(2)) < 1000, out[-200:])


def leads_session(pid):
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def living(session, family, but):
    left = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = open(f"/proc/{entry}/stat").read().rsplit(")", 1)[1].split()
                if int(fields[3]) == session and fields[0] not in "ZX":
                    left.append(int(entry))
            except OSError:
                pass
    return [x for x in left + [y for y in alive(family) if y not in left] if x != but]


def storm():
    p = subprocess.Popen(command("session-storm"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, preexec_fn=as_user)
    p.stdout.readline()
    time.sleep(0.3)
    family = children_of(p.pid)
    # The keeper leads the session that the picoprocesses share.
    return p, family, next((x for x in family if leads_session(x)), None)


def finish(p, left):
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    p.kill()
    p.wait()
    p.stdout.close()


def killed(who):
    p, family, keeper = storm()
    others = subprocess.Popen(command("list"), stdout=subprocess.DEVNULL, preexec_fn=as_user)
    victim = p.pid if who == "monitor" else keeper
    if victim is None:
        verdict(f"session-storm: {who} found", False, str(family))
        p.kill()
        return
    os.kill(victim, signal.SIGKILL)
    time.sleep(1.0)
    left = living(keeper, family, p.pid)
    verdict(f"session-storm: one second after SIGKILL of the {who} nobody lives", not left, f"{len(left)} of {len(family)} left")
    verdict(f"session-storm: another client is served meanwhile ({who})", others.wait(timeout=30) == 0)
    finish(p, left)


@attack
def session_storm(canaries):
    killed("monitor")
    killed("keeper")
    # Control: a keeper that cannot act outlives the monitor, and is seen.
    p, family, keeper = storm()
    if keeper is not None:
        os.kill(keeper, signal.SIGSTOP)
        os.kill(p.pid, signal.SIGKILL)
        time.sleep(1.0)
        left = living(keeper, family, p.pid)
        verdict("session-storm: a survivor is seen (control)", keeper in left, str(len(left)))
        os.kill(keeper, signal.SIGCONT)
        time.sleep(0.5)
        verdict("session-storm: the keeper makes up for it", not living(keeper, family, p.pid))
    finish(p, [])


@attack
def judge(canaries):
    """Control of the judge itself: damage done from here must be seen."""
    verdict("judge: nothing is wrong before", not canaries.damage())
    os.kill(canaries.stranger.pid, signal.SIGUSR1)
    time.sleep(0.2)
    verdict("judge: a signal at the stranger is seen", any("stranger got" in f for f in canaries.damage()))
    os.kill(canaries.stranger.pid, signal.SIGSTOP)
    time.sleep(0.1)
    verdict("judge: a stopped stranger is seen", any("stopped" in f for f in canaries.damage()))
    os.kill(canaries.stranger.pid, signal.SIGCONT)
    time.sleep(0.2)
    canaries.damage()
    open(os.path.join(canaries.dir, "new"), "w").close()
    verdict("judge: a new file is seen", any("files appeared" in f for f in canaries.damage()))
    os.unlink(os.path.join(canaries.dir, "new"))
    with open(canaries.secret, "w") as f:
        f.write("other\n")
    verdict("judge: a changed file is seen", any("file changed" in f for f in canaries.damage()))
    with open(canaries.secret, "w") as f:
        f.write("CANARY-SECRET-4711\n")
    s = socket.socket(socket.AF_UNIX)
    s.connect(os.path.join(canaries.dir, "sock"))
    verdict("judge: a connection is seen", any("socket reached" in f for f in canaries.damage()))
    s.close()
    verdict("judge: and nothing else", not canaries.damage(), str(canaries.damage()))


def main():
    for name, function in ATTACKS.items():
        if args.only and args.only != name:
            continue
        canaries = Canaries()
        try:
            function(canaries)
            found = canaries.damage()
            verdict(f"{name}: canaries untouched", not found, "; ".join(found))
        finally:
            canaries.close()
    print(f"{len(PASSED)} passed, {len(FAILED)} failed")
    return 1 if FAILED or not PASSED else 0


sys.exit(main())
