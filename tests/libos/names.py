#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Names of system directories: the same answers as natively, other rules below respected, and few questions."""
import argparse, json, os, subprocess, sys, tempfile

parser = argparse.ArgumentParser()
parser.add_argument("--postern", required=True)
parser.add_argument("--guest", required=True)
parser.add_argument("part", choices=["tree", "missing", "walk", "rules", "questions", "volumes"])
options = parser.parse_args()
GUEST_DIRECTORY = os.path.dirname(options.guest)


def run(words, *flags):
    return subprocess.run([options.postern, "run", *flags, "--", *words], capture_output=True, timeout=120)


def fail(text):
    sys.exit("FAIL: " + text)


def same(words, *flags):
    native = subprocess.run(words, capture_output=True, timeout=120)
    inside = run(words, "--quiet", "-v", GUEST_DIRECTORY, *flags)
    if native.returncode != inside.returncode: fail(f"{words}: status {native.returncode} and {inside.returncode}")
    if native.stdout == inside.stdout: return
    for line, (a, b) in enumerate(zip(native.stdout.splitlines(), inside.stdout.splitlines())):
        if a != b: fail(f"{words}: line {line + 1}\n  native: {a.decode()}\n  inside: {b.decode()}")
    fail(f"{words}: {len(native.stdout)} and {len(inside.stdout)} bytes")


def directories(*candidates):
    return [name for name in candidates if os.path.isdir(name)]


def questions(words, *flags):
    done = run(words, "--quiet", "--stats=json", "-v", GUEST_DIRECTORY, *flags)
    if done.returncode != 0: fail(f"{words}: status {done.returncode}: {done.stderr.decode()}")
    return json.loads(done.stderr)["monitor_requests"], done.stdout


if options.part == "tree":
    same([options.guest, "tree", *directories("/usr/share/zoneinfo/Europe", "/usr/lib/python3.11/encodings",
                                              "/usr/include/linux", "/usr/share/common-licenses")])
elif options.part == "missing":
    same([options.guest, "missing", *directories("/usr/bin", "/usr/lib", "/lib/x86_64-linux-gnu", "/usr/share",
                                                 "/usr/local/sbin", "/opt")])
elif options.part == "walk":
    # Linux's order is the file system's, so not even that may differ.
    for tool in (["find", "/usr/lib", "/usr/share/doc", "-maxdepth", "4", "-printf", "%p %y %s %m %n %i %T@ %l\\n"],
                 ["ls", "-lR", "/usr/include", "/usr/lib/python3"], ["du", "-a", "/usr/share/zoneinfo"]):
        same(tool)
elif options.part == "rules":
    parents = directories("/usr/share/doc", "/usr/share/zoneinfo/Etc", "/usr/lib")
    with tempfile.TemporaryDirectory() as place:
        open(os.path.join(place, "file"), "w").close()
        for parent in parents:
            for below in ("postern-volume", "postern/deeper/volume"):
                flags = ("--quiet", "-v", GUEST_DIRECTORY, "-v", f"{place}:{parent}/{below}")
                for name in (below, below + "/file", below.split("/")[0]):
                    done = run([options.guest, "below", parent, name], *flags)
                    if done.returncode != 0: fail(f"{parent}/{name}: {done.stdout.decode()}{done.stderr.decode()}")
    # What defaults hide stays hidden after its directory was read.
    hidden = run(["/bin/sh", "-c", "ls /etc/ssl >/dev/null; ls -d /etc/ssl/x /etc/ssl/y /etc/ssl/private 2>&1 | wc -l"],
                 "--quiet")
    if hidden.stdout.strip() != b"3": fail("a hidden directory: " + hidden.stdout.decode())
