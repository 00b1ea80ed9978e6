"""synapse_event: exactly the synapses whose input is not zero, in exactly the cycles of the law."""

import random
from bisect import bisect_right

import numpy as np
import pytest

from scaflow.quant.golden.beats import unpack
from scaflow.quant.golden.event_window import EventWindow, scan
from scaflow.quant.golden.synapse_event import SynapseEvent
from scaflow.sim.suite import RtlSuite, compare

IMAGES = 4
AHEAD = 16  # windows in event_window's queue
PLACES, WINDOWS = 16, 4  # words and windows on the way from shared readers through the banks


def window_beats(cfg, beats):
    """Beats of each window in one fold, max(1, the most events of a bank), [images, output pixels * time steps]."""
    words = np.array([unpack(beat, cfg.in_bits, cfg.channels) for beat in beats]).reshape(
        -1, cfg.height, cfg.width, cfg.time_steps, cfg.channels
    )
    events = (words[..., : cfg.kept] > 0).astype(int)
    banks = np.stack([events[..., b :: cfg.simd].sum(-1) for b in range(cfg.simd)], -1)
    above, aside = ((p, p) for p in (cfg.padding_h, cfg.padding_w))
    padded = np.pad(banks, ((0, 0), above, aside, (0, 0), (0, 0)))
    views = np.lib.stride_tricks.sliding_window_view(padded, (cfg.kernel_h, cfg.kernel_w), axis=(1, 2))
    counts = views[:, :: cfg.stride_h, :: cfg.stride_w].sum((-1, -2))
    return np.maximum(1, counts.max(-1)).reshape(len(words), -1)


def reader_words(cfg, beats):
    """Cycles that the readers take for each window's words: max(1, the most of a reader), as `window_beats`."""
    words = np.array([unpack(beat, cfg.in_bits, cfg.channels) for beat in beats]).reshape(
        -1, cfg.height, cfg.width, cfg.time_steps, cfg.channels
    )
    events = words[..., : cfg.kept] > 0
    reader = np.arange(cfg.kept) % cfg.simd // cfg.shared_by
    some = np.stack([events[..., reader == r].any(-1) for r in range(reader.max() + 1)], -1).astype(int)
    above, aside = ((p, p) for p in (cfg.padding_h, cfg.padding_w))
    padded = np.pad(some, ((0, 0), above, aside, (0, 0), (0, 0)))
    views = np.lib.stride_tricks.sliding_window_view(padded, (cfg.kernel_h, cfg.kernel_w), axis=(1, 2))
    return np.maximum(1, views[:, :: cfg.stride_h, :: cfg.stride_w].sum((-1, -2)).max(-1)).reshape(-1)


