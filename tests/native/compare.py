#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs one line of cases.tsv natively and in a picoprocess and compares standard output and exit status.

  compare.py --postern FILE --guests DIR [--prefix WORD ...] NAME
  compare.py --names

Status 77 with a line "SKIP: reason" when what the case needs is not installed.
"""
import argparse
import os
import shlex
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGES = {"gawk": "gawk", "busybox": "busybox-static", "gcc": "gcc libc6-dev", "perl": "perl", "python3": "python3",
            "musl-threads": "musl-tools", "go-child": "golang-go"}


def cases():
    with open(os.path.join(HERE, "cases.tsv"), encoding="utf-8") as file:
        for line in file:
            line = line.rstrip("\n")
            if line and not line.startswith("#"):
                name, needs, command = line.split("\t")
                yield name, needs, command.replace("␤", "\n")


def run(argv, directory):
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": os.environ.get("HOME", "/root"),
                   "LANG": "C.UTF-8", "TERM": "dumb"}
    done = subprocess.run(argv, cwd=directory, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=100, check=False)
    # A native program that died of a signal has the status that a shell (and postern) would give it.
    return (done.returncode if done.returncode >= 0 else 128 - done.returncode), done.stdout, done.stderr


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--postern")
    parser.add_argument("--guests")
    parser.add_argument("--names", action="store_true")
    parser.add_argument("--options", default="", help="further options of postern run")
    parser.add_argument("name", nargs="?")
    arguments = parser.parse_args()
    if arguments.names:
        print("\n".join(name for name, _, _ in cases()))
        return 0
    needs, command = next((needs, command) for name, needs, command in cases() if name == arguments.name)
    for need in needs.split():
        inside_guests = os.path.join(arguments.guests, need)
        if shutil.which(need) is None and not os.path.exists(inside_guests):
            print(f"SKIP: needs {need} (apt-get install {PACKAGES.get(need, need)})")
            return 77
    argv = shlex.split(command)
    native = run(argv, arguments.guests)
    inside = run([arguments.postern, "run"] + arguments.options.split() + ["--"] + argv, arguments.guests)
    if native[:2] == inside[:2]:
        return 0
    print(f"command: {command}")
    for title, (status, out, err) in (("native", native), ("postern", inside)):
        print(f"--- {title}: status {status}, {len(out)} bytes")
        sys.stdout.write(out[-3000:].decode("utf-8", "replace"))
        if err:
            print("  standard error:")
            sys.stdout.write(err[-3000:].decode("utf-8", "replace"))
    return 1


sys.exit(main())
