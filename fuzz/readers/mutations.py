"""What may be done to a sealed message: what honest servers do, and what somebody does who wants to slip in a file."""
import base64
import copy
import quopri
import re

import mime
import seeds

EVIL = base64.b64encode(b"MZ evil evil evil")
EVIL_FIELDS = [b'Content-Type: application/x-msdownload; name="evil.exe"', b'Content-Disposition: attachment; filename="evil.exe"',
               b"Content-Transfer-Encoding: base64"]
EVIL_TEXTS = [
    b"begin 644 evil.exe\r\n#86)C\r\n`\r\nend\r\n",
    b"begin-base64 644 evil.exe\r\nTVogZXZpbA==\r\n====\r\n",
    b"begin 0644  evil.exe\r\n#86)C\r\n \r\nend\r\n",
    b"=ybegin line=128 size=3 name=evil.exe\r\n\x8b\x8c\x8d\r\n=yend size=3\r\n",
    b"(This file must be converted with BinHex 4.0)\r\n\r\n:$f*TEQKPH#jdFh\"bB(4b!!!!!N!3!!\r\n",
    b"%!PS-Adobe-3.0\r\n/evil (a) def\r\n%%EOF\r\n",
    b"data:application/octet-stream;base64,TVogZXZpbA==\r\n",
    b"-----BEGIN PGP MESSAGE-----\r\n\r\nTVogZXZpbA==\r\n-----END PGP MESSAGE-----\r\n",
    b"BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n",
    EVIL + b"\r\n",
]
BOUNDARIES = [b"new1", b"b", b"b1", b"b1x", b"a1", b"=_x", b"----=_Part_2", b"--x", b"x--", b"x y", b"B1", b"(x)", b"x/y", b"x:y", b"Content-Type: x",
              b"\xe4\xb8", b"x\ty", b"=?x?=", b"0" * 70, b"0" * 71, b"a" * 200, b"'", b",", b"x'"]
WEIRD = [b" ", b"\t", b"\r", b"\n", b"\0", b"\x0b", b"\x0c", b"\x1a", b"\x7f", b"\xa0", b"\xff", b"\xc2\xad", b"\xe2\x80\x8b", b"\xef\xbb\xbf", b"\\", b'"', b"(x)",
         b"(", b")", b";", b",", b":", b"=", b"*", b"'", b"--", b"=?utf-8?q?x?=", b"%00", b"\r\n ", b"\r\n\t", b"\r\n", b"\r\n\r\n", b" \r\n", b"="]
FIELDS = [b"Content-Type", b"Content-Disposition", b"Content-Transfer-Encoding", b"MIME-Version", b"Content-ID", b"Content-Description",
          b"Content-Location", b"Content-Name", b"Content-Base", b"Content-Encoding", b"X-Attachment-Id", b"Content-Language", b"Content-Length",
          b"Content-MD5", b"Date", b"Lines", b"Status", b"X-Mozilla-External-Attachment-URL", b"Encoding", b"Content-Type-X"]
NEW_NAMES = [b'"evil.exe"', b"evil.exe", b'"evil\\.exe"', b'"Agenda.pdf.exe"', b'"=?utf-8?q?evil=2Eexe?="', b"=?utf-8?b?ZXZpbC5leGU=?=", b'"ev\0il.exe"',
             b'"evil.exe\r\n .pdf"', b'"evil.exe;"', b"\"'evil.exe'\"", b'"..\\\\evil.exe"', b'""', b'" "', b'"evil.exe', b"'evil.exe'"]


def leaves(root):
    return [part for part in root.walk() if part.parts is None]


def texts(root):
    return [part for part in leaves(root) if part.type().startswith(b"text/") and b"name" not in part.value(b"Content-Disposition")] or leaves(root)


def containers(root):
    return [part for part in root.walk() if part.parts is not None]


def encoding(part):
    return part.value(b"Content-Transfer-Encoding").lower()


def decoded(part):
    if encoding(part) == b"base64":
        try:
            return base64.b64decode(re.sub(rb"\s", b"", part.body))
        except ValueError:
            return None
    if encoding(part) == b"quoted-printable":
        return quopri.decodestring(part.body)
    return part.body


def set_field(part, name, value):
    number = part.field(name)
    if number is None:
        part.fields.append(name + b": " + value)
    else:
        part.fields[number] = part.fields[number].split(b":", 1)[0] + b": " + value


def evil_part(rng):
    fields = [field for field in EVIL_FIELDS if rng.random() < 0.85]
    rng.shuffle(fields)
    return mime.Part(fields, EVIL)


