"""How fast is a second-order meta-update, beside PyTorch, `higher` and JAX on the same machine in the same minutes?

Run it with `make bench`, or `python benchmarks/meta_step.py --help`. Every contender is a process with all cores to
itself while it is timed, the others waiting; rounds are interleaved (A B C, A B C, ...), so that a slow minute of the
machine slows all. Before anything is timed, all contenders must find the same loss and meta-gradient at the same
weights and data; where one does not, no comparison is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.peers import matmul, protocol  # noqa: E402 (the root must be on the path first)

PEERS = ROOT / "benchmarks" / ".peers"
REQUIREMENTS = ROOT / "benchmarks" / "peers" / "requirements.txt"
AGREEMENT = {"loss": 1e-4, "gradient_norm": 1e-4, "loss_after_update": 1e-2}
"""Largest relative difference that counts as the same computation. Adam's first step is nearly the sign of the
gradient, so where that is all but zero rounding decides, and the loss after it agrees less closely."""
TRACE_LIMIT = 30.0


@dataclass(frozen=True)
class Entry:
    """One line of the comparison: the module and variant that compute it, and whose packages and variables run it."""

    name: str
    module: str
    variant: str
    ours: bool = False
    variables: tuple[tuple[str, str], ...] = ()
    exact: bool = True


OURS = Entry("fewshot", "fewshot_step", "maml", ours=True)
MATMUL = Entry("matrix product", "matmul", "-", ours=True)
CONTENDERS = (
    OURS,
    Entry("PyTorch, functional loop", "torch_step", "loop"),
    Entry("PyTorch, torch.func, loop", "torch_step", "func-loop"),
    Entry("PyTorch, torch.func, vmap", "torch_step", "func-vmap"),
    Entry("PyTorch, higher", "torch_step", "higher"),
    Entry("JAX, loop", "jax_step", "loop"),
    Entry("JAX, vmap", "jax_step", "vmap"),
)
DIVIDED = tuple(protocol.threads(intra=2, inter=2).items())
IN_TURN = tuple(protocol.threads(intra=2, inter=1).items())
WAYS = (
    OURS,
    Entry("operations divided", "fewshot_step", "maml", ours=True, variables=DIVIDED),
    Entry("task after task", "fewshot_step", "maml", ours=True, variables=IN_TURN),
    Entry("graph rewritten", "fewshot_step", "rewritten", ours=True),
    Entry("without oneDNN", "fewshot_step", "maml", ours=True, variables=(("TF_ENABLE_ONEDNN_OPTS", "0"),)),
    Entry("XLA", "fewshot_step", "xla", ours=True),
    Entry("bfloat16", "fewshot_step", "bfloat16", ours=True, exact=False),
)
"""Other ways to run our own update (`--ways`)."""


@dataclass
class Result:
    """What a contender found and how fast it was: tasks a second, one number a round."""

    name: str
    version: str
    loss: float
    gradient_norm: float
    loss_after_update: float
    rates: list[float] = field(default_factory=list)


class BenchmarkError(RuntimeError):
    """The comparison cannot be made, or would mean nothing."""


def peers_python() -> Path:
    """Build the peers' environment where it is missing or its requirements changed, and return its interpreter."""
    python, stamp = PEERS / "venv" / "bin" / "python", PEERS / "installed.txt"
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        print(f"Installing the peers into {PEERS.relative_to(ROOT)} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", PEERS / "venv"], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", REQUIREMENTS], check=True)
        stamp.write_text(wanted, encoding="utf-8")
    return python


class Running:
    """A contender's process."""

    def __init__(self, entry: Entry, python: Path, problem: Path) -> None:
        """Start it and wait until it is warm."""
        self.entry = entry
        command = [str(python), "-m", f"benchmarks.peers.{entry.module}", entry.variant, str(problem)]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **dict(entry.variables)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if entry.ours else None,
            text=True,
        )
        self.result = Result(entry.name, **self.answer())

    def answer(self) -> dict[str, Any]:
        """Read one line of its answers."""
        assert self.process.stdout is not None  # noqa: S101 (for the type checker: it is a pipe)
        line = self.process.stdout.readline()
        if not line:
            raise BenchmarkError(f"{self.entry.name} stopped with code {self.process.wait()} before it answered.")
        return json.loads(line)

    def time(self, seconds: float) -> None:
        """Let it train for some seconds and keep its rate, in tasks a second."""
        assert self.process.stdin is not None  # noqa: S101 (for the type checker: it is a pipe)
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        timed = self.answer()
        self.result.rates.append(protocol.TASKS * timed["updates"] / timed["seconds"])

    def stop(self) -> None:
        """End it."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait(timeout=60)


def check_agreement(results: Sequence[Result]) -> None:
    """Refuse contenders that do not compute the same thing.

    Raises:
        BenchmarkError: naming the contender and the quantity.
    """
    for result in results[1:]:
        for quantity, allowed in AGREEMENT.items():
            first, other = getattr(results[0], quantity), getattr(result, quantity)
            if not abs(first - other) <= allowed * abs(first):
                raise BenchmarkError(
                    f"{results[0].name} and {result.name} do not compute the same: {quantity} is {first:.6g} and "
                    f"{other:.6g} (allowed: {allowed:g} relative). Nothing is compared."
                )


def run_rounds(entries: Sequence[Entry], rounds: int, seconds: float) -> tuple[list[Result], list[float]]:
    """Start all contenders, check that they agree, and time them in interleaved rounds.

    Returns:
        The results, and the matrix-product rate of each round in GFLOP/s.
    """
    peers = peers_python() if any(not entry.ours for entry in entries) else Path(sys.executable)
    running: list[Running] = []
    with tempfile.TemporaryDirectory() as folder:
        problem = Path(folder) / "problem.npz"
        protocol.write_problem(problem)
        try:
            for entry in (*entries, MATMUL):
                running.append(Running(entry, Path(sys.executable) if entry.ours else peers, problem))
            *contenders, yardstick = running
            check_agreement([contender.result for contender in contenders if contender.entry.exact])
            for number in range(rounds):
                print(f"round {number + 1} of {rounds}", file=sys.stderr)
                for process in running:
                    process.time(seconds)
        finally:
            for process in running:
                process.stop()
    products = [rate / protocol.TASKS * matmul.FLOPS / 1e9 for rate in yardstick.result.rates]
    return [contender.result for contender in contenders], products


def middle(values: Sequence[float], digits: int) -> str:
    """Median and range of some rounds."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def compare(results: Sequence[Result], products: Sequence[float]) -> dict[str, Any]:
    """Everything that is reported, as plain numbers."""
    gflop = protocol.flops_per_task() / 1e9
    report: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "gflop_per_task": gflop,
        "matmul_gflops": list(products),
        "contenders": [
            {
                **asdict(result),
                "median": statistics.median(result.rates),
                "share_of_matmul": statistics.median(
                    rate * gflop / product for rate, product in zip(result.rates, products, strict=True)
                ),
            }
            for result in results
        ],
    }
    ours = next((result for result in results if result.name == OURS.name), None)
    peers = [result for result in results if result is not ours]
    if ours and peers:
        fastest = max(peers, key=lambda result: statistics.median(result.rates))
        ratios = [mine / theirs for mine, theirs in zip(ours.rates, fastest.rates, strict=True)]
        report["fastest_peer"], report["ratios"] = fastest.name, ratios
        report["ratio"] = statistics.median(ratios)
    return report


