// SPDX-License-Identifier: Apache-2.0
// The range check that memory calls share with DkStreamMap and its like.
#pragma once

#include "gate/types.hpp"

namespace postern::host {

/// Page multiples, not empty, and inside what the library OS may use: program addresses and its own areas.
gate::Err check_range(u64 address, u64 size);

}  // namespace postern::host