def some_part(root, rng):
    """A part from the message, or a new one: plain text as a footer is, or a file."""
    return rng.choice([lambda: copy.deepcopy(rng.choice(leaves(root))), lambda: evil_part(rng),
                       lambda: mime.Part([b"Content-Type: text/plain; charset=utf-8"], b"-- \r\na footer\r\n"),
                       lambda: mime.Part([], rng.choice([b"\r\n", b""]) + b"words\r\n" + rng.choice([b"", evil_part(rng).write()])),
                       lambda: mime.Part([b"Content-Type: text/html"], b"<p>x</p>"),
                       lambda: mime.Part([], evil_part(rng).write())])()


# What honest servers do.


def encode_anew(root, rng):
    part = rng.choice(leaves(root))
    content = decoded(part)
    if content is None or part.type().startswith(b"message/"):
        return
    name = rng.choice([b"base64", b"base64", b"quoted-printable", b"8bit"])
    part.body = seeds.encode(content, name, rng.choice([76, 72, 60, 64, 4]))
    if name == b"base64":
        part.body += rng.choice([b"", b"\r\n"])
    set_field(part, b"Content-Transfer-Encoding", name)


def footer(root, rng):
    part = rng.choice(texts(root))
    content = decoded(part)
    if content is None:
        return
    lines = rng.choice([b"\r\n-- \r\nlist@example.net\r\n", b"a footer\r\n", b"_____\r\nlist\r\n", b"\r\n"])
    content = content + lines if rng.random() < 0.7 else lines + content
    part.body = seeds.encode(content, encoding(part))


def new_boundary(root, rng):
    inner = containers(root)
    if inner:
        part = rng.choice(inner)
        rename_boundary(part, rng.choice([b"new%d" % rng.randrange(99), b"===============%d==" % rng.randrange(10**18), *BOUNDARIES]), rng)


def rename_boundary(part, boundary, rng):
    old = part.boundary
    part.gaps = [gap.replace(b"--" + old, b"--" + boundary) for gap in part.gaps]
    subtype = part.type()
    written = b'"' + boundary + b'"' if rng.random() < 0.8 else boundary
    set_field(part, b"Content-Type", subtype + rng.choice([b"; ", b";\r\n ", b";\r\n\t"]) + b"boundary=" + written)
    part.boundary = boundary


def wrap_all(root, rng):
    """As mailing lists do that add a footer."""
    moved = [field for field in root.fields if field.lower().startswith(b"content-")]
    inside = mime.Part(moved, root.body, root.parts, root.gaps, root.boundary)
    if rng.random() < 0.1:
        inside.fields = list(root.fields)
        inside = mime.Part([b"Content-Type: message/rfc822"], inside.write())
    boundary = rng.choice([b"wrap", b"===============0123456789==", *BOUNDARIES])
    subtype = rng.choice([b"mixed"] * 6 + [b"alternative", b"related", b"signed", b"digest", b"report", b"x"])
    root.fields = [field for field in root.fields if field not in moved]
    root.fields.append(b'Content-Type: multipart/%s; boundary="%s"' % (subtype, boundary))
    root.body, root.boundary, root.parts = b"", boundary, [inside]
    root.gaps = [b"--" + boundary + b"\r\n", b"\r\n--" + boundary + b"--" + rng.choice([b"", b"\r\n"])]
    if rng.random() < 0.8:
        root.insert(rng.choice([0, 1]), some_part(root, rng) if rng.random() < 0.3
                    else mime.Part([b"Content-Type: text/plain; charset=us-ascii"], b"_______\r\nlist footer\r\n"))


def wrap_part(root, rng):
    inner = containers(root)
    if not inner:
        return
    container = rng.choice(inner)
    place = rng.randrange(len(container.parts))
    part = container.parts[place]
    for level in range(rng.choice([1, 1, 1, 2, 5, 9, 101])):
        boundary = b"w%d" % level
        subtype = rng.choice([b"mixed"] * 4 + [b"alternative", b"related", b"x-none"])
        part = mime.Part([b'Content-Type: multipart/%s; boundary="%s"' % (subtype, boundary)], b"", [part],
                         [b"--" + boundary + b"\r\n", b"\r\n--" + boundary + b"--\r\n"], boundary)
    container.parts[place] = part


def refold(root, rng):
    part = rng.choice(list(root.walk()))
    if part.fields:
        number = rng.randrange(len(part.fields))
        blanks = [found.start() for found in re.finditer(rb"[ \t]", part.fields[number]) if found.start() > 0]
        if blanks:
            place = rng.choice(blanks)
            part.fields[number] = part.fields[number][:place] + b"\r\n" + part.fields[number][place:]


