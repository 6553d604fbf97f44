"""The table of docs/operators.md: cost, numerical error and initial scale of every operator.

    python benchmarks/operators.py    measures, and writes the table into the page

Parameters and multiply-adds are expressions that the page shows and `tests/test_operators_page.py` evaluates.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from fusionlit.errors import ConfigError
from fusionlit.fusion import (
    Add,
    Bilinear,
    BottleneckAttention,
    Concat,
    CrossModalAttention,
    DempsterShafer,
    EnergyWeightedAverage,
    FusionOperator,
    GatedFusion,
    Hadamard,
    LowRankFusion,
    MatMul,
    TensorFusion,
    TransformerFusion,
    WeightedAverage,
    WeightedSum,
)
from fusionlit.types import Shape

PAGE = Path(__file__).parents[1] / "docs/operators.md"
BEGIN, END = "<!-- the table: python benchmarks/operators.py -->\n", "<!-- end of the table -->\n"
SHAPES: dict[str, tuple[Shape, ...]] = {
    "any": ((3, 2, 4), (5, 3), (4,)),
    "one grid": ((3, 2, 4), (5, 2, 4), (2, 2, 4)),
    "one shape": ((3, 2, 4),) * 3,
    "square maps": ((3, 4, 4),) * 3,
    "vectors": ((3,), (5,), (2,)),
    "predictions": ((4,),) * 3,
}
"""Shapes of three sources for each operator."""
OUT, RANK, WIDTH, HEADS, TOKENS = 16, 4, 16, 4, 4
BATCH, SEEDS = 1024, 20


def unit(h: Tensor) -> Tensor:
    """Scale to a root mean square of one, with the 1e-12 of `functional.unit_rms`."""
    return h / (h.square().mean(tuple(range(1, h.ndim)), keepdim=True) + 1e-12).sqrt()


def with_one(h: Tensor) -> Tensor:
    """`[h; 1]` for a vector scaled to unit rms."""
    return F.pad(unit(h), (0, 1), value=1.0)


def positions(h: Tensor) -> Tensor:
    """`(B, d, *grid)` to `(B, d, P)`, scaled to unit rms."""
    return unit(h).reshape(*h.shape[:2], -1)


def average(operator: Any, h: Sequence[Tensor]) -> Tensor:  # noqa: ANN401 (an operator with `weight`)
    """Sum with softmax weights."""
    w = operator.weight.flatten().exp() / operator.weight.exp().sum()
    return w[0] * h[0] + w[1] * h[1] + w[2] * h[2]


def low_rank(operator: Any, z: Sequence[Tensor]) -> Tensor:  # noqa: ANN401
    """The dense tensor of the factors, contracted with the sources `(B, d, P)`, averaged over positions."""
    factors = list(operator.factors.values())
    dense = torch.einsum("aro,bro,cro->oabc", *factors) / math.sqrt(factors[0].shape[1])
    return torch.einsum("oabc,nap,nbp,ncp->no", dense, *z) / z[0].shape[2]


def gated(operator: Any, h: Sequence[Tensor]) -> Tensor:  # noqa: ANN401
    """A gate for each of three sources, at every position."""
    logits = torch.einsum("oc,nc...->no...", operator.gate.weight, torch.cat(list(h), 1)).chunk(3, 1)
    values = [torch.einsum("oc,nc...->no...", v.weight, x) for v, x in zip(operator.values, h, strict=True)]
    return sum((v.tanh() / (1 + (-z).exp()) for v, z in zip(values, logits, strict=True)), torch.zeros(()))


def tokens(operator: Any, h: Sequence[Tensor]) -> list[Tensor]:  # noqa: ANN401
    """Every position as a token."""
    linear = [t.linear(x.reshape(*x.shape[:2], -1).mT) for t, x in zip(operator.tokens, h, strict=True)]
    return [x if t.positions is None else x + t.positions for t, x in zip(operator.tokens, linear, strict=True)]


def look(block: Any, x: Tensor, context: Tensor) -> Tensor:  # noqa: ANN401
    """A transformer block with torch's attention."""
    heads = (block.heads, -1)
    query, key, value = block.query(block.norm(x)), block.key(block.norm(context)), block.value(block.norm(context))
    split = [t.unflatten(2, heads).transpose(1, 2) for t in (query, key, value)]
    y = x + block.out(F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2))
    return torch.as_tensor(y + block.mlp(y))


