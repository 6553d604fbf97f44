"""CentralNet against its equations, written out straightforwardly."""

from functools import partial

import pytest
import torch
from lightning import seed_everything
from torch import nn

from fusionlit.encoders import ConvEncoder, InceptionEncoder, MLPHead, RecurrentEncoder
from fusionlit.errors import ConfigError
from fusionlit.models import CentralNet, TrainingConfig
from fusionlit.testing import check_strategy
from fusionlit.types import TargetSpec

ENCODERS = {
    "residual": partial(ConvEncoder, widths=(4, 8), norm="batch", downsample=("none", "stride"), residual_units=(0, 1)),
    "inception": partial(InceptionEncoder, widths=(6, 9), kernel_sizes=(3, 7), modules=1, downsample="max_pool"),
    "recurrent": partial(RecurrentEncoder, widths=(4, 6)),
    "recurrent, vector": partial(RecurrentEncoder, widths=(4, 6), bidirectional=True, pool="last"),
}


def reference(model: CentralNet, inputs: dict[str, torch.Tensor], fuse_inputs: bool) -> tuple[torch.Tensor, ...]:
    """h_C[i+1] = f(a_C[i] h_C[i] + sum_k a_k[i] h_k[i]), stage by stage, with the raw weights."""
    h = list(inputs.values())
    encoders = list(model.encoders.values())
    weights = [operator.weight for operator in model.fusions.values()]
    stages = list(model.central)
    h_c = None
    if fuse_inputs:
        a = weights.pop(0)
        h_c = stages.pop(0)(sum(a[k] * h[k] for k in range(len(h))))
    for i in range(len(encoders[0].stages)):
        h = [encoder.stages[i](x) for encoder, x in zip(encoders, h, strict=True)]
        a = weights.pop(0)
        if h_c is None:
            fused = sum(a[k] * h[k] for k in range(len(h)))
        else:
            fused = a[0] * h_c + sum(a[k + 1] * h[k] for k in range(len(h)))
        h_c = stages.pop(0)(fused) if stages else fused
    y = [head(x) for head, x in zip(model.heads.values(), h, strict=True)]
    a = weights.pop(0)
    assert not weights
    return (a[0] * model.central_head(h_c) + sum(a[k + 1] * y[k] for k in range(len(y))), *y)


@pytest.mark.parametrize("sensors", [2, 3, 9])
@pytest.mark.parametrize("fuse_inputs", [True, False])
def test_outputs_and_gradients_equal_the_equations(sensors, fuse_inputs):
    seed_everything(0, verbose=False)
    modalities = {f"s{k}": (2, 24) for k in range(sensors)}
    model = CentralNet(
        modalities,
        TargetSpec("multiclass", 3),
        encoder=partial(ConvEncoder, widths=(4, 6), kernel_size=5, norm="batch", dense=(7,)),
        fuse_inputs=fuse_inputs,
        weights="raw",
        source_norm=False,
        fuse_predictions=True,
        head=partial(MLPHead, hidden=(5,)),
        normalize=False,
    ).double()
    for operator in model.fusions.values():
        nn.init.normal_(operator.weight)
    inputs = {name: torch.randn(4, *shape, dtype=torch.float64) for name, shape in modalities.items()}
    target = torch.tensor([0, 1, 2, 0])

    def gradients(*predictions: torch.Tensor) -> list[torch.Tensor]:
        loss = sum(nn.functional.cross_entropy(p, target) for p in predictions)
        return torch.autograd.grad(loss, list(model.parameters()))

    output = model(inputs)
    expected = reference(model, inputs, fuse_inputs)
    torch.testing.assert_close(output.prediction, expected[0], atol=1e-10, rtol=1e-10)
    ours = gradients(output.prediction, *output.unimodal.values())
    theirs = gradients(*reference(model, inputs, fuse_inputs))
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)
    assert all(g.any() for g in ours)


