"""One rule for each name that a checkpoint's pickle may call: what plain value it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mining.generators.checkpoints.arrays import (
    Storage,
    TensorRef,
    array,
    numpy_code,
    shown,
    tensor,
)
from mining.generators.checkpoints.converting import Converter, Rules, all_of
from mining.generators.checkpoints.names import (
    DICTS,
    NUMPY_ROOTS,
    PERSISTENT,
    SETS,
    TENSORFLOW_NETWORK,
)
from mining.generators.checkpoints.nodes import Budget, Call, Name, Persistent, Slice
from mining.generators.checkpoints.plain import Module, TensorFlowNetwork
from mining.generators.checkpoints.torch_files import is_legacy, read_legacy
from schemas.errors import InputError

SCALARS = {f"{root}.multiarray.scalar" for root in NUMPY_ROOTS}


def plain_value(root: Any, storages: Mapping[Persistent, Storage], budget: Budget) -> Any:
    """The plain value of a pickle's root node.

    Raises:
        InputError: a name is used in another way than checkpoints do, or a limit is passed.
    """
    return Converter(budget, storages, RULES).plain(root)


def _arguments(node: Call, least: int, most: int | None = None) -> tuple[Any, ...]:
    """A call's arguments, if nothing else was put on its result."""
    if node.state is not None or node.entries:
        raise InputError(f"{node.name.full} is given a state, which no checkpoint does")
    return _counted(node, least, most)


def _counted(node: Call, least: int, most: int | None = None) -> tuple[Any, ...]:
    if not least <= len(node.arguments) <= (most or least):
        raise InputError(f"{node.name.full} has {len(node.arguments)} arguments, not {least}")
    return node.arguments


def _set(converter: Converter, node: Call) -> list[Any]:
    values = converter.plain(_arguments(node, 0, 1))
    return list(values[0]) if values and isinstance(values[0], list) else []


def _dict(converter: Converter, node: Call) -> dict[Any, Any]:
    """An OrderedDict or EasyDict; its state (`_metadata` of a state_dict) says nothing we need."""
    pairs = converter.plain(_counted(node, 0, 1))
    first = pairs[0] if pairs else []
    if not isinstance(first, list):
        raise InputError(f"{node.name.full} is made of a {type(first).__name__}, not of pairs")
    listed = []
    for pair in first:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise InputError(f"{node.name.full} is made of something other than pairs")
        listed.append((converter.key(pair[0]), pair[1]))
    return dict(listed) | converter.mapping(node.entries)


def _namespace(converter: Converter, node: Call) -> dict[str, Any]:
    return {name: converter.plain(value) for name, value in converter.state_of(node).items()}


def _encoded(converter: Converter, node: Call) -> bytes:
    text, encoding = converter.plain(_arguments(node, 2))
    if encoding != "latin1" or not isinstance(text, str):
        raise InputError("_codecs.encode is asked for something other than latin1")
    try:
        return text.encode("latin1")
    except UnicodeEncodeError:
        raise InputError("bytes written as text hold more than bytes; it is damaged") from None


def _no_bytes(converter: Converter, node: Call) -> bytes:
    _arguments(node, 0)
    return b""


def _bytes_of(converter: Converter, node: Any) -> Slice:
    """Bytes as they lie in the file, or as protocol 2 wrote them as text."""
    if isinstance(node, Slice):
        return node
    if isinstance(node, Call) and node.name.full in ("_codecs.encode", "__builtin__.bytes"):
        data = converter.plain(node)
        return Slice(data, 0, len(data))
    raise InputError(f"{shown(node)} stands where bytes are expected")


def _nested_file(converter: Converter, node: Call) -> Any:
    """A legacy torch file inside a byte string: how a plain pickle writes a torch storage."""
    source = _bytes_of(converter, *_arguments(node, 1))
    if converter.nested or not is_legacy(source):
        raise InputError("a byte string that should be a torch storage is not one")
    file = read_legacy(source, converter.budget)
    inner = Converter(converter.budget, file.storages, RULES, outer=converter)
    value = inner.plain(file.root)
    converter.count(inner.values)
    return value


def _tensor(converter: Converter, node: Call) -> TensorRef:
    """torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)."""
    arguments = _arguments(node, 4, 7)
    if arguments[6:] and converter.plain(arguments[6]):
        raise InputError("a tensor is saved as the negative or conjugate of what its file holds")
    storage, offset, shape, strides = (converter.plain(value) for value in arguments[:4])
    if not isinstance(storage, Storage):
        raise InputError(f"a tensor lies in a {type(storage).__name__}, not in a storage")
    if not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise InputError("a tensor's shape and strides are not tuples")
    return tensor(storage, offset, shape, strides)


def _parameter(converter: Converter, node: Call) -> TensorRef:
    value = converter.plain(_arguments(node, 3)[0])
    if not isinstance(value, TensorRef):
        raise InputError(f"a parameter is a {type(value).__name__}, not a tensor")
    return value


def _size(converter: Converter, node: Call) -> tuple[Any, ...]:
    (value,) = converter.plain(_arguments(node, 1))
    return tuple(value) if isinstance(value, list | tuple) else ()


