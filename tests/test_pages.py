"""Every block of commands or Python in the README and in `docs/` is run by a test, or stands here with a reason."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    (page.name, block)
    for page in PAGES
    for block in re.findall(r"^```(?:bash|python)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
]
HOURS = "trains for hours; what it gave lies in benchmarks/results"
# By their first words: the test that runs them, or why none does.
RUN_BY = {
    "make demo": "installs 5 GB; CI runs `make test` in a clean checkout, and the demo's commands are those below",
    ". .venv/bin/activate": "tests/test_main.py",
    "fusionlit fit --data configs/data/uci_har.yaml": "tests/test_configs.py",
    "fusionlit fit ... --refit true": "tests/fit/test_refit.py, tests/fit/test_folds.py: the dots are any options",
    "from fusionlit import CentralNet": "below",
    "from pathlib import Path\n\nfrom fusionlit import build_run": "below",
    "import math": "tests/test_main.py",
    "python benchmarks/public_sets.py": "reads originals that the reader has to fetch, and " + HOURS,
    "python benchmarks/": HOURS,
    ".venv/bin/jupyter execute": "tests/test_notebooks.py, in a folder of its own",
}


def test_every_block_is_run_or_has_a_reason():
    found = {first for first in RUN_BY for page, block in BLOCKS if block.startswith(first)}
    assert found == set(RUN_BY), "stands here, but on no page"
    # All of docs/extending.md is taken by tests/test_extending.py, which says so itself.
    left = [block for page, block in BLOCKS if page != "extending.md" and not block.startswith(tuple(RUN_BY))]
    assert left == []


@pytest.mark.filterwarnings("ignore:The number of training batches", "ignore:The '.*dataloader' does not have")
def test_the_readmes_python_runs(shapes, tmp_path, monkeypatch):
    """As it stands, on fewer frames and one epoch; RUN is the folder of that run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/frames").symlink_to(shapes)
    load, train = ([b for p, b in BLOCKS if p == "README.md" and b.startswith(f)] for f in list(RUN_BY)[4:6])
    names = {}
    exec(train[0].replace('"trainer.max_epochs": 3', '"trainer.max_epochs": 1'), names)
    run = names["run"]
    inputs = run.datamodule.convert(next(iter(run.datamodule.test_dataloader())))["inputs"]
    names = {"rgb": inputs["rgb"], "lidar": inputs["lidar"]}
    exec(load[0].replace("RUN", "lightning_logs/version_0"), names)
    assert names["output"].prediction.shape == (len(inputs["rgb"]), 2)
    assert set(names["output"].unimodal) == {"rgb", "lidar"}
