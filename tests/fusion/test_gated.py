"""The gated multimodal unit against its equations, written out in float64."""

import csv
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from fusionlit.callbacks import FusionWeightLogger
from fusionlit.encoders import MLPEncoder
from fusionlit.errors import ConfigError
from fusionlit.functional import contributions
from fusionlit.fusion import GatedFusion, ShapeMismatchError
from fusionlit.models import IntermediateFusion

SHAPES = {"rgb": (3, 2, 4), "lidar": (5, 2, 4), "radar": (2, 2, 4)}
PAIR = {source: SHAPES[source] for source in ("rgb", "lidar")}


def draw(shapes, batch=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(batch, *shape, generator=generator, dtype=dtype) for name, shape in shapes.items()}


def along_channels(matrix, x):
    return torch.einsum("oc,bcij->boij", matrix, x)


def by_hand(operator, features):
    """`h_k'` and `z_k` of each source."""
    h = {
        source: along_channels(m.weight, features[source]).tanh()
        for source, m in zip(features, operator.values, strict=True)
    }
    together = torch.cat(list(features.values()), dim=1)
    logits = along_channels(operator.gate.weight, together).split(operator.out_shape[0], dim=1)
    z = {source: 1 / (1 + (-logit).exp()) for source, logit in zip(features, logits, strict=False)}
    return h, z


def test_three_sources_have_a_gate_each():
    operator, features = GatedFusion(SHAPES, out_features=4).double(), draw(SHAPES)
    h, z = by_hand(operator, features)
    assert list(z) == list(SHAPES)
    assert operator.out_shape == (4, 2, 4)
    torch.testing.assert_close(operator(features), sum(z[k] * h[k] for k in SHAPES), rtol=0, atol=1e-12)


def test_two_sources_share_one_gate():
    operator, features = GatedFusion(PAIR, out_features=4).double(), draw(PAIR)
    h, z = by_hand(operator, features)
    assert list(z) == ["rgb"]
    expected = z["rgb"] * h["rgb"] + (1 - z["rgb"]) * h["lidar"]
    torch.testing.assert_close(operator(features), expected, rtol=0, atol=1e-12)
    weights = operator.fusion_weights()
    assert weights["rgb"].item() == pytest.approx(z["rgb"].mean().item(), abs=1e-6)
    assert sum(weights.values()).item() == pytest.approx(1, abs=1e-6)


def test_one_source_is_gated_by_itself():
    features = draw({"rgb": SHAPES["rgb"]})
    operator = GatedFusion({"rgb": SHAPES["rgb"]}).double()
    h, z = by_hand(operator, features)
    torch.testing.assert_close(operator(features), z["rgb"] * h["rgb"])


def test_absent_sources_are_zeros_to_the_gates_and_the_others_fill_their_place():
    operator, features = GatedFusion(SHAPES).double(), draw(SHAPES)
    presence = {source: torch.ones(3, dtype=torch.bool) for source in SHAPES}
    presence["lidar"][0] = presence["radar"][2] = presence["lidar"][2] = False
    zeroed = {k: x * presence[k][:, None, None, None] for k, x in features.items()}
    h, z = by_hand(operator, zeroed)
    total = sum(z.values())
    expected = torch.stack(
        [
            total[0] * (z["rgb"][0] * h["rgb"][0] + z["radar"][0] * h["radar"][0]) / (z["rgb"][0] + z["radar"][0]),
            sum(z[k][1] * h[k][1] for k in SHAPES),
            total[2] * h["rgb"][2],
        ]
    )
    torch.testing.assert_close(operator(features, presence), expected)
    weights = operator.fusion_weights()
    assert weights["lidar"].item() == pytest.approx(z["lidar"][1].mean().item(), abs=1e-6)
    assert weights["radar"].item() == pytest.approx(
        torch.stack([z["radar"][0] * total[0] / (total[0] - z["lidar"][0]), z["radar"][1]]).mean().item(), abs=1e-6
    )