def _device(converter: Converter, node: Call) -> str:
    kind = _arguments(node, 1, 2)[0]
    if not isinstance(kind, str):
        raise InputError("a device is not named by a text")
    return kind


def _dtype(converter: Converter, node: Call) -> str:
    """A NumPy dtype's code: dtype("f4", False, True) with the state (3, "<", None, ...)."""
    code = _counted(node, 1, 3)[0]
    state = node.state
    if not isinstance(state, tuple) or len(state) < 5 or state[2:5] != (None, None, None):
        raise InputError("a NumPy dtype has fields or no byte order; expected plain numbers")
    return numpy_code(code, state[1])


def _dtype_of(converter: Converter, node: Any) -> str:
    if not isinstance(node, Call) or node.name.full != "numpy.dtype":
        raise InputError("a NumPy array or number has no dtype")
    return converter.plain(node)


def _ndarray(converter: Converter, node: Call) -> TensorRef:
    """An array made empty, with the state (version, shape, dtype, fortran, bytes)."""
    made = _counted(node, 3)
    if not isinstance(made[0], Name) or made[0].full != "numpy.ndarray":
        raise InputError("a NumPy array is of a class other than ndarray")
    if not isinstance(node.state, tuple) or len(node.state) != 5:
        raise InputError("a NumPy array has no state")
    _, shape, dtype, fortran, data = node.state
    code = _dtype_of(converter, dtype)
    return array(code, _shape(converter, shape), fortran is True, _bytes_of(converter, data))


def _frombuffer(converter: Converter, node: Call) -> TensorRef:
    """An array as pickle protocol 5 writes it: _frombuffer(bytes, dtype, shape, order)."""
    data, dtype, shape, order = _arguments(node, 4)
    code = _dtype_of(converter, dtype)
    return array(code, _shape(converter, shape), order == "F", _bytes_of(converter, data))


def _shape(converter: Converter, node: Any) -> tuple[int, ...]:
    value = converter.plain(node)
    if not isinstance(value, tuple):
        raise InputError("a NumPy array's shape is not a tuple")
    return value


def _scalar(converter: Converter, node: Call) -> Any:
    return np.asarray(_number(converter, node).read()).item()


def _number(converter: Converter, node: Call) -> TensorRef:
    """A NumPy number as an array without dimensions: scalar(dtype, bytes)."""
    dtype, data = _arguments(node, 2)
    return array(_dtype_of(converter, dtype), (), False, _bytes_of(converter, data))


def _persistent(converter: Converter, node: Call) -> Module:
    """An object of NVIDIA's torch_utils.persistence; its source text is not looked at."""
    meta = converter.named(_arguments(node, 1)[0])
    class_name = meta.get("class_name")
    if meta.get("type") != "class" or not isinstance(class_name, str):
        raise InputError("a persistent object is not described as torch_utils.persistence does")
    return converter.module(class_name, converter.named(meta.get("state")))


def _tensorflow(converter: Converter, node: Call) -> TensorFlowNetwork:
    """A network of dnnlib.tflib; its source text is not looked at."""
    state = converter.state_of(node)
    name, function = state.get("name"), state.get("build_func_name")
    version = state.get("version")
    if not isinstance(name, str) or not isinstance(function, str) or type(version) is not int:
        raise InputError("a TensorFlow network has no name, version or builder")
    components = converter.inner(state, "components")
    all_of(components, TensorFlowNetwork)
    keywords = converter.inner(state, "static_kwargs")
    variables = _variables(converter, state.get("variables"))
    return TensorFlowNetwork(name, version, function, keywords, components, variables)


def _variables(converter: Converter, node: Any) -> dict[str, TensorRef]:
    """A TensorFlow network's variables: pairs of a name and an array, or a number's own array."""
    if not isinstance(node, list):
        raise InputError("a TensorFlow network has no list of variables")
    converter.count(10 * len(node))  # each takes longer than a plain value
    found: dict[str, TensorRef] = {}
    for pair in node:
        match pair:
            case (str(name), Call() as value) if value.name.full in SCALARS:
                found[name] = _number(converter, value)
            case (str(name), Call() as value):
                found[name] = converter.plain(value)
            case _:
                raise InputError("a TensorFlow network's variable is not a name with an array")
    all_of(found, TensorRef)
    return found


RULES: Rules = {
    **dict.fromkeys(SETS, _set),
    **dict.fromkeys(DICTS, _dict),
    **{f"{root}.multiarray._reconstruct": _ndarray for root in NUMPY_ROOTS},
    **dict.fromkeys(SCALARS, _scalar),
    **{f"{root}.numeric._frombuffer": _frombuffer for root in NUMPY_ROOTS},
    "numpy.dtype": _dtype,
    "argparse.Namespace": _namespace,
    "__builtin__.bytes": _no_bytes,
    "_codecs.encode": _encoded,
    "torch.Size": _size,
    "torch.device": _device,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.storage._load_from_bytes": _nested_file,
    PERSISTENT: _persistent,
    TENSORFLOW_NETWORK: _tensorflow,
}
