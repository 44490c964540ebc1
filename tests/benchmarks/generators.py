"""How fast the networks make images, and what share of the device's matrix rate they use.

    python -m tests.benchmarks.generators --quick
    python -m tests.benchmarks.generators --arch stylegan2 --resolution 256 1024 --batches 1 4
    python -m tests.benchmarks.generators --device cuda --precision tf32 float16 --cuda-graphs

Networks have random weights and their published widths: StyleGAN2 config-f, StyleGAN3-T, EG3D with
48 + 48 samples a ray. Timed is W+ -> image on the device, after a warm-up; the rate is that of the
median call. Operations are counted on shapes (`mining.generators.networks.flops`), a multiplication
with its addition as two. The matrix rate is that of a large product in the same precision, timed in
the same process; "of peak" is the share of it that all operations reach over the whole time, and
"conv" the share that the convolutions which mix channels reach while they run, by torch's profiler.

Each case runs in a process of its own, so that its peak memory is its own: on CUDA what torch has
allocated, on a CPU the process's resident memory with the libraries (about 300 MB of them).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.memory import peak
from tests.benchmarks.table import Figure

ROOT = Path(__file__).parents[2]
RESOLUTIONS = (64, 256, 512, 1024)
PRECISIONS = ("float32", "tf32", "float16", "bfloat16")
SUPERRESOLUTIONS = {128: "2X", 256: "4X", 512: "8XDC"}  # of EG3D's releases, by what they make
REPEATS = 3  # timed calls, at least; one where no time is given
MATRIX_SECONDS = 1.0
SIDE = {"cpu": 2048, "cuda": 8192}  # of the matrices behind the matrix rate
HEADER = (
    f"{'network':<11}{'px':>5} {'precision':<10}{'batch':>5}{'images/s':>10}{'GFLOP/image':>13}"
    f"{'peak GFLOP/s':>14}{'of peak':>9}{'conv':>7}{'MB':>8}"
)


@dataclass(frozen=True)
class Case:
    """What is timed."""

    architecture: str
    resolution: int
    batch: int = 1
    precision: str = "float32"
    device: str = "cpu"
    compile: bool = False
    cuda_graphs: bool = False
    channels_last: bool = False  # weights laid so in every precision, not in half floats alone
    threads: int = 0  # of the CPU; 0 leaves torch's own number
    seconds: float = 10.0  # of timed calls; 0 for one


@dataclass(frozen=True)
class Result:
    """What came out of a case."""

    case: Case
    rate: float  # images/s
    flops: int  # per image
    matrix_rate: float  # FLOP/s of a large product of matrices
    share: float  # of it, by all operations
    conv_share: float | None  # by the convolutions while they run; None: compiled or in a graph
    memory: float  # peak, MB

    def __str__(self) -> str:
        c, conv = self.case, "-" if self.conv_share is None else f"{self.conv_share:.0%}"
        return (
            f"{c.architecture:<11}{c.resolution:>5} {c.precision:<10}{c.batch:>5}{self.rate:>10.3g}"
            f"{self.flops / 1e9:>13.1f}{self.matrix_rate / 1e9:>14.0f}{self.share:>9.0%}{conv:>7}"
            f"{self.memory:>8.0f}"
        )


def config_of(architecture: str, resolution: int) -> dict[str, Any] | None:
    """The network's arguments at its published widths; None where none makes this size."""
    common = {"z_dim": 512, "w_dim": 512, "c_dim": 0, "img_resolution": resolution}
    if architecture != "eg3d":
        return common
    if resolution not in SUPERRESOLUTIONS:
        return None
    rendering = {
        "superresolution_module": f"SuperresolutionHybrid{SUPERRESOLUTIONS[resolution]}",
        "c_gen_conditioning_zero": False,
        "c_scale": 1.0,
        "depth_resolution": 48,
        "depth_resolution_importance": 48,
        "ray_start": 2.25,
        "ray_end": 3.3,
        "box_warp": 1,
    }
    return {
        **common,
        "c_dim": 25,
        "mapping_kwargs": {"num_layers": 2},
        "sr_num_fp16_res": 4,
        "neural_rendering_resolution": 64 if resolution == 128 else 128,
        "rendering_kwargs": rendering,
    }


