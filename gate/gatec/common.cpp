// SPDX-License-Identifier: Apache-2.0
// Names and canonical texts that several emitters use.
#include <cctype>

#include "base/hash.hpp"
#include "gate/gatec/emit.hpp"

namespace postern::gatec {

using namespace gate::schema;

std::string snake(std::string_view name) {
    if (name.substr(0, 2) == "Dk") name.remove_prefix(2);
    std::string result;
    for (char c : name) {
        if (std::isupper(static_cast<unsigned char>(c)) && !result.empty()) result += '_';
        result += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    return result;
}

std::string cpp_type(Type type) {
    switch (type) {
        case Type::none: break;
        case Type::u32_value: return "u32";
        case Type::u64_value: return "u64";
        case Type::handle: return "Handle";
        case Type::deadline: return "Deadline";
        case Type::token: return "ThreadToken";
        case Type::free_kind: return "FreeKind";
        case Type::length_change: return "LengthChange";
        case Type::link_kind: return "LinkKind";
        case Type::clock: return "Clock";
        case Type::timer_kind: return "TimerKind";
        case Type::u32_pointer: return "u32*";
        case Type::u64_pointer: return "u64*";
        case Type::handle_pointer: return "Handle*";
        case Type::token_pointer: return "ThreadToken*";
        case Type::handle_list: return "const Handle*";
        case Type::wait_items: return "WaitItem*";
        case Type::fork_result: return "ForkResult*";
        case Type::attributes: return "Attributes*";
        case Type::attributes_in: return "const Attributes*";
        case Type::bytes_in: return "const void*";
        case Type::bytes_out: return "void*";
        case Type::string: return "const char*";
        case Type::string_list: return "const char* const*";
        case Type::parameters: return "const LibOsParameters*";
        case Type::exception_info: return "const ExceptionInfo*";
    }
    return "?";
}

std::string kind_list(Kinds kinds) {
    if (kinds == kAnyKind) return "any";
    std::string result;
    for (usize i = 1; i < std::size(kKindNames); ++i)
        if ((kinds >> i & 1) != 0) result += (result.empty() ? "" : ", ") + std::string{kKindNames[i]};
    return result;
}

std::string right_list(gate::Right right) {
    std::string result;
    for (usize i = 0; i < std::size(kRightNames); ++i)
        if ((static_cast<unsigned>(right) >> i & 1) != 0)
            result += (result.empty() ? "" : ", ") + std::string{kRightNames[i]};
    return result;
}

std::string signature(const Call& call) {
    std::string text{call.name};
    text += "(";
    for (const Param& param : call) {
        text += cpp_type(param.type) + ":" + std::to_string(static_cast<int>(param.direction)) + ":" +
                std::to_string(param.kinds) + ":" + std::to_string(static_cast<int>(param.right)) + ":" +
                std::to_string(param.optional) + ":" + std::string{info(param.domain).name} + ";";
    }
    text += ")" + std::to_string(static_cast<int>(call.returns)) + (call.blocks ? "b" : "");
    return text;
}

u64 fingerprint(std::string_view text) { return hash_of(text); }

}  // namespace postern::gatec
