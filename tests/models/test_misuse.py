"""Mistakes are answered with what was expected, what came and what to do: on the command line and in Python."""

import importlib
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch

from fusionlit.encoders import ConvEncoder
from fusionlit.errors import ConfigError, DataError
from fusionlit.models import CentralNet, EarlyFusion, IntermediateFusion, LateFusion, Unimodal

MODULE = """
import torch
from torch import nn

from fusionlit.data import FusionDataModule, ReplicatorDataModule
from fusionlit.encoders import ConvEncoder, Encoder, Head, StagedEncoder
from fusionlit.fusion import Add, FusionOperator
from fusionlit.models import FusionModule


class NoShape(FusionOperator):
    def forward(self, features, presence=None):
        return next(iter(features.values()))


class OtherShape(Add):
    @property
    def out_shape(self):
        return (7,)


class PlainOperator(nn.Module):
    def __init__(self, shapes):
        super().__init__()


class NoShapeEncoder(Encoder):
    def __init__(self, in_shape):
        super().__init__()

    def forward(self, x):
        return x


class NumberEncoder(NoShapeEncoder):
    out_shape = 64


class MethodEncoder(NoShapeEncoder):
    def out_shape(self):
        return (64,)


class PlainEncoder(nn.Module):
    def __init__(self, in_shape):
        super().__init__()


class OtherShapeEncoder(NoShapeEncoder):
    out_shape = (7,)


class BrokenShape(NoShapeEncoder):
    @property
    def out_shape(self):
        return (self.featurs,)


class NoneEncoder(NoShapeEncoder):
    out_shape = (7,)

    def forward(self, x):
        pass


class EmptyShapeEncoder(NoShapeEncoder):
    out_shape = (0,)


class NoStages(StagedEncoder):
    stage_shapes = ((8, 8),)

    def __init__(self, in_shape):
        super().__init__()


class FewStageShapes(ConvEncoder):
    def __init__(self, in_shape):
        super().__init__(in_shape, (4, 8))

    @property
    def stage_shapes(self):
        return super().stage_shapes[1:]


class OneHead(Head):
    def __init__(self, in_shape, out_size):
        super().__init__()
        self.linear = nn.LazyLinear(1)

    def forward(self, features):
        return self.linear(features.flatten(1))


class PlainHead(nn.Module):
    def __init__(self, in_shape, out_size):
        super().__init__()


class PlainFuse(FusionModule):
    def fuse(self, inputs, presence):
        return next(iter(inputs.values()))


class WrongLayer(FusionModule):
    def fuse(self, inputs, presence):
        return self.fuse_at("fusion", inputs, presence)


class NoStageShapes(StagedEncoder):
    def __init__(self, in_shape):
        super().__init__()


class OtherStageShapes(ConvEncoder):
    def __init__(self, in_shape):
        super().__init__(in_shape, (4, 8))

    @property
    def stage_shapes(self):
        first, second = super().stage_shapes
        return first, (second[0] + 1, *second[1:])


class NoFuse(FusionModule):
    pass


class NoHead(Head):
    pass


class NoData(FusionDataModule):
    pass


class Lacking(ReplicatorDataModule):
    def convert(self, batch):
        batch = super().convert(batch)
        return {**batch, "inputs": {"rgb": batch["inputs"]["rgb"]}}


class Cut(ReplicatorDataModule):
    def convert(self, batch):
        batch = super().convert(batch)
        return {**batch, "inputs": {**batch["inputs"], "rgb": batch["inputs"]["rgb"][..., 1:]}}


class Nothing(ReplicatorDataModule):
    def convert(self, batch):
        pass


class NoTarget(ReplicatorDataModule):
    def convert(self, batch):
        return {key: value for key, value in super().convert(batch).items() if key != "target"}


class Doubles(ReplicatorDataModule):
    def convert(self, batch):
        batch = super().convert(batch)
        return {**batch, "inputs": {**batch["inputs"], "rgb": batch["inputs"]["rgb"].double()}}


class NotFinite(ReplicatorDataModule):
    def convert(self, batch):
        batch = super().convert(batch)
        batch["inputs"]["rgb"][batch["index"] == self.dataset("train")[3]["index"], 0, 0, 0] = torch.nan
        return batch


class NoModalities(ReplicatorDataModule):
    @property
    def modalities(self):
        return {"rgb": self.shapes_of_rgb}


class Misspelt(ReplicatorDataModule):
    def convert(self, batch):
        return {**super().convert(batch), "presence": {"lydar": torch.ones(len(batch["target"]), dtype=torch.bool)}}
"""

