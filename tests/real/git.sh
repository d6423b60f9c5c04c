# SPDX-License-Identifier: Apache-2.0
# needs: git
# A repository with a history, cloned from a local path in three ways, packed and checked.
git config --global user.name Somebody; git config --global user.email somebody@example.org
git config --global init.defaultBranch main
git init -q a; cd a
for i in $(seq 60); do
  mkdir -p d$((i % 7)); head -c $((i * 997)) /dev/urandom | base64 > d$((i % 7))/f$i; ln -sf f$i d$((i % 7))/latest
  git add -A; git commit -qm "number $i"
done
git tag -a v1 -m one; git checkout -q -b side HEAD~20; echo x > x; git add x; git commit -qm side
git checkout -q main; git merge -q side -m merged
cd ..
git clone -q a b; git clone -q --no-local a c; git clone -q --shared a d
for x in b c d; do test "$(git -C $x rev-parse HEAD)" = "$(git -C a rev-parse HEAD)"; git -C $x diff --quiet a 2>/dev/null || true; done
git -C b gc -q --aggressive --prune=now
for x in a b c; do git -C $x fsck --full --strict 2>&1 | grep -v -e '^notice' -e '^dangling' -e '^Checking' && exit 1; done
test "$(git -C b rev-list --count HEAD)" = 62
git -C c repack -qad; git -C c log --stat -3 > /dev/null; git -C c grep -q x -- x; git -C c stash list
(cd c; echo more >> x; git add x; git commit -qm more; git push -q ../b HEAD:refs/heads/pushed)
test "$(git -C b rev-parse pushed)" = "$(git -C c rev-parse HEAD)"
echo done
