"""The trajectories as TensorBoard shows them, in a real browser."""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from fusionlit.main import main
from fusionlit.synthetic import render

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CHROMEDRIVER = shutil.which("chromedriver")
LAYERS = {
    "stage1": ["rgb", "lidar"],
    "stage2": ["central", "rgb", "lidar"],
    "stage3": ["central", "rgb", "lidar"],
}
PATIENCE = 60  # seconds
CHROMIUM_ARGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1600,1400",
]


def wait_for(condition):
    """Whether `condition()` has come true in time."""
    deadline = time.monotonic() + PATIENCE
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return true


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def request(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=PATIENCE) as answer:
        return answer.read()


def answers(url):
    try:
        return bool(request(url))
    except OSError:
        return False


class Browser:
    """The little of the W3C WebDriver protocol that is needed here."""

    def __init__(self, driver, profile):
        options = {"binary": CHROMIUM, "args": [*CHROMIUM_ARGS, f"--user-data-dir={profile}"]}
        capabilities = {"alwaysMatch": {"goog:chromeOptions": options}}
        session = json.loads(request(f"{driver}/session", {"capabilities": capabilities}))["value"]["sessionId"]
        self.session = f"{driver}/session/{session}"

    def open(self, url):
        request(f"{self.session}/url", {"url": url})

    def run(self, script):
        return json.loads(request(f"{self.session}/execute/sync", {"script": script, "args": []}))["value"]

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(json.loads(request(f"{self.session}/screenshot"))["value"]))

    def close(self):
        urllib.request.urlopen(urllib.request.Request(self.session, method="DELETE"), timeout=PATIENCE).close()


@contextmanager
def serving(command, url, log):
    """Run a server until the block ends; it begins when `url` answers."""
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as server:
        try:
            assert wait_for(lambda: server.poll() is not None or answers(url)), f"{command} gave no answer"
            assert server.poll() is None, log.read_text()
            yield
        finally:
            server.terminate()


@pytest.fixture
def run(tmp_path):
    """Folder of a run of the quick start, cut short, as the command line makes it."""
    render(tmp_path / "data", frames=40)
    options = {
        "--config": Path(__file__).parents[1] / "configs/quickstart.yaml",
        "--data.init_args.root": tmp_path / "data",
        "--trainer.max_epochs": 3,
        "--trainer.log_every_n_steps": 1,
        "--trainer.logger.init_args.save_dir": tmp_path / "runs",
        "--fusion_weights.every_n_steps": 1,
    }
    main(["fit", *(str(x) for option in options.items() for x in option)])
    (folder,) = (tmp_path / "runs/quickstart").iterdir()
    return folder


@pytest.fixture
def browser(tmp_path):
    port = free_port()
    driver = f"http://127.0.0.1:{port}"
    with serving([CHROMEDRIVER, f"--port={port}"], f"{driver}/status", tmp_path / "chromedriver.log"):
        browser = Browser(driver, tmp_path / "profile")
        yield browser
        browser.close()


# TensorBoard is made of web components: what is on the page lies in shadow roots within shadow roots.
FIND = """
function find(selector, root) {
  return [...root.querySelectorAll('*')].flatMap(
    (x) => [...(x.matches(selector) ? [x] : []), ...(x.shadowRoot ? find(selector, x.shadowRoot) : [])]);
}
"""
CHARTS = f"""{FIND}
const text = (x) => x.textContent.trim();
return find('tf-category-paginated-view', document).map((category) => [
  text(find('.category-name', category.shadowRoot)[0]),
  find('tf-custom-scalar-multi-line-chart-card', category).map((card) => ({{
    title: text(find('.heading-label', card.shadowRoot)[0]),
    legend: find('.match-list-entry', card.shadowRoot).map((x) => text(x).split(/\\s+/)[1]).sort(),
    lines: find('path.line', card.shadowRoot).filter((x) => x.getAttribute('d')).length,
  }})),
]);
"""
SHOW_LEGENDS = f"{FIND} find('.toggle-matches-button', document).forEach((x) => x.click());"
MOVING = f"{FIND} return find('iron-collapse', document).some((x) => x.transitioning);"


@pytest.mark.skipif(not CHROMIUM or not CHROMEDRIVER, reason="needs Chromium (Debian: chromium, chromium-driver)")
def test_custom_scalars_show_a_chart_per_layer_with_a_line_per_source(run, browser, tmp_path):
    expected = []
    for kind in ("fusion_weights", "contributions", "attributions"):
        charts = []
        for layer, sources in LAYERS.items():
            drawn = sorted(x for x in sources if kind != "attributions" or x != "central")
            # Each source has two lines: a faint one as logged, and that smoothed.
            legend = [f"{kind}/{layer}/{x}" for x in drawn]
            charts.append({"title": layer, "legend": legend, "lines": 2 * len(drawn)})
        expected.append([kind, charts])

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(run), "--load_fast=false"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with serving(command, url, tmp_path / "tensorboard.log"):
        browser.open(f"{url}/#custom_scalars")
        wait_for(lambda: browser.run(CHARTS) == expected)
        browser.run(SHOW_LEGENDS)
        wait_for(lambda: not browser.run(MOVING))
        browser.screenshot(Path(os.environ.get("FUSIONLIT_SCREENSHOTS", tmp_path)) / "custom_scalars.png")
        assert browser.run(CHARTS) == expected
