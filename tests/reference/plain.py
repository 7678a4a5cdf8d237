"""Whether what was touched is plain (SPEC, sections 8, step 7, and 12). The doubt `views-differ` needs a second parser,
so it is not found here; of what is an `embedded-file`, the common forms are."""

import collections
import re
import unicodedata

import header
import mime

MIME_NAMES = (b"content-type", b"content-disposition", b"content-transfer-encoding", b"mime-version")
PART_NAMES = set(MIME_NAMES) | {
    b"content-description", b"content-id", b"content-language", b"content-length", b"content-md5", b"content-class",
    b"content-duration", b"content-features", b"date", b"lines", b"x-attachment-id", b"x-content-preservation",
    b"x-mime-autoconverted", b"x-ms-has-attach", b"x-original-content-type"}
TYPE_PARAMETERS = set(
    b"boundary charset component delsp format header markup method micalg name profile protocol reply-type report-type "
    b"smime-type start start-info type variant version x-unix-mode".split())
DISPOSITION_PARAMETERS = set(b"filename size creation-date modification-date read-date".split())
MULTIPARTS = ("mixed", "alternative", "related", "signed", "encrypted", "report", "digest")
ENCODINGS = (b"7bit", b"8bit", b"binary", b"base64", b"quoted-printable")
SAFE = rb"[A-Za-z0-9_.+-]+"
TOKEN = rb"[A-Za-z0-9!#$%&'*+./^_`{|}~-]+"
QUOTED = rb'"[\x20\x21\x23-\x5b\x5d-\x7e]*"'
PARAMETER = re.compile(rb";(?:[ \t]|\r\n[ \t])*([A-Za-z-]+)((?:\*[0-9]+)?\*?)=(" + TOKEN + rb"|"
                       rb'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\r\n[ \t])*")')
VERSION = re.compile(rb"(?:\((?:[^()\\]|\\.)*\) ?)?1\.0(?: ?\((?:[^()\\]|\\.)*\))?[ \t]*")
BOUNDARY = re.compile(rb"[A-Za-z0-9_.+',/:=?-]{1,70}")
FILE_END = re.compile(rb"\.[A-Za-z0-9]{1,5}\Z")
WHOLE_TYPE = SAFE + rb"/" + SAFE + rb"[ \t\r\n]*(?:[;(]|\Z)"
FIELD_LINE = re.compile(rb"[\x21-\x39\x3b-\x7e]+[ \t]*:")
# A line that reads as a MIME field with a value of that field's form; a list of field names is none.
MIME_LINE = re.compile(
    rb"(?im)^[ \t]*(?:content-type[ \t]*:[ \t]*[!#$%&'*+.^_`{|}~0-9a-z-]+/[!#$%&'*+.^_`{|}~0-9a-z-]+(?=[;\s(]|\Z)|"
    rb"content-transfer-encoding[ \t]*:[ \t]*(?:7bit|8bit|binary|quoted-printable|base64)(?=[;\s(]|\Z)|"
    rb"content-disposition[ \t]*:[ \t]*(?:inline|attachment|form-data)(?=[;\s(]|\Z)|"
    rb"mime-version[ \t]*:[ \t]*[0-9]*\.[0-9.]*(?=[;\s(]|\Z))")


def is_too_long(section):
    return section.length > 1 << 20 or sum(f.name is not None for f in section.fields) > 300


def header_doubts(section):
    """The doubts of step 7."""
    doubts = []
    for number, f in enumerate(section.fields):
        lines = f.raw.split(b"\r\n")
        if re.search(rb"[\r\n]", f.raw.replace(b"\r\n", b"")):
            doubts.append("bare-line-end")
        if b"\0" in f.raw:
            doubts.append("nul")
        if f.name is None or number == 0 and f.raw[:1] in b" \t" or any(not line.strip(b" \t") for line in lines):
            doubts.append("junk-header-line")
            continue
        if names_a_file_elsewhere(f):
            doubts.append("lookalike-field")
        bare = re.sub(rb"\([^()]*\)", b"", f.name).strip()
        if f.name not in MIME_NAMES and (bare in MIME_NAMES or any(one_away(bare, name) for name in MIME_NAMES)) \
                or any(MIME_LINE.match(line) for line in lines[1:]):
            doubts.append("lookalike-field")
        elif not re.fullmatch(rb"[\x21-\x7e]+", f.name):
            doubts.append("junk-header-line")
        if f.written != f.written.rstrip() and f.name in MIME_NAMES:
            doubts.append("space-before-colon")
    if is_too_long(section):
        doubts.append("header-too-long")
    return list(dict.fromkeys(doubts))


