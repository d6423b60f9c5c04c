# SPDX-License-Identifier: Apache-2.0
# same_output.sh POSTERN PROGRAM ARGUMENT...: the program prints and answers the same natively and inside.
postern=$1
shift
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
"$@" > "$scratch/native" 2>&1
native=$?
"$postern" run --quiet -v "$(dirname "$1")" -- "$@" > "$scratch/inside" 2>&1
inside=$?
diff "$scratch/native" "$scratch/inside" || exit 1
[ $native -eq $inside ] || { echo "status $inside, natively $native"; exit 1; }
