// The loop of every adapter in JavaScript: a path on each line of stdin, a list of files in JSON on stdout.
const crypto = require('crypto');
const fs = require('fs');
const readline = require('readline');

// One leaf: "text" is what a reader shows as the message itself, "file" is what it offers to save.
exports.file = (type, attached, name, octets) => {
  const text = /^(text\/(plain|html)\b|multipart\/)/i.test(type || 'text/plain') && !attached && !name;
  let content = Buffer.from(Buffer.from(octets).toString('latin1').replace(/\r\n/g, '\n').replace(/[\r\n]+$/, ''), 'latin1');
  return [text ? 'text' : 'file', name || '', crypto.createHash('sha256').update(content).digest('hex'), content.length,
    content.subarray(0, 65536).toString('base64')];
};

exports.run = async files => {
  for await (const path of readline.createInterface({ input: process.stdin })) {
    let answer;
    try {
      answer = await files(fs.readFileSync(path));
    } catch (error) {
      answer = { error: String(error) };
    }
    process.stdout.write(JSON.stringify(answer) + '\n');
  }
};