def new_case(root, rng):
    part = rng.choice(list(root.walk()))
    if part.fields:
        number = rng.randrange(len(part.fields))
        name, colon, value = part.fields[number].partition(b":")
        part.fields[number] = rng.choice([name.upper(), name.lower(), name.swapcase()]) + colon + value


def reorder_fields(root, rng):
    rng.shuffle(rng.choice(list(root.walk())).fields)


def field_on_top(root, rng):
    fields = [b"Received: from a by b; Mon, 23 Nov 2026 00:00:00 +0000", b"List-Id: <list.example.net>", b"X-Spam: no", b"Content-Length: 7",
              b"From : evil@example.net", b"Return-Path: <x@example.net>"]
    root.fields.insert(0, rng.choice(fields))


def new_name(root, rng):
    """Writes a file's name anew, in another of the forms that there are."""
    part = rng.choice(leaves(root))
    field = rng.choice([b"Content-Disposition", b"Content-Type"])
    value = part.value(field)
    found = re.search(rb'(?:file)?name="([^"]+)"', value)
    if found is None:
        return
    name = found[1].decode("utf-8", "surrogateescape").encode("utf-8", "surrogateescape")
    key = b"filename" if found[0].startswith(b"file") else b"name"
    percent = b"".join(b"%%%02X" % octet for octet in name)
    half = len(name) // 2
    forms = [key + b"*=UTF-8''" + percent, key + b"*=''" + percent, key + b"*=ISO-8859-1'en'" + percent,
             key + b'="=?UTF-8?B?' + base64.b64encode(name) + b'?="', key + b"==?UTF-8?Q?" + percent.replace(b"%", b"=") + b"?=",
             key + b'*0="' + name[:half] + b'";\r\n ' + key + b'*1="' + name[half:] + b'"', key + b"=" + name,
             key + b"*0*=UTF-8''" + percent[:half * 3] + b"; " + key + b"*1*=" + percent[half * 3:],
             found[0] + b"; " + key + b"*=UTF-8''" + percent, b'%s="%s"' % (key, name.replace(b".", b"\\."))]
    set_field(part, field, value.replace(found[0], rng.choice(forms)))


# What somebody does who wants to slip in a file.


def add_part(root, rng):
    inner = containers(root)
    if inner:
        container = rng.choice(inner)
        container.insert(rng.randrange(len(container.parts) + 1), some_part(root, rng))


def drop_part(root, rng):
    inner = [part for part in containers(root) if len(part.parts) > 1]
    if inner:
        container = rng.choice(inner)
        container.remove(rng.randrange(len(container.parts)))


def swap_parts(root, rng):
    inner = [part for part in containers(root) if len(part.parts) > 1]
    if inner:
        container = rng.choice(inner)
        one, other = rng.sample(range(len(container.parts)), 2)
        container.parts[one], container.parts[other] = container.parts[other], container.parts[one]


def gap(root, rng):
    """Something in a preamble or an epilogue, or between two parts."""
    inner = containers(root)
    if not inner:
        return
    container = rng.choice(inner)
    number = rng.choice([0, -1, rng.randrange(len(container.gaps))])
    delimiter = b"--" + rng.choice([container.boundary, rng.choice(inner).boundary, *BOUNDARIES])
    new = rng.choice([evil_part(rng).write(), b"\r\n" + delimiter + b"\r\n" + evil_part(rng).write() + b"\r\n", rng.choice(EVIL_TEXTS),
                      b"words\r\n", b"\r\n" + delimiter + rng.choice([b"", b"--"]) + rng.choice(WEIRD) + b"\r\n" + evil_part(rng).write() + b"\r\n"])
    container.gaps[number] = new + container.gaps[number] if rng.random() < 0.5 else container.gaps[number] + new


def delimiter(root, rng):
    """A delimiter that some readers take for one, and others do not."""
    inner = containers(root)
    if not inner:
        return
    container = rng.choice(inner)
    number = rng.randrange(len(container.gaps))
    old = b"--" + container.boundary
    change = rng.choice([old + b" ", old + b"\t", old + b"--", old + rng.choice(WEIRD), rng.choice(WEIRD) + old, old.swapcase(), old[:-1], old + b"x",
                         b"-" + old, old + b"\r\n" + old, b""])
    container.gaps[number] = container.gaps[number].replace(old, change, 1)