ADD_OUT_SHAPE = (
    "to implement out_shape, but it does not. Add:\n",
    "    @property\n    def out_shape(self): ...  # Shape of the",
)
ADD_FUSE = ("NoFuse to implement fuse, but it does not. Add:\n", "    def fuse(self, inputs, presence): ...  # ")
encoder = partial(ConvEncoder, widths=(4, 8))


@pytest.fixture
def mine(tmp_path, monkeypatch) -> ModuleType:
    """A module of the user's own in the folder where she works."""
    (tmp_path / "my_parts.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return importlib.import_module("my_parts")


@pytest.fixture
def refused(fusionlit, shapes, mine, capsys) -> Callable[..., str]:
    """What `fusionlit fit` with some options says before it exits."""

    def run(*options: str, data: str = "ReplicatorDataModule") -> str:
        with pytest.raises(SystemExit) as stop:
            fusionlit("fit", f"--data={data}", f"--data.root={shapes}", "--trainer.fast_dev_run=1", *options)
        said = str(stop.value.code) if isinstance(stop.value.code, str) else capsys.readouterr().err
        assert said.startswith("fusionlit: ")
        return said

    return run


PARTS = {
    "operator without out_shape": ("fusion=my_parts.NoShape", ("my_parts.NoShape", *ADD_OUT_SHAPE)),
    "operator of another base": (
        "fusion=my_parts.PlainOperator",
        ("my_parts.PlainOperator cannot be used", "to be a subclass of FusionOperator."),
    ),
    "operator with another output": (
        "fusion=my_parts.OtherShape",
        (
            "OtherShape at layer 'fusion' to return (B, *(7,)), as its `out_shape` says, but got (",
            "Make the two agree.",
        ),
    ),
    "encoder without out_shape": ("encoder=my_parts.NoShapeEncoder", ("my_parts.NoShapeEncoder", *ADD_OUT_SHAPE)),
    "encoder of another base": (
        "encoder=my_parts.PlainEncoder",
        ("my_parts.PlainEncoder cannot be used", "to be a subclass of Encoder."),
    ),
    "encoder with a number for a shape": (
        "encoder=my_parts.NumberEncoder",
        ("my_parts.NumberEncoder to be a property that returns a tuple of sizes", "such as (64,), but got 64"),
    ),
    "encoder with a method for a property": (
        "encoder=my_parts.MethodEncoder",
        ("my_parts.MethodEncoder to be a property that returns a tuple of sizes", "but got <bound method"),
    ),
    "encoder with another output": (
        "encoder=my_parts.OtherShapeEncoder",
        ("the encoder of 'rgb' to return (B, *(7,)), as its `out_shape` or `stage_shapes` says, but got (", "agree"),
    ),
    "encoder whose out_shape fails": (
        "encoder=my_parts.BrokenShape",
        (
            "my_parts.BrokenShape to have a working property `out_shape`, but 'BrokenShape' object has",
            " no attribute 'featurs'",
        ),
    ),
    "encoder without features": (
        "encoder=my_parts.EmptyShapeEncoder",
        ("my_parts.EmptyShapeEncoder to be a property that returns a tuple of sizes", "but got (0,)"),
    ),
    "encoder that returns nothing": (
        "encoder=my_parts.NoneEncoder",
        ("the encoder of 'rgb' to return (B, *(7,)), as its `out_shape`", "but got NoneType"),
    ),
    "head of another base": (
        "head=my_parts.PlainHead",
        ("my_parts.PlainHead cannot be used", "to be a subclass of Head."),
    ),
    "head with another output": (
        "head=my_parts.OneHead",
        ("the head of IntermediateFusion to return (B, *(2,)), as `target.size` says, but got (", ", 1)"),
    ),
    "trunk of another base": (
        "trunk=my_parts.PlainEncoder",
        ("my_parts.PlainEncoder cannot be used", "to be a subclass of Encoder."),
    ),
    "trunk with another output": (
        "trunk=my_parts.OtherShapeEncoder",
        ("the trunk to return (B, *(7,)), as its `out_shape` says, but got (",),
    ),
    "encoder without stage_shapes": (
        "encoder=my_parts.NoStageShapes",
        (
            "my_parts.NoStageShapes to implement stage_shapes, but it does not. Add:",
            "def stage_shapes(self): ...  # Output shape",
        ),
    ),
}


@pytest.mark.parametrize(("option", "message"), PARTS.values(), ids=PARTS)
def test_parts_on_the_command_line(refused, option, message):
    said = refused("--model=IntermediateFusion", f"--model.{option}")
    assert all(words in said for words in message)


@pytest.mark.parametrize(("option", "message"), PARTS.values(), ids=PARTS)
def test_parts_in_python(mine, planted, option, message):
    argument, _, path = option.partition("=")
    name = path.removeprefix("my_parts.")
    if "cannot be used" in message[0]:  # what jsonargparse says of a class, Python finds when it has been made
        article, base = {"fusion": ("a", "FusionOperator"), "head": ("a", "Head")}.get(argument, ("an", "Encoder"))
        message = (f"Expected {article} {base}, but got {path}.", f"Write `class {name}({base})`")
    data = planted()
    with pytest.raises(ConfigError) as error:  # noqa: PT012 (some are found when built, others when called)
        model = IntermediateFusion(data.modalities, data.target, **{"encoder": encoder, argument: getattr(mine, name)})
        model({name: torch.randn(2, *shape) for name, shape in data.modalities.items()})
    assert all(words.replace("'rgb'", "'strong'") in str(error.value) for words in message)


STRATEGIES = {
    "early": EarlyFusion,
    "late": LateFusion,
    "intermediate": IntermediateFusion,
    "unimodal": partial(Unimodal, modality="strong"),
}


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
@pytest.mark.parametrize("name", ["NoShapeEncoder", "NumberEncoder", "PlainEncoder"])
def test_every_strategy_refuses_such_an_encoder(mine, planted, strategy, name):
    data = planted()
    with pytest.raises(ConfigError, match=f"my_parts.{name}"):
        strategy(data.modalities, data.target, encoder=getattr(mine, name))


@pytest.mark.parametrize("strategy", [EarlyFusion, IntermediateFusion, LateFusion])
def test_every_strategy_refuses_such_an_operator(mine, planted, strategy):
    data = planted()
    for name in ("NoShape", "PlainOperator"):
        with pytest.raises(ConfigError, match=f"my_parts.{name}"):
            strategy(data.modalities, data.target, fusion=getattr(mine, name))
    model = strategy(data.modalities, data.target, fusion=mine.OtherShape)
    with pytest.raises(ConfigError, match=r"OtherShape at layer '\w+' to return \(B, \*\(7,\)\)"):
        model({name: torch.randn(2, *shape) for name, shape in data.modalities.items()})


def test_a_stage_with_another_output(mine, planted):
    data = planted()
    inputs = {name: torch.randn(2, *shape) for name, shape in data.modalities.items()}
    for make in (CentralNet, partial(IntermediateFusion, stage=2), LateFusion, partial(Unimodal, modality="strong")):
        model = make(data.modalities, data.target, encoder=mine.OtherStageShapes)
        with pytest.raises(ConfigError, match=r"the encoder of 'strong' to return \(B, \*\(9, 4\)\).* got \(2, 8, 4\)"):
            model(inputs)


def test_a_factory_without_return(planted):
    with pytest.raises(ConfigError, match=r"Expected an Encoder, but got .*Does the factory lack a `return`\?"):
        IntermediateFusion(planted().modalities, planted().target, encoder=lambda shape: None)


def test_stages_and_their_shapes(mine, planted):
    data = planted()
    for name, got in [
        ("NoStages", r"0 stages and the shapes \(\(8, 8\),\)"),
        ("FewStageShapes", "2 stages and the shapes"),
    ]:
        for arguments in ({"encoder": getattr(mine, name)}, {"central": getattr(mine, name)}):
            with pytest.raises(ConfigError, match=rf"to have `self.stages` \(an `nn.ModuleList`\).*{got}"):
                CentralNet(data.modalities, data.target, **arguments)
    with pytest.raises(
        ConfigError, match=r"those of \['strong', 'noise'\] are not. Write `class Name\(StagedEncoder\)`"
    ):
        CentralNet(data.modalities, data.target, encoder=mine.OtherShapeEncoder)


@pytest.mark.parametrize("strategy", [LateFusion, partial(CentralNet, fuse_predictions=True)])
def test_a_wrong_head_is_not_blamed_on_the_operator(mine, planted, strategy):
    data = planted()
    model = strategy(data.modalities, data.target, head=mine.OneHead)
    with pytest.raises(ConfigError, match=r"source '\w+' of layer 'prediction' to return \(B, \*\(2,\)\)"):
        model({name: torch.randn(2, *shape) for name, shape in data.modalities.items()})


def test_a_shared_encoder_with_another_output(mine, planted):
    data = planted()
    model = EarlyFusion(data.modalities, data.target, encoder=mine.OtherShapeEncoder)
    with pytest.raises(ConfigError, match=r"the shared encoder to return \(B, \*\(7,\)\)"):
        model({name: torch.randn(2, *shape) for name, shape in data.modalities.items()})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("PlainFuse", "`fuse` of PlainFuse to return a FusionOutput, but got Tensor. Write `return FusionOutput"),
        ("WrongLayer", r"Expected one of the `fusion_layers` \[\], but got 'fusion'"),
    ],
)
def test_what_fuse_gives(mine, planted, name, message):
    data = planted()
    model = getattr(mine, name)(data.modalities, data.target)
    with pytest.raises(ConfigError, match=message):
        model({name: torch.randn(2, *shape) for name, shape in data.modalities.items()})


