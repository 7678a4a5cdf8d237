// postal-mime, which mail programs in browsers and Cloudflare's workers use: what it offers as attachments.
const { file, run } = require('./loop.js');

const parser = import('postal-mime');
run(async octets => {
  const { default: PostalMime } = await parser;
  const mail = await new PostalMime({ forceRfc822Attachments: false }).parse(octets);
  return mail.attachments.map(a => file(a.mimeType, true, a.filename, new Uint8Array(a.content)));
});
