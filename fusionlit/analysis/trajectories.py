"""Fusion weights, contributions and attributions over a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Kind = Literal["fusion_weights", "contributions", "attributions"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Points = dict[int, float]
"""Value by optimizer step."""
Lines = dict[str, dict[str, Points]]
"""Points of each source at each layer, `lines[layer][source]`, layers in order of depth."""


def tag(kind: Kind, layer: str, source: str) -> str:
    """Name of a value in loggers: `kind/layer/source`."""
    return f"{kind}/{layer}/{source}"


@dataclass
class Trajectories:
    """One line per layer and source, for each of three kinds.

    Args:
        fusion_weights: Effective fusion weight.
        contributions: Share of the source in the layer's sum, over the validation set.
        attributions: The same with the share of `central` split among the modalities that it fused.
    """

    fusion_weights: Lines = field(default_factory=dict)
    contributions: Lines = field(default_factory=dict)
    attributions: Lines = field(default_factory=dict)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Set the value of each tag `kind/layer/source` at `step`; other tags are ignored."""
        for name, value in values.items():
            kind, layer, source = (*name.split("/", 2), "", "")[:3]
            if kind in KINDS and source:
                self.lines(kind).setdefault(layer, {}).setdefault(source, {})[step] = value

    def update(self, later: "Trajectories") -> None:
        """Add the points of `later`, which take precedence."""
        for kind in KINDS:
            for layer, sources in later.lines(kind).items():
                for source, points in sources.items():
                    self.lines(kind).setdefault(layer, {}).setdefault(source, {}).update(points)

    def drop_after(self, step: int) -> None:
        """Remove the points after `step`."""
        for kind in KINDS:
            for layer, sources in list(self.lines(kind).items()):
                kept = {source: {x: y for x, y in points.items() if x <= step} for source, points in sources.items()}
                self.lines(kind)[layer] = {source: points for source, points in kept.items() if points}
                if not self.lines(kind)[layer]:
                    del self.lines(kind)[layer]

    @property
    def first_step(self) -> int:
        """Step of the first fusion weights."""
        return min(step for sources in self.fusion_weights.values() for points in sources.values() for step in points)

    @property
    def last_step(self) -> int:
        """Step of the last fusion weights."""
        return max(step for sources in self.fusion_weights.values() for points in sources.values() for step in points)

    def lines(self, kind: str) -> Lines:
        """The lines of one kind."""
        lines: Lines = getattr(self, kind)
        return lines

    def thinned(self, most: int) -> "Trajectories":
        """A copy in which lines longer than `most` keep only every n-th point and the last."""
        return Trajectories(**{kind: _thin(self.lines(kind), most) for kind in KINDS})

    @property
    def sources(self) -> list[str]:
        """All sources, in order of appearance."""
        return list(dict.fromkeys(source for sources in self.fusion_weights.values() for source in sources))


def _thin(lines: Lines, most: int) -> Lines:
    return {
        layer: {source: _every_nth(points, most) for source, points in sources.items()}
        for layer, sources in lines.items()
    }


def _every_nth(points: Points, most: int) -> Points:
    kept = list(points.items())
    stride = max(1, -(-len(kept) // most))
    return dict(kept[::stride] + kept[-1:])