def test_shapes_may_be_lists_but_not_numbers(planted):
    class Lists(planted):
        @property
        def modalities(self):
            return {"strong": [3, 16], "noise": [3, 16]}

    data = Lists()
    assert set(data.input_statistics()) == {"strong", "noise"}
    model = IntermediateFusion(data.modalities, data.target)
    model({name: torch.randn(2, *shape) for name, shape in data.modalities.items()})
    with pytest.raises(ConfigError, match=r"shape of 'a' to be a tuple of sizes, but got \(3, 0\)"):
        IntermediateFusion({"a": (3, 0)}, data.target)


def test_a_target_that_is_none(planted):
    for target, advice in [(("multiclass", 2), False), ({"kind": "multiclass"}, True)]:
        with pytest.raises(ConfigError, match="Expected `target` to be a TargetSpec, but got") as error:
            IntermediateFusion(planted().modalities, target)
        assert ("annotate it" in str(error.value)) == advice


def test_a_bug_of_the_users_keeps_its_traceback(fusionlit, shapes, mine):
    options = ["--model=IntermediateFusion", "--trainer.fast_dev_run=1", f"--data.root={shapes}"]
    with pytest.raises(AttributeError, match="has no attribute 'shapes_of_rgb'") as error:
        fusionlit("fit", "--data=my_parts.NoModalities", *options)
    assert error.traceback[-1].path.name == "my_parts.py"


