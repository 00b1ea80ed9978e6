"""Memory images: what $readmemh will find."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from scaflow.hw.mem import images, parameters, write_memories
from scaflow.quant.golden.mac_array import MacArray


@dataclass(frozen=True)
class Module:
    lanes: int
    width: int
    table: np.ndarray = field(metadata={"bits": "width"})
    banks: np.ndarray = field(metadata={"bits": "width"})
    index: np.ndarray = field(metadata={"bits": "width", "signed": False})


CFG = Module(2, 4, np.array([[1, -1], [-8, 7]]), np.array([[[1]], [[-2]]]), np.array([[15]]))


def test_lane_0_is_lowest_and_negative_values_wrap():
    assert images(CFG, "s_")["s_table.mem"] == "f1\n78\n"


def test_a_bank_is_a_file_of_its_own():
    texts = images(CFG)
    assert (texts["banks_00.mem"], texts["banks_01.mem"]) == ("1\n", "e\n")


def of_five(depth, width):
    if width == 4:
        return {"": (slice(depth), slice(width))}
    return {f"_{c:03d}": (slice(depth), slice(5 * c, 5 * c + 5)) for c in range(-(-width // 5))}


@dataclass(frozen=True)
class Deep:
    width: int
    banks: np.ndarray = field(metadata={"bits": "width", "cut": of_five})


def test_a_bank_in_columns_of_its_bits():
    """Words 0x93a and 0xf0c of 12 bits, lowest first: columns of 5, 5 and 2 bits."""
    cfg = Deep(4, np.array([[[-6, 3, -7], [-4, 0, -1]]]))
    assert images(cfg) == {
        "banks_00_000.mem": "1a\n0c\n", "banks_00_001.mem": "09\n18\n", "banks_00_002.mem": "2\n3\n",
    }  # fmt: skip
    assert images(Deep(4, cfg.banks[:, :, :1])) == {"banks_00.mem": "a\nc\n"}


def test_a_bank_deeper_than_a_block_ram_is_cut_into_segments():
    """Words of 4 bits, each the lowest of its address: bits of 16,384 of them, a file each, and 6 whole ones left."""
    words = np.arange(16390) % 16
    cfg = MacArray(1, 1, 1, 0, 1, 4, 16, 16390, np.where(words > 7, words - 16, words).reshape(1, -1, 1))
    texts = images(cfg)
    assert list(texts) == [f"weights_00_{end}.mem" for end in ("000_000", "000_001", "000_002", "000_003", "001_000")]
    assert texts["weights_00_000_002.mem"] == "0\n0\n0\n0\n1\n1\n1\n1\n" * 2048
    assert texts["weights_00_001_000.mem"] == "0\n1\n2\n3\n4\n5\n"


def test_parameters_are_the_fields_in_capitals():
    assert parameters(CFG, "s_") == {
        "LANES": 2,
        "WIDTH": 4,
        "TABLE_FILE": "s_table",
        "BANKS_FILE": "s_banks",
        "INDEX_FILE": "s_index",
    }


def test_write(tmp_path):
    assert write_memories(CFG, tmp_path) == parameters(CFG)
    assert (tmp_path / "index.mem").read_text() == "f\n"


@pytest.mark.parametrize(("field_name", "value"), [("table", 8), ("table", -9), ("index", 16), ("index", -1)])
def test_a_value_that_does_not_fit(field_name, value):
    arrays = {"table": CFG.table, "banks": CFG.banks, "index": CFG.index, field_name: np.array([[value]])}
    with pytest.raises(ValueError, match=rf"^memory '{field_name}': values {value}\.\.{value} do not fit 4 bits"):
        images(Module(2, 4, **arrays))