def bottleneck(operator: Any, h: Sequence[Tensor]) -> Tensor:  # noqa: ANN401
    """One layer."""
    shared = operator.bottleneck.expand(len(h[0]), -1, -1)
    pairs = zip(operator.layers[0], tokens(operator, h), strict=True)
    seen = torch.stack([look(block, shared, torch.cat([shared, t], 1)) for block, t in pairs])
    return torch.as_tensor(operator.norm(seen.mean((0, 2))))


def cross_modal(operator: Any, h: Sequence[Tensor]) -> Tensor:  # noqa: ANN401
    """Each source attends to the two others."""
    t = tokens(operator, h)
    others = [torch.cat(t[:k] + t[k + 1 :], 1) for k in range(3)]
    asked = [look(block, own, rest).mean(1) for block, own, rest in zip(operator.blocks, t, others, strict=True)]
    return torch.as_tensor(operator.norm(torch.stack(asked).mean(0)))


def transformer(operator: Any, h: Sequence[Tensor]) -> Tensor:  # noqa: ANN401
    """All tokens through every layer, even those that are not used afterwards."""
    pooled = [x.flatten(2).mean(2) if x.ndim > 2 else x for x in h]
    own = [t.linear(x)[:, None] for t, x in zip(operator.tokens.values(), pooled, strict=True)]
    x = torch.cat([operator.cls.expand(len(h[0]), 1, -1), *own], 1)
    for block in operator.blocks:
        x = look(block, x, x)
    return torch.as_tensor(operator.norm(x[:, 0]))


def energy_weighted(_: Any, h: Sequence[Tensor]) -> Tensor:  # noqa: ANN401
    """With a temperature of one: the sum of the members' unnormalised densities."""
    total = torch.stack([x.exp() for x in h]).sum(0)
    return (total / total.sum(1, keepdim=True)).log()


