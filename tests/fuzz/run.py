#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs fuzz targets from the corpora in the repository and those that grew in the build, two at a time.

What one finds stays in BUILD/findings/TARGET with a line that repeats it. Exit status 1 when anything was found.
"""
import argparse
import base64
import concurrent.futures
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TARGETS = sorted(os.listdir(os.path.join(HERE, "corpus")))


def clock_offset():
    return time.time() - time.monotonic()


def run(target, arguments):
    """One target's verdict and its line. libFuzzer times inputs by the wall clock, which steps on virtual machines that
    are resumed: a timeout in a run that saw a step says nothing, and the run is repeated."""
    for attempt in range(3):
        before = clock_offset()
        good, line = run_once(target, arguments)
        step = clock_offset() - before
        if good or "libFuzzer: timeout" not in line or abs(step) < 2 or attempt == 2:
            return good, line
        print(f"{target:8} again: the wall clock stepped by {step:.0f} s and made a timeout", flush=True)


def run_once(target, arguments):
    binary = os.path.join(arguments.build, "bin", "fuzz_" + target)
    grown = os.path.join(arguments.build, "corpus", target)
    findings = os.path.join(arguments.build, "findings", target)
    for directory in (grown, findings):
        os.makedirs(directory, exist_ok=True)
    words = [binary, f"-max_total_time={arguments.seconds}", "-max_len=2048", "-timeout=10", "-rss_limit_mb=2048",
             "-print_final_stats=1", f"-artifact_prefix={findings}/", grown, os.path.join(HERE, "corpus", target)]
    log = os.path.join(arguments.build, f"{target}.log")
    with open(log, "w", encoding="utf-8") as file:
        try:
            status = subprocess.run(words, stdout=file, stderr=subprocess.STDOUT, check=False,
                                    timeout=arguments.seconds + 120).returncode
        except subprocess.TimeoutExpired:
            status = -1
    with open(log, encoding="utf-8", errors="replace") as file:
        text = file.read()
    runs = re.findall(r"number_of_executed_units: (\d+)", text)
    coverage = re.findall(r"cov: (\d+)", text)
    line = f"{target:8} {runs[-1] if runs else '?':>9} inputs, coverage {coverage[-1] if coverage else '?':>5}"
    if status == 0:
        return True, line
    summary = re.findall(r"^SUMMARY: .*$|runtime error: .*$", text, re.M)
    artifact = re.findall(r"Test unit written to (\S+)", text)
    line += f"\n  FOUND: {summary[0] if summary else f'status {status}, see {log}'}"
    # Where only this output survives (a build server), it must be enough to repeat what was found.
    for frame in re.findall(r"^ +(#\d+ 0x[0-9a-f]+ in .*)$", text, re.M)[:24]:
        line += f"\n    {frame}"
    if artifact:
        with open(artifact[-1], "rb") as file:
            line += f"\n  input: {base64.b64encode(file.read()).decode()}"
        line += f"\n  repeat: {binary} {artifact[-1]}"
    return False, line


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True)
    parser.add_argument("--seconds", type=int, default=20, help="for each target")
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this one; may be repeated")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    good = True
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for fine, line in pool.map(lambda target: run(target, arguments), arguments.target or TARGETS):
            print(line, flush=True)
            good = good and fine
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
