"""The GPTQ and AWQ layouts of one layer, written and read number by number, as an independent check
of our arithmetic on whole tensors.
"""

from __future__ import annotations

import numpy as np

AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


def words(values: np.ndarray, bits: int) -> np.ndarray:
    """Pack each row of whole numbers into 32-bit words, lowest bits first; numbers may span two
    words.
    """
    packed = []
    for row in values.tolist():
        stream = sum(value << place * bits for place, value in enumerate(row))
        packed.append(
            [(stream >> 32 * place) & 0xFFFFFFFF for place in range(len(row) * bits // 32)]
        )
    return np.array(packed, dtype=np.uint32).view(np.int32)


def numbers(packed: np.ndarray, bits: int) -> np.ndarray:
    """Unpack what `words` packed."""
    found = []
    for row in np.ascontiguousarray(packed).view(np.uint32).tolist():
        stream = sum(word << 32 * place for place, word in enumerate(row))
        found.append(
            [(stream >> place * bits) & ((1 << bits) - 1) for place in range(len(row) * 32 // bits)]
        )
    return np.array(found)


def gptq_weight(
    qweight: np.ndarray, qzeros: np.ndarray, scales: np.ndarray, g_idx: np.ndarray, *, bits: int
) -> np.ndarray:
    """Return the weights (outputs, inputs) of a GPTQ layer: (number - zero point - 1) times
    scale."""
    values, points = numbers(qweight.T, bits), (numbers(qzeros, bits) + 1) % (1 << bits)
    shape = values.shape
    return np.array(
        [
            [
                (values[o, i] - points[g_idx[i], o]) * float(scales[g_idx[i], o])
                for i in range(shape[1])
            ]
            for o in range(shape[0])
        ]
    )


def awq_weight(qweight: np.ndarray, qzeros: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Return the weights (outputs, inputs) of an AWQ layer of 4 bits: (number - zero point) times
    scale.
    """
    values, points = _sorted(numbers(qweight, 4)), _sorted(numbers(qzeros, 4))
    inputs, outputs = values.shape
    size = inputs // len(scales)
    return np.array(
        [
            [
                (values[i, o] - points[i // size, o]) * float(scales[i // size, o])
                for i in range(inputs)
            ]
            for o in range(outputs)
        ]
    )


def awq_words(values: np.ndarray) -> np.ndarray:
    """Pack each row as AWQ does."""
    places = np.concatenate([np.array(AWQ_ORDER) + start for start in range(0, values.shape[1], 8)])
    return words(values[:, places], 4)


def _sorted(interleaved: np.ndarray) -> np.ndarray:
    found = np.empty_like(interleaved)
    for place in range(interleaved.shape[1]):
        found[:, place - place % 8 + AWQ_ORDER[place % 8]] = interleaved[:, place]
    return found
