# SPDX-License-Identifier: Apache-2.0
# needs: dpkg dpkg-deb
# A package is built, installed into a root of its own, listed, verified and removed.
mkdir -p pkg/DEBIAN pkg/usr/share/thing/deep pkg/etc; echo data > pkg/usr/share/thing/data; ln -s data pkg/usr/share/thing/link
head -c 300000 /dev/urandom > pkg/usr/share/thing/deep/random; echo setting=1 > pkg/etc/thing.conf; echo /etc/thing.conf > pkg/DEBIAN/conffiles
printf 'Package: thing\nVersion: 1.0\nArchitecture: all\nMaintainer: Somebody <somebody@example.org>\nDescription: a thing\n' > pkg/DEBIAN/control
dpkg-deb --root-owner-group --build pkg thing.deb > /dev/null
mkdir -p r/var/lib/dpkg/{info,updates,triggers}; touch r/var/lib/dpkg/{status,available}
dpkg --root=$PWD/r --force-not-root --force-script-chrootless --log=$PWD/log -i thing.deb > out 2>&1 || { cat out; exit 1; }
cmp pkg/usr/share/thing/deep/random r/usr/share/thing/deep/random; test "$(readlink r/usr/share/thing/link)" = data
dpkg --root=$PWD/r -s thing | grep -q '^Status: install ok installed'
dpkg --root=$PWD/r --force-not-root --force-script-chrootless --log=$PWD/log -P thing > out 2>&1 || { cat out; exit 1; }
test ! -e r/usr/share/thing
echo done
