// mailsplit, which ZoneMTA and WildDuck pass mail through: every header section is written anew.
const fs = require('fs');
const readline = require('readline');
const { Joiner, Splitter } = require('mailsplit');

const rewrite = path => new Promise((resolve, reject) => {
  const splitter = new Splitter();
  const joiner = new Joiner();
  const out = [];
  splitter.on('data', data => {
    if (data.type === 'node' && data.headers) data.headers.changed = true;
    joiner.write(data);
  });
  splitter.on('end', () => joiner.end());
  splitter.on('error', reject);
  joiner.on('data', chunk => out.push(chunk));
  joiner.on('error', reject);
  joiner.on('end', () => resolve(Buffer.concat(out)));
  splitter.end(fs.readFileSync(path));
});

(async () => {
  for await (const path of readline.createInterface({ input: process.stdin })) {
    try {
      fs.writeFileSync(`${path}.out`, await rewrite(path));
    } catch (error) {
      console.error(error);
    }
    console.log('done');
  }
})();
