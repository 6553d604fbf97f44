"""What was wrong is what is raised, not what was wrapped around it."""

from argparse import ArgumentError

import pytest

from fusionlit.cli.errors import suggest_option, unwrapped
from fusionlit.errors import ConfigError

OURS = ConfigError("ours")


@pytest.mark.parametrize("around", [ValueError("x"), TypeError("x"), SystemExit(2), ArgumentError(None, "x")])
def test_our_error_comes_out_of_what_is_wrapped_around_it(around):
    with pytest.raises(ConfigError) as found, unwrapped():
        raise around from OURS
    assert found.value is OURS


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(0), ConfigError("x")])
def test_any_other_error_passes(error):
    with pytest.raises(type(error)) as found, unwrapped():
        raise error
    assert found.value is error


def test_a_module_that_exits_is_named(tmp_path, monkeypatch):
    (tmp_path / "exiting_part.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"exiting_part.py to be a module of classes, but it exits"), unwrapped():
        __import__("exiting_part")


def test_an_option_is_meant_only_within_its_group():
    there_are = ["trainer.max_epochs", "data.max_epoch"]
    assert suggest_option("trainer.max_epoch", there_are) == "There is no trainer.max_epoch; did you mean max_epochs?"
    assert suggest_option("model.max_epoch", there_are) is None
