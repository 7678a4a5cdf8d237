"""How cost grows, as pictures: by sessions, by the size of messages, and by the number of attachments."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402
from matplotlib.ticker import FuncFormatter  # noqa: E402

from bench import Bench, say  # noqa: E402
from letters import Letter  # noqa: E402
from measure import Run  # noqa: E402
from peers import PEERS  # noqa: E402

# Alike in grey: colours of one palette for colour-blind people, and a mark each.
LOOKS = {"direct": ("#000000", "."), "haproxy": ("#0072b2", "o"), "seal": ("#d55e00", "s"), "verify": ("#009e73", "^"), "postfix": ("#cc79a7", "x")}


@dataclass
class Sweep:
    """One thing that grows, and the load at each of its values."""

    name: str
    what: str
    values: list[float]
    letter: Callable[[float, Path], Letter]
    sessions: Callable[[float], int]


@dataclass
class Quantity:
    """What is drawn of a run."""

    name: str
    what: str
    of: Callable[[Run, Letter], float | None]


SWEEPS = [
    Sweep("sessions", "sessions at once, messages of 33 kB", [1, 2, 5, 10, 20, 50, 100, 200, 500],
          lambda _, folder: Letter.usual("small", folder), int),
    Sweep("size", "MB of a message, 10 sessions", [0.006, 0.02, 0.06, 0.2, 0.6, 2, 6, 20, 100],
          lambda megabytes, folder: Letter.of(megabytes, 1, folder), lambda _: 10),
    Sweep("parts", "attachments of a message of 1.4 MB, 10 sessions", [1, 3, 10, 30, 100, 300, 990],
          lambda parts, folder: Letter.of(1.4, int(parts), folder), lambda _: 10),
]
QUANTITIES = {
    "sessions": [
        Quantity("rate", "messages a second", lambda run, _: run.rate),
        Quantity("cpu", "CPU ms a message", lambda run, _: run.cpu_per_message and run.cpu_per_message * 1e3),
        Quantity("memory", "peak MiB", lambda run, _: run.peak and run.peak / 2**20),
    ],
    "size": [
        Quantity("rate", "MB a second", lambda run, letter: run.rate * letter.megabytes),
        Quantity("cpu", "CPU ms a MB", lambda run, letter: run.cpu_per_message and run.cpu_per_message * 1e3 / letter.megabytes),
    ],
    "parts": [
        Quantity("rate", "messages a second", lambda run, _: run.rate),
        Quantity("cpu", "CPU ms a message", lambda run, _: run.cpu_per_message and run.cpu_per_message * 1e3),
    ],
}


def draw(bench: Bench, folder: Path) -> None:
    """Measures each sweep, and writes a picture of each of its quantities to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for sweep in SWEEPS:
        points = []
        for value in sweep.values:
            say(f"{sweep.name} {value}")
            letter = sweep.letter(value, bench.folder)
            points.append((value, letter, bench.runs(letter, sweep.sessions(value))))
            letter.file.unlink()
        for quantity in QUANTITIES[sweep.name]:
            picture(sweep, quantity, points, folder / f"{sweep.name}-{quantity.name}.svg")


def picture(sweep: Sweep, quantity: Quantity, points: list[tuple[float, Letter, dict[str, list[Run]]]], file: Path) -> None:
    pyplot.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "waxseal", "font.size": 9})
    figure, axes = pyplot.subplots(figsize=(6, 3.2))
    for name in points[0][2]:
        drawn = [(value, [quantity.of(run, letter) for run in runs[name]]) for value, letter, runs in points]
        drawn = [(value, statistics.median(found)) for value, found in drawn if None not in found]
        if drawn:
            colour, mark = LOOKS[name]
            title = PEERS[name].title if name in PEERS else "no relay"
            axes.plot(*zip(*drawn), color=colour, marker=mark, markersize=4, linewidth=1, label=title)
    axes.set(xscale="log", yscale="log", xlabel=sweep.what, ylabel=quantity.what)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    axes.grid(True, linewidth=0.3)
    axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)
