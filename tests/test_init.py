"""What `import fusionlit` offers."""

import subprocess
import sys

import fusionlit
from fusionlit.models.hparams import class_path


def test_public_names_are_those_of_their_packages_and_lead_configurations():
    for name in fusionlit.__all__:
        assert getattr(fusionlit, name).__name__ == name
        assert name in dir(fusionlit)
    assert class_path(fusionlit.CentralNet) == "fusionlit.CentralNet"
    assert fusionlit.CentralNet.__module__ == "fusionlit.models.centralnet"


def test_a_bare_import_is_light():
    code = "import sys, fusionlit; print(sorted({'torch', 'lightning', 'jsonargparse', 'numpy'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
