# The gem mail, which Rails uses.
require 'digest'
require 'json'
require 'mail'

# One leaf: "text" is what a reader shows as the message itself, "file" is what it offers to save.
def leaf(type, attached, name, octets)
  text = type =~ %r{\A(text/(plain|html)\b|multipart/)}i && !attached && name.empty?
  octets = octets.b.gsub("\r\n".b, "\n".b).sub(/[\r\n]+\z/n, ''.b)
  [text ? 'text' : 'file', name, Digest::SHA256.hexdigest(octets), octets.bytesize, [octets.byteslice(0, 65536)].pack('m0')]
end

def leaves(part)
  return part.parts.flat_map { |p| leaves(p) } if part.multipart? && !part.parts.empty?

  name = (part.filename || '').dup.force_encoding('UTF-8').scrub
  octets = Mail::Encodings.get_encoding(part.body.encoding).decode(part.body.raw_source.b)
  [leaf(part.mime_type || 'text/plain', part.attachment? && part.content_disposition.to_s =~ /\Aattachment/i, name, octets)]
end

$stdout.sync = true
$stdin.each_line do |path|
  answer = begin
    leaves(Mail.new(File.binread(path.chomp)))
  rescue StandardError => e
    { error: e.message.b.scrub('?').encode('UTF-8', invalid: :replace, undef: :replace) }
  end
  puts JSON.generate(answer)
end
