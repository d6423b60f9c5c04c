// SPDX-License-Identifier: Apache-2.0
// Serving what picoprocesses ask: one request in, one reply out, nothing of the asking side trusted.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "gate/personality.hpp"
#include "host/linux/monitor/locks.hpp"
#include "host/linux/monitor/names.hpp"
#include "host/linux/monitor/text_store.hpp"

namespace postern::host {

/// The monitor's own copy of a slot. `name` and `second` are checked lengths into `names`.
struct Request {
    Ask ask = Ask::none;
    u32 access = 0, mode = 0, create = 0, options = 0, flags = 0, mask = 0;
    u64 size = 0, value = 0;
    u32 owner = 0, sequence = 0;
    gate::Attributes attributes;
    u32 name_length = 0, second_length = 0;
    char names[2 * kMaxPath] = {};
    std::string_view name() const { return {names, name_length}; }
    std::string_view second() const { return {names + name_length + 1, second_length}; }
};

struct Reply {
    gate::Err error = gate::Err::ok;
    u32 host_error = 0;
    u32 flags = 0;  ///< ReplyFlags
    u32 cache = 0;
    u64 value = 0;
    gate::Attributes attributes;
    std::string text;    ///< canonical name, or records of a listing
    std::string second;  ///< link target
    Fd first_fd, second_fd;
    bool later = false;    ///< must be served in a worker
    bool refused = false;  ///< a rule's doing, to be reported at the end

    static Reply failure(gate::Err error, int host_error = 0) {
        Reply reply;
        reply.error = error;
        reply.host_error = static_cast<u32>(host_error);
        return reply;
    }
};

/// Reads a slot of the shared file once. False: lengths or numbers out of range; `request.ask` is then none.
bool copy_request(const volatile Slot& slot, Request& request);
/// Writes the reply into the slot, all but descriptors.
void write_reply(Slot& slot, const Reply& reply);

/// What requests need of the family beyond names.
class Family {
public:
    virtual ~Family() = default;
    /// `streams`: what becomes its descriptors 0 to 2; not valid: the family's own of that number.
    virtual Result<int, gate::Err> create_process(const std::string& program, const std::vector<std::string>& arguments,
                                                  const Fd (&streams)[3]) = 0;
    /// A copy of the family's standard stream 0, 1 or 2.
    virtual Fd standard_stream(int number) = 0;
    /// Exit code of an ended member; would_block: it runs; not_found.
    virtual Result<u32, gate::Err> exit_code(int process) = 0;
    /// Adds what a member has used, or had when it ended. would_block: it is ending.
    virtual gate::Err add_usage(int process, gate::MembersUsage& usage) = 0;
    virtual void log(LogKind kind, std::string_view text) = 0;
};

class Requests {
public:
    /// `texts` may be null. All outlive this object.
    Requests(Names& names, Family& family, u64 memory_limit, TextStore* texts = nullptr)
        : names_{names}, family_{family}, texts_{texts}, memory_left_{memory_limit} {}

    Reply serve(const Request& request);
    /// A member has ended: its locks and named pipes go.
    void ended(int process);

private:
    Reply open(const Request& request);
    Reply open_existing(const Request& request, Place& place);
    void add_text(const Place& place, const Request& request, Reply& reply);
    Reply create(const Request& request, Place& place);
    Reply attributes(const Request& request);
    Reply set_attributes(const Request& request);
    Reply remove(const Request& request);
    Reply rename(const Request& request);
    Reply link(const Request& request);
    Reply memory(const Request& request);
    Reply pipe(const Request& request);
    Reply process(const Request& request);
    Reply named_pipe(const Request& request);
    Reply list(const Request& request);
    Reply tree(const Request& request);
    Reply usage(const Request& request);
    /// Resolves a `file:` URI. Not ok: the reply is complete.
    bool find(std::string_view uri, bool follow, Place& place, Reply& reply);
    bool writable(const Place& place, Reply& reply);
    void refuse_in_synthetic(const Place& place, Reply& reply);
    void note_read_only(const Place& place);

    struct PipeServer {
        Fd notify;  ///< write end: connection numbers
        int owner = 0;
    };
    struct Connection {
        u64 number;
        Fd server_side;
        int owner;
    };

    /// An anonymous pipe of the family, held with O_PATH: neither a reader nor a writer of it.
    struct Pipe {
        u64 identity;
        Fd path;
    };
    Result<Fd, gate::Err> stream_for(u32 kind, u64 identity);

    Names& names_;
    Family& family_;
    TextStore* texts_;
    std::vector<Pipe> pipes_;
    usize next_pipe_ = 0;
    u64 memory_left_;
    u32 pipes_left_ = 65536;
    u64 next_connection_ = 1;
    std::map<std::string, PipeServer, std::less<>> servers_;
    std::vector<Connection> connections_;
    FileLocks locks_;
};

gate::Attributes attributes_of(const struct stat& status);

}  // namespace postern::host
