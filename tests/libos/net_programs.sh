#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Servers and clients of other people inside one family: python's http.server with curl, asyncio, node.
postern=$1
wait_for_port='waitport() { bash -c "for i in \$(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/$1) 2>/dev/null && exit 0; sleep 0.1; done; exit 1"; }'
failed=0
check() {
    if printf '%s\n' "$2" | grep -q "$3"; then echo "ok $1"; else echo "FAIL $1: $2"; failed=1; fi
}
inside() { "$postern" run --quiet --timeout 60 -- "$@" 2>&1; }

python=/usr/bin/python3
[ -x $python ] || { echo "SKIP: no python3"; exit 77; }
check asyncio "$(inside $python -c '
import asyncio
async def h(r, w):
    d = await r.readline(); w.write(d.upper()); await w.drain(); w.close()
async def c(p, i):
    r, w = await asyncio.open_connection("localhost", p); w.write(b"m%d\n" % i); x = await r.readline(); w.close(); return x
async def main():
    s = await asyncio.start_server(h, "localhost", 0, family=2); p = s.sockets[0].getsockname()[1]
    r = await asyncio.gather(*[c(p, i) for i in range(100)]); print(len(set(r)), r[7])
asyncio.run(main())')" "^100 b'M7"
if command -v curl >/dev/null; then
    check http.server "$(inside /bin/sh -c "$wait_for_port"'
mkdir -p /tmp/h; cd /tmp/h; echo page > f; '$python' -m http.server -b 127.0.0.1 18113 >/dev/null 2>&1 & S=$!
waitport 18113; curl -sS -w "%{http_code}\n" http://127.0.0.1:18113/f; kill $S')" "^200"
fi
if command -v node >/dev/null; then
    check node "$(inside node -e '
const h=require("http");const s=h.createServer((q,r)=>r.end("n:"+q.url)).listen(0,"127.0.0.1",async()=>{
const p=s.address().port;const r=await Promise.all([...Array(50)].map((_,i)=>fetch("http://127.0.0.1:"+p+"/"+i).then(x=>x.text())));
console.log(r.length,r[49]);s.close();process.exit()})')" "^50 n:/49"
fi
exit $failed
