"""What a modality may be, and what a checkpoint's modalities are compared with."""

import warnings
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from fusionlit.encoders import Encoder
from fusionlit.errors import ConfigError, DataError
from fusionlit.models import CentralNet, EarlyFusion, IntermediateFusion, TrainingConfig, Unimodal
from fusionlit.models.schema import check_modalities, check_schema
from fusionlit.types import ModalitySpec, Shape, TargetSpec, as_specs, shapes_of

TWO = TargetSpec("multiclass", 2)
ACC = ModalitySpec((3, 16), channels=("x", "y", "z"), rate_hz=50.0, unit="m/s2")
WORDS = ModalitySpec((6,), "tokens")


class Embedded(Encoder):
    """The mean of the tokens' embeddings."""

    def __init__(self, shape):
        super().__init__()
        self.embedding = nn.Embedding(20, 8)

    @property
    def out_shape(self):
        return (8,)

    def forward(self, x):
        return self.embedding(x).mean(1)


@pytest.mark.parametrize(
    ("shape", "kind"), [((5,), "vector"), ((3, 16), "signal"), ((3, 8, 8), "image"), ((3, 4, 8, 8), None)]
)
def test_a_bare_shape_becomes_a_spec_of_the_usual_kind(shape, kind):
    spec = as_specs({"a": shape})["a"]
    assert (spec.shape, spec.kind, spec.normalize) == (shape, kind, True)
    assert shapes_of({"a": shape, "b": ACC}) == {"a": shape, "b": (3, 16)}


def test_a_spec_is_the_same_from_a_configuration_file():
    assert ModalitySpec([3, 16], channels=["x", "y", "z"], rate_hz=50.0, unit="m/s2") == ACC
    assert ModalitySpec([3, 16], channels=None) == ModalitySpec((3, 16))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ModalitySpec((3, 16), "image"), "of kind 'image', to have 3 dimensions"),
        (ModalitySpec((3, 16), "radar"), "one of .*'image'.*but got 'radar'"),
        (ModalitySpec((3, 0)), "a tuple of sizes"),
        (ModalitySpec(16), "a tuple of sizes, but got 16"),
        (ModalitySpec((3, 16), channels=("x",)), "`channels` of 'a' to be 3 names, one per channel"),
        (ModalitySpec((3, 16), rate_hz=0.0), "`rate_hz` of 'a' to be a number above 0"),
        (ModalitySpec((6,), "tokens", normalize=True), "`normalize` of 'a' to be false"),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(spec, message):
    with pytest.raises(ConfigError, match=message):
        check_modalities({"a": spec})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("shape", (3, 32), r"shape of acc is \(3, 16\) in the checkpoint, but \(3, 32\) in the data"),
        ("rate_hz", 100.0, "rate_hz of acc is 50.0 in the checkpoint, but 100.0"),
        ("unit", "g", "unit of acc is m/s2 in the checkpoint, but g"),
        ("channels", ("z", "y", "x"), "channels of acc"),
        ("normalize", False, "normalize of acc is True in the checkpoint, but False"),
    ],
)
def test_a_checkpoint_of_another_modality_is_refused(field, value, message):
    with pytest.raises(ConfigError, match=message):
        check_schema({"acc": ACC}, {"acc": replace(ACC, **{field: value})})


def test_kinds_that_are_stated_and_differ_are_refused_and_one_by_the_shape_alone_is_not_stated():
    depth, points, bare = (ModalitySpec((4, 8, 8), kind) for kind in ("depth", "points", None))
    with pytest.raises(ConfigError, match="kind of d is depth in the checkpoint, but points"):
        check_schema({"d": depth}, {"d": points})
    check_schema({"d": bare}, {"d": points})
    check_schema({"d": depth}, {"d": bare})
    with pytest.raises(ConfigError, match="kind of w is tokens in the checkpoint, but vector"):
        check_schema({"w": WORDS}, {"w": ModalitySpec((6,))})


def test_what_only_one_side_states_is_no_difference_and_new_names_are_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_schema({"acc": ACC}, {"acc": ModalitySpec((3, 16))})
        check_schema({"acc": ModalitySpec((3, 16))}, {"acc": ACC})
        check_schema({"acc": ACC}, {"acc": replace(ACC, rate_hz=50.2)})
    with pytest.warns(UserWarning, match=r"channels of acc are \['x', 'y', 'z'\] in the checkpoint"):
        check_schema({"acc": ACC}, {"acc": replace(ACC, channels=("ax", "ay", "az"))})


