"""Contributions and attributions, by hand."""

import pytest
import torch

from fusionlit.functional import attributions, contributions


def test_attributions_by_hand():
    shares = {
        "stage1": {"a": 0.8, "b": 0.2},
        "stage2": {"central": 0.5, "a": 0.1, "b": 0.4},
        "prediction": {"central": 0.25, "a": 0.75, "b": 0.0},
    }
    tensors = {layer: {k: torch.tensor(v) for k, v in sources.items()} for layer, sources in shares.items()}
    stage2_a = 0.1 + 0.5 * 0.8
    out = attributions(tensors)
    assert out["stage1"]["a"].item() == pytest.approx(0.8)
    assert out["stage2"]["a"].item() == pytest.approx(stage2_a)
    assert out["prediction"]["a"].item() == pytest.approx(0.75 + 0.25 * stage2_a)
    assert out["prediction"]["b"].item() == pytest.approx(0.25 * (0.4 + 0.5 * 0.2))
    assert sum(out["prediction"].values()).item() == pytest.approx(1)
    assert "central" in tensors["stage2"], "the input must stay as it was"


def test_contributions_of_silence_are_zeros():
    out = contributions({"a": torch.tensor(0.0), "b": torch.tensor(0.0)})
    assert [value.item() for value in out.values()] == [0.0, 0.0]
