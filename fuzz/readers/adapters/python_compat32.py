"""Python's own package email, with the older policy compat32, which most programs still use."""
import email
from email.header import decode_header, make_header

import loop


def files(octets):
    for part in email.message_from_bytes(octets).walk():
        if part.is_multipart():
            continue
        name = part.get_filename() or ""
        try:
            name = str(make_header(decode_header(name)))
        except Exception:
            pass
        attached = part.get_content_disposition() == "attachment"
        yield loop.file(part.get_content_type(), attached, name, part.get_payload(decode=True) or b"")


loop.run(files)