def as_markdown(report: dict[str, Any]) -> str:
    """The report as a table."""
    lines = [
        f"Second-order MAML, {protocol.WAYS}-way {protocol.SHOTS}-shot, {protocol.QUERIES} queries a class, Conv-4/"
        f"{protocol.FILTERS} at {protocol.SIZE}x{protocol.SIZE}, {protocol.TASKS} tasks an update, one inner step; "
        f"{report['machine']}.",
        "",
        "| contender | tasks/s, median (range) | share of matmul rate | loss | gradient norm |",
        "|---|---|---|---|---|",
    ]
    for row in report["contenders"]:
        lines.append(
            f"| {row['name']} ({row['version']}) | {middle(row['rates'], 1)} | {row['share_of_matmul']:.0%} "
            f"| {row['loss']:.5f} | {row['gradient_norm']:.4f} |"
        )
    lines += [
        "",
        f"A task takes {report['gflop_per_task']:.2f} GFLOP (`flops_per_task`); the float32 product of two "
        f"{matmul.SIZE}x{matmul.SIZE} matrices ran at {middle(report['matmul_gflops'], 0)} GFLOP/s.",
    ]
    if "ratio" in report:
        lines.append(f"fewshot / {report['fastest_peer']} (the fastest peer), by round: {middle(report['ratios'], 2)}.")
    return "\n".join(lines)


def time_tracing(tasks: int, inner_steps: int) -> dict[str, float]:
    """Trace our train function in a fresh process; seconds of tracing, of the first update and of the next."""
    command = [sys.executable, "-m", "benchmarks.peers.fewshot_step", "trace", str(tasks), str(inner_steps)]
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if result.returncode:
        raise BenchmarkError(f"Tracing failed:\n{result.stderr}")
    return json.loads(result.stdout.splitlines()[-1])


def tracing_as_text(times: dict[str, float]) -> str:
    """One sentence on the times of `time_tracing`."""
    verdict = "within" if times["trace_s"] < TRACE_LIMIT else "OVER"
    return (
        f"Tracing 32 tasks with 5 inner steps: {times['trace_s']:.1f} s, {verdict} the limit of {TRACE_LIMIT:.0f} s. "
        f"The first update then takes {times['first_update_s']:.1f} s, in which TensorFlow optimises the graph, and "
        f"each one after it {times['next_update_s']:.1f} s; at its peak the process holds {times['peak_mb']:.0f} MB."
    )


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (5)")
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds a contender trains in a round (5)")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="contenders whose name has one of these words")
    parser.add_argument("--ways", action="store_true", help="our own update in several ways, in place of the peers")
    parser.add_argument("--check", action="store_true", help="only check that all compute the same; time nothing")
    parser.add_argument("--trace", action="store_true", help="time tracing 32 tasks with 5 steps as well")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number here")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table here too")
    return parser.parse_args()


def main() -> int:
    """Run the benchmark; returns the exit code."""
    options = parse_arguments()
    known = WAYS if options.ways else CONTENDERS
    entries = [e for e in known if not options.only or any(word in e.name for word in options.only)]
    if not entries:
        names = "; ".join(entry.name for entry in known)
        print(f"No contender's name has {' or '.join(options.only)}. There are: {names}.", file=sys.stderr)
        return 2
    try:
        results, products = run_rounds(entries, 0 if options.check else options.rounds, options.seconds)
        if options.check:
            for result in results:
                print(f"{result.name}: loss {result.loss:.6f}, gradient norm {result.gradient_norm:.5f}")
            return 0
        report = compare(results, products)
        text = as_markdown(report)
        if options.trace:
            report["trace"] = time_tracing(tasks=32, inner_steps=5)
            text += "\n\n" + tracing_as_text(report["trace"])
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    print(text)
    if options.markdown:
        options.markdown.write_text(text + "\n", encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
