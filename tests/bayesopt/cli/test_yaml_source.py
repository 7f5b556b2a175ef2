"""A YAML file as entries: scalars are what YAML 1.2 says, and a file that is none is named."""

import pytest

from bayesopt.cli.study_file import read_study_file
from bayesopt.errors import ConfigFileError
from tests.bayesopt.cli.files import SMALL

X = "  x: {type: float, low: 0, high: 1}"


def test_options_are_what_yaml_1_2_says_they_are(read):
    options = "[1e-5, 1e3, on, off, yes, no, true, 12:30:00, 2024-01-01, 1_234, 007x, ~, .5, +3, 'null', 0x1F]"
    file = read(SMALL.replace("x: {type: float, low: 0, high: 1}", f"x: {{type: choice, options: {options}}}"))
    expected = [1e-5, 1e3, "on", "off", "yes", "no", True, "12:30:00", "2024-01-01", 1234, "007x", None, 0.5, 3, "null"]
    expected.append("0x1F")
    assert list(file.space["x"].options) == expected
    assert [type(option) for option in file.space["x"].options] == [type(option) for option in expected]


@pytest.mark.parametrize("low", ["1e-5", "'1e-5'", "0.00001", "1E-5", ".00001"])
def test_a_number_may_be_written_in_any_way(read, low):
    assert read(SMALL.replace("low: 0", f"low: {low}")).space["x"].low == 1e-5


def test_a_name_that_yaml_1_1_takes_for_a_boolean_stays_a_name(read):
    assert list(read(SMALL.replace("x:", "y:").replace("{x}", "{y}")).space) == ["y"]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigFileError, match=r"none\.yaml: cannot be read: No such file"):
        read_study_file(tmp_path / "none.yaml")
    with pytest.raises(ConfigFileError, match=r"cannot be read: Is a directory"):
        read_study_file(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("größe: 1".encode("latin-1"))
    with pytest.raises(ConfigFileError, match=r"latin\.yaml: is no UTF-8 text \(.* at byte 2\)"):
        read_study_file(tmp_path / "latin.yaml")


def test_a_byte_order_mark_does_no_harm(read):
    assert list(read("\ufeff" + SMALL).space) == ["x"]


def test_a_shared_value_may_be_written_once(read):
    file = read(SMALL.replace(X, "  x: &x {type: float, low: 0, high: 1}\n  y: *x").replace('"{x}"', '"{x}", "{y}"'))
    assert file.space["x"] == file.space["y"]
