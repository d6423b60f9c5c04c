# SPDX-License-Identifier: Apache-2.0
# needs: npm node
# npm ci without a network: packages from local files and from the cache that they filled.
export npm_config_cache=$PWD/cache npm_config_update_notifier=false npm_config_audit=false npm_config_fund=false npm_config_offline=true
for i in $(seq 12); do mkdir -p p$i; echo "{\"name\":\"p$i\",\"version\":\"1.0.$i\",\"main\":\"i.js\"}" > p$i/package.json; echo "module.exports = $i;" > p$i/i.js
  (cd p$i; npm pack --silent > /dev/null); done
mkdir app; cd app; echo '{"name":"app","version":"1.0.0","scripts":{"test":"node t.js"}}' > package.json
npm install --silent $(for i in $(seq 12); do echo ../p$i/p$i-1.0.$i.tgz; done) > out 2>&1 || { cat out; exit 1; }
rm -r node_modules
npm ci --silent > out 2>&1 || { cat out; exit 1; }
{ echo 'let s = 0;'; for i in $(seq 12); do echo "s += require('p$i');"; done; echo 'if (s !== 78) process.exit(1); console.log("sum", s);'; } > t.js
npm test --silent | grep -q 'sum 78'
echo done
