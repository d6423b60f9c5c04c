# SPDX-License-Identifier: Apache-2.0
"""What ./x check --wall records to see which host calls are needed. Runs inside a picoprocess; /data is writable.

Each step is something that a Linux program does; the comment names the host call that it leads to.
"""
import ctypes
import mmap
import os
import select
import signal
import subprocess
import sys
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)


def files():
    fd = os.open("/data/file", os.O_RDWR | os.O_CREAT, 0o600)
    os.write(fd, b"x" * 10000)               # pwrite64
    os.pread(fd, 100, 0)                     # pread64
    os.read(0, 16)                           # read: standard input is the host's
    os.ftruncate(fd, 5000)                   # ftruncate
    os.posix_fallocate(fd, 0, 8192)          # fallocate
    os.fsync(fd)                             # fsync
    os.fdatasync(fd)                         # fdatasync
    os.fstat(fd)                             # fstat
    with mmap.mmap(fd, 8192) as memory:      # mmap, munmap
        memory[0:2] = b"yy"
        memory.flush()
    os.close(fd)                             # close
    for i in range(300):
        os.close(os.open(f"/data/name-{i:03}", os.O_CREAT | os.O_WRONLY, 0o600))
    for _ in range(2):
        listing = os.open("/data", os.O_RDONLY | os.O_DIRECTORY)
        names = os.listdir(listing)          # getdents64
        os.lseek(listing, 0, os.SEEK_SET)    # lseek, by reading the directory again
        assert sorted(os.listdir(listing)) == sorted(names)
        os.close(listing)


def memory():
    area = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area[0:1] = b"x"
    area.resize(2 << 20)                     # mremap
    area.madvise(mmap.MADV_DONTNEED)         # madvise
    area.close()
    libc.mmap.restype = ctypes.c_void_p
    at = libc.mmap(None, 4096, 3, 0x22, -1, 0)
    libc.mprotect(ctypes.c_void_p(at), 4096, 1)  # mprotect


def threads():
    lock, done = threading.Lock(), []

    def work():
        for _ in range(200):
            with lock:                       # futex
                os.sched_yield()             # sched_yield
        time.thread_time()                   # clock_gettime
        done.append(1)

    workers = [threading.Thread(target=work) for _ in range(4)]  # clone, sigaltstack
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()                        # exit
    assert len(done) == 4
    time.process_time()


def processes():
    subprocess.run(["sh", "-c", "echo x | cat | wc -c"], check=True, stdout=subprocess.DEVNULL)  # clone, write
    child = os.fork()
    if child == 0:
        signal.pause()
    time.sleep(0.05)
    os.kill(child, signal.SIGTERM)           # tgkill
    os.waitpid(child, 0)
    fired = []
    signal.signal(signal.SIGALRM, lambda *_: fired.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.02)  # setitimer, rt_sigreturn
    while not fired:
        signal.pause()
    os.urandom(8)                            # getrandom


def waiting():
    select.select([sys.stdin], [], [], 0.05)  # ppoll, on a stream of the host's


for step in (files, memory, threads, processes, waiting):
    step()
print("done", flush=True)
sys.exit(0)
