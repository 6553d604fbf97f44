"""Figure of the trajectories of a run."""

from typing import Literal, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fusionlit.analysis.trajectories import Kind, Points, Trajectories
from fusionlit.functional import CENTRAL

# Okabe and Ito, "Color universal design", 2008, without black and yellow: six hues safe for color blindness.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES: tuple[Literal["-", "--", ":"], ...] = ("-", "--", ":")
LABELS: dict[Kind, str] = {
    "fusion_weights": "fusion weight",
    "contributions": "contribution",
    "attributions": "attribution",
}
MOST_COLUMNS = 5
FEW_POINTS = 25


class Style(NamedTuple):
    """Line style of a source."""

    color: str
    dashes: Literal["-", "--", ":"]


def plot_trajectories(trajectories: Trajectories) -> Figure:
    """Draw one panel per layer with one line per source, styled alike in all panels.

    Layers are shown from left to right in order of depth, at most five per row; below the fusion weights of a layer are
    its contributions and, with a central network, its attributions. All panels share the axis of optimizer steps;
    panels of one kind share the value axis. The figure is independent of pyplot, so it need not be closed.
    """
    layers = list(trajectories.fusion_weights)
    kinds = [kind for kind in LABELS if trajectories.lines(kind)]
    if CENTRAL not in trajectories.sources:  # attributions equal contributions
        kinds = [kind for kind in kinds if kind != "attributions"]
    columns = -(-len(layers) // -(-len(layers) // MOST_COLUMNS))
    rows = -(-len(layers) // columns) * len(kinds)
    figure = Figure(figsize=(max(6.4, 1 + 2.7 * columns), 1 + 1.8 * rows), dpi=110, layout="constrained")
    grid = figure.add_gridspec(rows, columns)
    styles = source_styles(trajectories.sources)
    first: dict[Kind, Axes] = {}
    for i, layer in enumerate(layers):
        block, column = divmod(i, columns)
        for j, kind in enumerate(kinds):
            axes = figure.add_subplot(
                grid[block * len(kinds) + j, column], sharex=first.get(kinds[0]), sharey=first.get(kind)
            )
            first.setdefault(kind, axes)
            _draw_lines(axes, trajectories.lines(kind).get(layer, {}), styles)
            if j == 0:
                axes.set_title(layer, loc="left", fontsize=10, fontweight="bold")
            if column == 0:
                axes.set_ylabel(LABELS[kind])
            bottom = j == len(kinds) - 1 and i + columns >= len(layers)
            if bottom:
                axes.set_xlabel("optimizer step")
            axes.tick_params(labelleft=column == 0, labelbottom=bottom)
    for kind in kinds[1:]:
        first[kind].set_ylim(bottom=0)  # after all lines are drawn: an earlier limit would cut them off
    _draw_legend(figure, styles)
    return figure


def source_styles(sources: list[str]) -> dict[str, Style]:
    """Style of each source: `central` is grey; modalities differ in hue and, from the seventh on, in dashes."""
    styles = {CENTRAL: Style("#8A8A8A", "-")} if CENTRAL in sources else {}
    for i, source in enumerate(source for source in sources if source != CENTRAL):
        dashes, color = divmod(i, len(COLORS))
        styles[source] = Style(COLORS[color], DASHES[dashes % len(DASHES)])
    return styles


def _draw_lines(axes: Axes, lines: dict[str, Points], styles: dict[str, Style]) -> None:
    for source, points in lines.items():
        steps = sorted(points)
        values = [points[step] for step in steps]
        (line,) = axes.plot(steps, values, color=styles[source].color, linestyle=styles[source].dashes, label=source)
        line.set(linewidth=1.6, marker="o" if len(steps) <= FEW_POINTS else "", markersize=3, clip_on=False)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.grid(color="#E6E6E6", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, color="#8A8A8A")


def _draw_legend(figure: Figure, styles: dict[str, Style]) -> None:
    lines = [Line2D([], [], color=x.color, linestyle=x.dashes, label=source) for source, x in styles.items()]
    columns = min(len(lines), int(figure.get_figwidth() / 1.3))
    figure.legend(handles=lines, loc="outside upper left", ncols=columns, frameon=False)
