#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""./x check: the rules of the house, each a function below. No name: all of them.

  ./x check [NAME ...]     only these
  ./x check --wall         what the installed filter allows and why; needs root
  ./x check --mutate       every weakened filter must make a test fail
  ./x check --list         names and what they check
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = BUILD = ""
VERBOSE = False


def gate_page():
    """The addresses of the one page whose system-call instructions pass."""
    start = re.search(r"kGatePage = ([0-9a-fx']+)ull", read("host/linux/layout.hpp"))[1]
    start = int(start.replace("'", ""), 16)
    return range(start, start + 4096 + 1)


class Skip(Exception):
    """The check cannot be made here; the text says why."""


def output(*words, **more):
    return subprocess.run(words, capture_output=True, text=True, check=False, **more)


def sources(*endings):
    listed = output("git", "-C", ROOT, "ls-files", "-co", "--exclude-standard").stdout.splitlines()
    return [name for name in listed if name.endswith(endings) and os.path.isfile(os.path.join(ROOT, name))]


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8", errors="replace") as file:
        return file.read()


def image(name):
    path = f"{BUILD}/libexec/postern/{name}"
    if not os.path.exists(path):
        raise Skip(f"{path} is not built")
    return path


def freestanding_images():
    images = [image("libos"), image("entry")]
    guests = f"{BUILD}/guests"
    if os.path.isdir(guests):
        images += sorted(os.path.join(guests, name) for name in os.listdir(guests) if name.startswith("gate_"))
    return images


def check_instructions():
    """no system-call instruction in the library OS, and in the entry image only on the gate page"""
    for path in freestanding_images():
        is_entry = path.endswith("/entry")
        for line in output("objdump", "-d", "--no-show-raw-insn", path).stdout.splitlines():
            found = re.match(r"\s*([0-9a-f]+):\s+(syscall|sysenter|int\s+\$0x80|sysret|sysexit)\b", line)
            if found and not (is_entry and found[2] == "syscall" and int(found[1], 16) in gate_page()):
                yield f"{os.path.basename(path)}: {found[2]} at {found[1]}"


def check_segments():
    """no segment both writable and executable, no executable stack, no interpreter"""
    paths = freestanding_images()
    if os.path.exists(f"{BUILD}/bin/postern"):
        paths.append(f"{BUILD}/bin/postern")
    for path in paths:
        for line in output("readelf", "-lW", path).stdout.splitlines():
            words = line.split()
            if not words:
                continue
            flags = "".join(words[6:-1])
            if words[0] in ("LOAD", "GNU_STACK") and "W" in flags and "E" in flags:
                yield f"{os.path.basename(path)}: {line.strip()}"
            if words[0] == "GNU_STACK" and "E" in flags:
                yield f"{os.path.basename(path)}: executable stack"
            if words[0] == "INTERP":
                yield f"{os.path.basename(path)}: has an interpreter"


def check_undefined():
    """no undefined symbol and no dynamic section in freestanding images; no code that runs before their start"""
    for path in freestanding_images():
        name = os.path.basename(path)
        undefined = output("nm", "-u", path).stdout.split()
        if undefined:
            yield f"{name}: undefined {' '.join(undefined)}"
        sections = output("readelf", "-SW", path).stdout
        for section in (".dynamic", ".init_array", ".ctors", ".tdata", ".tbss"):
            if re.search(r"\s" + re.escape(section) + r"\s", sections):
                yield f"{name}: has {section}"


# What each folder may include, besides itself. The first entry that covers a file counts.
ARROWS = [
    ("base/", []),
    ("gate/", ["base/"]),
    ("core/", ["base/", "gate/"]),
    ("libos/", ["base/", "gate/"]),
    ("extension/", ["base/", "gate/"]),
    ("host/linux/entry/", ["base/", "gate/", "host/linux/"]),
    ("host/linux/filter/", ["base/", "gate/", "host/linux/"]),
    ("host/", ["base/", "gate/", "core/", "host/"]),
    ("cli/", ["base/", "gate/", "core/", "host/"]),
]
FOLDERS = ["base/", "gate/", "core/", "libos/", "extension/", "host/", "cli/", "tests/", "tools/", "bench/", "kernel/",
           "sdk/", "component/"]