def last_beats(cfg, beats, eager):
    """The cycle of each window's last beat. When a window is loaded, which frees its place in the queue and the rows
    above it, depends on what its banks still hold where each has a reader: as early as the queue allows where `eager`,
    else 4 cycles before its first beat. It is between the two. Shared readers only wait for places."""
    windows = EventWindow(
        cfg.simd, cfg.height, cfg.width, cfg.kernel_h, cfg.kernel_w, cfg.stride_h, cfg.stride_w, cfg.padding_h,
        cfg.padding_w, cfg.time_steps,
    )
    shared = cfg.shared_by > 1
    counts, reads = window_beats(cfg, beats), reader_words(cfg, beats)
    images, per_image = counts.shape
    counts = counts.ravel()
    per_row = cfg.width * cfg.time_steps
    out_w = (cfg.width + 2 * cfg.padding_w - cfg.kernel_w) // cfg.stride_w + 1
    out_h = per_image // (out_w * cfg.time_steps)
    tops = [n * cfg.height - cfg.padding_h + oy * cfg.stride_h for n in range(images) for oy in range(out_h)]
    accepted, looked = [], 0  # beats; the last step of event_window
    loaded, fired, replayed, out = [], [], [], []
    spent, read = [0], 0  # words read before each window; the last of them
    for image in range(images):
        for need, emits in scan(windows):
            need += image * cfg.height * per_row
            while len(accepted) <= need:
                oldest = len(accepted) // per_row - windows.rows + 1
                below = next(i for i, top in enumerate(tops) if top >= oldest)
                free = loaded[below * out_w * cfg.time_steps] + 2 if below else 0
                accepted.append(max(accepted[-1] + 1 if accepted else 0, free))
            place = loaded[-AHEAD] if len(loaded) >= AHEAD else 0
            looked = max(accepted[need] + 1, looked, place) + 1
            if not emits:
                continue
            window = len(loaded)
            n = int(counts[window])
            if shared:
                load = max(looked + 4, read)
                read = load
                for word in range(spent[-1], spent[-1] + int(reads[window])):
                    # the windows before it that must have been walked before this word has a place
                    gone = max(window - WINDOWS + 1, bisect_right(spent, word - PLACES), 0)
                    read = max(read + 1, fired[gone - 1] + 1 if gone else 0)
                spent.append(spent[-1] + int(reads[window]))
                fire = read + 5
            else:
                load = max(looked + 4, loaded[-1] + 1 if loaded else 0)
                fire = load + 4
            fire = max(fire, fired[-1] + 1 if fired else 0)
            if cfg.folds == 1:
                out.append(fire + n)
            else:
                if len(replayed) > 1:
                    fire = max(fire, replayed[-2] + 1)
                first = max(fire + 2, replayed[-1] + 1 if replayed else 0)
                replayed.append(first + cfg.folds * n - 1)
                out.append(replayed[-1] + 2)
            fired.append(fire + n - 1)
            loaded.append(load if eager or shared else fire - 4)
    return out