@pytest.mark.parametrize("option", ["FusionModule", '{"class_path": "FusionModule"}'])
def test_the_base_named_for_a_strategy(refused, option):
    said = refused(f"--model={option}")
    assert (
        "Write one of CentralNet, EarlyFusion, Ensemble, IntermediateFusion, LateFusion, Unimodal as class_path" in said
    )
    assert "to have fuse" not in said


def test_a_strategy_without_fuse(refused, mine, planted):
    said = refused("--model=my_parts.NoFuse")
    assert all(words in said for words in ADD_FUSE)
    with pytest.raises(ConfigError) as error:
        mine.NoFuse(planted().modalities, planted().target)
    assert all(words in str(error.value) for words in ADD_FUSE)


@pytest.mark.parametrize(
    ("name", "lacks"),
    [
        ("NoShape", "out_shape"),
        ("NoShapeEncoder", "out_shape"),
        ("NoStageShapes", "stage_shapes"),
        ("NoHead", "forward"),
        ("NoData", "dataset, modalities"),
    ],
)
def test_a_class_that_lacks_something_is_refused_wherever_it_is_made(mine, name, lacks):
    with pytest.raises(ConfigError, match=f"Expected my_parts.{name} to implement {lacks}, but it does not. Add:"):
        getattr(mine, name)((3, 4))


