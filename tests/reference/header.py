"""The header section: its fields, their canonical forms, and the three hashes over them (SPEC, section 4)."""

import re
import unicodedata
from base64 import b64decode
from quopri import decodestring

from hashing import blake3

FOLD = re.compile(rb"\r\n[ \t]")


class Field:
    """A field, or a line that is none: that has no name."""

    def __init__(self, raw):
        self.raw = raw  # Without the CR LF that ends it.
        name, colon, value = raw.partition(b":")
        self.written = name if colon and name.strip(b" \t") and raw[:1] not in b" \t" else None
        self.name = self.written.rstrip(b" \t").lower() if self.written is not None else None
        self.value = value if self.name is not None else b""


class Section:
    def __init__(self, fields, length, ended):
        self.fields = fields
        self.length = length  # In octets, with the empty line.
        self.ended = ended  # Whether an empty line ends it.

    def named(self, name):
        return [field for field in self.fields if field.name == name]

    def value(self, name):
        """The value of the first field of this name, unfolded."""
        fields = self.named(name)
        return unfold(fields[0].value) if fields else None


def split(octets):
    """The header section at the beginning of `octets`."""
    raws, at, ended = [], 0, False
    while at < len(octets):
        end = octets.find(b"\r\n", at)
        line, next_line = (octets[at:], len(octets)) if end < 0 else (octets[at:end], end + 2)
        at = next_line
        if line == b"":
            ended = True
            break
        if raws and line[:1] in b" \t":
            raws[-1] += b"\r\n" + line
        else:
            raws.append(line)
    return Section([Field(raw) for raw in raws], at, ended)


def unfold(value):
    return value.replace(b"\r\n", b"")


def relaxed(value):
    return re.sub(rb"[ \t]+", b" ", unfold(value)).strip(b" ")


def refolded(value):
    value = re.sub(rb"\A(?:[ \t]|\r\n[ \t])+", b"", value)
    result, at, quoted = b"", 0, False
    while at < len(value):
        octet = value[at:at + 1]
        if quoted and octet == b"\\":
            result, at = result + value[at:at + 2], at + 2
            continue
        if octet == b'"':
            quoted = not quoted
        elif octet == b"(" and not quoted:
            return result + value[at:]
        elif not quoted:
            run = re.compile(rb"(?:\r\n[ \t]|[ \t])+").match(value, at)
            if run:
                result, at = result + (b" " if FOLD.search(run[0]) else run[0]), run.end()
                continue
        result, at = result + octet, at + 1
    return result


def _lines(fields, form):
    return b"".join(f.name + b":" + form(f) + b"\r\n" for f in sorted(fields, key=lambda f: f.name))


def identity_hash(section):
    names = (b"from", b"date", b"message-id")
    return blake3(_lines([f for f in section.fields if f.name in names],
                         lambda f: as_meant(relaxed(f.value)) if f.name == b"from" else relaxed(f.value)))


def addressing_hash(section):
    names = (b"sender", b"to", b"cc", b"reply-to", b"subject")
    return blake3(_lines([f for f in section.fields if f.name in names], lambda f: relaxed(f.value)))


def mime_fields(section, more=()):
    return [f for f in section.fields if f.name and f.name != b"content-length"
            and (f.name.startswith(b"content-") or f.name in more)]


def structure_hash(section):
    return blake3(_lines(mime_fields(section, (b"mime-version",)), lambda f: refolded(f.value)))


def message_fields(section):
    """The `fields` of the message (section 6.1)."""
    return blake3(_lines([f for f in mime_fields(section) if f.name != b"content-transfer-encoding"],
                         lambda f: refolded(f.value)))


def part_fields(section, in_digest):
    """The `fields` of any other part (section 6.1)."""
    form = b"".join(f.raw + b"\r\n" if f.name is None else f.written.lower() + b":" + refolded(f.value) + b"\r\n"
                    for f in section.fields if f.name != b"content-transfer-encoding")
    if not section.named(b"content-type"):
        form += b"message/rfc822" if in_digest else b"text/plain"
    return blake3(form + (b"\r\n" if section.ended else b""))


