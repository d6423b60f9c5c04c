#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a program sees of where it runs.
echo "hello from $(uname -s), process $$, parent $PPID"
echo "my /tmp has $(ls -A /tmp | wc -l) files, and /etc has $(ls /etc | wc -l) names"
cat /etc/shadow 2>/dev/null || echo "no /etc/shadow here"