def test_encoders_and_modalities_that_do_not_meet(refused):
    conv = '{"class_path": "ConvEncoder"}'
    model = "--model=IntermediateFusion"
    said = refused(model, f'--model.encoders={{"rgb": {conv}, "radar": {conv}}}')
    assert "Expected `encoders` to name modalities of the data, ['rgb', 'lidar'], but got ['radar']" in said
    said = refused(model, f'--model.encoders={{"rgb": {conv}}}')
    assert "every modality, but ['lidar'] have none: add them, or give `encoder`" in said


BATCHES = {
    "Lacking": "Expected `inputs` to hold all modalities ['rgb', 'lidar'], but ['lidar'] are missing. For a missing",
    "Cut": "Expected `inputs` of 'rgb' to be (B, *(4, 64, 64)), but got (",
    "Nothing": "Expected `convert` of Nothing to return the batch, a dict, but got NoneType. Write `return {**batch,",
    "NoTarget": "Expected batches with a `target` to train on, but they hold ['inputs', 'index']. Unlabelled data",
    "Doubles": "Expected torch.float32 in `inputs`, but got {'rgb': torch.float64}. Convert them with `.float()` in",
    "NotFinite": "Expected 'rgb' to be finite in every training sample, but samples [",
    "Misspelt": "Expected the keys of `presence` to be among ['rgb', 'lidar'], but got 'lydar'",
}


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize(("name", "message"), BATCHES.items(), ids=BATCHES)
def test_a_batch_that_is_not_as_promised(refused, name, message, dropout):
    model = ["--model=IntermediateFusion", f"--model.training.modality_dropout={dropout}"]
    assert message in refused(*model, data=f"my_parts.{name}")


def test_inputs_and_presence_in_python(planted):
    data = planted()
    model = IntermediateFusion(data.modalities, data.target, encoder=encoder)
    inputs = {name: torch.randn(2, *shape) for name, shape in data.modalities.items()}
    model({**inputs, "radar": torch.randn(2, 1)})  # a further sensor is passed over
    for given, presence, message in [
        ({"strong": inputs["strong"]}, None, r"\['noise'\] are missing"),
        (
            {**inputs, "noise": inputs["noise"][..., 1:]},
            None,
            r"'noise' to be \(B, \*\(3, 16\)\), but got \(2, 3, 15\)",
        ),
        ({**inputs, "noise": inputs["noise"][:1]}, None, "'strong' has 2 samples and 'noise' has 1"),
        (inputs, {"noise": torch.tensor([True])}, r"with B = 2 as in its input, but got torch.bool \(1,\)"),
        (inputs, {"nose": torch.tensor([True, True])}, "but got 'nose'"),
        (inputs, {"noise": torch.tensor([1.0, 0.0])}, r"'noise' to be bool \(B,\).* got torch.float32 \(2,\)"),
        (inputs, {"noise": torch.tensor([[True], [False]])}, r"'noise' to be bool \(B,\).* got torch.bool \(2, 1\)"),
    ]:
        with pytest.raises(DataError, match=message):
            model(given, presence)