def renderer(case: Case, device: Any) -> tuple[Any, Callable[[], Any]]:
    """The network, and a call that makes one batch of images."""
    import torch

    from mining.generators.camera import camera_labels
    from mining.generators.pretrained import make_network

    torch.manual_seed(0)
    config = config_of(case.architecture, case.resolution)
    assert config is not None
    with torch.device(device if device == "meta" else "cpu"):
        network = make_network(case.architecture, config).to(device)
    ws = torch.randn(case.batch, network.num_ws, network.w_dim).to(device)
    camera = None
    if network.c_dim:
        camera = torch.from_numpy(camera_labels([[0.0, 0.0, 0.0]] * case.batch)).to(device)
    return network, lambda: network.render(network.styles(ws), camera)


def timed(call: Callable[[], object], device: Any, seconds: float) -> float:
    """The median time of a call after a warm-up, seconds."""
    import torch

    cuda = device.type == "cuda"
    for _ in range(3 if cuda else 1):
        call()
    times: list[float] = []
    while len(times) < (REPEATS if seconds else 1) or sum(times) < seconds:
        if cuda:
            before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            before.record()
            call()
            after.record()
            torch.cuda.synchronize()
            times.append(before.elapsed_time(after) / 1000)
        else:
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    return median(times)


def matrix_rate(device: Any, precision: str) -> float:
    """FLOP/s of a large product of square matrices."""
    import torch

    side = SIDE[device.type]
    half = {"float16": torch.float16, "bfloat16": torch.bfloat16}
    a = torch.randn(side, side, device=device, dtype=half.get(precision, torch.float32))
    return 2 * side**3 / timed(lambda: a @ a, device, MATRIX_SECONDS)


def convolution_seconds(call: Callable[[], object], cuda: bool) -> float:
    """The time within convolutions that mix channels, by torch's profiler."""
    from torch.profiler import ProfilerActivity, profile

    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * cuda
    with profile(activities=kinds, record_shapes=True) as profiler:
        call()
    total = 0.0
    for event in profiler.key_averages(group_by_input_shape=True):
        if event.key in ("aten::conv2d", "aten::conv_transpose2d"):
            mixes = event.input_shapes[1][1] > 1  # a filter's weights have one input channel
            total += mixes * (event.device_time_total if cuda else event.cpu_time_total)
    return total / 1e6


def in_graph(call: Callable[[], Any]) -> Callable[[], Any]:
    """The same as one CUDA graph, recorded once."""
    import torch

    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


@contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """The pipeline's own for the networks; "tf32" for products of matrices too."""
    import torch

    from mining.generators.devices import arithmetic as convolutions

    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    with torch.inference_mode(), convolutions(precision):
        yield


def measure(case: Case) -> Result:
    """Run a case in this process."""
    import torch

    from mining.generators.devices import on_device, pick_device
    from mining.generators.networks.flops import count_flops

    if case.threads:
        torch.set_num_threads(case.threads)
    device = pick_device(case.device)
    cuda, plain = device.type == "cuda", not (case.compile or case.cuda_graphs)
    counted = count_flops(renderer(replace(case, batch=1), torch.device("meta"))[1])
    network, call = renderer(case, device)
    on_device(network, device, case.precision)
    if case.channels_last:
        for weight in network.parameters():
            if weight.ndim == 4:
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    if case.compile:
        network.render = torch.compile(network.render, dynamic=False)
    with arithmetic(case.precision):
        matrices = matrix_rate(device, case.precision)
        if cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        took = timed(in_graph(call) if case.cuda_graphs else call, device, case.seconds)
        memory = torch.cuda.max_memory_allocated() / 2**20 if cuda else peak()
        conv_share = None
        if plain:
            busy = convolution_seconds(call, cuda)
            conv_share = counted.convolutions * case.batch / busy / matrices
    rate = case.batch / took
    share = rate * counted.total / matrices
    return Result(case, rate, counted.total, matrices, share, conv_share, memory)