def test_the_central_net_predicts_unless_predictions_are_fused():
    seed_everything(0, verbose=False)
    arguments = ({"a": (2, 24), "b": (2, 24)}, TargetSpec("multiclass", 3), partial(ConvEncoder, widths=(4, 6)))
    fused, own = CentralNet(*arguments, fuse_predictions=True).eval(), CentralNet(*arguments).eval()
    own.load_state_dict({k: x for k, x in fused.state_dict().items() if not k.startswith("fusions.prediction")})
    inputs = {name: torch.randn(4, 2, 24) for name in ("a", "b")}
    of_fused, of_own = fused(inputs), own(inputs)
    torch.testing.assert_close(of_own.prediction, of_fused.central)
    torch.testing.assert_close(of_own.unimodal, of_fused.unimodal)
    assert of_own.central is None
    mean = (of_fused.central + sum(of_fused.unimodal.values())) / 3
    torch.testing.assert_close(of_fused.prediction, mean)


def test_layers_are_named_in_order_of_depth():
    target = TargetSpec("multiclass", 3)
    signals = CentralNet({"a": (2, 24), "b": (2, 24)}, target, partial(ConvEncoder, widths=(4, 6)))
    assert {layer: list(sources) for layer, sources in signals.fusion_weights().items()} == {
        "inputs": ["a", "b"],
        "stage1": ["central", "a", "b"],
        "stage2": ["central", "a", "b"],
    }
    paper = CentralNet({"a": (2, 24), "b": (2, 24)}, target, partial(ConvEncoder, widths=(4,)), fuse_predictions=True)
    assert list(paper.fusion_weights()) == ["inputs", "stage1", "prediction"]
    images = CentralNet({"a": (2, 8, 8), "b": (2, 8, 8)}, target, partial(ConvEncoder, widths=(4, 6)))
    assert list(images.fusion_weights()["stage1"]) == ["a", "b"]
    assert "inputs" not in images.fusion_weights()


def test_with_source_norm_the_energy_is_the_weight():
    seed_everything(0, verbose=False)
    model = CentralNet({"a": (2, 24), "b": (2, 24)}, TargetSpec("multiclass", 3), partial(ConvEncoder, widths=(4, 6)))
    model.measuring = True
    for operator in model.fusions.values():
        nn.init.normal_(operator.weight)
    energy = model({"a": torch.randn(4, 2, 24), "b": torch.randn(4, 2, 24)}).energy
    weights = model.fusion_weights()
    for layer in ("stage1", "stage2"):
        for source, value in energy[layer].items():
            torch.testing.assert_close(value.sqrt(), weights[layer][source].expand(4), atol=1e-4, rtol=1e-4)


def test_initial_weights_of_unknown_sources_are_refused():
    with pytest.raises(ConfigError, match=r"`initial_weights` to name 'central' and the modalities .* got \['c'\]"):
        CentralNet(
            {"a": (2, 24), "b": (2, 24)},
            TargetSpec("multiclass", 3),
            partial(ConvEncoder, widths=(4, 6)),
            initial_weights={"central": 0.5, "a": 0.2, "b": 0.2, "c": 0.1},
        )


@pytest.mark.parametrize("name", ENCODERS)
def test_every_staged_encoder_keeps_its_laws(name):
    factory = partial(CentralNet, encoder=ENCODERS[name], head=partial(MLPHead, pool="mean"))
    check_strategy(factory, {"a": (2, 12), "b": (2, 12)})


@pytest.mark.parametrize("name", ENCODERS)
def test_every_staged_encoder_learns_what_is_planted(name, planted, make_trainer):
    seed_everything(0, verbose=False)
    data = planted(size=128)
    fast = TrainingConfig(optimizer=partial(torch.optim.Adam, lr=5e-3))
    model = CentralNet(data.modalities, data.target, ENCODERS[name], head=partial(MLPHead, pool="mean"), training=fast)
    trainer = make_trainer(max_epochs=12)
    trainer.fit(model, datamodule=data)
    assert trainer.callback_metrics["val/accuracy"] >= 0.9