def names_a_file_elsewhere(f):
    """A MIME field's name inside the field's own, and a file's name."""
    held = re.search(rb"content-(?:location|type|disposition)", f.name)
    if not held or held[0] == f.name:
        return False
    return held[0] == b"content-location" or re.search(rb"name[=*]", re.sub(rb"\s", b"", f.value.lower())) is not None


def one_away(a, b):
    if a == b or abs(len(a) - len(b)) > 1:
        return False
    short, long = sorted((a, b), key=len)
    at = next((i for i, octet in enumerate(short) if octet != long[i]), len(short))
    return short[at + (len(a) == len(b)):] == long[at + 1:]


def field_flaws(fields, is_message):
    """Whether fields are none of the plain grammar (section 12.1), and why."""
    asked = [f for f in fields if not is_message or f.name is None or f.name.startswith((b"content-", b"x-mozilla-"))
             or f.name == b"mime-version"]
    names = [f.name for f in asked]
    versions = [f.value for f in asked if f.name == b"mime-version"]
    may_repeat = b"mime-version" if is_message and set(versions) == {b" 1.0"} else None
    for f in asked:
        if f.name is None or names.count(f.name) > 1 and f.name != may_repeat or is_message and f.name.startswith(b"x-mozilla-ext"):
            return "a field"
        if is_message and f.name.startswith(b"x-mozilla-"):
            continue
        if f.name not in PART_NAMES or f.written != f.written.strip() or not re.match(rb" |\r\n[ \t]", f.value) \
                or any(not line.strip(b" \t") for line in f.raw.split(b"\r\n")) \
                or re.search(rb"[\0\r\n]", f.raw.replace(b"\r\n", b"")):
            return f"{f.name.decode('latin-1')}: not of the form of a field"
        flaw = "a name elsewhere" if names_a_file_elsewhere(f) else _value_flaw(f)
        if flaw:
            return f"{f.name.decode('latin-1')}: {flaw}"
    return _name_flaw(fields)


def _start(value):
    return re.sub(rb"\A(?: |\r\n[ \t])", b"", value)


def _value_flaw(f):
    value = _start(f.value)
    if f.name == b"mime-version":
        return None if VERSION.fullmatch(value) else "not 1.0"
    if f.name == b"content-transfer-encoding":
        return None if value.lower() in ENCODINGS else "not an encoding"
    if f.name == b"content-type":
        if f.value.startswith(b"\r\n") and value.lower().startswith(b"multipart/"):
            return "a multipart's type folded behind its colon"
        return _parameters_flaw(value, SAFE + rb"/" + SAFE, TYPE_PARAMETERS)
    if f.name == b"content-disposition":
        return _parameters_flaw(value, rb"(?i:inline|attachment)", DISPOSITION_PARAMETERS)
    return None


# Charsets in which the octets of ASCII mean something else.
WIDE = re.compile(rb"(?i)utf-?(?:7|16|32)|ucs|iso-10646|csunicode|unicode")


