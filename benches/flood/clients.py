"""Hostile clients, each with an end: so many sessions, so many octets, so many seconds."""

import asyncio
import base64
import itertools
import ssl
import time
from dataclasses import dataclass, field

# Sessions of one client, at most: `connections_per_client`.
PER_CLIENT = 50
# How long a client keeps what it has taken, in seconds.
HOLD = 5
# No flood takes longer than this, in seconds.
LONGEST = 60

_addresses = itertools.count(1)


@dataclass
class Target:
    """The gateway under attack."""

    port: int
    closed_port: int  # Of a listener whose `clients` are others.


class Client:
    """One session from an address of its own choice on loopback."""

    def __init__(self, target: Target, source: str):
        self.target, self.source = target, source

    async def open(self, port: int | None = None) -> "Client":
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", port or self.target.port, local_addr=(self.source, 0)
        )
        return self

    async def reply(self) -> int:
        while True:
            line = await self.reader.readline()
            if not line:
                raise ConnectionError("hung up")
            if line[3:4] != b"-":
                return int(line[:3])

    async def say(self, line: bytes) -> int:
        self.writer.write(line + b"\r\n")
        return await self.reply()

    async def begin(self, recipients: int = 1) -> None:
        """Up to the accepted envelope."""
        await self.reply()
        await self.say(b"EHLO flood.example")
        await self.say(b"MAIL FROM:<a@flood.example>")
        for _ in range(recipients):
            await self.say(b"RCPT TO:<b@example.org>")

    async def send(self, message: bytes) -> int:
        await self.say(b"DATA")
        self.writer.write(message + b"\r\n.\r\n")
        await self.writer.drain()
        return await self.reply()

    def close(self) -> None:
        if hasattr(self, "writer"):
            self.writer.transport.abort()


@dataclass
class Flood:
    """Runs one kind of client many times at once, for a limited time, and counts the replies."""

    target: Target
    replies: dict[int, int] = field(default_factory=dict)

    def note(self, code: int) -> None:
        self.replies[code] = self.replies.get(code, 0) + 1

    async def run(self, attack, sessions: int, at_once: int | None = None) -> None:
        places = asyncio.Semaphore(at_once or sessions)
        client = next(_addresses)
        sources = [f"127.1.{client}.{n // PER_CLIENT + 1}" for n in range(sessions)]

        async def one(number: int, source: str) -> None:
            async with places:
                session = Client(self.target, source)
                try:
                    await attack(self, session, number)
                except (ConnectionError, OSError, ssl.SSLError):
                    self.note(0)
                finally:
                    session.close()

        try:
            async with asyncio.timeout(LONGEST):
                await asyncio.gather(*(one(number, source) for number, source in enumerate(sources)))
        except TimeoutError:
            pass


async def recipients(flood: Flood, client: Client, _: int) -> None:
    """A thousand recipients with 1,900 octets of parameters each, as a default Postfix takes them."""
    await client.open()
    await client.begin(0)
    rcpt = b"RCPT TO:<b@example.org> ORCPT=rfc822;" + b"x" * 1_900 + b"\r\n"
    for _ in range(20):
        client.writer.write(rcpt * 50)
        await client.writer.drain()
        for _ in range(50):
            flood.note(await client.reply())
    await asyncio.sleep(HOLD)


async def parameters(flood: Flood, client: Client, _: int) -> None:
    """The same in a thousand parameters of one octet."""
    await client.open()
    await client.begin(0)
    rcpt = b"RCPT TO:<b@example.org>" + b" X" * 990 + b"\r\n"
    for _ in range(4):
        client.writer.write(rcpt * 50)
        await client.writer.drain()
        for _ in range(50):
            flood.note(await client.reply())
    await asyncio.sleep(HOLD)


async def cut_lines(flood: Flood, client: Client, _: int) -> None:
    """Commands without a pause, each piece of them ending within a line."""
    await client.open()
    await client.begin(0)
    line = b"NOOP " + b"x" * 1_990 + b"\r\n"
    client.writer.write(b"N")
    for _ in range(1_500):
        client.writer.write(line[1:] + b"N")
        await client.writer.drain()
        await client.reply()
    flood.note(250)


