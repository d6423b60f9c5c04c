// SPDX-License-Identifier: Apache-2.0
// Names of errors, signals and flags: see decode.hpp.
#include "libos/syscall/decode.hpp"

namespace postern::libos {

namespace {

struct ErrorText {
    i32 number;
    const char* name;
    const char* text;
};

constexpr ErrorText kErrors[] = {
    {1, "EPERM", "Operation not permitted"},
    {2, "ENOENT", "No such file or directory"},
    {3, "ESRCH", "No such process"},
    {4, "EINTR", "Interrupted system call"},
    {5, "EIO", "Input/output error"},
    {6, "ENXIO", "No such device or address"},
    {7, "E2BIG", "Argument list too long"},
    {8, "ENOEXEC", "Exec format error"},
    {9, "EBADF", "Bad file descriptor"},
    {10, "ECHILD", "No child processes"},
    {11, "EAGAIN", "Resource temporarily unavailable"},
    {12, "ENOMEM", "Cannot allocate memory"},
    {13, "EACCES", "Permission denied"},
    {14, "EFAULT", "Bad address"},
    {15, "ENOTBLK", "Block device required"},
    {16, "EBUSY", "Device or resource busy"},
    {17, "EEXIST", "File exists"},
    {18, "EXDEV", "Invalid cross-device link"},
    {19, "ENODEV", "No such device"},
    {20, "ENOTDIR", "Not a directory"},
    {21, "EISDIR", "Is a directory"},
    {22, "EINVAL", "Invalid argument"},
    {23, "ENFILE", "Too many open files in system"},
    {24, "EMFILE", "Too many open files"},
    {25, "ENOTTY", "Inappropriate ioctl for device"},
    {26, "ETXTBSY", "Text file busy"},
    {27, "EFBIG", "File too large"},
    {28, "ENOSPC", "No space left on device"},
    {29, "ESPIPE", "Illegal seek"},
    {30, "EROFS", "Read-only file system"},
    {31, "EMLINK", "Too many links"},
    {32, "EPIPE", "Broken pipe"},
    {33, "EDOM", "Numerical argument out of domain"},
    {34, "ERANGE", "Numerical result out of range"},
    {35, "EDEADLOCK", "Resource deadlock avoided"},
    {36, "ENAMETOOLONG", "File name too long"},
    {37, "ENOLCK", "No locks available"},
    {38, "ENOSYS", "Function not implemented"},
    {39, "ENOTEMPTY", "Directory not empty"},
    {40, "ELOOP", "Too many levels of symbolic links"},
    {42, "ENOMSG", "No message of desired type"},
    {43, "EIDRM", "Identifier removed"},
    {44, "ECHRNG", "Channel number out of range"},
    {45, "EL2NSYNC", "Level 2 not synchronized"},
    {46, "EL3HLT", "Level 3 halted"},
    {47, "EL3RST", "Level 3 reset"},
    {48, "ELNRNG", "Link number out of range"},
    {49, "EUNATCH", "Protocol driver not attached"},
    {50, "ENOCSI", "No CSI structure available"},
    {51, "EL2HLT", "Level 2 halted"},
    {52, "EBADE", "Invalid exchange"},
    {53, "EBADR", "Invalid request descriptor"},
    {54, "EXFULL", "Exchange full"},
    {55, "ENOANO", "No anode"},
    {56, "EBADRQC", "Invalid request code"},
    {57, "EBADSLT", "Invalid slot"},
    {59, "EBFONT", "Bad font file format"},
    {60, "ENOSTR", "Device not a stream"},
    {61, "ENODATA", "No data available"},
    {62, "ETIME", "Timer expired"},
    {63, "ENOSR", "Out of streams resources"},
    {64, "ENONET", "Machine is not on the network"},
    {65, "ENOPKG", "Package not installed"},
    {66, "EREMOTE", "Object is remote"},
    {67, "ENOLINK", "Link has been severed"},
    {68, "EADV", "Advertise error"},
    {69, "ESRMNT", "Srmount error"},
    {70, "ECOMM", "Communication error on send"},
    {71, "EPROTO", "Protocol error"},
    {72, "EMULTIHOP", "Multihop attempted"},
    {73, "EDOTDOT", "RFS specific error"},
    {74, "EBADMSG", "Bad message"},
    {75, "EOVERFLOW", "Value too large for defined data type"},
    {76, "ENOTUNIQ", "Name not unique on network"},
    {77, "EBADFD", "File descriptor in bad state"},
    {78, "EREMCHG", "Remote address changed"},
    {79, "ELIBACC", "Can not access a needed shared library"},
    {80, "ELIBBAD", "Accessing a corrupted shared library"},
    {81, "ELIBSCN", ".lib section in a.out corrupted"},
    {82, "ELIBMAX", "Attempting to link in too many shared libraries"},
    {83, "ELIBEXEC", "Cannot exec a shared library directly"},
    {84, "EILSEQ", "Invalid or incomplete multibyte or wide character"},
    {85, "ERESTART", "Interrupted system call should be restarted"},
    {86, "ESTRPIPE", "Streams pipe error"},
    {87, "EUSERS", "Too many users"},
    {88, "ENOTSOCK", "Socket operation on non-socket"},
    {89, "EDESTADDRREQ", "Destination address required"},
    {90, "EMSGSIZE", "Message too long"},
    {91, "EPROTOTYPE", "Protocol wrong type for socket"},
    {92, "ENOPROTOOPT", "Protocol not available"},
    {93, "EPROTONOSUPPORT", "Protocol not supported"},
    {94, "ESOCKTNOSUPPORT", "Socket type not supported"},
    {95, "ENOTSUP", "Operation not supported"},
    {96, "EPFNOSUPPORT", "Protocol family not supported"},
    {97, "EAFNOSUPPORT", "Address family not supported by protocol"},
    {98, "EADDRINUSE", "Address already in use"},
    {99, "EADDRNOTAVAIL", "Cannot assign requested address"},
    {100, "ENETDOWN", "Network is down"},
    {101, "ENETUNREACH", "Network is unreachable"},
    {102, "ENETRESET", "Network dropped connection on reset"},
    {103, "ECONNABORTED", "Software caused connection abort"},
    {104, "ECONNRESET", "Connection reset by peer"},
    {105, "ENOBUFS", "No buffer space available"},
    {106, "EISCONN", "Transport endpoint is already connected"},
    {107, "ENOTCONN", "Transport endpoint is not connected"},
    {108, "ESHUTDOWN", "Cannot send after transport endpoint shutdown"},
    {109, "ETOOMANYREFS", "Too many references: cannot splice"},
    {110, "ETIMEDOUT", "Connection timed out"},
    {111, "ECONNREFUSED", "Connection refused"},
    {112, "EHOSTDOWN", "Host is down"},
    {113, "EHOSTUNREACH", "No route to host"},
    {114, "EALREADY", "Operation already in progress"},
    {115, "EINPROGRESS", "Operation now in progress"},
    {116, "ESTALE", "Stale file handle"},
    {117, "EUCLEAN", "Structure needs cleaning"},
    {118, "ENOTNAM", "Not a XENIX named type file"},
    {119, "ENAVAIL", "No XENIX semaphores available"},
    {120, "EISNAM", "Is a named type file"},
    {121, "EREMOTEIO", "Remote I/O error"},
    {122, "EDQUOT", "Disk quota exceeded"},
    {123, "ENOMEDIUM", "No medium found"},
    {124, "EMEDIUMTYPE", "Wrong medium type"},
    {125, "ECANCELED", "Operation canceled"},
    {126, "ENOKEY", "Required key not available"},
    {127, "EKEYEXPIRED", "Key has expired"},
    {128, "EKEYREVOKED", "Key has been revoked"},
    {129, "EKEYREJECTED", "Key was rejected by service"},
    {130, "EOWNERDEAD", "Owner died"},
    {131, "ENOTRECOVERABLE", "State not recoverable"},
    {132, "ERFKILL", "Operation not possible due to RF-kill"},
    {512, "ERESTARTSYS", "To be restarted if SA_RESTART is set"},
    {513, "ERESTARTNOINTR", "To be restarted"},
    {514, "ERESTARTNOHAND", "To be restarted if no handler"},
    {516, "ERESTART_RESTARTBLOCK", "Interrupted by signal"},
};

constexpr const char* kSignals[] = {
    nullptr,     "SIGHUP",  "SIGINT",    "SIGQUIT", "SIGILL",   "SIGTRAP", "SIGABRT", "SIGBUS",
    "SIGFPE",    "SIGKILL", "SIGUSR1",   "SIGSEGV", "SIGUSR2",  "SIGPIPE", "SIGALRM", "SIGTERM",
    "SIGSTKFLT", "SIGCHLD", "SIGCONT",   "SIGSTOP", "SIGTSTP",  "SIGTTIN", "SIGTTOU", "SIGURG",
    "SIGXCPU",   "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO",   "SIGPWR",  "SIGSYS",
};

/// One value under a mask: a single flag has mask == value; an enumeration in some bits has a wider mask.
struct Flag {
    u64 mask, value;
    const char* name;
};
#define BIT(value, name) \
    { value, value, name }

constexpr Flag kOpen[] = {
    {3, 0, "O_RDONLY"},          {3, 1, "O_WRONLY"},          {3, 2, "O_RDWR"},
    BIT(0100, "O_CREAT"),        BIT(0200, "O_EXCL"),         BIT(0400, "O_NOCTTY"),
    BIT(01000, "O_TRUNC"),       BIT(02000, "O_APPEND"),      BIT(04000, "O_NONBLOCK"),
    BIT(04010000, "O_SYNC"),     BIT(010000, "O_DSYNC"),      BIT(020000, "O_ASYNC"),
    BIT(040000, "O_DIRECT"),     BIT(0100000, "O_LARGEFILE"), BIT(020200000, "O_TMPFILE"),
    BIT(0200000, "O_DIRECTORY"), BIT(0400000, "O_NOFOLLOW"),  BIT(01000000, "O_NOATIME"),
    BIT(02000000, "O_CLOEXEC"),  BIT(010000000, "O_PATH"),
};
constexpr Flag kProt[] = {
    {~0ull, 0, "PROT_NONE"},
    BIT(1, "PROT_READ"),
    BIT(2, "PROT_WRITE"),
    BIT(4, "PROT_EXEC"),
    BIT(0x1000000, "PROT_GROWSDOWN"),
    BIT(0x2000000, "PROT_GROWSUP"),
};
constexpr Flag kMap[] = {
    {15, 1, "MAP_SHARED"},
    {15, 2, "MAP_PRIVATE"},
    {15, 3, "MAP_SHARED_VALIDATE"},
    BIT(0x10, "MAP_FIXED"),
    BIT(0x20, "MAP_ANONYMOUS"),
    BIT(0x40, "MAP_32BIT"),
    BIT(0x100, "MAP_GROWSDOWN"),
    BIT(0x800, "MAP_DENYWRITE"),
    BIT(0x1000, "MAP_EXECUTABLE"),
    BIT(0x2000, "MAP_LOCKED"),
    BIT(0x4000, "MAP_NORESERVE"),
    BIT(0x8000, "MAP_POPULATE"),
    BIT(0x10000, "MAP_NONBLOCK"),
    BIT(0x20000, "MAP_STACK"),
    BIT(0x40000, "MAP_HUGETLB"),
    BIT(0x80000, "MAP_SYNC"),
    BIT(0x100000, "MAP_FIXED_NOREPLACE"),
};
constexpr Flag kRemap[] = {
    BIT(1, "MREMAP_MAYMOVE"),
    BIT(2, "MREMAP_FIXED"),
    BIT(4, "MREMAP_DONTUNMAP"),
};
constexpr Flag kMsync[] = {BIT(1, "MS_ASYNC"), BIT(2, "MS_INVALIDATE"), BIT(4, "MS_SYNC")};
constexpr Flag kMadvise[] = {
    {~0ull, 0, "MADV_NORMAL"},    {~0ull, 1, "MADV_RANDOM"},      {~0ull, 2, "MADV_SEQUENTIAL"},
    {~0ull, 3, "MADV_WILLNEED"},  {~0ull, 4, "MADV_DONTNEED"},    {~0ull, 8, "MADV_FREE"},
    {~0ull, 9, "MADV_REMOVE"},    {~0ull, 10, "MADV_DONTFORK"},   {~0ull, 11, "MADV_DOFORK"},
    {~0ull, 14, "MADV_HUGEPAGE"}, {~0ull, 15, "MADV_NOHUGEPAGE"}, {~0ull, 16, "MADV_DONTDUMP"},
    {~0ull, 17, "MADV_DODUMP"},   {~0ull, 18, "MADV_WIPEONFORK"},
};
constexpr Flag kClone[] = {
    BIT(0x100, "CLONE_VM"),
    BIT(0x200, "CLONE_FS"),
    BIT(0x400, "CLONE_FILES"),
    BIT(0x800, "CLONE_SIGHAND"),
    BIT(0x1000, "CLONE_PIDFD"),
    BIT(0x2000, "CLONE_PTRACE"),
    BIT(0x4000, "CLONE_VFORK"),
    BIT(0x8000, "CLONE_PARENT"),
    BIT(0x10000, "CLONE_THREAD"),
    BIT(0x20000, "CLONE_NEWNS"),
    BIT(0x40000, "CLONE_SYSVSEM"),
    BIT(0x80000, "CLONE_SETTLS"),
    BIT(0x100000, "CLONE_PARENT_SETTID"),
    BIT(0x200000, "CLONE_CHILD_CLEARTID"),
    BIT(0x400000, "CLONE_DETACHED"),
    BIT(0x1000000, "CLONE_CHILD_SETTID"),
    BIT(0x2000000, "CLONE_NEWCGROUP"),
    BIT(0x4000000, "CLONE_NEWUTS"),
    BIT(0x8000000, "CLONE_NEWIPC"),
    BIT(0x10000000, "CLONE_NEWUSER"),
    BIT(0x20000000, "CLONE_NEWPID"),
    BIT(0x40000000, "CLONE_NEWNET"),
    {0xff, 17, "SIGCHLD"},
};
constexpr Flag kWait[] = {
    BIT(1, "WNOHANG"),         BIT(2, "WUNTRACED"),       BIT(4, "WEXITED"),           BIT(8, "WCONTINUED"),
    BIT(0x1000000, "WNOWAIT"), BIT(0x40000000, "__WALL"), BIT(0x80000000, "__WCLONE"),
};
constexpr Flag kFutex[] = {
    {127, 0, "FUTEX_WAIT"},         {127, 1, "FUTEX_WAKE"},         {127, 3, "FUTEX_REQUEUE"},
    {127, 4, "FUTEX_CMP_REQUEUE"},  {127, 5, "FUTEX_WAKE_OP"},      {127, 6, "FUTEX_LOCK_PI"},
    {127, 7, "FUTEX_UNLOCK_PI"},    {127, 8, "FUTEX_TRYLOCK_PI"},   {127, 9, "FUTEX_WAIT_BITSET"},
    {127, 10, "FUTEX_WAKE_BITSET"}, BIT(128, "FUTEX_PRIVATE_FLAG"), BIT(256, "FUTEX_CLOCK_REALTIME"),
};
constexpr Flag kAt[] = {
    BIT(0x100, "AT_SYMLINK_NOFOLLOW"), BIT(0x200, "AT_REMOVEDIR"),   BIT(0x400, "AT_SYMLINK_FOLLOW"),
    BIT(0x800, "AT_NO_AUTOMOUNT"),     BIT(0x1000, "AT_EMPTY_PATH"), BIT(0x2000, "AT_STATX_FORCE_SYNC"),
    BIT(0x4000, "AT_STATX_DONT_SYNC"),
};
constexpr Flag kAccess[] = {{~0ull, 0, "F_OK"}, BIT(4, "R_OK"), BIT(2, "W_OK"), BIT(1, "X_OK")};
constexpr Flag kSigprocmask[] = {{~0ull, 0, "SIG_BLOCK"}, {~0ull, 1, "SIG_UNBLOCK"}, {~0ull, 2, "SIG_SETMASK"}};
constexpr Flag kWhence[] = {{~0ull, 0, "SEEK_SET"},
                            {~0ull, 1, "SEEK_CUR"},
                            {~0ull, 2, "SEEK_END"},
                            {~0ull, 3, "SEEK_DATA"},
                            {~0ull, 4, "SEEK_HOLE"}};

struct FlagSet {
    std::string_view name;
    const Flag* flags;
    usize count;
};
template <usize Count>
constexpr FlagSet set(std::string_view name, const Flag (&flags)[Count]) {
    return {name, flags, Count};
}
constexpr FlagSet kSets[] = {
    set("open", kOpen),     set("prot", kProt),       set("map", kMap),       set("mremap", kRemap),
    set("msync", kMsync),   set("madvise", kMadvise), set("clone", kClone),   set("wait", kWait),
    set("futex", kFutex),   set("at", kAt),           set("access", kAccess), set("sigprocmask", kSigprocmask),
    set("whence", kWhence), set("seek", kWhence),
};

}  // namespace

const char* errno_name(i32 error) {
    for (const ErrorText& row : kErrors)
        if (row.number == error) return row.name;
    return nullptr;
}

const char* errno_text(i32 error) {
    for (const ErrorText& row : kErrors)
        if (row.number == error) return row.text;
    return "Unknown error";
}

const char* signal_name(u32 signal) { return signal < 32 ? kSignals[signal] : nullptr; }

void put_flags(Text& text, std::string_view name, u64 value) {
    const FlagSet* found = nullptr;
    for (const FlagSet& set : kSets)
        if (set.name == name) found = &set;
    u64 rest = value;
    bool first = true;
    if (found != nullptr) {
        for (usize i = 0; i < found->count; ++i) {
            const Flag& flag = found->flags[i];
            if ((value & flag.mask & 0xffff'ffff) != flag.value) continue;
            // A flag that contains another (O_SYNC, O_DSYNC) comes first and takes its bits.
            if (flag.mask == flag.value && (rest & flag.value) != flag.value) continue;
            if (!first) text.add('|');
            text.add(flag.name);
            rest &= ~flag.mask;
            first = false;
        }
    }
    if (rest != 0 || first) {
        if (!first) text.add('|');
        if (rest == 0)
            text.add('0');
        else
            text.add("0x", Hex{rest});
    }
}

}  // namespace postern::libos
