"""A message as a tree of parts that a mutation can change. Everything that no mutation touches stays as it is."""
import re

BOUNDARY = re.compile(rb'boundary\s*=\s*(?:"([^"]*)"|([^\s;"]+))', re.I)


class Part:
    """`fields` are the raw header fields without their last CR LF. A container has `parts`, and `gaps` around them."""

    def __init__(self, fields, body, parts=None, gaps=None, boundary=None):
        self.fields, self.body, self.parts, self.gaps, self.boundary = fields, body, parts, gaps, boundary

    def write(self):
        head = b"".join(field + b"\r\n" for field in self.fields) + b"\r\n"
        if self.parts is None:
            return head + self.body
        pieces = [head]
        for gap, part in zip(self.gaps, self.parts):
            pieces += [gap, part.write()]
        return b"".join(pieces) + self.gaps[-1]

    def walk(self):
        yield self
        for part in self.parts or []:
            yield from part.walk()

    def field(self, name):
        """The number of the first field of this name, or None."""
        for number, field in enumerate(self.fields):
            if field.lower().startswith(name.lower() + b":"):
                return number
        return None

    def value(self, name):
        number = self.field(name)
        return b"" if number is None else self.fields[number].split(b":", 1)[1].strip()

    def type(self):
        return re.split(rb"[;\s]", self.value(b"Content-Type").lower() or b"text/plain")[0]

    def insert(self, place, part):
        """Puts a part before the part of this number, or behind the last."""
        delimiter = b"--" + self.boundary + b"\r\n"
        if place == 0:
            self.gaps.insert(1, b"\r\n" + delimiter)
        else:
            self.gaps.insert(place, b"\r\n" + delimiter)
        self.parts.insert(place, part)

    def remove(self, place):
        self.parts.pop(place)
        self.gaps.pop(place + 1 if place == 0 and len(self.parts) else place)


def parse(octets):
    if octets.startswith(b"\r\n"):
        head, body = b"", octets[2:]
    else:
        head, _, body = octets.partition(b"\r\n\r\n")
    fields = re.split(rb"\r\n(?![ \t])", head) if head else []
    part = Part(fields, body)
    found = BOUNDARY.search(part.value(b"Content-Type"))
    if found is None or not part.type().startswith(b"multipart/"):
        return part
    boundary = found[1] or found[2] or b""
    delimiters = list(re.finditer(rb"(?:\A|\r\n)--" + re.escape(boundary) + rb"(?:--)?[ \t]*(?:\r\n|\Z)", body))
    # A delimiter shares its last CR LF with the next one where a part is empty; such a message stays a leaf.
    if not boundary or len(delimiters) < 2:
        return part
    part.boundary, part.parts, part.gaps = boundary, [], []
    part.gaps.append(body[:delimiters[0].end()])
    for here, following in zip(delimiters, delimiters[1:]):
        part.parts.append(parse(body[here.end():following.start()]))
        part.gaps.append(body[following.start():following.end()])
    part.gaps[-1] += body[delimiters[-1].end():]
    return part
