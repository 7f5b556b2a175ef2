"""What every picture shares: its colours, its frame and its texts."""

import io
from typing import TYPE_CHECKING, Any, Final

from matplotlib.figure import Figure, FigureBase

from bayesopt.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The palette of Okabe and Ito, which people with any kind of colour vision can tell apart.
BLUE: Final = "#0072B2"
ORANGE: Final = "#E69F00"
RED: Final = "#D55E00"
GREEN: Final = "#009E73"
INK: Final = "#333333"
GREY: Final = "#8C8C8C"
PALE: Final = "#E4E4E4"
FILLED: Final[dict[str, Any]] = {"marker": "o", "color": BLUE, "s": 22, "alpha": 0.6, "linewidths": 0}
"""How a trial is drawn that satisfies the constraints, or one of them."""
HOLLOW: Final[dict[str, Any]] = {
    "marker": "D",
    "facecolors": "none",
    "edgecolors": ORANGE,
    "s": 24,
    "linewidths": 1.2,
}
"""How one is drawn that does not."""

_DPI: Final = 130
_NAME_WIDTH: Final = 24
"""Characters of a name that are shown."""
_TITLE_NAME_WIDTH: Final = 40
"""Characters of the objective's name that are shown in a title."""


class Picture(Figure):
    """A figure that notebooks show by itself, although pyplot, which would teach them to, is not touched."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, known to nobody else."""
    return Picture(figsize=(width, height), dpi=_DPI, layout="constrained", facecolor="white")


def title(figure: FigureBase, text: str) -> None:
    """Say on top of a picture what is seen."""
    figure.suptitle(plain(text, 130), fontsize=11.5, color=INK)


def tidy(ax: "Axes") -> None:
    """The same quiet frame and grid for every panel."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GREY)
    ax.tick_params(color=GREY, labelcolor=INK, labelsize=8.5)
    ax.xaxis.label.set_color(INK)
    ax.yaxis.label.set_color(INK)
    ax.grid(color=PALE, linewidth=0.7)
    ax.set_axisbelow(True)


def say(ax: "Axes", text: str) -> None:
    """An empty panel that says why it is empty."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, text, ha="center", va="center", color=GREY, fontsize=11, transform=ax.transAxes)


def objective_name(study: Study) -> str:
    """The objective's name as a title has room for it."""
    name = study.outcomes.objective.name
    return name if len(name) <= _TITLE_NAME_WIDTH else name[: _TITLE_NAME_WIDTH - 1] + "…"


def plain(text: Any, width: int = _NAME_WIDTH) -> str:
    """A text as it is: not too long, and without the meaning that matplotlib gives to a dollar sign."""
    text = " ".join(str(text).split()) or repr(text)
    if len(text) > width:  # names that begin alike often end differently
        head = (width - 1) * 3 // 5
        text = f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"
    return text.replace("$", r"\$")
