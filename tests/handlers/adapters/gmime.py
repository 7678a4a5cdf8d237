"""GMime takes a message apart and writes it anew, with quoted-printable in the place of 8bit."""
import sys

import gi

gi.require_version("GMime", "3.0")
from gi.repository import GMime

GMime.init()


def to_quoted_printable(part):
    if isinstance(part, GMime.Multipart):
        for number in range(part.get_count()):
            to_quoted_printable(part.get_part(number))
    elif isinstance(part, GMime.Part) and part.get_content_encoding() == GMime.ContentEncoding(2):
        part.set_content_encoding(GMime.ContentEncoding.QUOTEDPRINTABLE)


for line in sys.stdin:
    path = line.rstrip("\n")
    try:
        with open(path, "rb") as message:
            stream = GMime.StreamMem.new_with_buffer(message.read())
        message = GMime.Parser.new_with_stream(stream).construct_message(None)
        to_quoted_printable(message.get_mime_part())
        out = GMime.StreamMem.new()
        message.write_to_stream(None, out)
        with open(path + ".out", "wb") as made:
            made.write(bytes(out.get_byte_array()))
    except Exception as error:
        print(error, file=sys.stderr)
    print("done", flush=True)
