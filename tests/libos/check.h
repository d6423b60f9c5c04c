// SPDX-License-Identifier: Apache-2.0
// What guests print: "ok" or "FAIL" and what was expected, a line each.
#pragma once

#include <errno.h>
#include <stdio.h>

#include "children.h"

static int failures;
static inline void check(int condition, const char* name) {
    printf("%s %s\n", condition ? "ok" : "FAIL", name);
    fflush(stdout);
    if (!condition) ++failures;
}
#define CHECK(condition) check((condition) != 0, #condition)
/// The call fails with this error.
#define FAILS(call, error) check((errno = 0, (call) == -1) && errno == (error), #call " fails with " #error)
