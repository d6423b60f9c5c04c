// SPDX-License-Identifier: Apache-2.0
// The smallest program: what starting one costs at least.
int main(void) { return 0; }
