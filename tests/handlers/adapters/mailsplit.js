// mailsplit, which ZoneMTA and WildDuck pass mail through: every header section is written anew.
const each = require('./each');
const { Joiner, Splitter } = require('mailsplit');

const rewrite = message => new Promise((resolve, reject) => {
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
  splitter.end(message);
});

each(rewrite);