def _parameters_flaw(value, start, known):
    match = re.match(start, value)
    if not match:
        return "not of the grammar"
    at, seen = match.end(), set()
    is_multipart = value.lower().startswith(b"multipart/")
    while at < len(value):
        parameter = PARAMETER.match(value, at)
        if not parameter:
            return "not of the grammar"
        at = parameter.end()
        name, star, text = parameter[1].lower(), parameter[2], parameter[3]
        if name not in known or (name, star) in seen or star and name not in (b"name", b"filename"):
            return "a parameter"
        if (name, b"*") in seen or star == b"*" and any(n == name and s not in (b"", b"*") for n, s in seen):
            return "a parameter in several forms"
        number = re.fullmatch(rb"\*([0-9]+)(\*?)", star)
        before = [other for n, other in seen if n == name and other not in (b"", b"*")]
        if number and int(number[1]) != len(before):
            return "sections of a name out of order"
        if number and any(other.endswith(b"*") != star.endswith(b"*") for other in before):
            return "sections of a name of two kinds"
        seen.add((name, star))
        if not text.startswith(b'"') and name in (b"boundary", b"charset", b"name", b"filename") and not star \
                and not re.fullmatch(SAFE, text):
            return "a value without quotes"
        if b"\r\n" in text:
            head = text.partition(b"\r\n")[0]
            if name not in (b"name", b"filename") or len(text) < 32 or FILE_END.search(head):
                return "a folded value"
        bare = text.strip(b'"')
        if name == b"charset" and not re.fullmatch(rb"(?:" + SAFE + rb"|:)+", bare):
            return "a charset"
        if name == b"charset" and WIDE.match(bare) and not re.match(rb"(?i)(?:text|message)/", value):
            return "a charset of what is no text"
        if b"=?" in bare and name not in (b"name", b"filename"):
            return "an encoded-word"
        if name == b"boundary":
            if not is_multipart or not plain_boundary(bare):
                return "a boundary"
    return None


def plain_boundary(boundary):
    return (BOUNDARY.fullmatch(boundary) and not boundary.endswith(b"--") and boundary.strip(b"-")
            and boundary.strip(b"'") == boundary and not re.match(rb"[A-Za-z0-9-]*:", boundary))


def _name_flaw(fields):
    """Whether the names that fields give differ, or are written in another form than section 12.1's."""
    names = set()
    for f in fields:
        if f.name not in (b"content-type", b"content-disposition"):
            continue
        key = b"name" if f.name == b"content-type" else b"filename"
        found = mime.Value(header.unfold(f.value)).parameters
        plain = found.get(key)
        if plain:
            text = plain[0].decode("utf-8", "replace").replace("\t", " ")
            if "=?" in text:
                if not re.fullmatch(r"(?i)=\?(?:utf-8|iso-8859-1)\?[bq]\?[^?\s]*\?="
                                    r"(?: =\?(?:utf-8|iso-8859-1)\?[bq]\?[^?\s]*\?=)*", text):
                    return "a name in encoded-words"
                text, whole = header.decode_words(text)
                if not whole:
                    return "a name that does not decode"
            names.add(text)
        sections = sorted(k for k in found if k.startswith(key + b"*"))
        if sections:
            first = found.get(key + b"*", found.get(key + b"*0*", [None]))[0]
            if first is not None and not first.lower().startswith(b"utf-8'"):
                return "a name in another charset"
            names.add(mime.extended(found, key))
    names = {unicodedata.normalize("NFC", name) for name in names}
    if len(names) > 1 or any(not name.strip() or re.search(r"[\x00-\x1f\x7f\ufffd]", name) for name in names):
        return "names that differ, or a name of control characters or blanks"
    return None


def core(text):
    return text.lower().strip(b"- \t")


def alike(a, b):
    a, b = core(a), core(b)
    return bool(a and b) and (a.startswith(b) or b.startswith(a))


# In these blanks mean something, and a sealed text is only known but for its blanks.
ENCODED_FILES = rb"^[ \t>]*begin(?:-base64)?[ \t]+[0-7]{3,5}[ \t]+\S|^=ybegin |must be converted with BinHex"
BLANKS_MATTER = re.compile(rb"(?im)" + ENCODED_FILES)
FILES = re.compile(rb"(?im)" + ENCODED_FILES + rb"|^%!PS|-----BEGIN (?:PGP|PKCS7|CERTIFICATE|CMS)|"
                   rb"^[ \t]*BEGIN:V(?:CALENDAR|CARD|EVENT)|"
                   rb"^[^\s:]*content-(?:disposition[^\s:]*[ \t]*(?::|[ \t].*(?:attachment|inline|name))|"
                   rb"location[^\s:]*[ \t]*[: \t][ \t]*[^\s;]+[ \t]*(?:;|\r?$)|"
                   rb"type[^\s:]*[ \t]*[: \t][ \t]*(?!content=)[^\s/;]*/[^\s;]+[ \t]*(?:;|\r?$))")
