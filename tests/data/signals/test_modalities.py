import pytest

from fusionlit.data.signals.modalities import by_prefix, check_modalities, stack_specs
from fusionlit.data.signals.windows import Grid
from fusionlit.errors import ConfigError, DataError
from fusionlit.types import ModalitySpec


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        (
            ["acc_x", "acc_y", "pulse", "acc_z", "gyro_X", "gyro_Y"],
            {"acc": ["acc_x", "acc_y", "acc_z"], "pulse": ["pulse"], "gyro": ["gyro_X", "gyro_Y"]},
        ),
        (["acc_x", "acc_1", "acc_2"], {"acc_x": ["acc_x"], "acc_1": ["acc_1"], "acc_2": ["acc_2"]}),
        (["acc", "acc_x", "acc_y"], {"acc": ["acc"], "acc_x": ["acc_x"], "acc_y": ["acc_y"]}),
        (["x", "y", "_x", "_y"], {"x": ["x"], "y": ["y"], "_x": ["_x"], "_y": ["_y"]}),
        (["q_w", "q_x"], {"q": ["q_w", "q_x"]}),
    ],
)
def test_the_axes_of_one_sensor_are_a_modality(channels, expected):
    assert by_prefix(channels) == expected


@pytest.mark.parametrize(
    ("modalities", "message"),
    [
        ({}, "Expected `modalities` to name channels"),
        ({"acc": []}, r"Expected `modalities` to name channels, .* but got \{'acc': \[\]\}"),
        (
            {"acc": ["acc_x", "acc_Y"]},
            r"channels of the data, \['acc_x', 'acc_y', 'ecg'\], but 'acc' names 'acc_Y'\. Did you mean 'acc_y'",
        ),
        ({"heart": ["pulse"]}, r"'heart' names 'pulse'\.$"),
        (
            {"a": ["acc_x"], "b": ["acc_x", "ecg"]},
            r"each channel once in `modalities`, but got \['acc_x'\] more than once",
        ),
        ({"a": ["ecg", "ecg"]}, r"but got \['ecg'\] more than once"),
    ],
)
def test_channels_that_are_not_there_or_named_twice_are_refused(modalities, message):
    with pytest.raises(ConfigError, match=message):
        check_modalities(modalities, ["acc_x", "acc_y", "ecg"])


def test_a_modality_is_as_wide_as_its_channels():
    grids = {"a": Grid(5, 10.0, "g"), "b": Grid(5, 10.0, "V"), "c": Grid(7, 14.0)}
    assert stack_specs({"both": ["a", "b"], "c": ["c"]}, grids) == {
        "both": ModalitySpec((2, 5), "signal", channels=("a", "b"), rate_hz=10.0),
        "c": ModalitySpec((1, 7), "signal", channels=("c",), rate_hz=14.0),
    }


@pytest.mark.parametrize(
    ("other", "found"), [(Grid(6, 12.0), r"b \(6 samples at 12 Hz\)"), (Grid(5, None), r"b \(5 samples\)")]
)
def test_channels_of_one_modality_share_their_grid(other, found):
    with pytest.raises(
        DataError, match=rf"modality 'both' to have the same length and rate, but got a \(5 .* 10 Hz\), {found}"
    ):
        stack_specs({"both": ["a", "b"]}, {"a": Grid(5, 10.0), "b": other})
