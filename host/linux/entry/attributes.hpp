// SPDX-License-Identifier: Apache-2.0
// What fstat(2) and directory records say, in the words of the gate.
#pragma once

#include "gate/types.hpp"

namespace postern::host {

/// fstat(2) as Attributes. Leaves `rights` and `stable` alone; there is no time of birth.
gate::Err read_attributes(i32 descriptor, gate::Attributes& attributes);
gate::StreamType stream_type_of_mode(u32 mode);
gate::StreamType stream_type_of_directory_entry(u8 type);

}  // namespace postern::host