async def header_sections(flood: Flood, client: Client, _: int) -> None:
    """A header section of 1 MiB in the smallest fields, then a body for which the message must go to a file. It never ends."""
    await client.open()
    await client.begin()
    size = (1 << 20) - 1_000
    message = b"a:\r\n" * (size // 4) + b"\r\n" + b"x" * 70 + b"\r\n"
    flood.note(await client.say(b"NOOP"))
    client.writer.write(b"BDAT %d\r\n" % len(message) + message)
    await client.writer.drain()
    flood.note(await client.reply())
    body = (b"y" * 70 + b"\r\n") * 8_000
    client.writer.write(b"BDAT %d\r\n" % len(body) + body)
    await client.writer.drain()
    flood.note(await client.reply())
    await asyncio.sleep(HOLD)


def sealed(number: int, zone: str, seals: int = 8, authors: int = 24) -> bytes:
    """A message whose check needs as many keys and policies as a check ever asks for, none of them asked before."""
    digest = base64.urlsafe_b64encode(bytes(32)).rstrip(b"=").decode()
    signature = base64.urlsafe_b64encode(bytes(64)).rstrip(b"=").decode()
    lines = [
        f"Attachment-Seal: v=1; a=ed25519-blake3; d=d{n}.{zone}; s=s{number}; t=1; x=2; hi={digest}; ha={digest}; "
        f"hs={digest}; bh={digest}; m=; b={signature}"
        for n in range(seals)
    ]
    lines.append("From: " + ",\r\n ".join(f"a@m{number}-{n}.{zone}" for n in range(authors)))
    lines += ["Subject: questions", "", "text"]
    return "\r\n".join(lines).encode()


async def answers(flood: Flood, client: Client, number: int) -> None:
    """Mails of some KiB, each of which makes the gateway ask for 32 records with 60 KiB of texts."""
    await client.open()
    await client.begin()
    flood.note(await client.send(sealed(number, f"x{number}.large.test")))


async def aliases(flood: Flood, client: Client, number: int) -> None:
    """One mail whose names are aliases without end."""
    await client.open()
    await client.begin()
    flood.note(await client.send(sealed(number, "loop.test")))


async def message_ids(flood: Flood, client: Client, number: int) -> None:
    """Mail that is held, the administrator told of it, with a Message-ID of nearly 1 MiB."""
    await client.open()
    await client.begin()
    seal = b"Attachment-Seal: v=1; d=example.org\r\n"
    long_id = b"Message-ID: <" + (b"x" * 900 + b"\r\n ") * 1_000 + b"@flood.example>\r\n"
    flood.note(await client.send(seal + b"From: office@example.org\r\n" + long_id + b"\r\ntext"))


async def held(flood: Flood, client: Client, number: int) -> None:
    """Mail in the name of a pinned correspondent, with a seal that nobody can verify: each one is held."""
    await client.open()
    await client.begin()
    message = b"Attachment-Seal: v=1; d=example.org\r\nFrom: office@example.org\r\n\r\n" + b"x" * 990
    flood.note(await client.send(message))


async def unlisted(flood: Flood, client: Client, _: int) -> None:
    """A connection that gets no session, and does not hang up."""
    await client.open(client.target.closed_port)
    await asyncio.sleep(HOLD)


async def handshakes(flood: Flood, client: Client, _: int) -> None:
    """STARTTLS, and then a ClientHello of 60 KiB that lacks its end."""
    await client.open()
    await client.reply()
    await client.say(b"EHLO flood.example")
    flood.note(await client.say(b"STARTTLS"))
    hello = b"\x01\x00\xff\x00\x03\x03" + b"r" * 60_000
    for at in range(0, len(hello), 16_000):
        piece = hello[at : at + 16_000]
        client.writer.write(b"\x16\x03\x01" + len(piece).to_bytes(2) + piece)
    await client.writer.drain()
    await asyncio.sleep(HOLD)


async def secured(flood: Flood, client: Client, _: int) -> None:
    """A session under TLS that does nothing."""
    await client.open()
    await client.reply()
    await client.say(b"EHLO flood.example")
    code = await client.say(b"STARTTLS")
    flood.note(code)
    if code == 220:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        await client.writer.start_tls(context, ssl_handshake_timeout=20)
        await client.say(b"EHLO flood.example")
    await asyncio.sleep(HOLD)


async def open_chunks(flood: Flood, client: Client, _: int) -> None:
    """20 MiB by BDAT without the last one, kept open by NOOP."""
    await client.open()
    await client.begin()
    chunk = b"From: a@flood.example\r\n\r\n" + (b"x" * 70 + b"\r\n") * 14_000
    for _ in range(20):
        client.writer.write(b"BDAT %d\r\n" % len(chunk) + chunk)
        await client.writer.drain()
        code = await client.reply()
        if code != 250:
            flood.note(code)
            break
    end = time.monotonic() + HOLD
    while time.monotonic() < end:
        await client.say(b"NOOP")
        await asyncio.sleep(1)
