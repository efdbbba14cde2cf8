"""The files and pieces of files that the guides show are such files: the programs that read them take them."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.docs.examples import Step, steps
from tests.support.tools import ROOT, require_tool
from tunnelctl.agent.job_identity import GITLAB_TOKEN
from tunnelrelay.config.config import load_config

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]
SELF_HOSTING = ROOT / "docs" / "guides" / "self-hosting.md"


def shown(kind: str) -> list[tuple[Path, Step]]:
    """Every step of a kind, with its page."""
    return [(page, step) for page in PAGES for step in steps(page.read_text()) if step.kind == kind]


CHECKED = shown("check")
UNITS = [(page, step) for page, step in shown("file") if step.rest.startswith("/etc/systemd/")]


def is_relay_config(text: str, folder: Path) -> None:
    file = folder / "relay.toml"
    file.write_text(text)
    load_config(flags={}, env={"HOME": str(folder)}, file=file)


def is_javascript(text: str, folder: Path) -> None:
    file = folder / "action.cjs"
    file.write_text(text)
    subprocess.run([require_tool("node", "nodejs"), "--check", str(file)], check=True)


def is_python(text: str, _: Path) -> None:
    compile(f"def mapping(request):\n{re.sub('^', '    ', text, flags=re.MULTILINE)}", "mapping", "exec")


def is_github_workflow(text: str, _: Path) -> None:
    workflow = yaml.safe_load(text)
    assert workflow["permissions"]["id-token"] == "write"
    scripts = [step["run"] for job in workflow["jobs"].values() for step in job["steps"]]
    assert scripts
    for script in scripts:
        subprocess.run(["bash", "-n", "-c", script], check=True)


def is_gitlab_pipeline(text: str, _: Path) -> None:
    (job,) = yaml.safe_load(text).values()
    ((name, token),) = job["id_tokens"].items()
    # A job that is the agent shows its token to the relay, one that visits shows it to the endpoint.
    assert token == {"aud": "https://tun.example" if name == GITLAB_TOKEN else "https://demo.tun.example"}
    for line in job["script"]:
        subprocess.run(["bash", "-n", "-c", line], check=True)


READERS: dict[str, Callable[[str, Path], None]] = {
    "relay.toml": is_relay_config,
    "javascript": is_javascript,
    "python": is_python,
    "github-actions.yaml": is_github_workflow,
    "gitlab-ci.yaml": is_gitlab_pipeline,
}


@pytest.mark.parametrize(("page", "step"), CHECKED, ids=lambda part: getattr(part, "name", None) or part.rest)
def test_a_piece_of_a_file_is_one(page: Path, step: Step, tmp_path: Path) -> None:
    READERS[step.rest](step.block, tmp_path)


@pytest.mark.parametrize(("page", "step"), UNITS, ids=lambda part: getattr(part, "name", None) or part.rest)
def test_systemd_takes_every_unit_without_a_word(page: Path, step: Step, tmp_path: Path) -> None:
    analyze = require_tool("systemd-analyze", "systemd")
    text = step.block
    if step.rest.endswith(".conf"):  # a drop-in: the settings of a unit that is elsewhere
        text = text.replace("[Service]", "[Service]\nExecStart=/bin/true")
    unit = tmp_path / "tunnelrelay.service"
    unit.write_text(text.replace("/usr/local/bin/tunnelrelay", "/bin/true"))
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_debians_caddy_refuses_the_module_that_the_guide_says_it_lacks(tmp_path: Path) -> None:
    caddy = require_tool("caddy")
    text = next(step.block for step in steps(SELF_HOSTING.read_text()) if "dns cloudflare" in step.block)
    (tmp_path / "Caddyfile").write_text(text)
    done = subprocess.run(
        [caddy, "adapt", "--config", str(tmp_path / "Caddyfile"), "--adapter", "caddyfile"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "module not registered: dns.providers.cloudflare" in done.stderr