def in_a_text(root, rng):
    """A file in a text, or what some reader takes for a part of the message there."""
    part = rng.choice(texts(root))
    content = decoded(part)
    if content is None:
        return
    boundaries = [container.boundary for container in containers(root)] or [b"x"]
    line = b"--" + rng.choice(boundaries)
    line = rng.choice([line, b" " + line, line + b" x", line + b"--", b"\r" + line, b"\n" + line, line[1:], b"\xa0" + line, line.swapcase(), b"-" + line,
                       line[:-1], line + b"0", b"> " + line])
    new = rng.choice([rng.choice(EVIL_TEXTS), line + b"\r\n" + evil_part(rng).write() + b"\r\n", evil_part(rng).write(), b"\0",
                      rng.choice(EVIL_TEXTS).replace(b"\r\n", rng.choice([b"\n", b"\r", b" \r\n", b"=\r\n"]))])
    place = rng.choice([0, len(content), content.find(b"\r\n") + 2])
    content = content[:place] + new + content[place:]
    part.body = content if rng.random() < 0.3 else seeds.encode(content, encoding(part))


def no_fields(root, rng):
    """A part whose fields begin behind an empty line, or end early."""
    part = rng.choice([part for part in root.walk() if part is not root] or [root])
    place = rng.randrange(len(part.fields) + 1)
    part.fields.insert(place, rng.choice([b"", b" ", b"\t", b"no colon", b"\r", b"\0", b": x", b"\r\n", b"From x Mon Nov 23 00:00:00 2026", b">From x"]))


def two_fields(root, rng):
    part = rng.choice(list(root.walk()))
    values = {b"Content-Type": [b'application/octet-stream; name="evil.exe"', b"text/plain", b'multipart/mixed; boundary="b1"', b"message/rfc822", b"text/html",
                                b'multipart/mixed; boundary="evil"', b"message/partial", b"application/ms-tnef; name=winmail.dat"],
              b"Content-Disposition": [b'attachment; filename="evil.exe"', b"inline", b"attachment", b'x; filename="evil.exe"', b'"attachment"; filename=evil.exe'],
              b"Content-Transfer-Encoding": [b"base64", b"quoted-printable", b"7bit", b"8bit", b"binary", b"x-uuencode", b"uuencode", b"base64 x", b'"base64"', b"(x) base64",
                                             b"base64;", b"base 64", b"quoted-printable, base64"]}
    name = rng.choice(FIELDS)
    value = rng.choice(values.get(name, [b"x", b'"evil.exe"', b"evil.exe", b"base64", b"1.0", b"file:///evil.exe"]))
    written = rng.choice([name] * 5 + [name + b" ", name + b"\t", name.replace(b"-", b"_"), name + b"\0", b"\0" + name, name[:-1], b" " + name, name + b"(x)", b"\xef\xbb\xbf" + name])
    if rng.random() < 0.4 and part.field(name) is not None:
        part.fields[part.field(name)] = written + b": " + value
    else:
        part.fields.insert(rng.randrange(len(part.fields) + 1), written + rng.choice([b": ", b":", b": ", b":\r\n "]) + value)


def parameter(root, rng):
    """One more parameter, or a part of one changed."""
    part = rng.choice(list(root.walk()))
    field = part.field(rng.choice([b"Content-Type", b"Content-Disposition"]))
    if field is None:
        return
    name = rng.choice([b"name", b"filename", b"boundary", b"charset", b"filename*", b"name*", b"filename*0", b"filename*0*", b"name*0", b"filename*1", b"boundary*",
                       b"boundary*0", b"x", b"FileName", b"file name", b"filename ", b"type", b"size", b"format", b"delsp", b"title", b"url", b"access-type"])
    value = rng.choice([*NEW_NAMES, b"utf-16", b"utf-7", b"UTF-8''evil.exe", b"''evil.exe", b'"b1"', b'"evil"', b"local-file", b"flowed", b"yes"])
    new = rng.choice([b"; ", b";", b" ", b", ", b";\r\n ", b"; ; ", b" (x); "]) + name + rng.choice([b"=", b"=", b"=", b" = ", b":"]) + value
    text = part.fields[field]
    cut = rng.choice([len(text), *[found.start() for found in re.finditer(rb";", text)]])
    part.fields[field] = text[:cut] + new + text[cut:]


def weird_in_field(root, rng):
    part = rng.choice(list(root.walk()))
    if part.fields:
        number = rng.choice([rng.randrange(len(part.fields)), len(part.fields) - 1])
        text = part.fields[number]
        place = rng.choice([rng.randrange(len(text) + 1), len(text), text.find(b":"), text.find(b":") + 1])
        part.fields[number] = text[:place] + rng.choice(WEIRD) + text[place:]


