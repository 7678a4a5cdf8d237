// A program in Node that reads a message with mailparser and sends it on with nodemailer: all of it is written anew.
const each = require('./each');
const { simpleParser } = require('mailparser');
const nodemailer = require('nodemailer');

const transport = nodemailer.createTransport({ streamTransport: true, buffer: true, newline: 'windows' });

const rewrite = async message => {
  const mail = await simpleParser(message, { skipImageLinks: true, skipTextToHtml: true });
  const text = address => address && address.text;
  const sent = await transport.sendMail({
    from: text(mail.from), to: text(mail.to), cc: text(mail.cc), subject: mail.subject, date: mail.date,
    messageId: mail.messageId, inReplyTo: mail.inReplyTo, references: mail.references,
    text: mail.text, html: mail.html || undefined,
    attachments: mail.attachments.map(file => ({
      filename: file.filename || false, content: file.content, contentType: file.contentType, cid: file.cid,
      contentDisposition: file.contentDisposition,
    })),
    envelope: { from: 'office@example.org', to: 'desk@partner.example' },
  });
  return sent.message;
};

each(rewrite);
