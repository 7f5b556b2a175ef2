"""`bayesopt plot`: a study as a picture."""

from pathlib import Path

import pytest

from bayesopt.cli import main


def test_plot_writes_a_picture(capsys, make_study):
    pytest.importorskip("matplotlib")
    make_study(1)
    assert main(["plot"]) == 0
    assert Path("study.png").read_bytes().startswith(b"\x89PNG")
    assert main(["plot", "--out", "page.svg"]) == 0
    assert Path("page.svg").stat().st_size > 0
    assert main(["plot", "--out", "page.doc"]) == 2
    assert "no picture format ends in 'doc'; take one of" in capsys.readouterr().err
