// SPDX-License-Identifier: Apache-2.0
#include "host/linux/monitor/foresight.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "host/linux/monitor/message.hpp"

namespace postern::host {

namespace {

constexpr u64 kMagic = 0x317365746e6f2d70;
constexpr usize kLongestName = 512;
constexpr usize kMostBytes = 128 << 10;  ///< of a kept file
constexpr u32 kMostListings = 64;        ///< they cost the most, and answer for names that nobody may ask for
constexpr usize kMostDescriptors = kMessageDescriptors;
constexpr usize kMostMembers = 512;
constexpr char kSame = 'c', kAlike = 'p';  ///< first letters of members: of a command, of a program with its options
// A question that was asked once may be asked again; one that was asked twice is answered ahead, until two starts do
// not ask it.
constexpr u32 kExpected = 2, kCertain = 3;

struct Header {
    u64 magic, count, sum;
};
struct Record {
    u32 ask, access, options, score;
    u64 position;
    u32 name_length, reserved;
};
constexpr usize padded(usize length) { return (length + 7) & ~usize{7}; }

bool may_be_foreseen(Ask ask, u32 access, usize name_length) {
    if (name_length == 0 || name_length > kLongestName) return false;
    return ask == Ask::attributes || ask == Ask::tree || (ask == Ask::open && access == gate::kAccessRead);
}

void put_names(char* to, const Request& request, const Reply& reply) {
    for (std::string_view text : {request.name(), std::string_view{reply.text}, std::string_view{reply.second}}) {
        memcpy(to, text.data(), text.size());
        to[text.size()] = 0;
        to += text.size() + 1;
    }
}

}  // namespace

StartKey start_key(const LaunchOptions& options) {
    StartKey key{kHashStart, kHashStart};
    // With its NUL, which no argument contains.
    auto mix = [](u64& hash, std::string_view text) { hash = hash_of({"", 1}, hash_of(text, hash)); };
    auto add = [&](std::string_view text) { mix(key.same, text), mix(key.alike, text); };
    for (const std::string& argument : options.program) {
        mix(key.same, argument);
        if (&argument == &options.program[0] || argument.starts_with('-')) mix(key.alike, argument);
    }
    for (const std::string& variable : options.environment)
        if (variable.starts_with("PATH=")) add(variable);
    for (const Volume& volume : options.view.volumes) add(volume.destination);
    add(options.view.root);
    add(options.view.defaults ? "defaults" : "");
    return key;
}

Foresight::Foresight(std::string directory, const StartKey& start) : directory_{std::move(directory)} {
    char name[20];
    snprintf(name, sizeof name, "%c%016lx", kSame, start.same);
    same_ = name;
    snprintf(name, sizeof name, "%c%016lx", kAlike, start.alike);
    alike_ = name;
    if (!directory_.open(false)) return;
    seen_before_ = read(same_);
    if (!seen_before_) read(alike_);
}

/// False: there is nothing to be believed.
bool Foresight::read(const std::string& member) {
    struct stat status;
    Fd file = directory_.member(member.c_str(), status);
    if (!file.valid() || status.st_size < static_cast<i64>(sizeof(Header)) ||
        status.st_size > static_cast<i64>(kMostBytes))
        return false;
    std::vector<char> bytes(static_cast<usize>(status.st_size));
    Header header;
    if (::read(file.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) return false;
    memcpy(&header, bytes.data(), sizeof header);
    if (header.magic != kMagic || header.sum != sum_of(bytes.data() + sizeof header, bytes.size() - sizeof header))
        return false;
    usize at = sizeof header;
    for (u64 i = 0; i < header.count && bytes.size() - at >= sizeof(Record); ++i) {
        Record record;
        memcpy(&record, bytes.data() + at, sizeof record);
        at += sizeof record;
        auto ask = static_cast<Ask>(record.ask);
        if (!may_be_foreseen(ask, record.access, record.name_length) || bytes.size() - at < record.name_length) break;
        Question question{{ask, record.access, record.options, record.position},
                          std::string{bytes.data() + at, record.name_length}};
        question.score = std::clamp(record.score, 1u, kCertain);
        if (question.name.find('\0') != std::string::npos || !add(std::move(question))) break;
        at += std::min(padded(record.name_length), bytes.size() - at);
    }
    return true;
}

Foresight::Question* Foresight::find(const ForeseenQuestion& what, std::string_view name) {
    auto [at, end] = by_hash_.equal_range(hash_of_question(what, name));
    for (; at != end; ++at) {
        Question& known = questions_[at->second];
        if (known.what == what && known.name == name) return &known;
    }
    return nullptr;
}

bool Foresight::add(Question&& question) {
    if (questions_.size() >= ForeseenTable::kMost) return false;
    if (question.what.ask == Ask::tree && ++listings_ > kMostListings) return true;
    by_hash_.emplace(hash_of_question(question.what, question.name), static_cast<u32>(questions_.size()));
    questions_.push_back(std::move(question));
    return true;
}

void Foresight::answer(Requests& requests, Names& names, ForeseenTable& table, std::vector<Fd>& descriptors) {
    static Request request;
    char* memory = reinterpret_cast<char*>(&table);
    usize at = sizeof table;
    u32 count = 0;
    names.keep_refusals_quiet(true);
    for (Question& question : questions_) {
        if (question.score < kExpected) continue;
        request.ask = question.what.ask, request.access = question.what.access;
        request.options = question.what.options, request.size = question.what.position;
        request.name_length = static_cast<u32>(question.name.size());
        memcpy(request.names, question.name.data(), question.name.size());
        request.names[question.name.size()] = 0;
        Reply reply = requests.serve(request);
        if (reply.later || reply.cache == 0 || reply.refused) continue;
        usize size = sizeof(ForeseenAnswer) + request.name_length + reply.text.size() + reply.second.size() + 3;
        usize files = static_cast<usize>(reply.first_fd.valid()) + static_cast<usize>(reply.second_fd.valid());
        if (at + padded(size) > kForeseenSize || descriptors.size() + files > kMostDescriptors) continue;
        auto& answer = *reinterpret_cast<ForeseenAnswer*>(memory + at);
        answer.size = static_cast<u32>(padded(size));
        answer.question = question.what;
        answer.name_length = request.name_length;
        answer.error = reply.error, answer.host_error = reply.host_error;
        answer.text_length = static_cast<u32>(reply.text.size());
        answer.second_length = static_cast<u32>(reply.second.size());
        answer.reply_flags = reply.flags;
        answer.value = reply.value;
        answer.attributes = reply.attributes;
        put_names(memory + at + sizeof answer, request, reply);
        auto hand_over = [&](Fd& file) {
            if (!file.valid()) return -1;
            descriptors.push_back(std::move(file));
            return kFdForeseen + static_cast<int>(descriptors.size()) - 1;
        };
        answer.descriptor = hand_over(reply.first_fd);
        answer.second_descriptor = hand_over(reply.second_fd);
        u32 hash = hash_of_question(question.what, question.name);
        u32 place = hash % ForeseenTable::kPlaces;
        while (table.places[place].hash != 0) place = (place + 1) % ForeseenTable::kPlaces;
        table.places[place] = {hash, static_cast<u32>(at), count++};
        question.offset = static_cast<u32>(at);
        at += padded(size);
    }
    names.keep_refusals_quiet(false);
    table.count = count;
}

void Foresight::note(const Request& request, const Reply& reply) {
    if (directory_.exists_nowhere() || reply.cache == 0 || reply.refused || request.create != gate::kCreateNever ||
        !may_be_foreseen(request.ask, request.access, request.name_length))
        return;
    const ForeseenQuestion what{request.ask, request.access, request.options, request.size};
    Question* known = find(what, request.name());
    if (known == nullptr) {
        add({what, std::string{request.name()}, 0, 0, true});
    } else {
        known->asked = true;
    }
}

u32 Foresight::keep(const ForeseenTable& table) {
    const char* memory = reinterpret_cast<const char*>(&table);
    u32 used = 0;
    bool changed = false;
    for (Question& question : questions_) {
        if (question.offset != 0) {
            const auto& answer = *reinterpret_cast<const ForeseenAnswer*>(memory + question.offset);
            bool taken = __atomic_load_n(&answer.used, __ATOMIC_RELAXED) != 0;
            used += taken;
            question.asked = question.asked || taken;
        }
        u32 before = question.score;
        if (!question.asked)
            question.score = before <= 1 ? 0 : before - 1;
        else if (before < kCertain)
            question.score = before + 1;
        changed = changed || question.score != before;
    }
    std::erase_if(questions_, [](const Question& question) { return question.score == 0; });
    if (!changed && seen_before_) return used;
    const std::string kept = records();
    write(same_, kept);
    // What commands have in common is learnt from those that are new.
    if (changed && !seen_before_) write(alike_, kept);
    return used;
}

/// Single commands are forgotten first: most of them are not repeated.
void Foresight::make_room() {
    std::vector<std::string> members = directory_.members();
    if (members.size() < kMostMembers) return;
    bool all = true;
    for (const std::string& member : members) {
        if (member[0] == kAlike) continue;
        directory_.remove(member);
        all = false;
    }
    if (!all) return;
    for (const std::string& member : members) directory_.remove(member);
}

std::string Foresight::records() const {
    std::string bytes;
    for (const Question& question : questions_) {
        const ForeseenQuestion& what = question.what;
        Record record{static_cast<u32>(what.ask),
                      what.access,
                      what.options,
                      question.score,
                      what.position,
                      static_cast<u32>(question.name.size()),
                      0};
        bytes.append(reinterpret_cast<const char*>(&record), sizeof record);
        bytes += question.name;
        bytes.resize(padded(bytes.size()));
    }
    return bytes;
}

void Foresight::write(const std::string& member, const std::string& records) {
    Header header{kMagic, questions_.size(), sum_of(records.data(), records.size())};
    if (sizeof header + records.size() > kMostBytes || !directory_.open(true)) return;
    struct stat status;
    if (fstatat(directory_.get(), member.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) make_room();
    const iovec parts[2] = {{&header, sizeof header}, {const_cast<char*>(records.data()), records.size()}};
    directory_.replace(member.c_str(), parts);
}

}  // namespace postern::host