class TestSynapseEvent(RtlSuite):
    stem = "synapse_event"
    directed = (
        SynapseEvent(16, 16, 2, 1, 5, 6, 3, 3, 1, 1, 1, 1, 4, 2),  # the usual 3x3
        SynapseEvent(16, 15, 4, 1, 5, 6, 3, 3, 1, 1, 1, 1, 3, 5),  # a reader of all banks
        SynapseEvent(8, 8, 6, 1, 6, 5, 3, 3, 1, 1, 1, 1, 2, 4),  # a reader of four banks, one of two
        SynapseEvent(9, 7, 4, 1, 5, 5, 3, 3, 1, 1, 1, 1, 4, 1),  # pruned channels, banks that do not fill
        SynapseEvent(3, 3, 1, 8, 6, 5, 3, 3, 1, 1, 1, 1, 1, 3),  # pixels
        SynapseEvent(1, 1, 1, 8, 6, 14, 3, 3, 1, 1, 1, 1, 1, 1),  # T=1, one fold
        SynapseEvent(8, 8, 1, 1, 7, 6, 3, 3, 2, 2, 1, 1, 2, 3),  # stride
        SynapseEvent(6, 6, 2, 1, 4, 4, 4, 4, 1, 1, 0, 0, 3, 2),  # the whole map: a linear layer
        SynapseEvent(2, 2, 3, 1, 4, 8, 3, 3, 1, 1, 1, 1, 2, 1),  # a bank without a channel
        SynapseEvent(70, 70, 1, 1, 3, 8, 1, 1, 1, 1, 0, 0, 3, 1),  # a wide bank
        SynapseEvent(3, 3, 3, 8, 5, 5, 3, 3, 2, 2, 1, 1, 1, 4),  # pixels, a reader of all
        SynapseEvent(6, 6, 2, 6, 6, 5, 3, 1, 2, 1, 1, 0, 3, 1),  # patterns of rows of windows
    )
    mutants = (
        ("fire ? &done_moving : &done_still", "&done_still", 3),  # loads a window too late: a bubble
        ("beat_last ? '0 : finished | final_event", "'0"),  # a bank goes on into the next window
        ("window_valid && done", "window_valid"),  # loads a window over the one before
        ("!ahead_valid || word_enable", "1'b1"),  # reads over a word that is still needed
        ("C_BITS'(i);", "C_BITS'(0);"),  # all words from the left column
        ("wire mine = some && !finished[b]", "wire mine = some"),  # an idle bank shows what it holds
        ("flags != '0}", "1'b1}"),  # a window without events shows one
        ("spent != (freed ^ word_t'(PLACES))", "1'b1", 1),  # a shared reader reads over queued words
        ("entered != (walked ^ window_t'(WINDOWS))", "1'b1", 1),  # two windows on the way have one number
        ("wire mine = there && window ==", "wire mine = there || window ==", 1),  # a bank begins the next window early
        ("single && !more", "single", 1),  # a bank ends at its first word
        ("{end_of_window[3:1], read_out}", "{3'b0, read_out} << 3", 1),  # a window is walked before its words are there
        ("freed <= ends[walked[W_BITS-1:0]]", "freed <= spent", 1),  # frees what is still on the way
        ("&& |word[GROUPS-1:0]", "", 1),  # a bank walks the words of its neighbours
    )

    def draw(self, rng):
        kernel, stride = rng.choice([1, 2, 3, 3, 5]), rng.choice([1, 1, 2])
        padding = rng.randint(0, kernel // 2)
        width, aside, hang = rng.choice([(kernel, stride, padding)] * 3 + [(1, 1, 0)])
        channels, bits = rng.choice([(rng.randint(1, 20), 1), (rng.randint(1, 20), 1), (rng.randint(1, 3), 8)])
        kept = rng.randint(1, channels)
        return SynapseEvent(
            channels, kept, rng.randint(1, kept), bits, rng.randint(kernel, 8), rng.randint(width, 8), kernel, width,
            stride, aside, padding, hang, rng.randint(1, 5), rng.choice([1, 1, 2, 3, 4, 5, 8]),
        )  # fmt: skip

    def beats(self, cfg, rng):
        """A silent image, a full one, one in which a single channel is active, one of stretches of all kinds."""
        count = cfg.height * cfg.width * cfg.time_steps
        full = (1 << cfg.channels * cfg.in_bits) - 1
        hot = rng.randint(1, 2**cfg.in_bits - 1) << rng.randrange(cfg.kept) * cfg.in_bits
        mixed = []
        while len(mixed) < count:
            chance = rng.choice([0, 0, 0.02, 0.2, 1])
            for _ in range(rng.randint(1, 2 * cfg.width * cfg.time_steps)):
                fields = [rng.randint(1, 2**cfg.in_bits - 1) * (rng.random() < chance) for _ in range(cfg.channels)]
                mixed.append(sum(act << (c * cfg.in_bits) for c, act in enumerate(fields)))
        return [0] * count + [full] * count + [hot] * count + mixed[:count]

    def cycles(self, cfg, beats):
        """Where both bounds meet. FOLDS * max(1, n) cycles a window behind the fill: see test_law."""
        early, late = (last_beats(cfg, beats, eager)[-1] + 1 for eager in (True, False))
        return early if early == late else None

    @pytest.mark.rtl
    @pytest.mark.parametrize("shape", [cfg for cfg in directed if cfg.kernel_h < cfg.height])
    def test_law(self, shape):
        """In mixed images behind a full one, each window costs exactly FOLDS * max(1, n) cycles, silent ones included,
        and so does the last image, behind which nothing comes."""
        cfg = shape
        mixed = self.beats(cfg, random.Random("law"))
        size = len(mixed) // IMAGES
        beats = mixed[size : 2 * size] + mixed[3 * size :] * 2
        run = compare(self.stem, cfg, beats)
        work = cfg.folds * window_beats(cfg, beats)
        last = [i for i, beat in enumerate(run.y) if beat >> (cfg.simd * (cfg.in_bits + cfg.addr_bits))]
        ends = np.array(run.out_at)[last].reshape(len(work), -1, cfg.folds)[:, -1, -1]
        assert (ends[1:] - ends[:-1]).tolist() == work[1:].sum(1).tolist()
