// SPDX-License-Identifier: Apache-2.0
// The postern command: finds the subcommand, parses its options and runs it.
#include <string.h>

#include "cli/command.hpp"
#include "cli/text.hpp"

namespace postern::cli {
namespace {

constexpr Subcommand kSubcommands[] = {
    {"run", "run a program in a picoprocess", run},
    {"routes", "print the rules that decide which names a program finds", routes},
    {"gate", "describe the calls of the gate", gate},
    {"syscalls", "list the Linux system calls and how far they are supported", syscalls},
    {"wall", "list the host calls that code in a picoprocess can make, and why", wall},
};

int complain_of_command(std::string_view word) {
    std::vector<std::string_view> names;
    for (const Subcommand& command : kSubcommands) names.push_back(command.name);
    std::string message = word.starts_with('-') ? "unknown option '" : "unknown command '";
    message += std::string{word} + "'.";
    if (word.starts_with('-')) {
        names = {"--help", "--version"};
    }
    std::string_view guess = closest(word, names);
    if (!guess.empty()) message += " Did you mean '" + std::string{guess} + "'?";
    complain(message + " See 'postern --help'.");
    return kUsageError;
}

}  // namespace

std::span<const Subcommand> subcommands() { return kSubcommands; }

const Subcommand* find_subcommand(std::string_view name) {
    for (const Subcommand& command : kSubcommands)
        if (command.name == name) return &command;
    return nullptr;
}

}  // namespace postern::cli

int main(int count, char** words) {
    using namespace postern::cli;
    std::span<char* const> arguments{words, static_cast<std::size_t>(count)};
    if (count < 2) {
        complain("a command is missing. Try: postern run -- echo hello");
        return kUsageError;
    }
    std::string_view word = arguments[1];
    if (word == "--help" || word == "-h" || (word == "help" && count == 2))
        return print(general_help()) ? 0 : kUsageError;
    if (word == "--version") return print("postern " POSTERN_VERSION "\n") ? 0 : kUsageError;
    if (word == "help") {  // postern help run
        word = arguments[2];
        const Subcommand* command = find_subcommand(word);
        if (command == nullptr) return complain_of_command(word);
        char help[] = "--help";
        char* const ask[] = {help};
        Request request;
        return parse(*command, ask, request) == Parsed::done ? 0 : kUsageError;
    }
    const Subcommand* command = find_subcommand(word);
    if (command == nullptr) return complain_of_command(word);
    Request request;
    switch (parse(*command, arguments.subspan(2), request)) {
        case Parsed::done: return 0;
        case Parsed::failed: return kUsageError;
        case Parsed::go_on: break;
    }
    return command->main(request);
}