def check_arrows():
    """includes follow the arrows of docs/architecture.md"""
    for name in sources(".cpp", ".hpp", ".h", ".S", ".inc"):
        rule = next((rule for rule in ARROWS if name.startswith(rule[0])), None)
        if rule is None:
            continue
        for target in re.findall(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', read(name), re.M):
            folder = next((folder for folder in FOLDERS if target.startswith(folder)), None)
            if folder is None or target.startswith(rule[0]):
                continue
            if not any(target.startswith(allowed) for allowed in rule[1]):
                yield f"{name} includes {target}"


def check_generated():
    """generated files are what their generators write"""
    for program in ("gatec", "tablegen"):
        path = f"{BUILD}/bin/{program}"
        if not os.path.exists(path):
            yield f"{path} is not built"
            continue
        done = output(path, "--check", ROOT)
        if done.returncode != 0:
            yield f"{program} --check: {(done.stdout + done.stderr).strip()}"


def check_format():
    """clang-format-14 has nothing to change"""
    if shutil.which("clang-format-14") is None:
        raise Skip("needs clang-format-14 (apt-get install clang-format-14)")
    names = [name for name in sources(".cpp", ".hpp", ".h", ".c") if "/generated/" not in name]
    for start in range(0, len(names), 40):
        done = output("clang-format-14", "--dry-run", *names[start:start + 40], cwd=ROOT)
        for name in sorted(set(re.findall(r"^(\S+?):\d+:\d+: warning", done.stderr, re.M))):
            yield f"{name} (./x fmt)"


def check_opening():
    """every source file says its licence and its purpose in its first lines"""
    for name in sources(".cpp", ".hpp", ".h", ".c", ".S", ".inc", ".py", ".sh", ".go"):
        if "/generated/" in name:
            continue
        lines = read(name).splitlines()
        if lines and lines[0].startswith("#!"):
            lines = lines[1:]
        if not lines or "SPDX-License-Identifier: Apache-2.0" not in lines[0]:
            yield f"{name}: no SPDX line"
            continue
        has_header = name.endswith(".cpp") and os.path.exists(os.path.join(ROOT, name[:-4] + ".hpp"))
        says = len(lines) > 1 and re.match(r'\s*(//|#(?!\s*(include|define|pragma|if))|"""|\*|/\*)', lines[1])
        if not says and not has_header and not name.endswith("_test.cpp"):
            yield f"{name}: does not say its purpose in its second line"
        if name.endswith(".hpp") and "#pragma once" not in lines and not re.search(r"included more than once", read(name)):
            yield f"{name}: no #pragma once"


def check_try():
    """TRY stands alone: it is all of what is assigned, returned or stated"""
    for name in sources(".cpp", ".hpp"):
        if name == "base/result.hpp":
            continue
        text = re.sub(r"//[^\n]*", lambda found: " " * len(found[0]), read(name))
        for found in re.finditer(r"\bTRY\(", text):
            depth, end = 1, found.end()
            while depth and end < len(text):
                depth += {"(": 1, ")": -1}.get(text[end], 0)
                end += 1
            before, after = text[:found.start()].rstrip(), text[end:].lstrip()
            # A cast of the whole value, or what it points to, has no sibling that could leak.
            while cast := re.search(r"\b(static|reinterpret)_cast<[^;()]*>\($", before):
                if not after.startswith(")"):
                    break
                before, after = before[:cast.start()].rstrip(), after[1:].lstrip()
            before = re.sub(r"(?<=[=n])\s*\*$", "", before)
            alone = after.startswith(";") and re.search(r"(=|return|[;{}):]|else|\bdo)$", before)
            if not alone:
                yield f"{name}:{text.count(chr(10), 0, found.start()) + 1}: {text[found.start():end][:60]}"


def check_words():
    """no loose ends in the text: what is to be done is an issue, not a comment"""
    for name in sources(".cpp", ".hpp", ".S", ".md", ".py", ".inc", ".txt"):
        if name == "tools/check/check.py":
            continue
        for number, line in enumerate(read(name).splitlines(), 1):
            if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line) and "XXXXXX" not in line:
                yield f"{name}:{number}: {line.strip()[:80]}"