ACTIVE = re.compile(rb"(?i)<[ \t\r\n]*/?(?:script|i?frame|frameset|form|object|embed|applet|base|svg)\b|"
                    rb"<[^<>]*[\s\"'/]on[a-z]+[ \t\r\n]*=|(?:data|javascript|vbscript)(?::|&#|&colon)")


def holds_file(octets, is_html):
    return bool(FILES.search(octets) or is_html and ACTIVE.search(octets))


class Judge:
    """The doubts of step 9 about one changed message."""

    def __init__(self, root, seal, untouched, comparison, has_structure):
        self.root, self.seal, self.untouched, self.comparison = root, seal, untouched, comparison
        self.has_structure = has_structure
        self.leaf = {leaf.part: leaf for leaf in comparison.found}
        self.found = []

    def doubts(self):
        if self.comparison.container_changed():
            self.add("container-changed")
        self._limits()
        if not self.has_structure:
            version = [f for f in self.root.section.fields if f.name == b"mime-version"]
            if field_flaws(version, True):
                self.add("not-plain")
        touched = []
        for part in self.root.all():
            if part in self.untouched.covered:
                continue
            as_sealed = self._fields(part)
            if part.is_leaf:
                self._leaf(part)
            else:
                touched.append((part, as_sealed))
                self._container(part)
        self._lines(touched)
        return self.found

    def add(self, doubt):
        if doubt not in self.found:
            self.found.append(doubt)

    def _limits(self):
        depth = lambda items: max((len(i.path.split(".")) if i.path else 0 for i in items), default=0)
        if depth(self.comparison.found) > max(8, depth(self.seal.entries)):
            self.add("too-deep")
        if len(self.comparison.found) > max(300, len(self.seal.entries)):
            self.add("too-many-parts")

    def _has_sealed_fields(self, part):
        return part is self.root and self.has_structure or self._are_sealed(part.fields_mark(), part)

    def _has_sealed_description(self, part):
        """Whether an attachment's fields are the sealed ones but for a charset at the end of its type and for the type's place."""
        types = part.section.named(b"content-type")
        if len(types) != 1:
            return False
        others = [f.raw for f in part.section.fields if f is not types[0]]
        bare = re.sub(rb"(?i);[ \t\r\n]*charset=[a-z0-9_.+-]+\Z", b"", types[0].raw)
        for place in range(len(others) + 1):
            fields = others[:place] + [bare] + others[place:]
            section = header.split(b"\r\n".join(fields) + b"\r\n\r\n")
            if self._are_sealed(header.part_fields(section, part.in_digest), part):
                return True
        return False

    def _are_sealed(self, fields, part):
        fields = fields[:12]
        pair = {leaf.part: number for number, leaf in self.comparison.pair.items()}
        for index, mark in enumerate(self.seal.marks or ()):
            if (index == 0) != (part is self.root) or index in self.untouched.used or mark.fields != fields \
                    or (mark.number is None) != part.is_leaf:
                continue
            if not part.is_leaf or self.leaf[part].kind == "t" or part in pair \
                    and self.comparison.number_of_mark[index] == pair[part]:
                return True
        return False

    def _fields(self, part):
        """Checks a touched part's fields; tells whether they are as sealed."""
        if self._has_sealed_fields(part):
            return True
        if part.is_leaf and part.type.startswith("multipart/"):
            self.add("no-boundary")
            return False
        is_message = part is self.root
        if not part.section.ended and not is_message or field_flaws(part.section.fields, is_message):
            self.add("not-plain")
        subtypes = {subtype for entry in self.seal.entries for subtype in entry.path.split(".")} | set(MULTIPARTS)
        if not part.is_leaf and part.type.partition("/")[2] not in subtypes:
            self.add("not-plain")
        is_saved = part.disposition.word == b"attachment"
        number = self.comparison.sealed_for(self.leaf[part]) if part.is_leaf else None
        was_file = number is not None and self.seal.entries[number].kind == "a"
        is_shown = part.is_leaf and part.type in ("text/plain", "text/html")
        if (is_saved or part.name) and not part.is_leaf or was_file and is_shown and not is_saved:
            self.add("not-plain")
        is_nameless = part.is_leaf and self.leaf[part].kind == "a" and not part.name
        if is_nameless and part.section.named(b"content-description") and not self._has_sealed_description(part):
            self.add("not-plain")
        return False

    def _sealed_mark(self, part):
        """The mark of the sealed attachment or text that a touched leaf is."""
        leaf = self.leaf[part]
        number = self.comparison.sealed_for(leaf)
        if leaf in self.comparison.text_for:
            number = next(n for n, entry in enumerate(self.seal.entries) if entry is self.comparison.text_for[leaf][0])
        return next((self.seal.marks[i] for i, n in self.comparison.number_of_mark.items() if n == number), None)

    def _leaf(self, part):
        leaf = self.leaf[part]
        mark = self._sealed_mark(part)
        if mark and mark.body == part.body_mark()[:12]:
            return
        fields = part.section.fields if part is not self.root else header.mime_fields(part.section)
        if not fields and FIELD_LINE.match(part.body.lstrip(b"\r\n")):
            self.add("field-in-body")
        encodings = part.section.named(b"content-transfer-encoding")
        if len(encodings) > 1 or encodings and not mime.PLAIN_ENCODING.fullmatch(encodings[0].raw):
            self.add("not-plain")
        elif part.type.startswith("message/"):
            self._attached_message(part, mark)
        elif leaf.kind == "a" and encoding_flaw(part, leaf.hash in {entry.hash for entry in self.seal.entries}):
            self.add("not-plain")
        elif part.encoding == b"base64" and any(len(line) > 998 for line in part.body.split(b"\r\n")):
            self.add("not-plain")
        if leaf.kind == "t":
            state = self.comparison.text_for.get(leaf, (None, "changed"))[1]
            types = part.section.named(b"content-type")
            if state != "intact" and any(not re.match(WHOLE_TYPE, _start(f.value).lstrip(b" \t\r\n")) for f in types):
                self.add("not-plain")
            self._text(part, leaf)

    def _attached_message(self, part, mark):
        """It keeps the encoding that it was sealed in: none."""
        stood = [mime.blake3(word + b"\n" + part.form())[:12] for word in (b"", b"8bit", b"binary")]
        if part.encoding not in (b"", b"7bit", b"8bit", b"binary") or mark and mark.body not in stood \
                and self.seal.entries[self.comparison.sealed_for(self.leaf[part])].hash == self.leaf[part].hash:
            self.add("not-plain")

    def _text(self, part, leaf):
        _, state, new = self.comparison.text_for.get(leaf, (None, "changed", leaf.octets))
        charset = part.content_type.get(b"charset") or b""
        raw = part.transfer_decoded()[0]
        if state != "intact" and (
                re.search(rb"(?i)utf-?7", charset) and b"+" in raw
                or re.match(rb"(?i)utf-?(?:16|32)", charset) and raw[:2] not in (b"\xff\xfe", b"\xfe\xff", b"\0\0")
                or re.search(rb"\x1b[$(]", raw) and not re.match(rb"(?i)iso-2022|cp5022", charset)):
            self.add("text-charset")
        if holds_file(new, part.type == "text/html") or BLANKS_MATTER.search(leaf.octets):
            self.add("embedded-file")

    def _container(self, part):
        encodings = part.section.named(b"content-transfer-encoding")
        if not part.closed or encodings and not re.fullmatch(rb"(?i)[^:]+: (?:7bit|8bit|binary)", encodings[0].raw):
            self.add("not-plain")
        for number, gap in enumerate(part.gaps):
            lines = gap.split(b"\r\n")
            exact = [b"--" + part.boundary, b"--" + part.boundary + b"--"]
            if not any(line in exact for line in lines) and gap:
                self.add("not-plain")
            # What is outside the parts: all but the one delimiter.
            delimiter = next((i for i, line in enumerate(lines) if line.rstrip(b" \t") in exact), len(lines))
            text = b"\r\n".join(lines[:delimiter] + lines[delimiter + 1:])
            if MIME_LINE.search(text) or re.search(rb"(?m)^[ \t]*--[^\s-]\S*[ \t]*\r?$", text):
                self.add("hidden-part")
            if holds_file(text, True):
                self.add("embedded-file")

    def _lines(self, touched):
        """Section 12.2."""
        containers = [part for part in self.root.all() if not part.is_leaf]
        is_wrapped = self.root not in self.untouched.covered and 0 in self.untouched.used
        for part, as_sealed in touched:
            for other in containers:
                own = as_sealed and not is_wrapped and part in list(other.ancestors()) and other in self.untouched.covered
                if other is not part and alike(part.boundary, other.boundary) and not own:
                    self.add("boundary-prefix")
        boundaries = [part.boundary for part, _ in touched]
        if not boundaries:
            return
        delimiters = collections.Counter()
        for part in containers:
            delimiters[b"--" + part.boundary] += len(part.gaps) - 1 if part.parts else 0
            delimiters[b"--" + part.boundary + b"--"] += part.closed
        for line in re.split(rb"\r\n|\r|\n", self.root.body):
            bare = line.lstrip(b" \t")
            delimiters[line.rstrip(b" \t")] -= 1
            if bare.startswith(b"--") and core(bare) and delimiters[line.rstrip(b" \t")] < 0 \
                    and any(alike(bare, boundary) for boundary in boundaries):
                self.add("boundary-prefix")
        # Behind other characters, but in header sections.
        for leaf in (part for part in self.root.all() if part.is_leaf):
            for found in re.finditer(rb"(?m)(?<=[^-\r\n \t])[ \t]*--([^\r\n]*)", leaf.body):
                if any(core(found[1]).startswith(core(boundary)) for boundary in boundaries):
                    self.add("boundary-prefix")
        for part, as_sealed in touched:
            if as_sealed and not plain_boundary(part.boundary) and self._touched_hyphens(part):
                self.add("boundary-prefix")

    def _touched_hyphens(self, container):
        return any(re.search(rb"(?:\A|[\r\n])[ \t]*--(?! \Z)", part.body) for part in container.all()
                   if part.is_leaf and part not in self.untouched.covered)


