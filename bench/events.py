"""How near the simulated recordings of model/events/saccades.py come to real ones of N-MNIST.

    python bench/events.py --real nmnist-small.zip [--data data] [--recordings 1000]

The real ones lie in a folder or a .zip as they were published, record NNNNN being training image NNNNN - 1 of MNIST;
each is held against the simulation of the same image. Prints the table of docs/events.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path, PurePosixPath

import numpy as np

from scaflow.model.data import load_dataset
from scaflow.model.events.folder import opened_set
from scaflow.model.events.recording import Recording
from scaflow.model.events.saccades import MOVES, SIDE, simulated

REST = (0, 100_000, 210_000)  # where the camera rests before each of its moves, microseconds


def maps(recording: Recording) -> np.ndarray:
    """[move, polarity, row, column]: events of each pixel."""
    found = np.zeros((MOVES, 2, SIDE, SIDE))
    move = np.searchsorted(REST[1:], recording.t, side="right")
    np.add.at(found, (move, recording.p, recording.y, recording.x), 1)
    return found


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Of the pixels of each recording, the mean over the recordings."""
    a, b = (part.reshape(len(part), -1) for part in (one, other))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    return float(np.mean((a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, help="recordings as published")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where the images of MNIST lie")
    parser.add_argument("--recordings", type=int, default=1000, help="how many of them")
    asked = parser.parse_args()
    images = load_dataset("mnist", asked.data).train_images[:, 0]
    pairs = []
    with opened_set(asked.real) as found:
        for entry in found.entries[: asked.recordings]:
            number = int(PurePosixPath(entry.name).stem) - 1
            pairs.append((found.read(entry), simulated(images[number], number)))
    sides = tuple(zip(*pairs, strict=True))
    counts = [np.array([len(recording) for recording in side]) for side in sides]
    seen = [np.array([maps(recording) for recording in side]) for side in sides]
    print(f"| {len(pairs):,} recordings | real | simulated |\n|---|---|---|")

    def row(name: str, values: list[np.ndarray | float], form: str) -> None:
        print(f"| {name} | {' | '.join(format(float(value), form) for value in values)} |")

    row("events a recording, mean", [count.mean() for count in counts], ",.0f")
    row("events a recording, standard deviation", [count.std() for count in counts], ",.0f")
    row("polarity 1, share", [part[:, :, 1].sum() / part.sum() for part in seen], ".3f")
    row("time of the last event, mean, ms", [np.mean([r.t[-1] for r in side]) / 1e3 for side in sides], ".1f")
    for move in range(MOVES):
        row(f"events of move {move + 1}", [part[:, move].sum((1, 2, 3)).mean() for part in seen], ",.0f")
    row("pixels with an event, share", [(part.sum((1, 2)) > 0).mean() for part in seen], ".3f")
    row("pixels with an event in a move and polarity, share", [(part > 0).mean() for part in seen], ".3f")
    row("most events of a pixel, mean", [part.sum((1, 2)).max((1, 2)).mean() for part in seen], ".1f")
    total = [part.sum((1, 2)) for part in seen]
    print(f"\nevents of the same image, correlation: {np.corrcoef(*counts)[0, 1]:.3f}")
    print(f"maps of the same image, correlation of the pixels: {correlation(*total):.3f}")
    print(f"the same, each move and polarity a map of its own: {correlation(*seen):.3f}")


if __name__ == "__main__":
    main()
