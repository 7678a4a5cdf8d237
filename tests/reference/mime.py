"""A body taken apart: containers and leaves, what leaves are called and hold, and the marks of the tag `e` (SPEC,
section 6). The walk is the specification's own: Python's `email` package has no part in it."""

import base64
import functools
import re
import unicodedata

import header
from hashing import blake3


def simple(body):
    """The form of section 5."""
    return re.sub(rb"(?:\r\n)+\Z", b"", body) + b"\r\n"


def without_comments(value):
    result, at, depth, quoted = b"", 0, 0, False
    while at < len(value):
        octet = value[at:at + 1]
        if octet == b"\\" and (quoted or depth):
            if not depth:
                result += value[at:at + 2]
            at += 2
            continue
        if depth == 0 and octet == b'"':
            quoted = not quoted
        if not quoted and octet == b"(":
            depth += 1
        elif not quoted and octet == b")" and depth:
            depth -= 1
        elif not depth:
            result += octet
        at += 1
    return result


PARAMETER = re.compile(rb';[ \t]*([^\s=;"]+)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"?|[^;]*)', re.S)


def parameters(value):
    """The parameters behind the first word of a value, each name with its values in order."""
    found = {}
    for name, text in PARAMETER.findall(value):
        if text.startswith(b'"'):
            text = re.sub(rb"\\(.)", rb"\1", text[1:-1] if text.endswith(b'"') and len(text) > 1 else text[1:],
                          flags=re.S)
        else:
            text = text.rstrip(b" \t")
        found.setdefault(name.lower(), []).append(text)
    return found


PLAIN_ENCODING = re.compile(rb"(?i)Content-Transfer-Encoding: (7bit|8bit|binary|base64|quoted-printable)")


class Value:
    """The value of Content-Type or of Content-Disposition."""

    def __init__(self, value):
        value = without_comments(value or b"")
        self.word = value.partition(b";")[0].strip(b" \t").lower()
        self.parameters = parameters(value)

    def get(self, name):
        return self.parameters.get(name, [None])[0]


class Part:
    """One part of a message: a leaf, or a container with its own `parts`."""

    def __init__(self, octets, parent=None, delimited=False):
        """`delimited`: a delimiter follows, to which a CR LF at the end of the body belongs."""
        self.parent = parent
        self.section = header.split(octets)
        self.body = octets[self.section.length:]
        self.parts, self.gaps, self.closed = None, [], False
        self.in_digest = parent is not None and parent.type == "multipart/digest"
        content_type = Value(self.section.value(b"content-type"))
        default = "message/rfc822" if self.in_digest and not self.section.named(b"content-type") else "text/plain"
        readable = re.fullmatch(rb"[!#$%&'*+.^_`{|}~0-9a-z-]+/[!#$%&'*+.^_`{|}~0-9a-z-]+", content_type.word)
        self.type = content_type.word.decode() if readable else default
        self.content_type = content_type
        self.disposition = Value(self.section.value(b"content-disposition"))
        self.encoding = (self.section.value(b"content-transfer-encoding") or b"").strip(b" \t").lower()
        self.boundary = content_type.get(b"boundary") if self.type.startswith("multipart/") else None
        if self.boundary is not None:
            self._split(delimited)
        if self.parts is None and delimited and self.body.endswith(b"\r\n"):
            self.body = self.body[:-2]
        self.length = self.section.length + len(self.body)

    def _split(self, delimited):
        line = re.compile(rb"(?:(?<=\r\n)|\A)--" + re.escape(self.boundary) + rb"(--)?[ \t]*(?:\r\n|\Z)")
        gap, at = 0, None  # Where the gap begins that the next delimiter ends, and the part that it ends.
        for delimiter in line.finditer(self.body):
            if at is None:
                self.parts = []
            else:
                self.parts.append(Part(self.body[at:delimiter.start()], self, True))
                gap = at + self.parts[-1].length
            at = delimiter.end()
            if delimiter[1]:
                self.closed = True
                if delimited and len(self.body) > at and self.body.endswith(b"\r\n"):
                    self.body = self.body[:-2]
                self.gaps.append(self.body[gap:])
                return
            self.gaps.append(self.body[gap:at])
        if at is not None:
            self.parts.append(Part(self.body[at:], self, delimited))
            self.body = self.body[:at + self.parts[-1].length]
            self.gaps.append(b"")

    @property
    def is_leaf(self):
        return self.parts is None

    def ancestors(self):
        part = self.parent
        while part is not None:
            yield part
            part = part.parent

    def all(self):
        """This part and every part in it, in document order."""
        yield self
        for part in self.parts or ():
            yield from part.all()

    @property
    def path(self):
        return ".".join(reversed([part.type.partition("/")[2] for part in self.ancestors()]))

    @property
    def full_type(self):
        """`type` as a manifest has it: with the parameters that decide what a reader makes of the octets."""
        if not self.type.startswith("text/"):
            return self.type
        usual = {"charset": "us-ascii", "delsp": "no", "format": "fixed"}
        names = ["charset", "delsp", "format"] + (["method"] if self.type == "text/calendar" else [])
        result = self.type
        for name in names:
            value = self.content_type.get(name.encode())
            value = value.decode("utf-8", "replace").lower() if value else ""
            if value and value != usual.get(name):
                result += f";{name}={value}"
        return result

    @property
    def name(self):
        for value, parameter in ((self.disposition, b"filename"), (self.content_type, b"name")):
            name = extended(value.parameters, parameter)
            if name is None and value.get(parameter) is not None:
                name = header.decode_words(value.get(parameter).decode("utf-8", "replace"))[0]
            if name is not None:
                return unicodedata.normalize("NFC", name).replace("\t", " ")
        return ""

    def transfer_decoded(self):
        """The octets, and whether they could be decoded without damage."""
        if self.type.startswith("message/"):
            return (self.body if self.parent or self.encoding == b"base64" else simple(self.body)), True
        if self.encoding == b"base64":
            return decode_base64(self.body)
        body = self.body if self.parent else simple(self.body)
        return decode_quoted_printable(body) if self.encoding == b"quoted-printable" else (body, True)

    # Marks (section 6.1).

    def fields_mark(self):
        if self.parent is None:
            return header.message_fields(self.section)
        return header.part_fields(self.section, self.in_digest)

    @functools.cache
    def body_mark(self, as_message=False):
        return blake3(self._encoding_mark() + b"\n" + blake3(self.form(as_message or self.parent is None)))

    def _encoding_mark(self):
        fields = self.section.named(b"content-transfer-encoding")
        if not fields:
            return b""
        word = PLAIN_ENCODING.fullmatch(fields[0].raw)
        if len(fields) == 1 and word:
            return b"" if word[1].lower() == b"7bit" else word[1].lower()
        return b"\r\n".join(field.raw for field in fields)

    def form(self, as_message=False):
        if not self.is_leaf:
            gaps = self.gaps[:-1] + [re.sub(rb"(?:\r\n)+\Z", b"", self.gaps[-1])]
            form = b"parts\n" + blake3(gaps[0])
            for part, gap in zip(self.parts, gaps[1:]):
                form += part.fields_mark() + part.body_mark() + blake3(gap)
            return form
        body = simple(self.body) if as_message else self.body
        if is_attachment(self) and self.encoding == b"base64" and not self.type.startswith("message/"):
            lines = body[:-2].split(b"\r\n") if body.endswith(b"\r\n") else body.split(b"\r\n")
            length = len(lines[0])
            octets, whole = decode_base64(body)
            if whole and 0 < len(lines[-1]) <= length and all(len(line) == length for line in lines[:-1]):
                plus = b"+" if body.endswith(b"\r\n") else b""
                return b"base64 %d%s\n" % (length, plus) + blake3(octets)
        return b"octets\n" + blake3(body)


