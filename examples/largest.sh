#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The ten largest files below a directory.
find "$1" -type f -printf '%s %p\n' 2>/dev/null | sort -rn | head -10