def encoding_flaw(part, is_sealed):
    """Whether readers could decode an attachment in different ways."""
    body, is_text = part.body, part.type.startswith("text/")
    if part.encoding == b"base64":
        lines = re.sub(rb"(?:\r\n)+\Z", b"", body).split(b"\r\n")
        octets, whole = mime.decode_base64(body)
        return not whole or any(len(line) != len(lines[0]) for line in lines[:-1]) or len(lines[-1]) > len(lines[0])
    if part.encoding == b"quoted-printable":
        octets, whole = mime.decode_quoted_printable(body)
        return (not whole or body.endswith(b"=") or re.search(rb"[ \t](?:\r\n|\Z)", body) is not None
                or re.search(rb"[^\x09\x0d\x0a\x20-\x7e]", body) is not None
                or re.search(rb"[\r\n]", body.replace(b"\r\n", b"")) is not None
                or not is_text and re.search(rb"(?<!=)\r\n", body) is not None)
    bare = re.search(rb"[\r\n]", body.replace(b"\r\n", b""))
    if part.encoding == b"binary":
        return not is_text and bare is not None
    if b"\0" in body or bare:
        return True
    if is_text and part.encoding == b"8bit":
        return False
    return not (is_text and is_sealed) and re.search(rb"[\x80-\xff]", body) is not None
