"""Low-rank fusion compared with tensor fusion at the paper's sizes, and with a loop over the rank: ratios of times.

    python benchmarks/low_rank.py    prints the table; adds a line to benchmarks/results/low_rank.jsonl

Sources of 32, 32 and 64 features, rank 4. The two variants alternate in one run; ratios are of consecutive times, and
reported by median and quartiles. The whole models are simplified: the paper's modalities were sequences, here they are
vectors (5, 20 and 300 numbers) with MLP encoders, one regression output and Adam. Hidden widths and the number of fused
features are chosen so that both models have about as many parameters as in the paper, 1.1e6 and 12.5e6.
"""

import math
from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import torch
from side_by_side import alternate, ratio, record, seconds
from torch import Tensor, nn

from fusionlit.encoders import MLPEncoder
from fusionlit.functional import append_one, unit_rms
from fusionlit.fusion import Features, FusionFactory, LowRankFusion, TensorFusion
from fusionlit.models import IntermediateFusion
from fusionlit.types import Shape, TargetSpec

SIZES = {"audio": 32, "video": 32, "text": 64}
SHAPES: dict[str, Shape] = {name: (size,) for name, size in SIZES.items()}
INPUTS: dict[str, Shape] = {"audio": (5,), "video": (20,), "text": (300,)}
RANK = 4
HIDDEN, FUSED = 512, 160
"""For the whole models: widths of the encoders' two hidden layers, and number of fused features."""
OUT = 64
"""Output features of the operators alone, the default of both."""
BATCHES = (32, 256)
ROUNDS = 25
"""Number of ratios in each comparison."""
LEAST_SECONDS = 0.01
"""Duration of one timing; faster calls are repeated."""

Action = Callable[[], Any]
Function = Callable[[Features], Tensor]


def main() -> None:
    """Check both variants, time them, and print and store the ratios."""
    torch.manual_seed(0)
    low = make_model(partial(LowRankFusion, out_features=FUSED, rank=RANK))
    full = make_model(partial(TensorFusion, out_features=FUSED))
    operator, plain, tensor = (
        LowRankFusion(SHAPES, OUT, RANK),
        LowRankFusion(SHAPES, OUT, RANK, normalize=False),
        TensorFusion(SHAPES, OUT),
    )
    gap = max(map(check_loop, (operator, plain)))
    pairs: dict[str, Callable[[int], tuple[Action, Action]]] = {
        "models, training step: TFN / LMF": lambda b: (training(full, b), training(low, b)),
        "models, inference: TFN / LMF": lambda b: (inference(full, b), inference(low, b)),
        "operators, forward: TFN / LMF": lambda b: both(b, tensor, operator, forward),
        "operators, forward + backward: TFN / LMF": lambda b: both(b, tensor, operator, backward),
    }
    for form, lmf in (("", operator), (", not normalised", plain)):
        pairs |= {
            f"operators, forward: loop / LMF{form}": lambda b, lmf=lmf: both(b, Loop(lmf), lmf, forward),
            f"operators, forward + backward: loop / LMF{form}": lambda b, lmf=lmf: both(b, Loop(lmf), lmf, backward),
        }
    ratios = {f"{name}, batch {b}": compare(*make(b)) for name, make in pairs.items() for b in BATCHES}
    sizes = {"LMF": count(low), "TFN": count(full)}
    record("low_rank", {"parameters": sizes, "largest difference from the loop": gap, "ratios": ratios})
    print("| time | median | quartiles |\n|---|---|---|")
    for name, found in ratios.items():
        print(f"| {name} | {found['median']:.2f} | {' to '.join(f'{q:.2f}' for q in found['quartiles'])} |")


def make_model(fusion: FusionFactory) -> IntermediateFusion:
    """Encoders to 32, 32 and 64 features, the fusion, a linear head."""
    encoders = {name: partial(MLPEncoder, widths=(HIDDEN, HIDDEN, size)) for name, size in SIZES.items()}
    return IntermediateFusion(INPUTS, TargetSpec("regression", 1), encoders=encoders, fusion=fusion)


def count(model: torch.nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in model.parameters())


class Loop(nn.Module):
    """Computes the output of an operator term by term of the sum over the rank, with a matrix per source and term."""

    def __init__(self, operator: LowRankFusion) -> None:
        super().__init__()
        self.normalize = operator.normalize
        factors = {
            name: [nn.Parameter(w.detach().clone()) for w in f.unbind(1)] for name, f in operator.factors.items()
        }
        self.factors = nn.ModuleDict({name: nn.ParameterList(matrices) for name, matrices in factors.items()})

    def forward(self, features: Features) -> Tensor:
        """Multiply over the sources, and add over the terms."""
        sources = {name: append_one(unit_rms(h) if self.normalize else h) for name, h in features.items()}
        terms = (reduce(torch.mul, [z @ self.factors[name][i] for name, z in sources.items()]) for i in range(RANK))
        return reduce(torch.add, terms) / math.sqrt(RANK)


def check_loop(operator: LowRankFusion) -> float:
    """Largest difference between operator and loop.

    Raises:
        AssertionError: If it exceeds 1e-6.
    """
    features = draw(SHAPES, 64)
    with torch.no_grad():
        expected, found = Loop(operator)(features), operator(features)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    return float((found - expected).abs().max())


def draw(shapes: dict[str, Shape], batch: int) -> Features:
    """Standard normal inputs or features."""
    return {name: torch.randn(batch, *shape) for name, shape in shapes.items()}


def training(model: IntermediateFusion, batch: int) -> Action:
    """A training step: forward, loss, backward, Adam."""
    inputs, target = draw(INPUTS, batch), torch.randn(batch, 1)
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(inputs).prediction, target).backward()
        optimizer.step()

    return step


def inference(model: IntermediateFusion, batch: int) -> Action:
    """Prediction only."""
    return torch.no_grad()(partial(model, draw(INPUTS, batch)))


def both(
    batch: int, one: Function, other: Function, how: Callable[[Function, Features], Action]
) -> tuple[Action, Action]:
    """Two operators on the same features."""
    features = draw(SHAPES, batch)
    return how(one, features), how(other, features)


def forward(operator: Function, features: Features) -> Action:
    """Without gradients."""
    return torch.no_grad()(partial(operator, features))


def backward(operator: Function, features: Features) -> Action:
    """With the gradients of features and parameters."""
    leaves = {name: x.clone().requires_grad_() for name, x in features.items()}
    return lambda: operator(leaves).sum().backward()


def compare(slow: Action, fast: Action) -> dict[str, float]:
    """Ratios of the times of `slow` to those of `fast`, alternating; fast calls are repeated."""
    repeats = {action: max(1, math.ceil(LEAST_SECONDS / seconds(action, 3))) for action in (slow, fast)}
    ways = {name: partial(seconds, action, repeats[action]) for name, action in (("slow", slow), ("fast", fast))}
    found = alternate(ways, ROUNDS)
    return ratio(found["slow"], found["fast"])


if __name__ == "__main__":
    main()
