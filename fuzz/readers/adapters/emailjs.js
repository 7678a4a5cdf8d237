// emailjs-mime-parser, which Whiteout's mail program and others in browsers use.
const parse = require('emailjs-mime-parser').default;
const { file, run } = require('./loop.js');

const leaves = node => {
  if (node.childNodes && node.childNodes.length) return node.childNodes.flatMap(leaves);
  const type = node.contentType ? node.contentType.value : 'text/plain';
  const disposition = ((node.headers['content-disposition'] || [])[0]) || { value: '', params: {} };
  const name = (disposition.params || {}).filename || ((node.contentType || {}).params || {}).name || '';
  return [file(type, /^attachment/i.test(disposition.value), name, node.content || new Uint8Array())];
};

run(async octets => leaves(parse(new Uint8Array(octets))));
