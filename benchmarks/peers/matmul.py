"""The machine's float32 matrix-multiply rate, timed as if it were a contender: one update is one product."""

from __future__ import annotations

import numpy as np

from benchmarks.peers import protocol
from benchmarks.peers.protocol import Arrays

SIZE = 2048
FLOPS = 2 * SIZE**3


class Matmul:
    """Two square matrices and their product."""

    version = f"NumPy {np.__version__}"

    def __init__(self) -> None:
        """Draw the matrices."""
        rng = np.random.default_rng(0)
        self.a, self.b = (rng.random((SIZE, SIZE), dtype=np.float32) for _ in range(2))
        self.product = np.empty((SIZE, SIZE), np.float32)

    def measure(self) -> tuple[float, float]:
        """There is no loss here."""
        return 0.0, 0.0

    def update(self) -> None:
        """Multiply."""
        np.matmul(self.a, self.b, out=self.product)


def make(variant: str, arrays: Arrays) -> Matmul:
    """Make the yardstick; it needs neither variant nor problem."""
    del variant, arrays
    return Matmul()


if __name__ == "__main__":
    protocol.serve(make)