MAPS = """
class_path: IntermediateFusion
init_args:
  fusion:
    class_path: TensorFusion
  encoder:
    class_path: ConvEncoder
    init_args:
      widths: [4, 8]
"""


def test_maps_where_vectors_are_wanted_and_what_the_message_says_to_do(refused, fusionlit, shapes):
    file = Path("model.yaml")
    file.write_text(MAPS)
    said = refused(f"--model={file}")
    assert "sources of TensorFusion to be vectors (d,), but got {'rgb': (8, 16, 16), 'lidar': (8, 16, 16)}" in said
    dense, instead = re.findall(r"such as `(dense: \[\d+\])` of ConvEncoder, or use (\w+)", said)[0]
    for remedy in (MAPS + f"      {dense}\n", MAPS.replace("TensorFusion", instead)):
        file.write_text(remedy)
        fusionlit(
            "fit", "--data=ReplicatorDataModule", f"--data.root={shapes}", f"--model={file}", "--trainer.fast_dev_run=1"
        )


@pytest.mark.parametrize(
    ("path", "messages"),
    [
        ("my_part.NoShape", ["There is no module my_part, neither in {folder} nor installed; did you mean my_parts?"]),
        ("my_parts.NoShap", ["The module my_parts has no NoShap; did you mean NoShape?"]),
        ("my_parts.noshape", ["The module my_parts has no noshape"]),
        ("my_parts.py:NoShape", ["Write my_parts.NoShape instead of my_parts.py:NoShape."]),
        ("my_parts:NoShape", ["Write my_parts.NoShape instead of my_parts:NoShape."]),
        ("random.Part", ["The module random has no Part. It was loaded from ", "random.py."]),
        ("script.Part", ["script.py to be a module of classes, but it exits when it is imported (3)."]),
        ("broken.Part", ["The module broken cannot be imported: SyntaxError: ", "(broken.py, line 2)"]),
        ("needy.Part", ["The module needy cannot be imported: ModuleNotFoundError: No module named 'nowhere_to_find'"]),
        ("raising.Part", ["The module raising cannot be imported: NameError: name 'nn' is not defined"]),
    ],
)
@pytest.mark.parametrize("option", ["--model=", "--model=IntermediateFusion --model.fusion="])
def test_a_class_path_that_cannot_be_imported(refused, tmp_path, option, path, messages):
    (tmp_path / "random.py").write_text("class Part: ...")  # the standard library's comes first
    (tmp_path / "script.py").write_text("raise SystemExit(3)")
    (tmp_path / "broken.py").write_text("\ndef part(:\n")
    (tmp_path / "needy.py").write_text("import nowhere_to_find\n")
    (tmp_path / "raising.py").write_text("class Part(nn.Module):\n    pass\n")
    said = refused(*f"{option}{path}".split())
    assert all(message.format(folder=tmp_path) in said for message in messages)


def test_an_argument_that_no_class_takes(refused):
    said = refused("--model=IntermediateFusion", "--model.encoder=ConvEncoder", "--model.encoder.widht=[4]")
    assert "There is no widht; did you mean width" in said
    assert "fusionlit fit --model CLASS --model.encoder.help CLASS" in said


def test_a_strategy_of_another_base(refused):
    said = refused("--model=my_parts.PlainOperator")
    assert "my_parts.PlainOperator cannot be used" in said
    assert "subclass of FusionModule" in said
