#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs one script of this folder in a picoprocess (or natively, to try the script itself).

  run.py --postern FILE SCRIPT
  run.py --native SCRIPT

The script works in a directory of its own that is empty at first, and its last word is "done". Status 77 with a line
"SKIP: reason" when a program of its line "# needs:" is not installed.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--postern")
    parser.add_argument("--native", action="store_true")
    parser.add_argument("script")
    arguments = parser.parse_args()
    with open(arguments.script, encoding="utf-8") as file:
        text = file.read()
    needs = re.search(r"^# needs:(.*)$", text, re.M).group(1).split()
    path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    for need in needs:
        if shutil.which(need, path=path) is None:
            print(f"SKIP: needs {need}")
            return 77
    environment = {"PATH": path, "HOME": "/tmp", "LANG": "C.UTF-8", "TERM": "dumb"}
    command = ["bash", "-euo", "pipefail", "-c", text]
    directory = None
    if arguments.native:
        directory = tempfile.mkdtemp(prefix="postern-real-")
        environment["HOME"] = directory
    else:
        command = [arguments.postern, "run", "--quiet", "--timeout", "300", "-w", "/tmp", "--"] + command
    try:
        done = subprocess.run(command, env=environment, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=380, check=False)
    finally:
        if directory:
            shutil.rmtree(directory, ignore_errors=True)
    output = done.stdout.decode(errors="replace")
    good = done.returncode == 0 and output.split()[-1:] == ["done"]
    if not good:
        print(output[-3000:], f"status {done.returncode}", sep="\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