def damage(root, rng):
    """Something in encoded octets that readers decode in different ways."""
    part = rng.choice(leaves(root))
    new = rng.choice([b"=", b"==", b"====", b"A", b"!", b" ", b"\r\n\r\n", b"=\r\n", b"=3D", b"= \r\n", b"=g1", b"\0", b"-", b"_", b"TVog", b"\x1a", b"\r", b"\n", b"--", b"--x\r\n", EVIL])
    place = rng.choice([rng.randrange(len(part.body) + 1), len(part.body), 0])
    part.body = part.body[:place] + new + part.body[place + rng.choice([0, 0, 1, len(new)]):]


def new_type(root, rng):
    part = rng.choice(list(root.walk()))
    new = rng.choice([b"multipart/mixed", b"multipart/alternative", b"multipart/related", b"multipart/digest", b"multipart/x", b"multipart/appledouble",
                      b"message/rfc822", b"message/partial; id=1; number=1; total=1", b"text/plain", b"text/html", b"text/x", b"message/external-body; access-type=url; url=x",
                      b"application/ms-tnef", b"application/octet-stream", b"text", b"multipart", b"text/rfc822-headers", b"message/global", b"application/pkcs7-mime"])
    set_field(part, b"Content-Type", new + part.value(b"Content-Type")[len(part.type()):])


def flood(root, rng):
    part = rng.choice(list(root.walk()))
    part.fields[0:0] = [b"X-Flood: " + b"y" * rng.choice([1, 1, 997, 5000])] * rng.choice([10, 100, 290, 1000])


def long_line(root, rng):
    part = rng.choice(texts(root))
    part.body += b"z" * rng.choice([990, 1000, 4096, 8192, 70000]) + rng.choice([b"", b"--" + (root.boundary or b"x") + b"\r\n" + evil_part(rng).write()])


def tidy(root, rng):
    """A preamble or an epilogue gone, or a new one."""
    inner = containers(root)
    if inner:
        container = rng.choice(inner)
        if rng.random() < 0.5:
            container.gaps[0] = rng.choice([b"", b"a preamble\r\n\r\n"]) + b"--" + container.boundary + b"\r\n"
        else:
            container.gaps[-1] = b"\r\n--" + container.boundary + b"--" + rng.choice([b"", b"\r\n", b"\r\n\r\n", b"\r\nan epilogue\r\n"])


# What is done to the octets, without an eye for parts.


def octets(message, rng):
    head, _, _ = message.partition(b"\r\nFrom:")
    start = len(head) if head != message and rng.random() < 0.9 else 0
    place = rng.randrange(start, len(message) + 1)
    line = message.rfind(b"\r\n", 0, place) + 2 if message.rfind(b"\r\n", 0, place) >= 0 else 0
    end = message.find(b"\r\n", line)
    end = len(message) if end < 0 else end + 2
    what = rng.randrange(9)
    if what == 0:
        return message[:place] + rng.choice(WEIRD) + message[place:]
    if what == 1:
        return message[:line] + rng.choice(WEIRD) + message[line:]
    if what == 2:
        return message[:end - 2] + rng.choice(WEIRD) + message[end - 2:]
    if what == 3:
        return message[:place] + message[place + 1:]
    if what == 4:
        return message[:line] + message[line:end] + message[line:]
    if what == 5:
        return message[:line] + message[end:]
    if what == 6:
        return message[:end - 2] + rng.choice([b"\n", b"\r", b""]) + message[end:]
    if what == 7:
        return message[:line] + rng.choice(EVIL_TEXTS) + message[line:]
    return message[:place]


HONEST = [encode_anew, footer, new_boundary, wrap_all, refold, new_case, reorder_fields, field_on_top, new_name, tidy]
HOSTILE = [add_part, drop_part, swap_parts, gap, gap, delimiter, in_a_text, in_a_text, no_fields, two_fields, two_fields, parameter, parameter, weird_in_field,
           damage, new_type, flood, long_line, wrap_part, new_boundary]


def mutate(message, rng):
    """A changed message, and the names of what was done to it."""
    chosen = [rng.choice(HONEST) for _ in range(rng.choice([0, 1, 1, 2]))] + [rng.choice(HOSTILE) for _ in range(rng.choice([0, 1, 1, 1, 2]))]
    root = mime.parse(message)
    for change in chosen:
        change(root, rng)
    names = [change.__name__ for change in chosen]
    message = root.write()
    while not names or rng.random() < 0.1:
        message = octets(message, rng)
        names.append("octets")
    return seeds.ended(message), names
