// mailparser of the Nodemailer project: what it offers as attachments.
const { simpleParser } = require('mailparser');
const { file, run } = require('./loop.js');

run(async octets => {
  const mail = await simpleParser(octets, { keepCidLinks: true, skipTextToHtml: true, skipHtmlToText: true });
  return mail.attachments.map(a => file(a.contentType, true, a.filename, a.content));
});