def check_readme():
    """the commands at the top of README.md are the ones that tests run"""
    cases = read("tests/native/cases.tsv")
    commands = re.findall(r"^\s*\./x run -- (.+)$", read("README.md"), re.M)
    if len(commands) < 2:
        yield "README.md begins with two commands"
    for command in commands[:2]:
        if command not in cases:
            yield f"tests/native/cases.tsv has no case for: {command}"


def check_sanitize():
    """hosted unit tests under AddressSanitizer and UndefinedBehaviorSanitizer"""
    directory = BUILD.rstrip("/") + "-sanitize"
    log = f"{BUILD}/sanitize.log"
    with open(log, "w", encoding="utf-8") as file:
        for words in (["cmake", "--preset", "sanitize", "-B", directory], ["ninja", "-C", directory, "unit_tests"],
                      # monitor_launch starts processes with memory limits and stacks of their own: no place for shadow memory.
                      ["ctest", "--test-dir", directory, "-L", "unit", "-E", "^(wall|monitor_launch)", "--output-on-failure",
                       "--no-tests=error"]):
            if subprocess.run(words, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, check=False).returncode != 0:
                yield f"{' '.join(words[:2])} failed; see {log}"
                return


def check_mutate():
    """every rule and every instruction of the filter matters: without it a test fails"""
    words = [f"{BUILD}/bin/check-mutate"] + (["--verbose"] if VERBOSE else [])
    done = output(*words)
    sys.stdout.write(done.stdout if VERBOSE or done.returncode else done.stdout.splitlines()[-1] + "\n")
    if done.returncode != 0:
        yield "a weakened filter passed"


def host_calls(strace_log):
    """Numbers of the calls made from the gate page, from a log of strace -f -i -n."""
    numbers, gate = set(), gate_page()
    with open(strace_log, encoding="utf-8", errors="replace") as file:
        for line in file:
            # A thread that ends has no address to print any more.
            found = re.match(r"\d+ +\[ *(\d+)\] \[([0-9a-f]+|\?+)\] ", line)
            if not found:
                continue
            ends = found[2].startswith("?") and found[1] in ("60", "231")
            if ends or not found[2].startswith("?") and int(found[2], 16) in gate:
                numbers.add(int(found[1]))
    return numbers


def record_host_calls():
    """Runs what needs the host under strace, as this kernel allows and with each fallback forced in turn."""
    if shutil.which("strace") is None:
        raise Skip("recording the host calls needs strace (apt-get install strace)")
    used = set()
    here = os.path.dirname(os.path.abspath(__file__))
    variants = [[], ["--no-landlock", "--force-fallback=landlock,tgkill"], ["--force-fallback=openat2"],
                ["--force-fallback=killable"], ["--force-fallback=memfd_seal"]]
    for options in variants:
        with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
            os.mkdir(directory + "/data")
            os.mkdir(directory + "/code")
            shutil.copy(here + "/workload.py", directory + "/code")
            log = directory + "/strace"
            command = ["strace", "-f", "-i", "-n", "-e", "signal=none", "-o", log, f"{BUILD}/bin/postern", "run", "--quiet",
                       *options, "-v", directory + "/data:/data:rw", "-v", directory + "/code:/code", "--", "python3",
                       "/code/workload.py"]
            done = subprocess.run(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, timeout=120, check=False)
            if done.returncode != 0:
                raise AssertionError(f"the workload failed with status {done.returncode} {' '.join(options)}")
            used |= host_calls(log)
    return used | host_calls_of_resumed_waits()


