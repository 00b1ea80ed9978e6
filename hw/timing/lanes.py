"""Vectors of times for compiled code: one 32-bit number a lane, where each lane is a run of its own.

Chains of one design take the same tokens in the same order, whatever they are fed: only the times differ. So the
recurrences are written once, on lanes, and a processor's vector instructions time that many runs at once. How many is
read from the type of the arrays: records with one field of that many numbers, see `array`.

Compiled code adds, subtracts, multiplies and compares lanes, also with numbers, knows `max` and `min` of them, and has
    get(a, i), put(a, i, v)    element i of an array
    now(f), let(f, v)          a field of a record
    where(m, v, w)  some(m)  most(v)  pick(v, l)  with_lane(v, l, x)
"""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typeconv.castgraph import Conversion
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, lower_cast, models, register_model

CACHE_LINE = 64

# What compiled functions take and give. numba finds the types, anew for each call; to a checker of types they say no
# more than their names.
Times = Any  # a number a lane, or one for all
Flag = Any  # one truth, for all lanes
Record = Any  # of records.py
Array = Any  # of numbers or of lanes
_Emit = Callable[..., Any]  # builds LLVM's instructions


def array(size: int, lanes: int, kind: type = np.int32) -> np.ndarray:
    """Zeros for `get` and `put`; its field "lanes" is the array [size, lanes]. A vector never crosses a cache line."""
    return aligned(size, np.dtype([("lanes", kind, (lanes,))]))


def aligned(size: int, kind: np.dtype) -> np.ndarray:
    room = np.zeros(size * kind.itemsize + CACHE_LINE, np.uint8)
    start = -room.ctypes.data % CACHE_LINE
    return room[start : start + size * kind.itemsize].view(kind)


class Lanes(types.Type):
    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(name=f"Lanes({count})")

    def can_convert_from(self, typingctx: Any, other: types.Type) -> Conversion | None:
        return Conversion.safe if isinstance(other, types.Integer) else None

    def unify(self, typingctx: Any, other: types.Type) -> types.Type | None:
        return self if isinstance(other, types.Integer) else None


class Mask(types.Type):
    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(name=f"Mask({count})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Lanes) -> None:
        super().__init__(dmm, fe_type, _vector(fe_type.count))  # type: ignore[no-untyped-call]


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Mask) -> None:
        super().__init__(dmm, fe_type, _vector(fe_type.count, 1))  # type: ignore[no-untyped-call]


def _vector(count: int, bits: int = 32) -> ir.VectorType:
    return ir.VectorType(ir.IntType(bits), count)


