"""smtp-sink with TLS, which Postfix's own has not: `tls_sink.py PORT IMPLICIT_PORT CERTIFICATE` takes STARTTLS at the first port,
and TLS from the first octet on at the second. It writes how many messages it has, as smtp-sink does with -c."""

import asyncio
import ssl
import sys

BLOCK = 1 << 20
END = b"\r\n.\r\n"
REPLIES = {b"EHLO": b"250-sink.test\r\n250 STARTTLS\r\n", b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n", b"STAR": b"220 go on\r\n"}


class Session(asyncio.Protocol):
    """One connection. Its octets are looked at no more than is needed to find the end of a message."""

    count = 0

    def __init__(self, context: ssl.SSLContext):
        self.context, self.rest, self.in_message, self.starting = context, b"", False, False

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        transport.write(b"220 sink.test ESMTP\r\n")

    def data_received(self, octets: bytes) -> None:
        if self.starting:  # What comes in TLS may be here before we are told of it.
            self.rest += octets
            return
        while octets:
            octets = self.message(octets) if self.in_message else self.commands(octets)

    def message(self, octets: bytes) -> bytes:
        tail = self.rest + octets[:len(END)]
        at = (tail if END in tail else octets).find(END)
        if at < 0:
            self.rest = (self.rest + octets)[-len(END) + 1:]
            return b""
        behind = at + len(END) - (len(self.rest) if END in tail else 0)
        self.in_message, self.rest = False, b""
        Session.count += 1
        print(f"mesg={Session.count} ", flush=True)
        self.transport.write(b"250 taken\r\n")
        return octets[behind:]

    def commands(self, octets: bytes) -> bytes:
        line, end, octets = (self.rest + octets).partition(b"\r\n")
        if not end:
            self.rest = line
            return b""
        self.rest, verb = b"", line[:4].upper()
        self.transport.write(REPLIES.get(verb, b"250 sink.test\r\n"))
        if verb == b"DATA":
            self.in_message, self.rest = True, b"\r\n"
        elif verb == b"QUIT":
            self.transport.close()
        elif verb == b"STAR":
            self.starting = True
            asyncio.ensure_future(self.start_tls())
        return octets

    async def start_tls(self) -> None:
        try:
            self.transport = await asyncio.get_running_loop().start_tls(self.transport, self, self.context, server_side=True)
        except (OSError, ssl.SSLError):
            self.transport.close()
            return
        self.starting, octets, self.rest = False, self.rest, b""
        self.data_received(octets)


async def main(port: str, implicit: str, certificate: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    loop = asyncio.get_running_loop()
    clear = await loop.create_server(lambda: Session(context), "127.0.0.1", int(port), backlog=1024)
    secure = await loop.create_server(lambda: Session(context), "127.0.0.1", int(implicit), backlog=1024, ssl=context)
    await asyncio.gather(clear.serve_forever(), secure.serve_forever())


asyncio.run(main(*sys.argv[1:]))
