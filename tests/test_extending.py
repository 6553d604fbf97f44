"""docs/extending.md, executed as it stands: its files in an empty folder, its commands with the real console script."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fusionlit.compare import Ledger

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/extending.md").read_text()
FILES = dict(re.findall(r"^`(\S+)`:\n\n```\w+\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
COMMANDS = re.findall(r"^```bash\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
ALONE, FUSED = ("audio", "vibration"), ("both", "maximum", "residual")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The reader's folder, when she has done all that the page says; `output.txt` has what she saw."""
    folder = tmp_path_factory.mktemp("extending")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": scripts, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment.pop("PYTHONPATH", None)
    seen = []
    for command in COMMANDS:
        ran = subprocess.run(
            ["bash", "-euc", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=280
        )
        assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"
        seen.append(ran.stdout)
    (folder / "output.txt").write_text("".join(seen))
    return folder


def test_every_file_and_command_of_the_page_is_taken():
    assert len(FILES) + len(COMMANDS) == PAGE.count("```") // 2
    assert all(name in PAGE.split("```bash")[-1] for name in ("data.yaml", *(f"{m}.yaml" for m in (*ALONE, *FUSED))))


def test_a_data_set_takes_fifteen_lines():
    """Those that open its samples and convert them, without docstring and empty lines."""
    (data,) = (
        each for each in ast.parse(FILES["machines.py"]).body if getattr(each, "name", "") == "MachineDataModule"
    )
    docstring = data.body[0]
    lines = enumerate(FILES["machines.py"].splitlines()[: data.end_lineno], start=1)
    code = [line for n, line in lines if n == data.lineno or (n > docstring.end_lineno and line.strip())]
    assert len(code) <= 15


@pytest.mark.timeout(600)
def test_what_the_page_promises_comes_out(folder):
    accuracy = {row.model: row.metrics["test/accuracy"] for row in Ledger(folder / "comparison/rows.jsonl").rows()}
    assert set(accuracy) == {*ALONE, *FUSED}
    assert "Each sensor alone stays below 0.8; each fusion exceeds 0.95." in PAGE
    assert max(accuracy[model] for model in ALONE) < 0.8
    assert min(accuracy[model] for model in FUSED) > 0.95
    run = folder / "lightning_logs/version_0"
    assert (run / "checkpoints/best.ckpt").is_file()
    assert (run / "fusion_weights.png").is_file()
    assert {name: len(groups) for name, groups in json.loads((folder / "fold.json").read_text()).items()} == {
        "train": 270,
        "val": 90,
        "test": 90,
    }
    assert list(folder.glob("lightning_logs/version_*/refit/checkpoints/last.ckpt"))
    output = (folder / "output.txt").read_text()
    assert float(re.findall(r"test/accuracy\W+([\d.]+)", output)[0]) > 0.95
    assert all(re.search(rf"{sensor} +0.500 ", output) for sensor in ALONE)
    assert "All laws hold." in output
    assert "Channels of the second, which are the features." in output  # of the encoder's own docstring


def test_the_readmes_operator_is_the_pages():
    assert FILES["my_fusion.py"] in (ROOT / "README.md").read_text()
