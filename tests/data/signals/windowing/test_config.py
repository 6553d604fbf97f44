import pytest
from jsonargparse import ArgumentParser

from fusionlit.data.signals.windowing.config import Windowing
from fusionlit.errors import ConfigError


def test_seconds():
    assert Windowing(2.56, "seconds", hop=1.28).seconds(50.0) == (2.56, 1.28)
    assert Windowing(128, "samples", hop=32).seconds(50.0) == pytest.approx((2.56, 0.64))
    assert Windowing(3, "seconds").seconds(50.0) == (3, 3)


def test_comes_from_yaml():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--windowing", type=Windowing)
    config = parser.parse_string(
        "windowing: {length: 128, unit: samples, hop: 64, rates: {acc: 50}, columns: {time: t, label: activity}}"
    )
    windowing = parser.instantiate_classes(config).windowing
    assert windowing.seconds(50.0) == (2.56, 1.28)
    assert (windowing.columns.time, windowing.columns.label, windowing.columns.group) == ("t", "activity", "group")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 0, "unit": "seconds"}, "Expected `length` of Windowing to be a number above 0, but got 0."),
        (
            {"length": float("nan"), "unit": "seconds"},
            "Expected `length` of Windowing to be a number above 0, but got nan.",
        ),
        (
            {"length": 1, "unit": "seconds", "hop": -1},
            "Expected `hop` of Windowing to be a number above 0, but got -1.",
        ),
        (
            {"length": 1, "unit": "seconds", "rates": {"acc": 0.0}},
            "Expected the rate of 'acc' of Windowing to be a number above 0, but got 0.0.",
        ),
        (
            {"length": 2.56, "unit": "samples"},
            "Expected `length` of Windowing to be a whole number with `unit: samples`, but got 2.56. For seconds, set"
            " `unit: seconds`.",
        ),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ConfigError) as error:
        Windowing(**arguments)
    assert str(error.value) == message
