"""GMime, which Evolution's relatives and notmuch use. Needs the Python that has the package gi."""
import gi

gi.require_version("GMime", "3.0")
from gi.repository import GMime

import loop

GMime.init()


def files(octets):
    parser = GMime.Parser.new_with_stream(GMime.StreamMem.new_with_buffer(octets))
    message = parser.construct_message(None)
    yield from leaves(message.get_mime_part())


def leaves(part):
    if isinstance(part, GMime.Multipart):
        for number in range(part.get_count()):
            yield from leaves(part.get_part(number))
    elif isinstance(part, GMime.MessagePart):
        inner = part.get_message()
        if inner is not None and inner.get_mime_part() is not None:
            yield from leaves(inner.get_mime_part())
    elif part is not None:
        type = part.get_content_type()
        stream = GMime.StreamMem.new()
        content = part.get_content()
        if content is not None:
            content.write_to_stream(stream)
        octets = bytes(stream.get_byte_array() or b"")
        attached = (part.get_content_disposition() is not None and part.is_attachment())
        yield loop.file(f"{type.get_media_type()}/{type.get_media_subtype()}", attached, part.get_filename() or "", octets)


loop.run(files)