def test_tokens_are_embedded_as_they_are_and_never_normalised():
    model = IntermediateFusion({"acc": (3, 16), "words": WORDS}, TWO, encoders={"words": Embedded, "acc": Flat})
    assert list(model.normalization) == ["acc"]
    words = torch.randint(20, (4, 6))
    assert model({"acc": torch.randn(4, 3, 16), "words": words}).prediction.shape == (4, 2)
    with pytest.raises(DataError, match=r"of 'words' to be int64, since they are tokens, but got torch\.float32"):
        model({"acc": torch.randn(4, 3, 16), "words": words.float()})
    with pytest.raises(DataError, match=r"`inputs` of 'acc' to be floats, but got torch\.int64"):
        model({"acc": torch.ones(4, 3, 16, dtype=torch.int64), "words": words})


def test_missing_tokens_stay_integers():
    model = IntermediateFusion({"acc": (3, 16), "words": WORDS}, TWO, encoders={"words": Embedded, "acc": Flat}).eval()
    words, there = torch.randint(1, 20, (4, 6)), torch.tensor([True, False, True, True])
    inputs = {"acc": torch.randn(4, 3, 16), "words": words}
    missing = model(inputs, {"words": there}).prediction
    inputs["words"] = words.where(there[:, None], 19)
    torch.testing.assert_close(model(inputs, {"words": there}).prediction, missing)
    assert missing.isfinite().all()


def test_a_modality_that_the_data_does_not_normalise_is_named(planted, make_trainer):
    class Raw(planted):
        @property
        def modalities(self):
            return {**super().modalities, "noise": ModalitySpec((3, 16), normalize=False)}

    data = Raw()
    with pytest.raises(ConfigError, match=r"statistics of \['noise'\], which the model normalises"):
        make_trainer().fit(CentralNet({"strong": (3, 16), "noise": (3, 16)}, TWO), data)


def test_tokens_train_and_their_checkpoint_says_what_they_are(make_trainer, tmp_path):
    torch.manual_seed(0)
    words = torch.randint(20, (256, 6))
    batch = {
        "inputs": {"acc": torch.randn(256, 3, 16), "words": words},
        "target": (words == 7).any(1).long(),  # only the embedding of one token shows the class
        "index": torch.arange(256),
    }
    loader = torch.utils.data.DataLoader([batch], batch_size=None)
    model = IntermediateFusion(
        {"acc": (3, 16), "words": WORDS},
        TWO,
        encoders={"words": Embedded, "acc": Flat},
        training=TrainingConfig(optimizer=partial(torch.optim.Adam, lr=0.05)),
    )
    trainer = make_trainer(max_epochs=100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a plain loader
        trainer.fit(model, loader)
    trainer.save_checkpoint(tmp_path / "words.ckpt")
    loaded = IntermediateFusion.load_from_checkpoint(tmp_path / "words.ckpt").eval()
    assert loaded.modalities["words"] == WORDS
    right = loaded(batch["inputs"]).prediction.argmax(1) == batch["target"]
    assert right.float().mean() > 0.95


class Flat(Encoder):
    """The mean over time."""

    def __init__(self, shape):
        super().__init__()
        self.channels = shape[0]

    @property
    def out_shape(self):
        return (self.channels,)

    def forward(self, x):
        return x.mean(2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IntermediateFusion({"words": WORDS}, TWO), "an encoder that embeds the tokens"),
        (lambda: Unimodal({"words": WORDS}, TWO, "words"), "an encoder that embeds the tokens"),
        (lambda: EarlyFusion({"words": WORDS}, TWO), "are tokens"),
        (lambda: CentralNet({"a": WORDS, "b": WORDS}, TWO, encoder=Embedded, fuse_inputs=True), "staged"),
    ],
)
def test_tokens_without_an_encoder_of_their_own_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


class BareShapes(IntermediateFusion):
    def __init__(self, modalities: dict[str, Shape], target: TargetSpec):
        super().__init__(modalities, target)


def test_a_constructor_annotated_for_bare_shapes_takes_no_specs():
    BareShapes({"acc": (3, 16)}, TWO)
    with pytest.raises(ConfigError, match=r"`modalities` of .*BareShapes to be annotated as `fusionlit\.types"):
        BareShapes({"acc": ACC}, TWO)