def in_process(case: Case) -> Result:
    """Run a case in a fresh process."""
    words = [sys.executable, "-m", "tests.benchmarks.generators", "--case"]
    done = subprocess.run(
        [*words, json.dumps(asdict(case))], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{case} failed: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return Result(**{**found, "case": case})


def run(cases: Sequence[Case]) -> list[Result]:
    """Run cases one after another, and print what each found."""
    print(f"torch {metadata.version('torch')}\n{HEADER}", flush=True)
    found = []
    for case in cases:
        found.append(in_process(case))
        print(found[-1], flush=True)
    return found


def has_cuda() -> bool:
    """Whether this torch sees a GPU; says so where it does not."""
    import torch

    if not torch.cuda.is_available():
        print("generators on CUDA: not measured (no GPU at hand)", flush=True)
    return torch.cuda.is_available()


def figures(quick: bool = False) -> list[Figure]:
    """What table.py prints: small sizes on the CPU, 1024 px where there is a GPU."""
    if quick:
        sizes, seconds = (("stylegan2", 64), ("stylegan3", 64)), 0.0
    else:
        sizes, seconds = (("stylegan2", 256), ("stylegan3", 256), ("eg3d", 128)), 10.0
    cases = [Case(name, size, seconds=seconds) for name, size in sizes]
    if has_cuda():
        names = ("stylegan2", "stylegan3")
        cases += [Case(n, 1024, 8, p, "cuda") for n in names for p in ("tf32", "float16")]
    lines: list[Figure] = []
    for r in run(cases):
        c = r.case
        what = f"{c.architecture} {c.resolution} px, {c.device}, {c.precision}, batch {c.batch}"
        lines.append(Figure(what, r.rate, "images/s", note=f"{r.flops / 1e9:.0f} GFLOP an image"))
        if r.conv_share is not None:
            least = 0.35 if c.device == "cuda" else None
            told = "of the measured matrix rate"
            lines.append(Figure(f"{what}: convolutions", r.conv_share, least=least, note=told))
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ("stylegan2", "stylegan3", "eg3d")
    parser.add_argument("--arch", nargs="+", choices=names, default=names)
    parser.add_argument("--resolution", nargs="+", type=int, default=RESOLUTIONS)
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["float32"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--device", choices=("cpu", "cuda"), help="both where there are both")
    parser.add_argument("--compile", action="store_true", help="with torch.compile")
    parser.add_argument("--cuda-graphs", action="store_true", help="CUDA: record, then replay")
    parser.add_argument("--channels-last", action="store_true", help="CUDA: also for float32")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; torch's own number")
    parser.add_argument("--seconds", type=float, default=10.0, help="of timed calls for each case")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--quick", action="store_true", help="only to see that it works")
    parser.add_argument("--case", help=argparse.SUPPRESS)  # JSON: measure it in this process
    args = parser.parse_args(argv)
    if args.case:
        print(json.dumps(asdict(measure(Case(**json.loads(args.case))))))
        return
    if args.quick:
        print(*figures(quick=True), sep="\n")
        return
    found = run(list(chosen(args)))
    if args.json:
        args.json.write_text(json.dumps([asdict(result) for result in found], indent=1))


def chosen(args: argparse.Namespace) -> Iterator[Case]:
    """The cases that the arguments name; TF32 and graphs are CUDA's alone."""
    gpu = args.device != "cpu" and has_cuda()
    devices = [d for d in ("cpu", "cuda") if args.device in (None, d) and (d == "cpu" or gpu)]
    for device, architecture, resolution in product(devices, args.arch, args.resolution):
        if config_of(architecture, resolution) is None:
            print(f"{architecture} {resolution} px: no release makes this size")
            continue
        for precision, batch in product(args.precision, args.batches):
            if device == "cpu" and (precision == "tf32" or args.cuda_graphs):
                continue
            yield Case(
                architecture,
                resolution,
                batch,
                precision,
                device,
                args.compile,
                args.cuda_graphs,
                args.channels_last and device == "cuda",
                args.threads,
                args.seconds,
            )


if __name__ == "__main__":
    main()
