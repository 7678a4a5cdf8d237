"""The Attachment-Seal field: read and written (SPEC, sections 3 and 6)."""

import re

import header
from hashing import from_base64url, to_base64url

PREFIX = b"attachment-seal/1\n"
REQUIRED = ("v", "a", "d", "s", "t", "x", "hi", "ha", "hs", "bh", "m", "b")
HASH = r"[A-Za-z0-9_-]{43}"
CODED = r"(?:[A-Za-z0-9._~-]|%[0-9A-F]{2})*"
ENTRY = re.compile(rf"([at]):({CODED}):(0|[1-9][0-9]*):({HASH}):((?:[A-Za-z0-9._~/-]|%[0-9A-F]{{2}})*):({CODED})")
PART = re.compile(r"([A-Za-z0-9_-]{16})\.([A-Za-z0-9_-]{16})(?:\.(0|[1-9][0-9]{0,3}))?")
SELECTOR = re.compile(r"(?=.{1,63}\Z)[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")


class Malformed(Exception):
    """The seal is not of the grammar."""


def percent_encode(text, also=b""):
    keep = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~" + also
    return "".join(chr(octet) if octet in keep else f"%{octet:02X}" for octet in text.encode())


def percent_decode(text, also=b""):
    octets = re.sub(rb"%([0-9A-F]{2})", lambda m: bytes([int(m[1], 16)]), text.encode())
    try:
        decoded = octets.decode()
    except ValueError:
        raise Malformed("not UTF-8") from None
    if percent_encode(decoded, also) != text:
        raise Malformed("another spelling")
    return decoded


class Entry:
    def __init__(self, kind, path, size, digest, type_, name):
        self.kind, self.path, self.size, self.hash, self.type, self.name = kind, path, size, digest, type_, name

    @classmethod
    def parse(cls, text):
        match = ENTRY.fullmatch(text)
        digest = match and from_base64url(match[4], 32)
        if not digest or int(match[3]) >= 2**64:
            raise Malformed("an entry")
        return cls(match[1], percent_decode(match[2]), int(match[3]), digest, percent_decode(match[5], b"/"),
                   percent_decode(match[6]))

    def write(self):
        return ":".join((self.kind, percent_encode(self.path), str(self.size), to_base64url(self.hash),
                         percent_encode(self.type, b"/"), percent_encode(self.name)))


class Mark:
    """A part in the list `e`: its two hashes, cut, and the index behind all that is in it."""

    def __init__(self, fields, body, number):
        self.fields, self.body, self.number = fields, body, number
        self.end = None


def parse_marks(text, entries):
    marks = []
    for part in text.split(","):
        match = PART.fullmatch(part)
        fields, body = match and from_base64url(match[1], 12), match and from_base64url(match[2], 12)
        if not fields or not body:
            raise Malformed("a part")
        marks.append(Mark(fields, body, None if match[3] is None else int(match[3])))

    # One tree: every container is followed by its parts, and nothing is left over.
    open_parts = [[None, 1]]
    for index, mark in enumerate(marks):
        if not open_parts:
            raise Malformed("more than one tree")
        open_parts[-1][1] -= 1
        open_parts.append([mark, mark.number or 0])
        while open_parts and open_parts[-1][1] == 0:
            done = open_parts.pop()[0]
            if done is not None:
                done.end = index + 1
    if len(marks) > 2000 or open_parts or sum(mark.number is None for mark in marks) != entries:
        raise Malformed("no tree, or another number of leaves")
    return marks


def squeeze(value):
    return re.sub(rb"[ \t\r\n]", b"", value)


class Seal:
    def __init__(self, value):
        """Reads a field's value; raises Malformed."""
        squeezed = squeeze(value)
        if len(value) > 1 << 20 or not re.fullmatch(rb"[\x21-\x7e]*", squeezed):
            raise Malformed("size or octets")
        text = squeezed.decode()
        pieces = text.split(";")
        self.tags = {}
        for piece in pieces:
            name, equals, tag_value = piece.partition("=")
            if not equals or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or name in self.tags:
                raise Malformed(f"tag {name}")
            self.tags[name] = tag_value
        tags = self.tags
        if len(pieces) > 100 or any(name not in tags for name in REQUIRED) or list(tags)[-1] != "b":
            raise Malformed("tags")
        if tags["v"] != "1" or tags["a"] != "ed25519-blake3":
            raise Malformed("version or algorithms")
        if not header.is_domain(tags["d"]) or not SELECTOR.fullmatch(tags["s"]):
            raise Malformed("domain or selector")
        if not all(re.fullmatch("[0-9]{1,12}", tags[name]) for name in "tx"):
            raise Malformed("time")
        self.domain, self.selector = tags["d"], tags["s"]
        self.sealed_at, self.valid_until = int(tags["t"]), int(tags["x"])
        if self.valid_until <= self.sealed_at:
            raise Malformed("x is not after t")
        self.hashes = {name: from_base64url(tags[name], 32) for name in ("hi", "ha", "hs", "bh")}
        self.signature = from_base64url(tags["b"], 64)
        if None in self.hashes.values() or self.signature is None:
            raise Malformed("a hash or the signature")
        entries = tags["m"].split(",") if tags["m"] else []
        if len(entries) > 1000:
            raise Malformed("entries")
        self.entries = [Entry.parse(entry) for entry in entries]
        self.marks = parse_marks(tags["e"], len(self.entries)) if "e" in tags else None
        self.delegation = tags.get("c")
        self.signed = PREFIX + squeezed[:len(squeezed) - 86]


def domain_of_malformed(value):
    """The sealing domain of a seal that is not of the grammar; None if it can't be read."""
    pieces = [piece for piece in squeeze(value).split(b";") if piece.startswith(b"d=")]
    if len(pieces) != 1:
        return None
    domain = pieces[0][2:].decode("latin-1")
    return domain if header.is_domain(domain) else None


def fold(tags):
    """The whole field, without its last CR LF, of tags such as `v=1`. White space means nothing in it."""
    lines = ["Attachment-Seal:"]
    for i, tag in enumerate(tags):
        token = tag + (";" if i < len(tags) - 1 else "")
        if len(lines[-1]) + 1 + len(token) > 78 and lines[-1] != "Attachment-Seal:":
            lines.append("")
        token = " " + token
        while len(lines[-1]) + len(token) > 78:
            room = 78 - len(lines[-1])
            lines[-1] += token[:room]
            token = token[room:]
            if token:
                lines.append(" ")
        lines[-1] += token
    return "\r\n".join(line.rstrip() for line in lines).encode()
