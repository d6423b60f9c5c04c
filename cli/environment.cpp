// SPDX-License-Identifier: Apache-2.0
// The environment of a program: see environment.hpp.
#include "cli/environment.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

extern char** environ;

namespace postern::cli {
namespace {

bool is_basic(std::string_view name) {
    static constexpr std::string_view kNames[] = {"PATH", "HOME",     "USER",      "LOGNAME",  "SHELL", "LANG",
                                                  "TERM", "LANGUAGE", "COLORTERM", "NO_COLOR", "TZ"};
    return name.starts_with("LC_") || std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

/// Where the caller keeps passing things; inside, /tmp is private and there is no such place.
bool names_place_outside(std::string_view name) {
    return name == "TMPDIR" || name == "TEMPDIR" || name == "XDG_RUNTIME_DIR" || name == "OLDPWD";
}

void change(std::vector<std::string>& environment, const std::string& text) {
    std::string name = text.substr(0, text.find('='));
    std::string pair = text;
    std::erase_if(environment,
                  [&](const std::string& old) { return old.compare(0, name.size() + 1, name + "=") == 0; });
    if (text.find('=') == std::string::npos) {
        const char* value = getenv(name.c_str());
        if (value == nullptr) return;
        pair = name + "=" + value;
    }
    environment.push_back(pair);
}

}  // namespace

bool looks_secret(std::string_view name) {
    static constexpr std::string_view kWithin[] = {"TOKEN",      "SECRET",     "PASSWORD", "PASSWD",
                                                   "PASSPHRASE", "CREDENTIAL", "API_KEY",  "APIKEY"};
    static constexpr std::string_view kEnds[] = {"_KEY", "_KEY_ID", "_PAT", "_PASS", "_PWD", "_AUTH", "_DSN"};
    // Agents and buses: who is asked through them acts with the caller's rights.
    static constexpr std::string_view kAgents[] = {"SSH_AUTH_SOCK", "SSH_AGENT_PID", "GPG_AGENT_INFO", "DOCKER_HOST",
                                                   "DBUS_SESSION_BUS_ADDRESS"};
    std::string upper{name};
    std::transform(upper.begin(), upper.end(), upper.begin(),
                   [](unsigned char c) { return static_cast<char>(toupper(c)); });
    if (upper.starts_with("AWS_") || upper.starts_with("AZURE_")) return true;
    for (std::string_view part : kWithin)
        if (upper.find(part) != std::string::npos) return true;
    for (std::string_view end : kEnds)
        if (upper.ends_with(end)) return true;
    return std::find(std::begin(kAgents), std::end(kAgents), upper) != std::end(kAgents);
}

std::vector<std::string> make_environment(bool minimal, const std::vector<std::string>& changes) {
    std::vector<std::string> environment;
    bool path = false;
    for (char** entry = environ; *entry != nullptr; ++entry) {
        std::string_view pair = *entry;
        std::string_view name = pair.substr(0, pair.find('='));
        if (minimal ? !is_basic(name) : looks_secret(name) || names_place_outside(name)) continue;
        path = path || name == "PATH";
        environment.emplace_back(pair);
    }
    if (!path) environment.emplace_back("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    for (const std::string& text : changes) change(environment, text);
    return environment;
}

}  // namespace postern::cli
