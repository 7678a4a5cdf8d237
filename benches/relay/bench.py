"""Runs of every peer under one load, each right after a direct one."""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from exim import Exim
from letters import Letter
from measure import Run, Sink, Wire, idle_sessions, measure
from peers import PEERS, Peer
from watch import Watch, last_wait


def say(*words: object) -> None:
    print(*words, file=sys.stderr, flush=True)


class Bench:
    """All measurements, one after the other, in a scratch folder."""

    def __init__(self, folder: Path, waxseal: Path, options: argparse.Namespace):
        self.folder, self.waxseal, self.options = folder, waxseal, options
        self.wire = Wire(options.keep_open, options.lmtp, options.tls)

    def start(self, name: str, sink: Sink | Watch | Exim) -> Peer:
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
        folder.chmod(0o755)
        return PEERS[name](folder, self.waxseal, sink)

    def runs(self, letter: Letter, sessions: int) -> dict[str, list[Run]]:
        """Of each peer and of none ("direct"), under one load."""
        with Sink(self.folder, self.wire) as sink:
            peers = {}
            try:
                for name in self.options.peers:
                    peers[name] = self.start(name, sink)
                return self.repeat(letter, sessions, sink, peers)
            finally:
                for peer in peers.values():
                    peer.stop()

    def by_exim(self, letter: Letter, count: int) -> dict[str, list[Run]]:
        """The same, with Exim on both sides, so that messages travel by BDAT."""
        with Exim(self.folder) as exim:
            runs = {"direct": []}
            for name in [name for name in self.options.peers if PEERS[name].can_chunk]:
                peer = self.start(name, exim)
                try:
                    exim.measure(letter, 3, peer)
                    runs[name] = []
                    for _ in range(self.options.repetitions):
                        direct, its = exim.measure(letter, count, None), exim.measure(letter, count, peer)
                        its.ratio = its.rate / direct.rate
                        runs["direct"].append(direct)
                        runs[name].append(its)
                        say(f"exim, {letter.name} {name}: {its}")
                finally:
                    peer.stop()
            return runs

    def repeat(self, letter: Letter, sessions: int, sink: Sink, peers: dict[str, Peer]) -> dict[str, list[Run]]:
        """Direct and peer by turns; the first round is short, warms up, and says how many messages to send."""

        def run(peer: Peer | None, count: int) -> Run:
            return measure(letter, sessions, count, sink, peer, self.wire)

        def enough(peer: Peer | None) -> int:
            least = letter.warm_up * sessions if sessions == 1 else sessions
            return max(least, int(run(peer, least).rate * self.options.seconds))

        counts = {name: enough(peer) for name, peer in [("direct", None), *peers.items()]}
        runs = {name: [] for name in counts}
        for _ in range(self.options.repetitions):
            for name, peer in peers.items():
                direct = run(None, counts["direct"])
                its = run(peer, counts[name])
                its.ratio = its.rate / direct.rate
                runs["direct"].append(direct)
                runs[name].append(its)
                say(f"{letter.name}-{sessions} {name}: {its}")
        return runs

    def idle(self) -> list[tuple]:
        """For each peer: its title, how many clients came, how many were greeted, and the KiB that each costs."""
        rows = []
        for name in self.options.peers:
            for clients in self.options.idle:
                with Sink(self.folder, self.wire) as sink:
                    peer = self.start(name, sink)
                    try:
                        # What a first message needs is no cost of being idle.
                        measure(Letter.usual("small", self.folder), 1, 5, sink, peer, self.wire)
                        greeted, octets = idle_sessions(peer, clients)
                    finally:
                        peer.stop()
                say(f"idle {name}: {greeted} of {clients} clients, {octets / 1024:.1f} KiB each")
                rows.append((peer.title, clients, greeted, f"{octets / 1024:.1f}"))
        return rows

    def waits(self, letters: list[str], times: int) -> list[tuple]:
        """For each gateway and letter: the milliseconds from the final dot to the first octet at the next hop, the median
        and the longest."""
        rows = []
        for name in [name for name in self.options.peers if PEERS[name].passes_on_at_the_end]:
            for letter in (Letter.usual(letter, self.folder) for letter in letters):
                with Watch() as watch:
                    peer = self.start(name, watch)
                    try:
                        waits = [last_wait(peer.port, watch, peer.file(letter)) for _ in range(times)]
                    finally:
                        peer.stop()
                median, longest = statistics.median(waits) * 1e3, max(waits) * 1e3
                say(f"wait {name} {letter.name}: {median:.2f} ms, at most {longest:.2f}")
                rows.append((peer.title, f"{letter.megabytes:.2f}", f"{median:.2f}", f"{longest:.2f}"))
        return rows
