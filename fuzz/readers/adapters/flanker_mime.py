"""flanker, the MIME library of Mailgun."""
from flanker import mime

import loop


def files(octets):
    message = mime.from_string(octets)
    for part in message.walk(with_self=True, skip_enclosed=False):
        if part.content_type.is_multipart() or part.content_type.is_message_container():
            continue
        body = part.body
        if isinstance(body, str):
            body = body.encode("utf-8", "surrogateescape")
        if body and body.startswith(b"--"):
            body = b""  # flanker takes the delimiter behind a part without octets for its content
        disposition = part.content_disposition[0] if part.content_disposition else ""
        yield loop.file(str(part.content_type), disposition == "attachment", part.detected_file_name or "", body or b"")


loop.run(files)
