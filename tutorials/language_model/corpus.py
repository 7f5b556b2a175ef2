"""Three domains of real text that every Python installation carries, split into training and held-out documents.

A document is a help topic, a module or a table; a hash of its name says whether it is held out. Much of this text
repeats itself (help topics quote each other, code pages share most of their rows), so a line of 40 characters or
more is kept only where it first occurs, held-out documents first: no such line is in both parts.
"""

import encodings
import pkgutil
import zlib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DOMAINS = ("prose", "source", "tables")

TRAIN_BYTES = 300_000
"""At most this much training text a domain: there is about as much prose in every Python since 3.11."""

HELD_OUT_BYTES = 16_384
"""At most this much held-out text a domain: scoring it takes a tenth of a training run."""

EXCERPT_BYTES = 3_072
"""A held-out document gives this much from its middle, so that no long one stands for a whole domain."""

HELD_OUT_ONE_IN = 8

LONG_LINE = 40
"""From this many characters on, a line that returns is a copy and not a coincidence."""

SOURCE_MODULES = (
    "argparse bdb calendar cmd code configparser contextlib copy csv dataclasses difflib dis doctest fileinput "
    "fractions ftplib functools getopt getpass gettext gzip heapq html.parser http.client http.cookiejar "
    "http.cookies http.server imaplib inspect ipaddress json.decoder json.encoder locale logging.config "
    "logging.handlers mailbox mimetypes netrc optparse pdb pickle pickletools platform plistlib poplib pprint "
    "profile pstats pydoc queue random reprlib rlcompleter sched selectors shelve shlex shutil smtplib socketserver "
    "statistics subprocess symtable tabnanny tarfile tempfile textwrap threading timeit tokenize trace traceback "
    "tracemalloc types typing urllib.parse urllib.request urllib.robotparser uuid warnings wave weakref webbrowser "
    "xmlrpc.client zipapp"
).split()
"""Modules that CPython has as Python text since 3.11; `os` and others are frozen into the interpreter."""

TABLE_PREFIXES = ("cp", "hp_", "iso8859_", "koi8_", "mac_")
"""The modules of `encodings` that are tables from bytes to characters."""


class Domain(NamedTuple):
    """One domain's text as ASCII bytes."""

    train: NDArray[np.uint8]
    held_out: NDArray[np.uint8]


@cache
def load() -> dict[str, Domain]:
    """Read the three domains; the first call takes under half a second, later ones nothing.

    Returns:
        Domain by name. The text depends on the Python version and on nothing else.

    Raises:
        RuntimeError: If this Python was installed without the sources of its standard library.
    """
    return {name: _split(name) for name in DOMAINS}


def _split(domain: str) -> Domain:
    held_out, train = [], []
    for name, text in sorted(_documents(domain), key=lambda document: _digest(document[0])):
        if _digest(name) % HELD_OUT_ONE_IN == 0:
            held_out.append(_excerpt(text))
        else:
            train.append(text)
    if not (train and held_out):
        raise RuntimeError(
            f"the domain {domain!r} has {len(train)} documents to train on and {len(held_out)} to hold out: this "
            "Python seems to be installed without the sources of its standard library; use a full installation"
        )
    seen: set[str] = set()
    return Domain(
        held_out=_without_copies(held_out, seen)[:HELD_OUT_BYTES], train=_without_copies(train, seen)[:TRAIN_BYTES]
    )


def _documents(domain: str) -> Iterator[tuple[str, str]]:
    """Name and text of every document."""
    if domain == "prose":
        yield from import_module("pydoc_data.topics").topics.items()
        return
    if domain == "source":
        names = SOURCE_MODULES
    else:
        tables = [module.name for module in pkgutil.iter_modules(encodings.__path__)]
        names = [f"encodings.{name}" for name in tables if name.startswith(TABLE_PREFIXES)] + ["html.entities"]
    for name in names:
        if (text := _source(name)) is not None:
            yield name, text


def _source(module: str) -> str | None:
    spec = find_spec(module)
    get_source = getattr(spec.loader, "get_source", None) if spec else None
    return get_source(module) if get_source else None


def _digest(name: str) -> int:
    return zlib.crc32(name.encode())


def _excerpt(text: str) -> str:
    if len(text) <= EXCERPT_BYTES:
        return text
    start = (len(text) - EXCERPT_BYTES) // 2
    part = text[start : start + EXCERPT_BYTES]
    return part[part.find("\n") + 1 : part.rfind("\n") + 1]  # whole lines: half a line hides that it is a copy


def _without_copies(texts: list[str], seen: set[str]) -> NDArray[np.uint8]:
    """The texts as bytes, less the long lines in `seen`; adds theirs to it."""
    kept = []
    for line in "\n".join(texts).splitlines():
        if len(line) >= LONG_LINE:
            if line in seen:
                continue
            seen.add(line)
        kept.append(line)
    return np.frombuffer("\n".join(kept).encode("ascii", "replace"), dtype=np.uint8)
