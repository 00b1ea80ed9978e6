"""Training speed of one network in scaflow, SpikingJelly and snnTorch, side by side.

    pip install -e '.[bench]' && python bench/training.py [--network fashion] [--threads 2]

Every setting is a process of its own; they take turns, a few steps each, so that what else the machine does hits all
alike. All run the same modules (convolutions, batch normalisation, read-out; plain or Brevitas's) with the same
weights, T, batch, neuron and optimiser; what differs is the neuron and how the steps are laid out:

    spikingjelly   multi-step: the image repeated T times, each layer over all steps at once
    snntorch       defaults: the usual loop over the steps, all layers in each; best: layer by layer as above
    best           the current of the image once, channels-last, autocast where it helps, freed memory kept

Quantised runs are what SCA trains: masks behind the batch normalisation, activity s + |v| of each channel, |dgamma|.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

from scaflow.model.config import NetworkConfig, load_network
from scaflow.model.memory import keep_freed
from scaflow.model.network import SpikingBlock, SpikingNetwork
from scaflow.model.pruning import Statistics
from scaflow.quant.layers import brevitas_conv, brevitas_linear

CONFIGS = Path(__file__).resolve().parent.parent / "model" / "configs"
PRUNED = 4  # every so many channels one is off


@dataclass(frozen=True)
class Setting:
    """One way to train the network."""

    framework: str
    settings: str
    quantised: bool
    channels_last: bool = True
    bfloat16: bool = False
    tuned: bool = True  # freed memory kept; of rivals: the image's current once, snnTorch layer by layer


SETTINGS = tuple(
    replace(setting, quantised=quantised)
    for quantised in (True, False)
    for setting in (
        Setting("scaflow", "float32", quantised),
        Setting("scaflow", "bfloat16", quantised, bfloat16=True),
        *(
            rival
            for framework in ("spikingjelly", "snntorch")
            for rival in (
                Setting(framework, "defaults", quantised, channels_last=False, tuned=False),
                Setting(framework, "best, float32", quantised),
                Setting(framework, "best, bfloat16", quantised, bfloat16=True),
            )
        ),
    )
)


class Rival(nn.Module):
    """The network on another framework's neurons."""

    def __init__(self, net: SpikingNetwork, setting: Setting) -> None:
        super().__init__()
        self.net, self.setting = net, setting
        self.steps = net.cfg.time_steps
        self.activity: list[Tensor] = []

    def masked(self, block: SpikingBlock, y: Tensor) -> Tensor:
        if not self.setting.quantised:
            return y
        m = block.mask.to(y.dtype).view(1, -1, 1, 1)
        return m * y + (1 - m) * (y - y.detach())

    def record(self, spikes: Tensor, membranes: Tensor) -> None:
        """Per channel; [T, N, C, H, W] both."""
        if self.setting.quantised:
            self.activity.append((spikes + membranes.abs()).detach().float().mean((0, 1, 3, 4)))

    def pooled(self, block: SpikingBlock, spikes: Tensor) -> Tensor:
        return functional.max_pool2d(spikes, block.pool) if block.pool > 1 else spikes

    def layer_by_layer(self, x: Tensor, neuron: Callable[[int, Tensor], tuple[Tensor, Tensor]]) -> Tensor:
        """Images [N, C, H, W] -> logits, each layer over all steps at once."""
        once = self.setting.tuned
        x = x if once else x.unsqueeze(0).repeat(self.steps, 1, 1, 1, 1).flatten(0, 1)
        for i, block in enumerate(self.net.blocks):
            y = self.masked(block, block.bn(block.conv(x)))
            if i == 0 and once:
                current = y.unsqueeze(0).expand(self.steps, *y.shape)
            else:
                current = y.unflatten(0, (self.steps, -1))
            spikes, membranes = neuron(i, current)
            self.record(spikes, membranes)
            x = self.pooled(block, spikes.flatten(0, 1))
        return self.net.readout(x.flatten(1)).unflatten(0, (self.steps, -1)).mean(0)


class SpikingJelly(Rival):
    def __init__(self, net: SpikingNetwork, setting: Setting) -> None:
        from spikingjelly.activation_based import functional as jelly
        from spikingjelly.activation_based import neuron, surrogate

        super().__init__(net, setting)
        lif = net.cfg.neuron
        self.forget = jelly.reset_net
        self.neurons = nn.ModuleList(
            neuron.LIFNode(
                tau=2.0**lif.leak_shift,
                decay_input=False,
                v_reset=0.0,
                surrogate_function=surrogate.Sigmoid(alpha=lif.slope),
                detach_reset=True,
                step_mode="m",
                store_v_seq=setting.quantised,
            )
            for _ in net.blocks
        )

    def forward(self, x: Tensor) -> Tensor:
        self.forget(self.neurons)
        self.activity = []

        def neuron(i: int, current: Tensor) -> tuple[Tensor, Tensor]:
            spikes = self.neurons[i](current)
            return spikes, self.neurons[i].v_seq if self.setting.quantised else spikes

        return self.layer_by_layer(x, neuron)


