# SPDX-License-Identifier: Apache-2.0
# same_output.sh POSTERN PROGRAM PART: the program prints and answers the same natively and inside. Its second argument
# is a directory that it may use, the same one of the host.
postern=$1
shift
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/work"
"$@" "$scratch/work" > "$scratch/native" 2>&1
native=$?
"$postern" run --quiet -v "$(dirname "$1")" -v "$scratch/work:$scratch/work:rw" -- "$@" "$scratch/work" > "$scratch/inside" 2>&1
inside=$?
diff "$scratch/native" "$scratch/inside" || exit 1
[ $native -eq $inside ] || { echo "status $inside, natively $native"; exit 1; }