def test_of_two_sources_the_one_that_is_there_passes_whole():
    operator, features = GatedFusion(PAIR).double(), draw(PAIR)
    gone = {"rgb": torch.ones(3, dtype=torch.bool), "lidar": torch.zeros(3, dtype=torch.bool)}
    expected = along_channels(operator.values[0].weight, features["rgb"]).tanh()
    torch.testing.assert_close(operator(features, gone), expected)
    nobody = {source: torch.zeros(3, dtype=torch.bool) for source in PAIR}
    assert not operator(features, nobody).any()


def test_energy_is_that_of_each_term():
    operator, features = GatedFusion(SHAPES).double(), draw(SHAPES)
    h, z = by_hand(operator, features)
    energy = operator.energy(features)
    for source in SHAPES:
        torch.testing.assert_close(energy[source], (z[source] * h[source]).square().mean((1, 2, 3)))
    shares = contributions({source: x.mean() for source, x in energy.items()})
    assert sum(shares.values()).item() == pytest.approx(1)


@pytest.mark.parametrize("sources", range(2, 9))
def test_output_begins_at_a_useful_scale(sources):
    torch.manual_seed(0)
    shapes = {f"m{k}": (32 + 8 * k,) for k in range(sources)}
    with torch.no_grad():
        out = GatedFusion(shapes, out_features=16)(draw(shapes, batch=256, dtype=torch.float32))
    assert 0.3 < out.std() < 3
    assert 0.3 < out.std(0).mean() < 3  # from sample to sample


@pytest.mark.parametrize(("dtype", "error"), [(torch.float16, 5e-3), (torch.bfloat16, 4e-2)])
def test_half_precision_stays_close(dtype, error):
    torch.manual_seed(0)
    shapes = {"rgb": (64,), "lidar": (32,), "radar": (32,)}
    operator, features = GatedFusion(shapes), draw(shapes, batch=64, dtype=torch.float32)
    presence = {source: torch.arange(64) % 3 != k for k, source in enumerate(shapes)}
    expected = operator(features, presence)
    out = operator.to(dtype)({k: x.to(dtype) for k, x in features.items()}, presence)
    assert out.dtype == dtype
    assert (out.float() - expected).abs().max() < error


def test_as_many_features_come_out_as_the_widest_source_has():
    assert GatedFusion(SHAPES).out_shape == (5, 2, 4)


def test_misuse_is_explained():
    with pytest.raises(ConfigError, match="Expected `out_features` of GatedFusion to be at least 1, but got 0"):
        GatedFusion(SHAPES, out_features=0)
    with pytest.raises(ShapeMismatchError, match=r"GatedFusion to have the same dimensions after the first, but got"):
        GatedFusion({"rgb": (3, 4, 4), "lidar": (3, 2, 2)})


def test_gates_are_logged_like_every_fusion_weight(planted, make_trainer, tmp_path):
    torch.manual_seed(0)
    data, table = planted(size=32, presence=True), CSVLogger(tmp_path, name="table")
    encoder = partial(MLPEncoder, widths=[8])
    model = IntermediateFusion(data.modalities, data.target, encoder=encoder, fusion=GatedFusion)
    callback = FusionWeightLogger(every_n_steps=1)
    trainer = make_trainer(callbacks=[callback], logger=table, log_every_n_steps=1, num_sanity_val_steps=0)
    trainer.fit(model, data)
    with (Path(table.log_dir) / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    steps = [row for row in rows if row["fusion_weights/fusion/strong"]]
    assert [row["step"] for row in steps] == ["0", "1", "2"]
    assert float(steps[0]["fusion_weights/fusion/strong"]) == 0.5
    for row in steps[1:]:
        strong, noise = (float(row[f"fusion_weights/fusion/{source}"]) for source in ("strong", "noise"))
        assert 0 < noise < strong < 1  # a third of the samples has `strong` alone, whose gate is then one
    shares = [row["contributions/fusion/strong"] for row in rows if row["contributions/fusion/strong"]]
    assert len(shares) == 1
    assert 0 < float(shares[0]) < 1