class SnnTorch(Rival):
    def __init__(self, net: SpikingNetwork, setting: Setting) -> None:
        import snntorch
        from snntorch import surrogate

        super().__init__(net, setting)
        lif = net.cfg.neuron
        self.neurons = nn.ModuleList(
            snntorch.Leaky(
                beta=1 - 2.0**-lif.leak_shift, spike_grad=surrogate.sigmoid(lif.slope), reset_mechanism="zero"
            )
            for _ in net.blocks
        )

    def forward(self, x: Tensor) -> Tensor:
        self.activity = []
        membranes = [neuron.reset_mem() for neuron in self.neurons]
        if self.setting.tuned:

            def unrolled(i: int, current: Tensor) -> tuple[Tensor, Tensor]:
                spikes, after = [], []
                for step in current:
                    spike, membranes[i] = self.neurons[i](step, membranes[i])
                    spikes.append(spike)
                    after.append(membranes[i].detach() * (1 - spike.detach()))  # its reset comes a step late
                return torch.stack(spikes), torch.stack(after)

            return self.layer_by_layer(x, unrolled)
        logits, recorded = [], []
        for _ in range(self.steps):
            spike = x
            for i, block in enumerate(self.net.blocks):
                current = self.masked(block, block.bn(block.conv(spike)))
                spike, membranes[i] = self.neurons[i](current, membranes[i])
                self.record(spike.unsqueeze(0), (membranes[i] * (1 - spike)).unsqueeze(0))
                spike = self.pooled(block, spike)
            logits.append(self.net.readout(spike.flatten(1)))
        recorded, count = self.activity, len(self.net.blocks)
        self.activity = [torch.stack(recorded[i::count]).mean(0) for i in range(count)] if recorded else []
        return torch.stack(logits).mean(0)


def make_step(cfg: NetworkConfig, setting: Setting) -> Callable[[], float]:
    """One training step on random images, for the setting: () -> loss."""
    torch.manual_seed(0)
    factories = (brevitas_conv, brevitas_linear) if setting.quantised else ()
    net = SpikingNetwork(cfg, *factories).train()
    if setting.quantised:
        for block in net.blocks:
            block.mask[::PRUNED] = False
    images, labels = torch.rand(cfg.train.batch, *cfg.input_shape), torch.arange(cfg.train.batch) % cfg.classes
    if setting.tuned:
        keep_freed()
    counters = Statistics(net)
    if setting.framework == "scaflow":
        model: nn.Module = net.accelerate(setting.bfloat16)
        counters.record(setting.quantised)
        autocast = False
    else:
        model = {"spikingjelly": SpikingJelly, "snntorch": SnnTorch}[setting.framework](net, setting)
        autocast = setting.bfloat16
        if setting.channels_last:
            model.to(memory_format=torch.channels_last)
            images = images.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)

    def step() -> float:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext():
            logits = model(images)
        loss = functional.cross_entropy(logits.float(), labels)
        loss.backward()
        optimizer.step()
        if setting.quantised:
            for block, activity in zip(net.blocks, getattr(model, "activity", ()), strict=False):
                block.neuron.activity = activity
            counters.update()
        return loss.item()

    return step


PARTS = {  # names of the profiler
    "convolution, forward": ("aten::convolution",),
    "convolution, backward": ("aten::convolution_backward",),
    "BN + mask + neuron + pool, forward": ("_Fire",),
    "BN + mask + neuron + pool, backward": ("_FireBackward",),
    "weight integers": ("_Integers", "_IntegersBackward"),
    "optimiser": ("Optimizer.step#AdamW.step",),
}