def extended(found, name):
    """The value of `name` in its extended form (RFC 2231); None if it has none."""
    whole = found.get(name + b"*")
    if whole:
        return _percent_decoded([(whole[0], True)])
    sections = []
    for key, values in found.items():
        section = re.fullmatch(re.escape(name) + rb"\*([0-9]{1,4})(\*?)", key)
        if section:
            sections.append((int(section[1]), values[0], section[2] == b"*"))
    sections = [(text, encoded) for _, text, encoded in sorted(sections)]
    return _percent_decoded(sections) if sections else None


def _percent_decoded(sections):
    charset, octets = b"utf-8", b""
    for i, (text, encoded) in enumerate(sections):
        if i == 0 and encoded and text.count(b"'") >= 2:
            charset, _, text = text.split(b"'", 2)
        octets += re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: bytes([int(m[1], 16)]), text) if encoded else text
    try:
        return octets.decode(charset.decode("ascii") or "utf-8", "replace")
    except (LookupError, ValueError):
        return octets.decode("utf-8", "replace")


def decode_base64(body):
    packed = body.replace(b"\r\n", b"")
    try:
        octets = base64.b64decode(packed, validate=True)
        return octets, base64.b64encode(octets) == packed
    except ValueError:
        packed = re.sub(rb"[^A-Za-z0-9+/]", b"", packed.partition(b"=")[0])
        return base64.b64decode(packed[:len(packed) // 4 * 4] + (packed[len(packed) // 4 * 4:] + b"==")[:4]
                                if len(packed) % 4 > 1 else packed[:len(packed) // 4 * 4]), False


def decode_quoted_printable(body):
    body = re.sub(rb"[ \t]+(?=\r\n|\Z)", b"", body)
    body = re.sub(rb"=(?:\r\n|\Z)", b"", body)
    damaged = re.search(rb"=(?![0-9A-Fa-f]{2})", body)
    return re.sub(rb"=([0-9A-Fa-f]{2})", lambda m: bytes([int(m[1], 16)]), body), not damaged


def canonical_text(octets):
    """The form in which a text is hashed."""
    lines = re.sub(rb"\r\n|\r", b"\n", octets).split(b"\n")
    lines = [re.sub(rb"[ \t]+", b" ", line.rstrip(b" \t")) for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


def is_attachment(leaf):
    """The kind of a leaf: `a`, or else `t`."""
    if leaf.type not in ("text/plain", "text/html") or leaf.disposition.word == b"attachment" or leaf.name:
        return True
    return leaf.type == "text/html" and offered_as_file(leaf)


def offered_as_file(html):
    """Readers offer HTML as a file that is not the message's first leaf nor its alternative."""
    root = html
    for root in html.ancestors():
        pass
    first = next(part for part in root.all() if part.is_leaf)
    if html is first:
        return False
    around_first = set(map(id, first.ancestors()))
    return not any(part.type == "multipart/alternative" and id(part) in around_first for part in html.ancestors())


class Leaf:
    """A leaf as the manifest has it."""

    def __init__(self, part):
        self.part = part
        self.kind = "a" if is_attachment(part) else "t"
        self.path, self.type, self.name = part.path, part.full_type, part.name
        octets, self.whole = part.transfer_decoded()
        self.octets = octets if self.kind == "a" else canonical_text(octets)
        self.size, self.hash = len(self.octets), blake3(self.octets)


def leaves(root):
    return [Leaf(part) for part in root.all() if part.is_leaf]