def dempster_shafer(_: Any, h: Sequence[Tensor]) -> Tensor:  # noqa: ANN401
    """Combine two opinions at a time, as in TMC; beliefs and uncertainty."""
    size = h[0].shape[1]
    evidence = [(1 + x.exp()).log() for x in h]
    opinions = [torch.cat([e, torch.full_like(e[:, :1], size)], 1) for e in evidence]
    joint, *others = (x / x.sum(1, keepdim=True) for x in opinions)
    for other in others:
        (b1, u1), (b2, u2) = joint.split([size, 1], 1), other.split([size, 1], 1)
        joint = torch.cat([b1 * b2 + b1 * u2 + b2 * u1, u1 * u2], 1)
        joint = joint / joint.sum(1, keepdim=True)
    belief, u = joint.split([size, 1], 1)
    return (belief + u / size).log()


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Args:
        wants: Key of `SHAPES`.
        formula: Formula shown on the page.
        parameters: Number of parameters, as an expression in the names of `sizes_of`.
        multiply_adds: Multiply-adds per sample in matrix products, likewise.
        make: Factory of the operator, from shapes.
        oracle: Reference implementation of the output for three sources, from the operator's parameters.
    """

    wants: str
    formula: str
    parameters: str
    multiply_adds: str
    make: Callable[[dict[str, Shape]], FusionOperator]
    oracle: Callable[[Any, Sequence[Tensor]], Tensor]


CASES = {
    "Concat": Case("one grid", "[h_1; ...; h_K]", "0", "0", Concat, lambda _, h: torch.hstack(tuple(h))),
    "Add": Case("one shape", "sum_k h_k", "0", "0", Add, lambda _, h: torch.stack(tuple(h)).sum(0)),
    "WeightedSum": Case(
        "one shape", "sum_k softmax(a)_k h_k", "K", "0", WeightedSum, lambda op, h: average(op, [unit(x) for x in h])
    ),
    "WeightedAverage": Case("predictions", "sum_k softmax(a)_k p_k", "K", "0", WeightedAverage, average),
    "Hadamard": Case("one shape", "prod_k h_k", "0", "0", Hadamard, lambda _, h: torch.stack(tuple(h)).prod(0)),
    "MatMul": Case(
        "square maps",
        "h_1 h_2 ... h_K / N^((K - 1) / 2)",
        "0",
        "(K - 1) * C * N**3",
        MatMul,
        lambda _, h: torch.einsum("bcij,bcjk,bckl->bcil", *h) / h[0].shape[-1],
    ),
    "Bilinear": Case(
        "one grid",
        "mean_p W (h_1[p] x ... x h_K[p])",
        "o * prod(d)",
        "(P + o) * prod(d)",
        lambda s: Bilinear(s, OUT),
        lambda op, h: torch.einsum("oabc,nap,nbp,ncp->no", op.weight, *map(positions, h)) / positions(h[0]).shape[2],
    ),
    "Bilinear, `rank`": Case(
        "one grid",
        "mean_p sum_i prod_k U_k[i]^T h_k[p] / sqrt(r)",
        "r * o * sum(d)",
        "P * r * o * sum(d)",
        lambda s: Bilinear(s, OUT, rank=RANK),
        lambda op, h: low_rank(op, [positions(x) for x in h]),
    ),
    "LowRankFusion": Case(
        "vectors",
        "sum_i prod_k W_k[i]^T [h_k; 1] / sqrt(r)",
        "r * o * sum(d + 1)",
        "r * o * sum(d + 1)",
        lambda s: LowRankFusion(s, OUT, RANK),
        lambda op, h: low_rank(op, [with_one(x)[:, :, None] for x in h]),
    ),
    "TensorFusion": Case(
        "vectors",
        "W ([h_1; 1] x ... x [h_K; 1])",
        "o * prod(d + 1)",
        "o * prod(d + 1)",
        lambda s: TensorFusion(s, OUT),
        lambda op, h: torch.einsum(
            "oabc,na,nb,nc->no", op.weight.unflatten(1, [x.shape[1] + 1 for x in h]), *map(with_one, h)
        ),
    ),
    "GatedFusion": Case(
        "one grid",
        "sum_k sigmoid(V_k [h_1; ...; h_K]) tanh(W_k h_k)",
        "(1 + g) * o * sum(d)",
        "P * (1 + g) * o * sum(d)",
        lambda s: GatedFusion(s, OUT),
        gated,
    ),
    "BottleneckAttention": Case(
        "any",
        "mean_k Transformer_k([f; z_k]) at the shared tokens f",
        "w * sum(d + 1 + e) + K * L * (8 * w**2 + 10 * w) + (b + 2) * w",
        "sum(n * d * w + 6 * b * w**2 + 2 * (b + n) * (w**2 + b * w))"
        " + (L - 1) * sum((b + n) * (8 * w**2 + 2 * (b + n) * w))",
        lambda s: BottleneckAttention(s, WIDTH, TOKENS, HEADS),
        bottleneck,
    ),
    "CrossModalAttention": Case(
        "any",
        "mean_k Transformer_k(z_k, [z_j, j != k])",
        "w * sum(d + 1 + e) + K * (8 * w**2 + 10 * w) + 2 * w",
        "sum(n * d * w + 6 * n * w**2 + 2 * (sum(n) - n) * (w**2 + n * w))",
        lambda s: CrossModalAttention(s, WIDTH, HEADS),
        cross_modal,
    ),
    "TransformerFusion": Case(
        "any",
        "Transformer([c; W_1 mean_p h_1[p]; ...; W_K mean_p h_K[p]]) at the CLS token c",
        "w * sum(d + 1) + L * (8 * w**2 + 10 * w) + 3 * w",
        "sum(d) * w + (L - 1) * (K + 1) * (8 * w**2 + 2 * (K + 1) * w) + 6 * w**2 + 2 * (K + 1) * (w**2 + w)",
        lambda s: TransformerFusion(s, WIDTH, HEADS, layers=1),
        transformer,
    ),
    "EnergyWeightedAverage": Case(
        "predictions", "log sum_k softmax(-E / T)_k softmax(p_k)", "0", "0", EnergyWeightedAverage, energy_weighted
    ),
    "DempsterShafer": Case(
        "predictions",
        "log mean Dirichlet(1 + O (prod_k (1 + softplus(p_k) / O) - 1))",
        "0",
        "0",
        DempsterShafer,
        dempster_shafer,
    ),
}


def named(shapes: Sequence[Shape]) -> dict[str, Shape]:
    """Sources with names."""
    return {f"source{k}": shape for k, shape in enumerate(shapes)}


def draw(shapes: dict[str, Shape], batch: int) -> dict[str, Tensor]:
    """Independent standard normal features."""
    return {name: torch.randn(batch, *shape) for name, shape in shapes.items()}


def evaluate(expression: str, shapes: dict[str, Shape], o: int = OUT, layers: int = 1) -> int:
    """Value of an expression of the table for these shapes."""
    grids = [math.prod(shape[1:]) for shape in shapes.values()]
    first = next(iter(shapes.values()))
    sizes = {
        "K": len(shapes),
        "d": np.array([shape[0] for shape in shapes.values()], dtype=object),
        "n": np.array(grids, dtype=object),
        "e": np.array([n if len(s) > 1 else 0 for n, s in zip(grids, shapes.values(), strict=True)], dtype=object),
        "P": grids[0],
        "C": first[0],
        "N": first[-1],
        "g": 1 if len(shapes) == 2 else len(shapes),
        "o": o,
        "r": RANK,
        "w": WIDTH,
        "b": TOKENS,
        "L": layers,
        "prod": math.prod,
    }
    return int(eval(expression, sizes))  # an expression of this file


def oracle_error(case: Case) -> float:
    """Largest difference from the oracle in float64, for three sources, with every parameter perturbed."""
    torch.manual_seed(0)
    shapes = named(SHAPES[case.wants])
    operator = case.make(shapes).double().eval()
    features = {name: x.double() for name, x in draw(shapes, 8).items()}
    with torch.no_grad():
        for parameter in operator.parameters():
            parameter += torch.randn_like(parameter)
        return float((operator(features) - case.oracle(operator, list(features.values()))).abs().max())


def counted_multiply_adds(operator: FusionOperator, shapes: dict[str, Shape], batch: int = 2) -> float:
    """Multiply-adds per sample in matrix products, counted by torch."""
    with FlopCounterMode(display=False) as counter:
        operator(draw(shapes, batch))
    return counter.get_total_flops() / 2 / batch


def initial_std(case: Case, sources: int, absent: bool = False) -> str:
    """Deviation of the output at the start, mean over seeds, or why there is none; `absent`: without the last source.

    32 features a source, as maps (2, 4, 4) where those are wanted.
    """
    shapes = named([(2, 4, 4) if case.wants == "square maps" else (32,)] * sources)
    found = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        try:
            operator = case.make(shapes)
        except ConfigError:
            return f"refused: {evaluate(case.parameters, shapes):.1e} weights"
        features = draw(shapes, BATCH)
        presence = {name: torch.ones(BATCH, dtype=torch.bool) for name in shapes}
        presence[list(shapes)[-1]][:] = not absent
        with torch.no_grad():
            found.append(float(operator(features, presence).std()))
    return f"{mean(found):.2f}"


def table() -> str:
    """All rows as Markdown."""
    lines = [
        "| operator | wants | formula | parameters | multiply-adds | error"
        " | std of 2 | one absent | std of 8 | one absent |",
        "|" + "---|" * 10,
    ]
    for name, case in CASES.items():
        stds = [initial_std(case, sources, absent) for sources in (2, 8) for absent in (False, True)]
        cells = [case.wants, *(f"`{x}`" for x in (case.formula, case.parameters, case.multiply_adds))]
        error = f"{oracle_error(case):.0e}".replace("0e+00", "0")
        lines.append(f"| {name} | " + " | ".join([*cells, error, *stds]) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the table into the page."""
    before, rest = PAGE.read_text().split(BEGIN)
    rows = table()
    PAGE.write_text(before + BEGIN + rows + END + rest.split(END)[1])
    print(rows)


if __name__ == "__main__":
    main()
