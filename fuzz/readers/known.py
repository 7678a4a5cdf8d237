"""What readers misread by themselves, in forms that honest handlers write. README.md has a line for each.

A finding is only put down to a cause here where the reader is one that is known for it, where the octets show the cause,
and where what the reader shows holds nothing but sealed octets. What a mutation wrote is never put down to anything.
"""
import base64
import email
import re
from email.errors import HeaderParseError
from email.header import decode_header, make_header

import compare
import mime
import mutations


class Case:
    """A sealed and a changed message, and what one reader shows of both."""

    def __init__(self, sealed, changed, sealed_octets, changed_octets, true):
        self.sealed, self.changed, self.true = sealed, changed, true
        self.before, self.after = mime.parse(sealed_octets), mime.parse(changed_octets)
        self.sealed_lines = set(re.split(rb"\r\n", sealed_octets))
        self.longest_field_line = max(map(len, changed_octets.partition(b"\r\n\r\n")[0].split(b"\r\n")))

    def part_of(self, root, digest):
        """The leaf that decodes to these octets."""
        return next((part for part in all_leaves(root) if compare.digest(mutations.decoded(part) or b"") == digest), None)

    def shows(self, name, changed=True):
        """What the reader shows of the changed message, or of the sealed one, under a name."""
        files = self.changed if changed else self.sealed
        return [found for found in files if found[0] == "file" and compare.plain(found[1]) == compare.plain(name)]


def is_made_of(found, part, besides=()):
    """Whether each line that a reader shows is one that comes of this part, as it is or as it decodes."""
    if len(found) < 5 or not 0 < found[3] <= 64 << 10:
        return False
    content = mutations.decoded(part) or b""
    forms = b"\n".join(compare.flat(form) for form in (part.body, content, *transcoded(content)))
    own = set(re.split(rb"[\r\n]+", forms))
    others = {bare(other) for other in besides} | {bare(UNDONE.sub(unescaped, other)) for other in besides}
    lines = re.split(rb"[\r\n]+", base64.b64decode(found[4]))

    def is_other(line):
        # The last one may be cut off.
        return bool(others) and (bare(line) in others or line is lines[-1] and any(other.startswith(bare(line)) for other in others))

    return any(line in own for line in lines) and all(
        line in own or line.strip(b" \t") in own or len(line) >= 8 and line in forms or is_other(line) for line in lines)


UNDONE = re.compile(rb"=([0-9A-Fa-f]{2})")


def unescaped(found):
    return bytes([int(found[1], 16)])


def bare(line):
    """A line that may have been decoded as quoted-printable, which it is not."""
    return line.replace(b"=", b"")


# Encodings as honest handlers write them.
HONEST = {b"base64": rb"(?:[A-Za-z0-9+/]{1,998}\r\n)*[A-Za-z0-9+/]*={0,2}(?:\r\n)*",
          b"quoted-printable": rb"(?:=[0-9A-Fa-f]{2}|=\r\n|[^=])*"}


def is_honest(part):
    fields = [field for field in part.fields if re.match(rb"(?i)content-transfer-encoding\b", field)]
    word = re.fullmatch(rb"(?i)content-transfer-encoding: (base64|quoted-printable|7bit|8bit|binary)", fields[0]) if fields else None
    form = HONEST.get(word[1].lower()) if word else None
    return len(fields) <= 1 and (not fields or word is not None) and (form is None or re.fullmatch(form, part.body) is not None)


def all_leaves(root):
    """The leaves of a message, and those of the messages attached to it."""
    for part in mutations.leaves(root):
        yield part
        if part.type().startswith((b"message/rfc822", b"message/global")):
            yield from all_leaves(mime.parse(part.body))


CHARSETS = ("latin-1", "cp1252", "utf-8", "utf-16-le", "utf-16-be", "shift_jis", "euc_kr", "gb18030", "koi8_r", "iso8859_2", "cp1251", "cp1250")


def transcoded(content):
    """The same as some readers hand it on: in UTF-8, or an octet a character, after a guess at its charset; without CR."""
    yield content.replace(b"\r", b"")
    for charset in CHARSETS:
        for errors in ("replace", "ignore"):
            text = content.decode(charset, errors)
            yield text.encode()
            yield bytes(ord(character) & 0xff for character in text)


def name_of(part):
    """A part's file name as Python's package email reads it."""
    fields = email.message_from_bytes(b"\r\n".join(part.fields) + b"\r\n\r\n")
    return words(fields.get_filename() or "")


def words(name):
    try:
        return compare.plain(str(make_header(decode_header(name))))
    except (LookupError, ValueError, UnicodeError, HeaderParseError):
        return ""


def is_named(case, name):
    """Whether the reader gave this name to a file of the sealed message."""
    return any(found[0] == "file" and compare.plain(found[1]) == compare.plain(name) for found in case.sealed)


