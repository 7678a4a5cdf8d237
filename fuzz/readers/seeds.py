"""Messages to seal: those of the tests, and some that are put together at random."""
import base64
import pathlib
import quopri
import re

TESTS = pathlib.Path(__file__).resolve().parents[2] / "attachment-seal" / "tests"
NAMES = ["Agenda.pdf", "guests.csv", "plan 2026.docx", "a.tar.gz", "Gäste.csv", "日程.pdf", "x.exe", "très long nom de fichier.txt"]
TYPES = ["application/pdf", "text/csv", "application/octet-stream", "image/png", "text/plain", "text/html", "application/zip"]


def of_tests():
    """The messages of the tests, their domain made ours."""
    for folder in ("messages", "attacks", "vectors"):
        for path in sorted((TESTS / folder).rglob("*.eml")):
            octets = path.read_bytes()
            if b"\r\n" not in octets:
                octets = octets.replace(b"\n", b"\r\n")
            octets = re.sub(rb"^Attachment-Seal:.*\r\n([ \t].*\r\n)*", b"", octets, flags=re.M)
            head, blank, body = octets.partition(b"\r\n\r\n")
            head = re.sub(rb"(?mi)^(From:.*)@[\w.-]+", rb"\1@example.org", head)
            yield ended(head + blank + body)


def at_random(rng):
    head = b"From: Office <office@example.org>\r\nTo: desk@partner.example\r\nSubject: Papers\r\n" \
        b"Date: Mon, 23 Nov 2026 00:00:00 +0000\r\nMessage-ID: <%d@example.org>\r\nMIME-Version: 1.0\r\n" % rng.randrange(10**9)
    return ended(head + (tree(rng, 0) if rng.random() < 0.9 else leaf(rng)))


def ended(message):
    """As SMTP hands it on: every message ends in CR LF."""
    return message if message.endswith(b"\r\n") else message + b"\r\n"


def tree(rng, depth):
    boundary = rng.choice([b"b%d" % depth, b"----=_Part_%d_9.7" % depth, b"=_%032x" % rng.randrange(2**64),
                           b"===============%d==" % rng.randrange(10**18), b"Apple-Mail=_%X" % rng.randrange(2**64)])
    parts = [text(rng)] if depth == 0 or rng.random() < 0.3 else []
    for _ in range(rng.choice([1, 1, 2, 3])):
        parts.append(tree(rng, depth + 1) if depth < 2 and rng.random() < 0.25 else leaf(rng))
    subtype = rng.choice([b"mixed", b"mixed", b"mixed", b"related", b"alternative"])
    out = b'Content-Type: multipart/%s; boundary="%s"\r\n\r\n' % (subtype, boundary)
    out += rng.choice([b"", b"This is a multi-part message in MIME format.\r\n\r\n"])
    for part in parts:
        out += b"--" + boundary + b"\r\n" + part + b"\r\n"
    return out + b"--" + boundary + b"--" + rng.choice([b"", b"\r\n", b"\r\n\r\n"])


def text(rng):
    body = "Hello,\r\nthe papers are attached. Grüße\r\n\r\n-- \r\nOffice\r\n".encode()
    encoding = rng.choice([b"8bit", b"quoted-printable", b"base64"])
    return b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: %s\r\n\r\n%s" % (encoding, encode(body, encoding))


def leaf(rng):
    name = rng.choice(NAMES)
    type = rng.choice(TYPES).encode()
    if type.startswith(b"text/"):
        content = ("name;city\r\n" + "".join(f"Jörg {n};Bern\r\n" for n in range(rng.randrange(6)))).encode()
        encoding = rng.choice([b"8bit", b"quoted-printable", b"base64"])
    else:
        content = b"%PDF-1.4\n" + rng.randbytes(rng.randrange(150))
        encoding = rng.choice([b"base64", b"base64", b"quoted-printable"])
    fields = [b"Content-Type: " + type + rng.choice([b"", b"; name=" + parameter(name, rng)]),
              b"Content-Disposition: " + rng.choice([b"attachment", b"attachment", b"inline"]) + b"; filename" + extended(name, rng),
              b"Content-Transfer-Encoding: " + encoding]
    if rng.random() < 0.1:
        fields, content, encoding = [b"Content-Type: message/rfc822"], b"From: a@b.example\r\nSubject: in\r\n\r\nwords\r\n", b"8bit"
    rng.shuffle(fields)
    return b"\r\n".join(fields) + b"\r\n\r\n" + encode(content, encoding)


def parameter(name, rng):
    if name.isascii():
        return b'"%s"' % name.encode()
    return b'"=?UTF-8?B?%s?="' % base64.b64encode(name.encode())


def extended(name, rng):
    """The rest of a `filename` parameter, from the equals sign or the asterisk on."""
    if name.isascii() or rng.random() < 0.3:
        return b"=" + parameter(name, rng)
    return b"*=UTF-8''" + "".join(f"%{octet:02X}" for octet in name.encode()).encode()


def encode(content, encoding, columns=76):
    if encoding == b"base64":
        symbols = base64.b64encode(content)
        return b"\r\n".join(symbols[at:at + columns] for at in range(0, len(symbols), columns))
    if encoding == b"quoted-printable":
        return quopri.encodestring(content.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n") if content.isascii() or b"\r\n" in content \
            else b"=\r\n".join(b"".join(b"=%02X" % octet for octet in content[at:at + 24]) for at in range(0, len(content), 24))
    return content
