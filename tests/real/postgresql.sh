# SPDX-License-Identifier: Apache-2.0
# needs: setpriv pg_lsclusters
# A cluster, a session over a Unix socket, clients at the same time, a crash and the recovery from it.
B=$(ls -d /usr/lib/postgresql/*/bin | tail -1); chmod 755 .; mkdir p; 
if [ "$(id -u)" = 0 ]; then chown postgres p; AS="setpriv --reuid=postgres --regid=postgres --clear-groups"; else AS=""; fi
cat > p.sh <<'E'
set -eu; B=$1; cd p; O="-k $PWD -c listen_addresses= -p 5499 -c fsync=off"
$B/initdb -D d -A trust -N > init.log 2>&1 || { cat init.log; exit 1; }
$B/pg_ctl -D d -w -o "$O" -l log start > /dev/null || { cat log; exit 1; }
q() { psql -h $PWD -p 5499 -At -v ON_ERROR_STOP=1 postgres "$@"; }
q -c 'create table t(a int primary key, b text); insert into t select g, repeat(g::text, 5) from generate_series(1, 20000) g' > /dev/null
for i in 1 2 3 4; do (for k in 1 2 3 4 5; do q -c "update t set b = b || 'x' where a % 4 = $i - 1" > /dev/null; done) & P="${P-} $!"; done
for p in $P; do wait $p; done
test "$(q -c "select count(*) from t where b like '%xxxxx'")" = 20000
q -c 'create index on t(b); analyze t' > /dev/null
$B/pg_ctl -D d -m immediate stop > /dev/null
$B/pg_ctl -D d -w -o "$O" -l log start > /dev/null || { cat log; exit 1; }
test "$(q -c 'select count(*) from t')" = 20000
$B/pg_ctl -D d -m fast stop > /dev/null
E
$AS sh p.sh $B
echo done
