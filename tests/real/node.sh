# SPDX-License-Identifier: Apache-2.0
# needs: node
# Child processes, worker threads, files, streams, a server and its clients, timers.
cat > main.js <<'E'
const { execFile, spawn, fork } = require('child_process');
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const fs = require('fs'), http = require('http'), net = require('net'), assert = require('assert'), zlib = require('zlib');
if (!isMainThread) { let s = 0; for (let i = 0; i < workerData; ++i) s += i; parentPort.postMessage(s); }
else if (process.argv[2] === 'child') { process.on('message', m => { process.send(m * 2); process.disconnect(); }); }
else (async () => {
  const run = (f, ...a) => new Promise((good, bad) => execFile(f, a, (e, out) => e ? bad(e) : good(out)));
  assert.strictEqual(await run('sh', '-c', 'echo $((6*7))'), '42\n');
  const sums = await Promise.all([1e5, 2e5, 3e5, 4e5].map(n => new Promise((good, bad) => {
    const w = new Worker(__filename, { workerData: n }); w.on('message', good); w.on('error', bad); })));
  assert.deepStrictEqual(sums, [1e5, 2e5, 3e5, 4e5].map(n => n * (n - 1) / 2));
  assert.strictEqual(await new Promise(good => { const c = fork(__filename, ['child']); c.on('message', good); c.send(21); }), 42);
  const cat = spawn('cat'); let echoed = ''; cat.stdout.on('data', d => echoed += d);
  for (let i = 0; i < 1000; ++i) cat.stdin.write('line ' + i + '\n'); cat.stdin.end();
  await new Promise(good => cat.on('close', good)); assert.strictEqual(echoed.split('\n').length, 1001);
  const server = http.createServer((q, r) => { let b = ''; q.on('data', d => b += d); q.on('end', () => r.end(b.toUpperCase())); });
  await new Promise(good => server.listen(0, '127.0.0.1', good));
  const ask = text => new Promise((good, bad) => { const q = http.request({ port: server.address().port, host: '127.0.0.1', method: 'POST' },
    r => { let b = ''; r.on('data', d => b += d); r.on('end', () => good(b)); }); q.on('error', bad); q.end(text); });
  const answers = await Promise.all([...Array(50).keys()].map(i => ask('abc' + i)));
  answers.forEach((a, i) => assert.strictEqual(a, 'ABC' + i)); server.close();
  const local = net.createServer(s => s.end('hello')); await new Promise(good => local.listen('./sock', good));
  assert.strictEqual(await new Promise(good => { let b = ''; net.connect('./sock').on('data', d => b += d).on('end', () => good(b)); }), 'hello');
  local.close();
  await fs.promises.writeFile('big', Buffer.alloc(5e6, 'x')); await fs.promises.rename('big', 'big2');
  assert.strictEqual(zlib.gunzipSync(zlib.gzipSync(fs.readFileSync('big2'))).length, 5e6);
  const seen = new Promise(good => { const w = fs.watch('.', (e, f) => { if (f === 'watched') { w.close(); good(); } }); });
  if (process.env.WATCH) { fs.writeFileSync('watched', '1'); await seen; }
  console.log('done'); process.exit(0);
})().catch(e => { console.error(e); process.exit(1); });
E
node main.js
