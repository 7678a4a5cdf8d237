"""What stands around the gateway: a next hop that takes everything, a name server that says too much, and a mail server
that never answers. All on loopback, in one process of their own."""

import asyncio
import multiprocessing
import struct

TEXT = b"".join(b"\xff" + b"x" * 255 for _ in range(16))  # One TXT record's data: 4,096 octets.
RECORDS = 15  # As many as fit into an answer by TCP.


class Servers:
    """Started together, ended together."""

    def __init__(self, next_hop: int, name_server: int, silent: int):
        self.messages = multiprocessing.Value("q", 0)
        self.questions = multiprocessing.Value("q", 0)
        self.process = multiprocessing.Process(target=self._run, args=(next_hop, name_server, silent), daemon=True)
        self.process.start()

    def stop(self) -> None:
        self.process.kill()
        self.process.join()

    def _run(self, next_hop: int, name_server: int, silent: int) -> None:
        asyncio.run(self._serve(next_hop, name_server, silent))

    async def _serve(self, next_hop: int, name_server: int, silent: int) -> None:
        host = "127.0.0.1"
        await asyncio.start_server(self._take, host, next_hop, backlog=1024)
        await asyncio.start_server(self._answer_tcp, host, name_server, backlog=1024)
        await asyncio.start_server(_say_nothing, host, silent)
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: _Udp(self), (host, name_server))
        await asyncio.Event().wait()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A next hop: whatever it is told is fine."""
        try:
            writer.write(b"220 next.example ESMTP\r\n")
            while line := await reader.readline():
                verb = line[:4].upper()
                if verb in (b"EHLO", b"LHLO"):
                    writer.write(b"250-next.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-DSN\r\n250 SIZE\r\n")
                elif verb == b"DATA":
                    writer.write(b"354 go on\r\n")
                    while await reader.readline() != b".\r\n":
                        pass
                    with self.messages.get_lock():
                        self.messages.value += 1
                    writer.write(b"250 2.0.0 taken\r\n")
                elif verb == b"QUIT":
                    writer.write(b"221 2.0.0 bye\r\n")
                    break
                else:
                    writer.write(b"250 2.0.0 ok\r\n")
            await writer.drain()
        except (ConnectionError, asyncio.LimitOverrunError, ValueError):
            pass
        finally:
            writer.close()

    def answer(self, question: bytes, is_tcp: bool) -> bytes:
        """Names under `large` have as many texts as fit, names under `loop` are aliases of each other without end, all
        others do not exist."""
        with self.questions.get_lock():
            self.questions.value += 1
        identity, name, end = question[:2], question[12:], 12
        while question[end]:
            end += question[end] + 1
        asked = question[12 : end + 5]
        labels = question[12:end].lower()

        def reply(flags: int, answers: int, records: bytes) -> bytes:
            return identity + struct.pack("!HHHHH", flags, 1, answers, 0, 0) + asked + records

        if b"\x04loop" in labels:
            # The first label counts on: each alias leads to a name that was not heard yet.
            length = question[12]
            first = question[13 : 13 + length]
            stem, _, number = first.rpartition(b"--")
            number = int(number) + 1 if stem else 1
            following = (stem or first) + b"--%d" % number
            target = bytes([len(following)]) + following + question[13 + length : end + 1]
            return reply(0x8580, 1, b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 3600, len(target)) + target)
        if b"\x05large" not in labels:
            return reply(0x8583, 0, b"")
        if not is_tcp:
            return reply(0x8780, 0, b"")  # Truncated: ask by TCP.
        record = b"\xc0\x0c" + struct.pack("!HHIH", 16, 1, 3600, len(TEXT)) + TEXT
        return reply(0x8580, RECORDS, record * RECORDS)

    async def _answer_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                answer = self.answer(await reader.readexactly(length), True)
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, servers: Servers):
        self.servers = servers

    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address) -> None:
        self.transport.sendto(self.servers.answer(data, False), address)


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(1 << 16):
        pass
    writer.close()
