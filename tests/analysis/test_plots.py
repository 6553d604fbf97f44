import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from fusionlit.analysis import Trajectories, plot_trajectories
from fusionlit.analysis.plots import source_styles


def make_trajectories(layers, modalities, kinds=("fusion_weights", "contributions", "attributions")):
    values = {}
    for i in range(layers):
        for k in range(modalities):
            values |= {f"{kind}/stage{i + 1}/m{k}": 0.1 * k + 0.01 * i for kind in kinds}
        if i > 0:
            values |= {f"{kind}/stage{i + 1}/central": 0.5 for kind in kinds if kind != "attributions"}
    trajectories = Trajectories()
    for step in (0, 10, 30):
        trajectories.add(step, {tag: value + step / 100 for tag, value in values.items()})
    return trajectories


def drawn_overlaps(figure):
    """Pairs of texts (titles, labels, tick labels, legend) whose boxes on the canvas overlap."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    texts = []
    for axes in figure.axes:
        texts += [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]
        for labels, view, i in (
            (axes.get_xticklabels(), axes.get_xlim(), 0),
            (axes.get_yticklabels(), axes.get_ylim(), 1),
        ):
            texts += [
                label for label in labels if view[0] <= label.get_position()[i] <= view[1]
            ]  # others are not drawn
    texts += figure.legends[0].get_texts()
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts if t.get_text() and t.get_visible()]
    return [(a, b) for i, (a, x) in enumerate(boxes) for b, y in boxes[i + 1 :] if x.overlaps(y)]


def test_panels_lines_and_labels():
    trajectories = make_trajectories(3, 2)
    figure = plot_trajectories(trajectories)
    weights, shares, worths = figure.axes[0::3], figure.axes[1::3], figure.axes[2::3]
    assert [axes.get_title(loc="left") for axes in weights] == ["stage1", "stage2", "stage3"]
    assert [figure.axes[i].get_ylabel() for i in range(3)] == ["fusion weight", "contribution", "attribution"]
    assert [axes.get_xlabel() for axes in worths] == ["optimizer step"] * 3
    for i, axes in enumerate(weights):
        lines = trajectories.fusion_weights[f"stage{i + 1}"]
        assert {line.get_label(): dict(zip(*line.get_data(), strict=True)) for line in axes.lines} == lines
    assert [len(axes.lines) for axes in weights] == [len(axes.lines) for axes in shares] == [2, 3, 3]
    assert [len(axes.lines) for axes in worths] == [2, 2, 2]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["central", "m0", "m1"]


def test_a_source_has_one_color_everywhere_and_central_is_grey():
    figure = plot_trajectories(make_trajectories(4, 3))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    legend = dict(zip(names, figure.legends[0].get_lines(), strict=True))
    colors = {}
    for axes in figure.axes:
        for line in axes.lines:
            colors.setdefault(line.get_label(), set()).add(to_hex(line.get_color()))
    assert {name: {to_hex(line.get_color())} for name, line in legend.items()} == colors
    assert len({color for (color,) in colors.values()}) == 4
    (grey,) = colors["central"]
    assert grey[1:3] == grey[3:5] == grey[5:7]


def test_ten_sources_look_different_and_a_source_that_is_added_changes_no_other():
    names = [f"m{i}" for i in range(9)]
    styles = source_styles(["central", *names])
    assert len(set(styles.values())) == 10
    assert source_styles(["m0", "central", "m1"]) == {name: styles[name] for name in ["central", "m0", "m1"]}


@pytest.mark.parametrize(("layers", "columns"), [(1, 1), (4, 4), (5, 5), (6, 3), (7, 4), (20, 5)])
def test_layers_are_broken_into_rows_of_at_most_five(layers, columns):
    figure = plot_trajectories(make_trajectories(layers, 2, kinds=("fusion_weights",)))
    assert len(figure.axes) == layers
    assert {axes.get_gridspec().ncols for axes in figure.axes} == {columns}


@pytest.mark.parametrize(("layers", "modalities"), [(1, 1), (1, 9), (4, 2), (7, 9)])
def test_nothing_overlaps(layers, modalities):
    assert drawn_overlaps(plot_trajectories(make_trajectories(layers, modalities))) == []


def test_no_value_is_cut_off():
    trajectories = make_trajectories(2, 2)
    trajectories.add(40, {"contributions/stage1/m0": 0.99})
    for axes in plot_trajectories(trajectories).axes:
        low, high = axes.get_ylim()
        assert all(low <= value <= high for line in axes.lines for value in line.get_ydata())


def test_a_single_point_is_seen():
    trajectories = Trajectories({"fusion": {"rgb": {0: 0.5}, "lidar": {0: 0.5}}})
    (axes,) = plot_trajectories(trajectories).axes
    assert [line.get_marker() for line in axes.lines] == ["o", "o"]