def misread(case, kind, found, besides=()):
    """Other octets of the same sealed part, under the name that it had: an honest transfer encoding, a charset, or the end
    of the part is not understood."""
    if not found[1] or kind not in ("lost", "new-file", "renamed"):
        return False
    sealed = case.shows(found[1], changed=False)
    known = {other[2] for other in sealed}
    shown = [file for file in case.shows(found[1]) if file[2] not in known] if kind == "lost" else [found]
    for part in all_leaves(case.after):
        digest = compare.digest(mutations.decoded(part) or b"")
        if digest not in case.true or not is_honest(part):
            continue
        before = case.part_of(case.before, digest)
        is_its_own = digest == found[2] if kind == "lost" else any(
            digest == other[2] or before is not None and is_made_of(other, before, besides) for other in sealed) \
            or name_of(part) == compare.plain(found[1])
        if is_its_own and any(is_made_of(file, part, besides) for file in shown):
            return True
    return False


def goes_on(case, kind, found):
    """It takes what follows a part for lines of it: delimiters, and other sealed lines."""
    boundaries = [part.boundary for root in (case.before, case.after) for part in root.walk() if part.parts is not None]
    delimiters = {b"--" + boundary + end for boundary in boundaries for end in (b"", b"--")}
    return misread(case, kind, found, delimiters | case.sealed_lines)


def same_part(case, kind, found):
    """A part that holds what may be a delimiter is cut there, or not, as the boundary is; its octets are those that were sealed."""
    def bodies(root):
        return {part.body for part in all_leaves(root) if compare.plain(found[1]).encode() in b"".join(part.fields)}
    common = {body for body in bodies(case.before) & bodies(case.after) if re.search(rb"(?:\A|[\r\n])[ \t]*--", body)}
    return kind == "new-file" and bool(found[1]) and any(found[3] <= len(body) for body in common)


def blank_before_colon(case, kind, found):
    """A field with a blank before its colon ends the header section."""
    added = [field for field in case.after.fields if field not in case.before.fields]
    return kind == "lost" and any(re.match(rb"[!-9;-~]+[ \t]+:", field) for field in added)


def no_version(case, kind, found):
    """Without MIME-Version it shows no parts."""
    return kind == "lost" and case.after.field(b"MIME-Version") is None and case.before.field(b"MIME-Version") is not None


def folded_type(case, kind, found):
    """A fold between `Content-Type:` and `multipart/` hides the boundary."""
    folded = [part for part in case.after.walk()
              if any(re.match(rb"(?i)Content-Type:[ \t]*\r\n[ \t]+multipart/", field) for field in part.fields)]
    return kind == "lost" and bool(folded)


def extended_name(case, kind, found):
    """It does not read names in the form of RFC 2231: such a file is one of the message's texts, or is called by the subject."""
    part = case.part_of(case.after, found[2])
    fields = b"\r\n".join(part.fields) if part else b""
    is_extended = re.search(rb"(?i)name\*", fields) and not re.search(rb"(?i)name[ \t]*=", fields)
    subjects = {root.value(b"Subject").split(None, 1)[0] for root in (case.before, case.after) if root.value(b"Subject")}
    is_made_up = kind == "renamed" and {found[1].encode()} | subjects == subjects and len(subjects) == 1
    return bool(is_extended) and (kind == "lost" or is_made_up)


def one_for_all(case, kind, found):
    """It writes files of one name over each other; the last one stays."""
    names = {}
    for part in all_leaves(case.after):
        names.setdefault(name_of(part), set()).add(compare.digest(mutations.decoded(part) or b""))
    of_name = next((digests for name, digests in names.items() if name and found[2] in digests and len(digests) > 1), set())
    last = [other for other in case.shows(found[1]) if other[2] != found[2]]
    return kind == "lost" and bool(last) and bool(of_name) and all(
        other[2] in of_name and other[2] in case.true or misread(case, "new-file", other) or goes_on(case, "new-file", other)
        for other in last)


def text_as_file(case, kind, found):
    """It offers as a file what is a text of the message: of that a change is told as such."""
    part = case.part_of(case.before, found[2])
    return kind == "lost" and not found[1] and part is not None and part.type().startswith(b"text/") \
        and not part.value(b"Content-Disposition") and b"name" not in part.value(b"Content-Type")


