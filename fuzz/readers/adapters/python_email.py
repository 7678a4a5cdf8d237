"""Python's own package email, with the policy that its documentation advises."""
import email
import email.policy

import loop


def files(octets):
    for part in email.message_from_bytes(octets, policy=email.policy.default).walk():
        if part.is_multipart():
            continue
        try:
            name = part.get_filename() or ""
        except Exception:
            name = ""
        try:
            attached = part.get_content_disposition() == "attachment"
        except Exception:
            attached = "attachment" in str(part.get("content-disposition", "")).lower()
        yield loop.file(part.get_content_type(), attached, name, part.get_payload(decode=True) or b"")


loop.run(files)
