// SPDX-License-Identifier: Apache-2.0
// Texts of the command line and of a start: -v, sets of calls, sizes, durations, and entry's description of itself.
#include <stdlib.h>
#include <string.h>

#include <string>

#include "cli/call_set.hpp"
#include "cli/text.hpp"
#include "host/linux/entry/state.hpp"
#include "host/linux/monitor/launch.hpp"

using namespace postern;

namespace postern::host {
bool parse_config(const char* text, Config& config);
}

namespace {

constexpr const char* kTable =
    "[\n  {\"number\": 0, \"name\": \"read\", \"level\": \"full\", \"classes\": \"desc\", \"note\": \"\"},\n"
    "  {\"number\": 2, \"name\": \"open\", \"level\": \"full\", \"classes\": \"desc file\", \"note\": \"\"},\n"
    "  {\"number\": 62, \"name\": \"kill\", \"level\": \"full\", \"classes\": \"process signal\", \"note\": \"\"}\n]\n";

void check_volume(const std::string& text) {
    auto volume = host::parse_volume(text);
    if (!volume.ok()) {
        if (strnlen(volume.error().message, sizeof volume.error().message) == sizeof volume.error().message) abort();
        return;
    }
    const std::string& place = volume.value().destination;
    if (volume.value().source.empty() || place.empty() || place[0] != '/') abort();
    if (place.find("//") != std::string::npos || (place + "/").find("/../") != std::string::npos) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    if (size == 0) return 0;
    std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
    switch (data[0] % 4) {
        case 0: check_volume(text); break;
        case 1: {
            // The C library's regular expressions are not what is to be tested, and some take it for ever.
            for (char& letter : text)
                if (letter == '/') letter = '_';
            std::string error;
            auto set = cli::parse_call_set(text, kTable, error);
            if (!set && error.empty()) abort();
            if (set && cli::call_set_digits(*set).size() != cli::kCallCount / 4) abort();
            break;
        }
        case 2: {
            static host::Config config;
            config = host::Config{};
            host::parse_config(text.c_str(), config);
            if (strnlen(config.working_directory, sizeof config.working_directory) == sizeof config.working_directory ||
                strnlen(config.options, sizeof config.options) == sizeof config.options)
                abort();
            break;
        }
        default: {
            (void)cli::parse_size(text);
            auto processors = cli::parse_processors(text, 64);
            if (processors && !(*processors >= 0.01 && *processors <= 64)) abort();
            auto duration = cli::parse_duration(text);
            if (duration && !(*duration > 0)) abort();
            std::string json = cli::json_string(text);
            if (json.size() < 2 || json.front() != '"' || json.back() != '"') abort();
        }
    }
    return 0;
}
