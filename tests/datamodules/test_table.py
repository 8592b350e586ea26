"""`read_table`: numbers from files, and errors of one line."""

import numpy as np
import pytest

from lightning_clip.datamodules.table import read_table

NAMED = "date,price,volume\n2020-01-01,1.5,10\n2020-01-02,,20\n\n2020-01-03,-2e3,NaN\n"


def csv(tmp_path, content, encoding="utf-8"):
    path = tmp_path / "data.csv"
    path.write_bytes(content.encode(encoding))
    return str(path)


def test_named_columns(tmp_path):
    """Columns come in the selected order, missing values are NaN, and dates and empty lines do not matter."""
    table = read_table(csv(tmp_path, NAMED), columns=["volume", "price"])
    assert table.names == ("volume", "price")
    np.testing.assert_array_equal(table.values, [[10, 1.5], [20, np.nan], [np.nan, -2000]])
    assert list(table.places) == ["line 2", "line 3", "line 5"]


def test_columns_without_names(tmp_path):
    """Columns without names are numbered from 0, and the first line is a row."""
    table = read_table(csv(tmp_path, "1;2\n3;4\n"), delimiter=";")
    assert table.names == ("0", "1")
    assert table.values.tolist() == [[1, 2], [3, 4]]
    assert table.places[0] == "line 1"


@pytest.mark.parametrize("word", ["", " ", "NA", "n/a", "NaN", "null", "None", "?"])
def test_words_for_a_missing_value(tmp_path, word):
    """Words for a missing value are recognized, also in a first line without names."""
    assert np.isnan(read_table(csv(tmp_path, f"a,b\n1,{word}\n")).values[0, 1])
    assert np.isnan(read_table(csv(tmp_path, f"1,{word}\n2,3\n")).values[0, 1])


def test_what_spreadsheets_write(tmp_path):
    """Byte order marks, quotes around names and numbers, and Windows line ends are handled."""
    table = read_table(csv(tmp_path, '"a, in m",b\r\n"1.5",2\r\n', "utf-8-sig"))
    assert table.names == ("a, in m", "b")
    assert table.values.tolist() == [[1.5, 2]]


@pytest.mark.parametrize("array", [np.arange(6), np.arange(6).reshape(3, 2) / 2, np.array([True, False])])
def test_arrays(tmp_path, array):
    """Arrays can have one or several columns, of any numeric type."""
    np.save(tmp_path / "data.npy", array)
    table = read_table(str(tmp_path / "data.npy"))
    np.testing.assert_array_equal(table.values, array.reshape(len(array), -1))
    assert table.names == tuple(map(str, range(table.values.shape[1])))
    assert table.places[1] == "row 1"


def test_columns_of_an_array(tmp_path):
    """Columns of an array are selected by their number."""
    np.save(tmp_path / "data.npy", np.arange(6).reshape(2, 3))
    assert read_table(str(tmp_path / "data.npy"), columns=["2", "0"]).values.tolist() == [[2, 0], [5, 3]]


def test_columns_can_be_taken_from_a_table(tmp_path):
    """`take` selects columns by name, and all columns with `None`."""
    table = read_table(csv(tmp_path, "a,b,c\n1,2,3\n"))
    assert table.take(["c", "a"]).tolist() == [[3, 1]]
    assert table.take(None).tolist() == [[1, 2, 3]]


def test_places_of_cells(tmp_path):
    """`first` gives the place of the first marked cell."""
    table = read_table(csv(tmp_path, "a,b\n1,2\n3,\n,4\n"))
    assert table.first(np.isnan(table.values)) == "line 3, column 'b'"
    assert table.first(np.isinf(table.values)) is None


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ("a,b\n1,x\n", None, r"data\.csv, line 2: 'x' in column 'b' is not a number; select columns with columns="),
        (NAMED, None, r"line 2: '2020-01-01' in column 'date' is not a number"),
        ("a,b\n1,2\n3\n", None, r"data\.csv, line 3: expected 2 cells, found 1"),
        ("a,b\n1,2\n", ["c"], r"data\.csv: no column 'c'; the columns are 'a', 'b'"),
        ("", None, r"data\.csv: the file is empty"),
        ("\n\n", None, "the file is empty"),
    ],
)
def test_bad_files(tmp_path, content, columns, message):
    """Bad files raise an error of one line with file, line and column."""
    with pytest.raises(ValueError, match=message):
        read_table(csv(tmp_path, content), columns=columns)


def test_files_of_something_else(tmp_path):
    """Files of another format raise an error of one line."""
    with pytest.raises(ValueError, match=r"nowhere\.csv: No such file or directory\."):
        read_table(str(tmp_path / "nowhere.csv"))
    with pytest.raises(ValueError, match=r"data\.csv: not UTF-8: .* at byte 1\."):
        read_table(csv(tmp_path, "aé,b\n", "latin-1"))
    (tmp_path / "text.npy").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.npy: not an array of numbers"):
        read_table(str(tmp_path / "text.npy"))
    np.save(tmp_path / "cube.npy", np.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match=r"cube\.npy: expected an array of numbers, \(steps,\) or \(steps, columns\)"):
        read_table(str(tmp_path / "cube.npy"))
