"""How fusion weights, contributions and attributions moved over a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Kind = Literal["fusion_weights", "contributions", "attributions"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Points = dict[int, float]
"""Value at each optimizer step."""
Lines = dict[str, dict[str, Points]]
"""Points of each source of each layer, `lines[layer][source]`, layers in order of depth."""


def tag(kind: Kind, layer: str, source: str) -> str:
    """Name under which loggers get a value: `kind/layer/source`."""
    return f"{kind}/{layer}/{source}"


@dataclass
class Trajectories:
    """One line per layer and source for each of three kinds.

    Args:
        fusion_weights: The learned weight, as it acts.
        contributions: The source's share of the layer's sum, over the validation set.
        attributions: The same with the share of `central` handed down to the modalities.
    """

    fusion_weights: Lines = field(default_factory=dict)
    contributions: Lines = field(default_factory=dict)
    attributions: Lines = field(default_factory=dict)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Set, at `step`, the value of each tag `kind/layer/source`; what else a run has logged is passed over."""
        for name, value in values.items():
            kind, layer, source = (*name.split("/", 2), "", "")[:3]
            if kind in KINDS and source:
                self.lines(kind).setdefault(layer, {}).setdefault(source, {})[step] = value

    def update(self, later: "Trajectories") -> None:
        """Take over the points of `later`, which win where both have one."""
        for kind in KINDS:
            for layer, sources in later.lines(kind).items():
                for source, points in sources.items():
                    self.lines(kind).setdefault(layer, {}).setdefault(source, {}).update(points)

    def drop_after(self, step: int) -> None:
        """Forget what lies beyond `step`."""
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
        """The same with every n-th point, and the last, of lines longer than `most`."""
        return Trajectories(**{kind: _thin(self.lines(kind), most) for kind in KINDS})

    @property
    def sources(self) -> list[str]:
        """Every source, in the order in which the layers name them."""
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
