// SPDX-License-Identifier: Apache-2.0
// Linux error numbers, the error side of every Result in the library OS, and the one translation from gate errors.
#pragma once

#include "base/result.hpp"
#include "gate/types.hpp"

namespace postern::libos {

/// Values as in errno(3). The k…Restart codes never reach a program: see signal/delivery.
enum class Errno : i32 {
    ok = 0,
    perm = 1,
    noent = 2,
    srch = 3,
    intr = 4,
    io = 5,
    nxio = 6,
    toobig = 7,
    noexec = 8,
    badf = 9,
    child = 10,
    again = 11,
    nomem = 12,
    acces = 13,
    fault = 14,
    notblk = 15,
    busy = 16,
    exist = 17,
    xdev = 18,
    nodev = 19,
    notdir = 20,
    isdir = 21,
    inval = 22,
    nfile = 23,
    mfile = 24,
    notty = 25,
    txtbsy = 26,
    fbig = 27,
    nospc = 28,
    spipe = 29,
    rofs = 30,
    mlink = 31,
    pipe = 32,
    dom = 33,
    range = 34,
    deadlk = 35,
    nametoolong = 36,
    nolck = 37,
    nosys = 38,
    notempty = 39,
    loop = 40,
    nomsg = 42,
    idrm = 43,
    nodata = 61,
    overflow = 75,
    ilseq = 84,
    notsock = 88,
    destaddrreq = 89,
    msgsize = 90,
    prototype = 91,
    noprotoopt = 92,
    protonosupport = 93,
    socktnosupport = 94,
    opnotsupp = 95,
    pfnosupport = 96,
    afnosupport = 97,
    addrinuse = 98,
    addrnotavail = 99,
    netdown = 100,
    netunreach = 101,
    connaborted = 103,
    connreset = 104,
    nobufs = 105,
    isconn = 106,
    notconn = 107,
    timedout = 110,
    connrefused = 111,
    hostunreach = 113,
    already = 114,
    inprogress = 115,
    stale = 116,
    dquot = 122,
    canceled = 125,
    ownerdead = 130,
    notrecoverable = 131,

    restart_sys = 512,      ///< restart if the handler has SA_RESTART, else EINTR
    restart_no_intr = 513,  ///< always restart
    restart_no_hand = 514,  ///< restart only if no handler runs, else EINTR
    restart_block = 516,    ///< restart through restart_syscall(2)
};

template <class T>
using Res = Result<T, Errno>;

/// Total on purpose: a new gate error does not compile until someone decides its errno.
Errno to_errno(gate::Err error);

inline Res<void> check(gate::Err error) {
    if (error != gate::Err::ok) [[unlikely]]
        return Failure{to_errno(error)};
    return {};
}

}  // namespace postern::libos