elif options.part == "volumes":
    # What changes is never remembered, whoever changes it: each answer is compared with the truth of the moment.
    with tempfile.TemporaryDirectory() as place:
        inside = subprocess.Popen([options.postern, "run", "--quiet", "-i", "-v", f"{place}:/v:rw", "-w", "/v", "--",
                                   "/bin/bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

        def told(command):
            inside.stdin.write(command + "; echo END\n")
            lines = []
            for line in inside.stdout:
                if line == "END\n": return "".join(lines).strip()
                lines.append(line)
            fail("the shell ended at: " + command)

        def expect(command, answer):
            for _ in range(4):
                found = told(command)
                if found != answer: fail(f"{command}: {found!r} and not {answer!r}")

        def exists(name, yes): expect(f"[ -e {name} ] && echo yes || echo no", "yes" if yes else "no")

        def path(name): return os.path.join(place, name)

        for number in range(5):
            exists(f"/v/d/f{number}", False)
            exists("/v/d", number != 0)
            os.makedirs(path("d"), exist_ok=True)
            exists("/v/d", True)
            with open(path(f"d/f{number}"), "w") as file: file.write("x" * number)
            exists(f"/v/d/f{number}", True)
            expect(f"stat -c %s /v/d/f{number}", str(number))
            expect("ls /v/d | wc -l", str(number + 1))
            with open(path(f"d/f{number}"), "a") as file: file.write("more")
            expect(f"wc -c < /v/d/f{number}", str(number + 4))
        for number in range(4):
            expect("stat -c %a:%h /v .", "\n".join([f"{0o700 + number:o}:3"] * 2))
            os.chmod(place, 0o701 + number)
        os.chmod(place, 0o755)
        os.mkdir(path("e"))
        expect("stat -c %h /v", "4")
        os.rename(path("d"), path("g"))
        exists("/v/d/f1", False)
        exists("/v/g/f1", True)
        os.symlink("g", path("d"))
        exists("/v/d/f1", True)
        os.unlink(path("d"))
        exists("/v/d/f1", False)
        # The family's own changes, also from another process of it.
        told("(mv /v/g /v/h)")
        exists("/v/g/f1", False)
        exists("/v/h/f1", True)
        told("(rm /v/h/f1; echo new > /v/h/f9)")
        exists("/v/h/f1", False)
        expect("cat /v/h/f9", "new")
        told("exec 5</v/h/f9; (mv /v/h/f9 /v/h/f8)")
        exists("/v/h/f9", False)
        expect("stat -L -c %s /proc/self/fd/5", "4")
        # The top stays the directory that it was, under whatever name.
        os.rename(place, place + "-moved")
        exists("/v/h/f8", True)
        expect("stat -c %h /v", "4")
        os.rename(place + "-moved", place)
        inside.stdin.close()
        if inside.wait(20) != 0: fail("the shell's status")
else:
    base, _ = questions(["find", "/usr/share/common-licenses", "-maxdepth", "0"])
    tree = "/usr/share/doc"
    count = sum(len(below) for _, below, _ in os.walk(tree))
    walked, out = questions(["find", tree])
    print(f"{count} directories, {walked - base} questions")
    if count > 200 and walked - base > count / 4: fail(f"{walked - base} questions for {count} directories")
    once, _ = questions(["/bin/sh", "-c", "ls -l /usr/include/linux > /dev/null"])
    bare, _ = questions(["/bin/sh", "-c", "ls /usr/share/common-licenses > /dev/null"])
    names = len(os.listdir("/usr/include/linux")) if os.path.isdir("/usr/include/linux") else 0
    print(f"{names} names listed with their attributes, {once - bare} questions more than for a plain list")
    if names > 200 and once - bare > names / 4: fail("attributes one by one")
    script = "i=0; while [ $i -lt 200 ]; do [ -e /usr/share/common-licenses/no-$i ] && exit 1; i=$((i+1)); done"
    denied, _ = questions(["/bin/sh", "-c", script])
    none, _ = questions(["/bin/sh", "-c", "exit 0"])
    print(f"200 names that are not there, {denied - none} questions")
    if denied - none > 10: fail("a directory that was read is asked for names that it lacks")
