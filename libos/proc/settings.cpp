// SPDX-License-Identifier: Apache-2.0
// The family's settings: see settings.hpp.
#include "libos/proc/settings.hpp"

#include "base/memory.hpp"
#include "libos/proc/system.hpp"
#include "libos/process/table.hpp"
#include "libos/shared/arena.hpp"
#include "libos/shared/layout.hpp"

namespace postern::libos {

Res<void> create_settings() {
    Settings* made = TRY(arena::create<Settings>());
    memcpy(made->node, kSystemNode, sizeof kSystemNode);
    memcpy(made->domain, "(none)", 7);
    arena::header().roots[kRootSettings] = made;
    return {};
}

Settings& settings() { return *static_cast<Settings*>(arena::header().roots[kRootSettings]); }

void read_name(const char (&name)[Settings::kNameSize], char (&copy)[Settings::kNameSize]) {
    Guard guard{settings().lock};
    memcpy(copy, name, sizeof copy);
}

Res<void> set_name(char (&name)[Settings::kNameSize], std::string_view fresh) {
    if (fresh.size() >= sizeof name) return Failure{Errno::inval};
    Guard guard{settings().lock};
    memcpy(name, fresh.data(), fresh.size());
    memset(name + fresh.size(), 0, sizeof name - fresh.size());
    return {};
}

}  // namespace postern::libos