def misnamed(case, kind, found):
    """It gives files the names of others, or several names, in the sealed message as well; or one name twice, that of both fields."""
    def true_names(root, digest):
        return b" ".join(b" ".join(part.fields) for part in all_leaves(root) if compare.digest(mutations.decoded(part) or b"") == digest)
    wrong = [other for other in case.sealed if other[0] == "file" and other[1]
             and other[1].encode() not in true_names(case.before, other[2])]
    parts = [compare.digest(mutations.decoded(part) or b"") for part in all_leaves(case.before)]
    wrong += [other for other in case.sealed if other[0] == "file"
              and len({more[1] for more in case.sealed if more[2] == other[2]}) > max(parts.count(other[2]), 1)]
    half = found[1][:len(found[1]) // 2]
    is_twice = half * 2 == found[1] and is_named(case, half)
    is_own = is_named(case, found[1]) or found[1].encode() in true_names(case.before, found[2])
    return kind == "renamed" and (is_twice or bool(wrong) and is_own)


def guesses(case, kind, found):
    """It takes a long line of letters in a text for base64, and calls files by their number from then on."""
    return kind == "renamed" and is_named(case, found[1]) and found[2] in case.true \
        and any(re.search(rb"(?m)^[A-Za-z0-9+/]{60,}\r?$", part.body) for part in mutations.texts(case.after))


def inside_a_leaf(case, kind, found):
    """It looks for parts in a sealed leaf: in a type that only begins as multipart does, or in an attached message."""
    inner = [part for leaf in all_leaves(case.before) for part in inner_leaves(leaf)]
    return kind == "new-file" and any(compare.digest(mutations.decoded(part) or b"") == found[2] for part in inner)


def inner_leaves(leaf):
    if leaf.type().startswith(b"multi") and mime.BOUNDARY.search(leaf.value(b"Content-Type")):
        boundary = mime.BOUNDARY.search(leaf.value(b"Content-Type"))
        field = b'Content-Type: multipart/mixed; boundary="' + (boundary[1] or boundary[2]) + b'"'
        yield from all_leaves(mime.parse(field + b"\r\n\r\n" + leaf.body))


def attached_opened(case, kind, found):
    """It opens an attached message, or offers it as a file, by how deep it is."""
    part = case.part_of(case.before, found[2])
    again = case.part_of(case.after, found[2])
    is_message = part is not None and part.type().startswith(b"message/") and again is not None
    return kind == "lost" and is_message and again.body == part.body


def named_right(case, kind, found):
    """It misread the sealed message, and shows this file as it was sealed."""
    part = [part for part in all_leaves(case.before) if compare.digest(mutations.decoded(part) or b"") == found[2]]
    return kind == "renamed" and compare.plain(found[1]) in {name_of(own) for own in part}


def only_filename(case, kind, found):
    """It shows no part whose name is in Content-Type alone."""
    part = case.part_of(case.after, found[2])
    return kind == "lost" and part is not None and name_of(part) == words(found[1]) \
        and b"filename" not in part.value(b"Content-Disposition").lower()


def too_deep(case, kind, found):
    """It reads no more than four multiparts inside each other."""
    def levels(part, level):
        if part.parts is None:
            return {level} if compare.digest(mutations.decoded(part) or b"") == found[2] else set()
        return set().union(*(levels(inner, level + 1) for inner in part.parts))
    return kind == "lost" and any(level > 4 for level in levels(case.after, 0))


def long_field(case, kind, found):
    """A line of more than 998 octets at the top keeps it from reading the message."""
    return kind == "lost" and case.longest_field_line > 998 and not any(other[0] == "file" for other in case.changed)


CAUSES = [
    ("misread", {"emailjs", "flanker", "uudeview", "munpack", "reformime", "ripmime", "mshow"}, misread),
    ("goes-on", {"uudeview"}, goes_on),
    ("same-part", {"Mail::Box", "php-mailparse", "uudeview", "munpack", "reformime"}, same_part),
    ("blank-before-colon", {"python-email", "python-compat32", "mail-parser", "flanker"}, blank_before_colon),
    ("no-version", {"reformime"}, no_version),
    ("folded-type", {"flanker"}, folded_type),
    ("extended-name", {"munpack", "uudeview"}, extended_name),
    ("one-for-all", {"munpack", "uudeview", "mshow"}, one_for_all),
    ("text-as-file", {"JavaMail", "mailparser", "postal-mime", "php-mailparse", "reformime", "uudeview", "munpack"}, text_as_file),
    ("named-right", {"emailjs", "flanker", "uudeview", "munpack", "reformime", "ripmime", "mshow"}, named_right),
    ("only-filename", {"mshow"}, only_filename),
    ("long-field", {"uudeview"}, long_field),
    ("too-deep", {"uudeview"}, too_deep),
    ("misnamed", {"ripmime"}, misnamed),
    ("guesses", {"uudeview"}, guesses),
    ("inside-a-leaf", {"flanker", "php-mailparse"}, inside_a_leaf),
    ("attached-opened", {"uudeview"}, attached_opened),
]


def cause(reader, case, kind, found):
    """The name of the known misreading that explains a finding, or None."""
    return next((name for name, readers, explains in CAUSES if reader in readers and explains(case, kind, found)), None)