def _spread(context: Any, builder: Any, fromty: types.Type, toty: Lanes, value: Any) -> Any:
    number = context.cast(builder, value, fromty, types.int32)
    vector = ir.Constant(_vector(toty.count), ir.Undefined)
    vector = builder.insert_element(vector, number, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(_vector(toty.count), [0] * toty.count)
    return builder.shuffle_vector(vector, vector, zeros)


lower_cast(types.Integer, Lanes)(_spread)


def _pairs(operation: Any, result: type[Lanes | Mask], inplace: Any = None) -> Callable[[_Emit], _Emit]:
    """Registers what the decorated function emits as `operation` of lanes and lanes or numbers."""

    class Template(AbstractTemplate):
        def generic(self, args: tuple[types.Type, ...], kws: Any) -> Any:
            lanes = [arg for arg in args if isinstance(arg, Lanes)]
            if lanes and all(isinstance(arg, Lanes | types.Integer) for arg in args):
                return signature(result(lanes[0].count), *[lanes[0]] * len(args))
            return None

    def register(emit: _Emit) -> _Emit:
        for key in (operation, *([] if inplace is None else [inplace])):
            infer_global(key)(type(f"_{key.__name__}", (Template,), {"key": key}))
            for count in range(2, 5):
                lower_builtin(key, *[Lanes] * count)(
                    lambda context, builder, sig, args: reduce(lambda a, b: emit(builder, a, b), args)
                )
        return emit

    return register


_pairs(operator.add, Lanes, operator.iadd)(lambda builder, a, b: builder.add(a, b))
_pairs(operator.sub, Lanes, operator.isub)(lambda builder, a, b: builder.sub(a, b))
_pairs(operator.mul, Lanes)(lambda builder, a, b: builder.mul(a, b))
_pairs(builtins.max, Lanes)(lambda builder, a, b: builder.select(builder.icmp_signed(">", a, b), a, b))
_pairs(builtins.min, Lanes)(lambda builder, a, b: builder.select(builder.icmp_signed("<", a, b), a, b))
for _key, _sign in (
    (operator.gt, ">"), (operator.ge, ">="), (operator.lt, "<"), (operator.le, "<="), (operator.eq, "=="),
):  # fmt: skip
    _pairs(_key, Mask)(lambda builder, a, b, sign=_sign: builder.icmp_signed(sign, a, b))


@infer_global(operator.and_)
class _And(AbstractTemplate):
    key = operator.and_

    def generic(self, args: tuple[types.Type, ...], kws: Any) -> Any:
        return signature(*args[:1], *args) if len(args) == 2 and all(isinstance(arg, Mask) for arg in args) else None


def _both(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.and_(*args)


lower_builtin(operator.and_, Mask, Mask)(_both)


def _intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """numba's, as compiled code calls it: without the typing context."""
    return intrinsic(function)


def _elements(kind: Any) -> Any:
    return kind if isinstance(kind, types.NestedArray) else kind.dtype.fields["lanes"].type


def _place(context: Any, builder: Any, kind: Any, value: Any, index: Any = None) -> tuple[Any, ir.VectorType, int]:
    """Pointer to a vector in memory, its bytes."""
    held = _elements(kind)
    size = held.shape[0] * held.dtype.bitwidth // 8
    start = builder.bitcast(context.make_array(kind)(context, builder, value).data, ir.IntType(8).as_pointer())
    if index is not None:
        start = builder.gep(start, [builder.mul(index, ir.Constant(index.type, size))])
    vector = _vector(held.shape[0], held.dtype.bitwidth)
    return builder.bitcast(start, vector.as_pointer()), vector, size


def _load(context: Any, builder: Any, kind: Any, value: Any, index: Any = None) -> Any:
    pointer, vector, size = _place(context, builder, kind, value, index)
    found = builder.load(pointer, align=size & -size)
    return found if vector.element.width == 32 else builder.sext(found, _vector(vector.count))


def _store(context: Any, builder: Any, kind: Any, value: Any, vector: Any, index: Any = None) -> Any:
    pointer, held, size = _place(context, builder, kind, value, index)
    builder.store(vector if held.element.width == 32 else builder.trunc(vector, held), pointer, align=size & -size)
    return context.get_dummy_value()


@_intrinsic
def get(typingctx: Any, array: Any, index: Any) -> Any:
    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _load(context, builder, sig.args[0], args[0], args[1])

    return Lanes(_elements(array).shape[0])(array, types.intp), emit


@_intrinsic
def put(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _store(context, builder, sig.args[0], args[0], args[2], args[1])

    return types.none(array, types.intp, Lanes(_elements(array).shape[0])), emit


@_intrinsic
def now(typingctx: Any, field: Any) -> Any:
    return Lanes(field.shape[0])(field), lambda context, builder, sig, args: _load(context, builder, sig.args[0], *args)


@_intrinsic
def let(typingctx: Any, field: Any, value: Any) -> Any:
    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _store(context, builder, sig.args[0], *args)

    return types.none(field, Lanes(field.shape[0])), emit


@_intrinsic
def where(typingctx: Any, mask: Any, value: Any, other: Any) -> Any:
    lanes = Lanes(mask.count)
    return lanes(mask, lanes, lanes), lambda context, builder, sig, args: builder.select(*args)


@_intrinsic
def some(typingctx: Any, mask: Any) -> Any:
    """In some lane."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = ir.IntType(mask.count)
        return builder.icmp_unsigned("!=", builder.bitcast(args[0], bits), bits(0))

    return types.boolean(mask), emit


@_intrinsic
def most(typingctx: Any, lanes: Any) -> Any:
    """The largest of all lanes."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [args[0].type])
        largest = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.smax.v{lanes.count}i32")
        return builder.sext(builder.call(largest, args), ir.IntType(64))

    return types.intp(lanes), emit


@_intrinsic
def pick(typingctx: Any, lanes: Any, lane: Any) -> Any:
    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.sext(builder.extract_element(*args), ir.IntType(64))

    return types.intp(lanes, types.intp), emit


@_intrinsic
def with_lane(typingctx: Any, lanes: Any, lane: Any, value: Any) -> Any:
    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.insert_element(args[0], args[2], args[1])

    return lanes(lanes, types.intp, types.int32), emit