def host_calls_of_resumed_waits():
    """What a thread calls that was stopped in a wait and goes on: by a debugger here, by a freezer elsewhere."""
    script = "import threading; print('waiting', flush=True); threading.Event().wait(2)"
    command = [f"{BUILD}/bin/postern", "run", "--quiet", "--", "python3", "-c", script]
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        log = directory + "/strace"
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            process.stdout.readline()
            time.sleep(0.2)
            pids = [word for pid in picoprocesses(process.pid) for word in ("-p", str(pid))]
            subprocess.run(["timeout", "-s", "INT", "1", "strace", "-f", "-i", "-n", "-o", log, *pids],
                           stderr=subprocess.DEVNULL, check=False)
            if process.wait(20) != 0:
                raise AssertionError("a program that a debugger visits does not go on")
        return host_calls(log)


def picoprocesses(ancestor):
    """Processes below this one that have a filter."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/status", encoding="utf-8") as file:
                    text = file.read()
                parents[int(name)] = (int(re.search(r"^PPid:\s+(\d+)", text, re.M)[1]), "\nSeccomp:\t2" in text)
            except OSError:
                pass
    for pid, (parent, filtered) in parents.items():
        up = parent
        while up > 1 and up != ancestor:
            up = parents.get(up, (0, False))[0]
        if filtered and up == ancestor:
            yield pid


def check_wall():
    """what the installed filter allows and why; at most 44 calls, each needed, none with a path or destination"""
    if os.geteuid() != 0:
        raise Skip("reading a filter back (PTRACE_SECCOMP_GET_FILTER) needs root")
    used_file = f"{BUILD}/host-calls-used"
    used = record_host_calls()
    with open(used_file, "w", encoding="ascii") as file:
        file.writelines(f"{number}\n" for number in sorted(used))
    for options in ([], ["--option", "--no-landlock", "--option", "--force-fallback=tgkill"]):
        done = output(f"{BUILD}/bin/check-wall", "--postern", f"{BUILD}/bin/postern", "--used", used_file, *options)
        if VERBOSE and not options:
            sys.stdout.write(done.stdout)
        if done.returncode != 0:
            for line in done.stdout.splitlines():
                if line.startswith("FAIL"):
                    yield line[5:] + (" (fallback: no signal scope)" if options else "")


def main():
    global ROOT, BUILD, VERBOSE
    words = sys.argv[1:]
    ROOT, BUILD = words[1], words[3]
    words = words[4:]
    checks = {name[6:]: function for name, function in globals().items() if name.startswith("check_")}
    if any(word in ("-h", "--help", "--list") for word in words):
        print(__doc__.strip() + "\n")
        for name, function in checks.items():
            print(f"  {name:14}{function.__doc__}")
        return 0
    names = [word.removeprefix("--") for word in words]
    for name in names:
        if name not in checks:
            print(f"x: unknown check '{name}'. Known: {', '.join(checks)}", file=sys.stderr)
            return 125
    VERBOSE = bool(names)
    failed = skipped = 0
    for name in names or checks:
        start = time.monotonic()
        try:
            problems = list(checks[name]())
        except Skip as reason:
            print(f"skip  {name}: {reason}")
            skipped += 1
            continue
        except AssertionError as problem:
            problems = [str(problem)]
        if problems:
            failed += 1
            print(f"FAIL  {name}: {checks[name].__doc__}")
            for problem in problems[:40]:
                print(f"        {problem}")
            if len(problems) > 40:
                print(f"        and {len(problems) - 40} more")
        else:
            print(f"ok    {name} ({time.monotonic() - start:.1f} s)")
        sys.stdout.flush()
    total = len(names or checks)
    print(f"{total - failed - skipped} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


sys.exit(main())
