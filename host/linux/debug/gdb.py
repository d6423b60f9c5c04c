# SPDX-License-Identifier: Apache-2.0
"""gdb in a picoprocess: symbols of the program, its libraries, the library OS and the host part.

    gdb -p PID -x .../libexec/postern/gdb.py        PID: of a picoprocess, see `postern ps` in gdb or ps(1)
    (gdb) postern modules        what is mapped where, and load the symbols of what is new (after exec and dlopen)
    (gdb) postern stack          the selected thread: library OS first, then the program that called it
    (gdb) postern registers      the program's registers while its thread is inside the library OS

The kernel's list of mappings names the files: the monitor opened them, wherever the program thinks they are. Stacks need
nothing from here but symbols: the way from the library OS into the program is described by the host part's own tables.
"""
import os
import re
import struct

import gdb

ENTRY_BASE = 0x600000000000
LIBOS_BASE = 0x600012000000
ENTRY_HEAP = 0x600000140000
LIBOS_HEAP = 0x600012180000
PAGE = 4096
FRAME_FIELDS = ("rax r9 r8 r10 rdx rsi rdi r11 r15 r14 r13 r12 rbp rbx flags rcx rip rsp original_rax").split()

loaded = {}  # (inferior, path) -> bias


def mappings(pid):
    """(start, end, protection, offset, path) of what has a file."""
    result = []
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) ([0-9a-f]+) \S+ \d+ *(/.*)?$", line.rstrip("\n"))
            if match and match.group(5) and not match.group(5).startswith("/memfd:"):
                start, end, protection, offset, path = match.groups()
                result.append((int(start, 16), int(end, 16), protection, int(offset, 16), path))
    return result


def link_address(path):
    """Address in the file's own tables of its first byte; None when it is no ELF file."""
    with open(path, "rb") as file:
        header = file.read(64)
        if len(header) < 64 or header[:5] != b"\x7fELF\x02":
            return None
        offset, = struct.unpack_from("<Q", header, 32)
        size, count = struct.unpack_from("<HH", header, 54)
        for index in range(count):
            file.seek(offset + index * size)
            segment = file.read(56)
            kind, _, place, address = struct.unpack_from("<IIQQ", segment)
            if kind == 1:
                return (address & -PAGE) - (place & -PAGE)
    return None


def modules(pid):
    """path -> first address, of files that are mapped from their beginning and have code. Prepared code lies right
    behind what is mapped of its file, and has a name of its own."""
    found = {}
    last = last_end = None
    for start, end, protection, offset, path in mappings(pid):
        name = path[: -len(" (deleted)")] if path.endswith(" (deleted)") else path
        prepared = re.search(r"/postern/text/\d+$", name) is not None
        if offset == 0 and name not in found and not prepared:
            found[name] = [start, False]
        code = last if prepared and start == last_end else name
        if code in found and "x" in protection:
            found[code][1] = True
        last, last_end = code, end
    return {name: start for name, (start, code) in found.items() if code}


def quiet(command):
    return gdb.execute(command, to_string=True)


def load_symbols(verbose=False):
    inferior = gdb.selected_inferior()
    if not inferior.pid:
        raise gdb.GdbError("no process: attach to a picoprocess first (gdb -p PID)")
    places = modules(inferior.pid)
    if LIBOS_BASE not in places.values():
        raise gdb.GdbError(f"process {inferior.pid} is no picoprocess: no library OS is mapped in it")
    for path, start in sorted(places.items(), key=lambda item: item[1]):
        key = (inferior.num, inferior.pid, path, start)
        note = ""
        if key not in loaded:
            try:
                linked = link_address(path)
                if linked is None:
                    continue
                bias = start - linked
                if start == ENTRY_BASE:
                    quiet(f"symbol-file {path}")
                elif bias:
                    quiet(f"add-symbol-file {path} -o {bias:#x}")
                else:
                    quiet(f"add-symbol-file {path}")
                loaded[key] = bias
            except (OSError, gdb.error) as error:
                note = f"  (no symbols: {error})"
        if verbose:
            print(f"{start:#018x}  {path}{note}")


def in_postern(address):
    return ENTRY_BASE <= address < ENTRY_HEAP or LIBOS_BASE <= address < LIBOS_HEAP


def program_frame():
    """The program's registers that the selected thread saved when it entered the library OS; None in program code."""
    if not in_postern(int(gdb.parse_and_eval("(unsigned long)$pc"))):
        return None
    control = int(gdb.parse_and_eval("(unsigned long)$gs_base"))
    memory = gdb.selected_inferior().read_memory(control, 128)
    frame, = struct.unpack_from("<Q", memory, 32)
    if frame == 0:
        return None
    words = struct.unpack_from("<19Q", gdb.selected_inferior().read_memory(frame, 160))
    return dict(zip(FRAME_FIELDS, words))


class Postern(gdb.Command):
    """Picoprocesses: modules, stack, registers, ps."""

    def __init__(self):
        super().__init__("postern", gdb.COMMAND_USER, prefix=True)


class Modules(gdb.Command):
    """List what is mapped where; load the symbols of what is new."""

    def __init__(self):
        super().__init__("postern modules", gdb.COMMAND_STATUS)

    def invoke(self, _argument, _from_tty):
        load_symbols(verbose=True)


class Stack(gdb.Command):
    """The selected thread's stack through the library OS and the program. Arguments: those of `backtrace`."""

    def __init__(self):
        super().__init__("postern stack", gdb.COMMAND_STACK)

    def invoke(self, argument, _from_tty):
        load_symbols()
        gdb.execute("backtrace " + argument)


class Registers(gdb.Command):
    """The program's registers while its thread is inside the library OS."""

    def __init__(self):
        super().__init__("postern registers", gdb.COMMAND_DATA)

    def invoke(self, _argument, _from_tty):
        saved = program_frame()
        if saved is None:
            gdb.execute("info registers")
            return
        call = saved["original_rax"]
        print("system call:", "none" if call == 2**64 - 1 else call)
        for name in FRAME_FIELDS[:-1]:
            print(f"{name:6} {saved[name]:#018x}")


class Processes(gdb.Command):
    """Picoprocesses of this machine that can be looked at: number, and the program in each."""

    def __init__(self):
        super().__init__("postern ps", gdb.COMMAND_STATUS)

    def invoke(self, _argument, _from_tty):
        for name in sorted((name for name in os.listdir("/proc") if name.isdigit()), key=int):
            try:
                places = modules(name)
            except OSError:
                continue
            if LIBOS_BASE in places.values():
                programs = [path for path, start in places.items() if start < ENTRY_BASE]
                print(f"{name:>8}  {programs[0] if programs else '-'}")



def start():
    try:
        quiet("help postern")  # loaded a moment ago, by -x and by gdb itself
        return
    except gdb.error:
        pass
    for command in (Postern, Modules, Stack, Registers, Processes):
        command()
    # Signals are how the host part does its work: traps, interruptions, timers. They are no news.
    for number in ("SIGSYS", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIG63", "SIG64"):
        quiet(f"handle {number} nostop noprint pass")
    if gdb.selected_inferior().pid:
        try:
            load_symbols()
        except gdb.GdbError as problem:
            print(problem)


start()