# Encoded-words (RFC 2047).

WORD = re.compile(r"=\?([^?*\s]+)(?:\*[^?\s]*)?\?([bBqQ])\?([^?\s]*)\?=")


def word_octets(encoding, text):
    """What an encoded-word holds; None if it does not decode completely."""
    try:
        octets = text.encode("ascii")
        if encoding in "bB":
            octets = octets.rstrip(b"=")
            return b64decode(octets + b"=" * (-len(octets) % 4), validate=True)
    except ValueError:
        return None
    if re.search(rb"=(?![0-9A-Fa-f]{2})", octets):
        return None
    return decodestring(octets.replace(b"_", b"=20"))


def decode_words(text):
    """`text` with its encoded-words decoded, and whether all of them could be."""
    text = re.sub(r"(\?=)[ \t]+(?==\?)", r"\1", text)
    result, at, whole = "", 0, True
    words = list(WORD.finditer(text))
    while words:
        # A character may be cut in two by the end of a word, so neighbours of one charset are decoded together.
        run = [words.pop(0)]
        while words and words[0].start() == run[-1].end() and words[0][1].lower() == run[0][1].lower():
            run.append(words.pop(0))
        octets = [word_octets(word[2], word[3]) for word in run]
        try:
            decoded = b"".join(octets).decode(run[0][1])
        except (TypeError, ValueError, LookupError):
            decoded, whole = text[run[0].start():run[-1].end()], False
        result, at = result + text[at:run[0].start()] + decoded, run[-1].end()
    result += text[at:]
    return result, whole and "=?" not in result


# From as meant.

ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]"
COMMENT = re.compile(r"\(([^()@<>\"\\]*)\)")
DOMAIN = re.compile(r"(?=.{1,253}\Z)(?:(?!-)[a-z0-9_-]{1,63}(?<!-)\.)*(?![0-9]+\Z)(?!-)[a-z0-9_-]{1,63}(?<!-)")


def is_domain(text):
    return DOMAIN.fullmatch(text) is not None


def as_meant(value):
    meant = _as_meant(value)
    return value if meant is None else meant


def _as_meant(value):
    try:
        text = value.decode("utf-8")
    except ValueError:
        return None
    if any(unicodedata.category(c) == "Cc" for c in text):
        return None
    text = text.rstrip(" ,;")
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', lambda m: "q" * len(m[0]), text)
    if '"' in outside:
        return None
    # The comments outside quotes, and the text without them.
    comments, kept, at = [], "", 0
    for match in COMMENT.finditer(outside):
        comments.append(text[match.start() + 1:match.end() - 1])
        kept += text[at:match.start()] + " "
        at = match.end()
    kept = re.sub(r" +", " ", kept + text[at:]).strip(" ").rstrip(" ,;")
    bracket = re.fullmatch(r'((?:[^"<>]|"(?:[^"\\]|\\.)*")*)<([^<>"]*)>', kept)
    name, address = bracket.groups() if bracket else ("", kept)
    if bracket:
        address = re.sub(r" *@ *", "@", address.strip(" "))
    parts = re.fullmatch(rf"({ATEXT}+)@([^@\s]+)", address)
    if not parts or not is_domain(parts[2].lower()):
        return None
    words = ""
    for piece in re.findall(r'"(?:[^"\\]|\\.)*"|[^"]+', name):
        if piece.startswith('"'):
            words += re.sub(r"\\(.)", r"\1", piece[1:-1])
        elif re.search(r"[@<>()\[\]\\]", piece):
            return None
        else:
            words += piece
    if not words.strip(" "):
        words = comments[0] if len(comments) == 1 else ""
    words, whole = decode_words(words)
    if not whole or any(unicodedata.category(c) == "Cc" for c in words):
        return None
    words = re.sub(" +", " ", unicodedata.normalize("NFC", words)).strip(" ")
    if re.search(r'[@<>()"\\]', words):
        words = '"' + re.sub(r'(["\\])', r"\\\1", words) + '"'
    address = parts[1] + "@" + parts[2].lower()
    return (f"{words} <{address}>" if words else address).encode()