def profile(step: Callable[[], float], steps: int) -> dict[str, float]:
    """Parts of the time of a step."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        started = time.perf_counter()
        for _ in range(steps):
            step()
        total = time.perf_counter() - started
    times = {event.key: event.cpu_time_total * 1e-6 / total for event in profiler.key_averages()}
    parts = {part: sum(times.get(name, 0.0) for name in names) for part, names in PARTS.items()}
    return {**parts, "the rest (read-out, loss, Python)": 1 - sum(parts.values())}


def work(pipe: Connection, cfg: NetworkConfig, setting: Setting, threads: int) -> None:
    """A process: for each number of steps received sends (seconds, CPU seconds, loss), for 0 the profile."""
    torch.set_num_threads(threads)
    step = make_step(cfg, setting)
    while (count := pipe.recv()) is not None:
        if count == 0:
            pipe.send(profile(step, 5))
            continue
        wall, processor = time.perf_counter(), time.process_time()
        losses = [step() for _ in range(count)]
        pipe.send(((time.perf_counter() - wall) / count, (time.process_time() - processor) / count, losses[0]))


def measure(cfg: NetworkConfig, threads: int, repeats: int, steps: int) -> tuple[list[dict], dict[str, float]]:
    """Rows, and the profile of scaflow at its fastest quantised setting."""
    context = multiprocessing.get_context("spawn")
    workers = []
    for setting in SETTINGS:
        pipe, end = context.Pipe()
        process = context.Process(target=work, args=(end, cfg, setting, threads), daemon=True)
        process.start()
        end.close()  # so that the death of the process is seen here
        pipe.send(2)  # warm up, one after the other
        workers.append((setting, pipe, pipe.recv()[2]))
    times = [[] for _ in workers]
    for _ in track(range(repeats), "taking turns"):
        for (_, pipe, _), seconds in zip(workers, times, strict=True):
            pipe.send(steps)
            seconds.append(pipe.recv()[:2])
    rows = []
    for (setting, _, loss), measured in zip(workers, times, strict=True):
        seconds, processor = (statistics.median(column) for column in zip(*measured, strict=True))
        rows.append(
            {
                **asdict(setting),
                "images_per_second": cfg.train.batch / seconds,
                "seconds_per_step": seconds,
                "processor_seconds_per_step": processor,
                "first_loss": loss,
            }
        )
    ours = fastest([row for row in rows if row["framework"] == "scaflow" and row["quantised"]])
    (pipe,) = (pipe for setting, pipe, _ in workers if asdict(setting).items() <= ours.items())
    pipe.send(0)
    parts = pipe.recv()
    for _, pipe, _ in workers:
        pipe.send(None)
    return rows, parts


def fastest(rows: list[dict]) -> dict:
    return max(rows, key=lambda row: row["images_per_second"])


def ratios(rows: list[dict], quantised: bool) -> tuple[float, float]:
    """scaflow over the faster rival: at its defaults, at its best (defaults included)."""
    rows = [row for row in rows if row["quantised"] == quantised]
    rivals = [row for row in rows if row["framework"] != "scaflow"]
    ours = fastest([row for row in rows if row["framework"] == "scaflow"])["images_per_second"]
    defaults = fastest([row for row in rivals if row["settings"] == "defaults"])
    return ours / defaults["images_per_second"], ours / fastest(rivals)["images_per_second"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="fashion", help="name in model/configs; LIF, hard reset, sigmoid")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="in a turn")
    parser.add_argument("--out", type=Path, default=Path("build/bench/training.json"))
    options = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # a process that waits for its turn must not spin
    cfg, console = load_network(CONFIGS / f"{options.network}.toml"), Console()
    neuron = cfg.neuron
    if (neuron.reset, neuron.surrogate, neuron.leak_shift) != ("hard", "sigmoid", 1):
        parser.error(f"{options.network}: {neuron}; the rivals are set up for hard reset, sigmoid, leak_shift=1")
    load = os.getloadavg()[0]
    rows, parts = measure(cfg, options.threads, options.repeats, options.steps)

    table = Table("", "framework", "settings", "images/s", "ms a step", "processor ms", "first loss")
    for row in sorted(rows, key=lambda row: (not row["quantised"], -row["images_per_second"])):
        table.add_row(
            "quantised, SCA" if row["quantised"] else "float", row["framework"], row["settings"],
            f"{row['images_per_second']:.0f}", f"{row['seconds_per_step'] * 1e3:.0f}",
            f"{row['processor_seconds_per_step'] * 1e3:.0f}", f"{row['first_loss']:.4f}",
        )  # fmt: skip
    console.print(table)
    result = {
        "network": cfg.name, "time_steps": cfg.time_steps, "batch": cfg.train.batch, "threads": options.threads,
        "machine": platform.platform(), "load_before": load, "rows": rows, "parts": parts,
    }  # fmt: skip
    result["ratio_to_rival_defaults"], result["ratio_to_rival_best"] = ratios(rows, quantised=True)
    result["float_ratio_to_rival_defaults"], result["float_ratio_to_rival_best"] = ratios(rows, quantised=False)
    for kind, prefix in (("quantised, with SCA", ""), ("float", "float_")):
        console.print(
            f"{kind}: {result[prefix + 'ratio_to_rival_defaults']:.1f} x the faster rival at its defaults, "
            f"{result[prefix + 'ratio_to_rival_best']:.1f} x at its best"
        )
    console.print("a quantised step: " + ", ".join(f"{part} {share:.0%}" for part, share in parts.items()))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = options.out.with_name(f".{options.out.name}.{os.getpid()}")
    temporary.write_text(json.dumps(result, indent=1))
    os.replace(temporary, options.out)


if __name__ == "__main__":
    main()
