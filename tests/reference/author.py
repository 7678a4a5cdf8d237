"""The author's domain (SPEC, section 8, steps 1 and 2)."""

import re

import header

DOMAIN = rb"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*"
ALSO_SHOWN = (b"from", b"sender", b"resent-from", b"resent-sender", b"return-path", b"reply-to")


def domain(section):
    """The domain of the one author; None if From is none."""
    fields = from_fields(section)
    if len(fields) != 1 or len(fields[0]) > 1 << 16:
        return None
    value = header.unfold(fields[0])
    if value.count(b"@") > 64 or re.search(rb"[\x00\r\n]", value):
        return None
    named = []  # What quoted strings, comments and encoded-words hold.

    def blank(match):
        named.append((match.start(), match.end(), match[0]))
        return b" " * len(match[0]) if match[0].startswith(b"(") else b'""'.ljust(len(match[0]), b"q")

    outside = re.sub(rb'"(?:[^"\\]|\\.)*"|\((?:[^()\\]|\\.)*\)|=\?[^?\s]+\?[bBqQ]\?[^?\s]*\?=', blank, value)
    if outside.count(b"@") != 1 or re.search(rb'[()\\]', outside):
        return None
    address = re.search(rb"[^\s<>@,;:][ \t]*@[ \t]*(" + DOMAIN + rb")(?=[ \t,;:]*(?:\Z|>|\"\"))", outside)
    if not address:
        return None
    own = address[1].decode().lower()
    if not header.is_domain(own):
        return None
    for start, end, text in named:
        shown = text.decode("utf-8", "replace")
        shown = header.decode_words(shown)[0]
        others = [d.lower() for d in re.findall(r"@\s*([A-Za-z0-9._-]+)", shown) if d.lower() != own]
        bracketed = [d.lower() for d in re.findall(r"<[^<>]*@([A-Za-z0-9._-]+)", shown) if d.lower() != own]
        followed = re.search(rb"<[^<>]*@", outside[end:])
        is_comment = text.startswith(b"(")
        # A reader that knows no comments takes the first address that it sees in them.
        is_open = not followed and not (is_comment and b"@" in outside[:start])
        is_listed = is_comment and re.search(r"[,;]", shown)
        if bracketed or others and (is_open or is_listed):
            return None
    return own


def from_fields(section):
    fields = []
    for field in section.fields:
        for line in re.split(rb"(?<!\r)\n|\r(?!\n)", field.raw):
            name, colon, value = line.partition(b":")
            if colon and re.sub(rb"[^\x21-\x7e]", b"", name).lower() == b"from":
                fields.append(value)
    return fields


def possible_domains(section):
    """Every domain that some reader could show as the author's, where From is none such."""
    values = from_fields(section) + [f.value for f in section.fields if f.name in ALSO_SHOWN]
    found = set()
    for value in values:
        shown = header.unfold(value).decode("utf-8", "replace")
        for text in (shown, header.decode_words(shown)[0]):
            bare = re.sub(r'\([^()]*\)|[\s"\\]', "", text)
            found |= {d.strip(".").lower() for t in (text, bare) for d in re.findall(r"@([A-Za-z0-9._-]+)", t)}
    return found
