"""What a hostile or a damaged file can do: be refused in one line, and nothing else."""

from __future__ import annotations

import ast
import functools
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.generators.checkpoints import reading
from mining.generators.checkpoints.machine import parse
from mining.generators.checkpoints.nodes import Budget, Call, Pairs, Slice
from mining.generators.checkpoints.plain import Module, TensorRef
from mining.generators.checkpoints.reading import read_plain
from mining.generators.checkpoints.rules import plain_value
from schemas.errors import InputError
from tests.mining.generators.checkpoints import hostile_files, made_files

COMMANDS = hostile_files.commands(Path("/nowhere"))
BOMBS = hostile_files.bombs()
CONTAINERS = hostile_files.containers()


def refused(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_plain(path)
    message = str(caught.value)
    assert said in message
    assert "\n" not in message and message.startswith(f"checkpoint {path}: ")
    assert len(message) < 600 + len(str(path))


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_command_is_refused_and_not_run(tmp_path, kind):
    marker = tmp_path / "was-run"
    content, said = hostile_files.commands(marker)[kind]
    refused(tmp_path / "hostile.pkl", content, said)
    assert not marker.exists()


def test_the_commands_would_run_in_a_reader_that_trusts_them(tmp_path):
    """Else the test above could not fail: one of the files, read as nobody should."""
    marker = tmp_path / "was-run"
    content, _ = hostile_files.commands(marker)["os.system"]
    reading_as_nobody_should = __import__("pickle").loads
    reading_as_nobody_should(content)
    assert marker.exists()


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused(tmp_path, kind):
    refused(tmp_path / "bomb.pkl", *BOMBS[kind])


def test_more_text_than_a_checkpoint_has_is_refused(tmp_path):
    one = b"X" + (15 << 20).to_bytes(4, "little") + bytes(15 << 20)
    refused(tmp_path / "text.pkl", hostile_files.bare(b"(" + one * 5 + b"t"), "64 MiB in all")


@pytest.mark.parametrize("kind", CONTAINERS)
def test_an_odd_container_is_refused(tmp_path, kind):
    refused(tmp_path / "odd.pt", *CONTAINERS[kind])


def test_the_reader_has_nothing_to_run_things_with():
    """None of its files imports what could import or call by name."""
    folder = Path(reading.__file__).parent
    for file in sorted(folder.glob("*.py")):
        tree = ast.parse(file.read_text())
        imports = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        } | {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        called = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert not imports & {"pickle", "_pickle", "marshal", "shelve", "copyreg", "runpy"}, file
        assert not called & {"eval", "exec", "compile", "__import__"}, file
        if file.name in READER:
            assert not imports & {"importlib", "subprocess", "os", "torch", "ctypes"}, file
            assert not called & {"getattr", "setattr", "globals", "vars"}, file


READER = {
    *("arrays.py", "converting.py", "machine.py", "names.py", "nodes.py", "opcodes.py"),
    *("plain.py", "reading.py", "rules.py", "stack.py", "stored_zip.py", "torch_files.py"),
}


def saved(legacy: bool) -> bytes:
    file = io.BytesIO()
    value = {"g_ema": made_files.generator()[1], "size": 16}
    torch.save(value, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


SOUND = {
    "pickle": made_files.snapshot(4)[0],
    "pickle 2": made_files.snapshot(2)[0],
    "zip": saved(False),
    "legacy": saved(True),
}


def plain_of(value):
    """Everything that a file holds, tensors read, so that two readings can be compared."""
    match value:
        case TensorRef():
            return np.array(value.read()).tobytes(), value.shape, value.dtype
        case Module():
            kept = dict(value.init_kwargs), dict(value.attributes), dict(value.modules)
            return plain_of([value.class_name, dict(value.tensors()), *kept])
        case dict():
            return {key: plain_of(inner) for key, inner in value.items()}
        case list() | tuple():
            return [plain_of(inner) for inner in value]
    return value


def read_or_refused(path: Path, content: bytes):
    path.write_bytes(content)
    try:
        return plain_of(read_plain(path).root)
    except InputError as error:
        assert "\n" not in str(error)
        return None


@pytest.mark.parametrize("kind", SOUND)
@settings(max_examples=60)
@given(data=st.data())
def test_a_file_cut_short_is_refused(tmp_path_factory, kind, data):
    sound = SOUND[kind]
    length = data.draw(st.integers(0, len(sound) - 1))
    assert read_or_refused(tmp_path_factory.getbasetemp() / "cut", sound[:length]) is None


@pytest.mark.parametrize("kind", SOUND)
@settings(max_examples=120)
@given(data=st.data())
def test_changed_bytes_are_read_or_refused(tmp_path_factory, kind, data):
    """No other exception comes, whatever byte changes; numbers themselves carry no checksum."""
    changed = bytearray(SOUND[kind])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(changed) - 1))
        changed[place] = data.draw(st.integers(0, 255))
    read_or_refused(tmp_path_factory.getbasetemp() / "changed", bytes(changed))


@settings(max_examples=150)
@given(body=st.binary(max_size=60))
def test_random_opcodes_are_read_or_refused(tmp_path_factory, body):
    read_or_refused(tmp_path_factory.getbasetemp() / "random", hostile_files.bare(body))


def slots(node, put):
    """Every place in a tree of nodes, as its value and what puts another value there."""
    yield node, put
    if isinstance(node, tuple):
        for index, value in enumerate(node):
            yield from slots(value, lambda new, i=index: put((*node[:i], new, *node[i + 1 :])))
    if isinstance(node, list):
        for index, value in enumerate(node):
            yield from slots(value, functools.partial(node.__setitem__, index))
    if isinstance(node, Call):
        fixed = functools.partial(setattr, node)  # the machine makes names and tuples of no other
        yield from list(slots(node.arguments, functools.partial(fixed, "arguments")))[1:]
        yield from slots(node.state, functools.partial(fixed, "state"))
    if isinstance(node, Call | Pairs):
        for index, (key, value) in enumerate(node.entries):
            change = functools.partial(node.entries.__setitem__, index)
            yield from slots(key, lambda new, change=change, value=value: change((new, value)))
            yield from slots(value, lambda new, change=change, key=key: change((key, new)))


@settings(max_examples=120)
@given(data=st.data())
def test_values_in_each_others_places_are_read_or_refused(data):
    """Nodes of a sound file swapped or replaced: each rule meets arguments of every kind."""
    kind = data.draw(st.sampled_from(["pickle", "pickle 2"]))
    root = [parse(Slice(SOUND[kind], 0, len(SOUND[kind])), Budget()).root]
    places = list(slots(root[0], functools.partial(root.__setitem__, 0)))
    others = [node for node, _ in places] + [-1, 0, 1, 1 << 40, 0.5, "", "x", None, (), []]
    for _ in range(data.draw(st.integers(1, 3))):
        _, put = places[data.draw(st.integers(0, len(places) - 1))]
        new = others[data.draw(st.integers(0, len(others) - 1))]
        put(new)
    try:
        plain_of(plain_value(root[0], {}, Budget()))
    except InputError as error:
        assert "\n" not in str(error)


pieces = st.lists(
    st.sampled_from(
        [b"]", b"}", b")", b"(", b"N", b"K\x01", b"\x8c\x01a", b"C\x02ab", b"a", b"e", b"s", b"u"]
        + [b"t", b"\x85", b"\x86", b"\x87", b"R", b"b", b"\x81", b"\x94", b"h\x00", b"h\x01"]
        + [b"q\x00", b"\x8f", b"\x90", b"G" + bytes(8), b"ccollections\nOrderedDict\n"]
        + [b"cnumpy\ndtype\n", b"cnumpy.core.multiarray\nscalar\n", b"cnumpy\nndarray\n"]
        + [b"cnumpy.core.multiarray\n_reconstruct\n", b"ctorch._utils\n_rebuild_tensor_v2\n"]
        + [b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n", b"ctorch\nSize\n"]
        + [b"cdnnlib.tflib.network\nNetwork\n", b"ctorch.storage\n_load_from_bytes\n"]
        + [b"cargparse\nNamespace\n", b"ctorch\ndevice\n", b"c_codecs\nencode\n"]
        + [b"ctorch._utils\n_rebuild_parameter\n", b"c__builtin__\nset\n", b"ctorch\nfloat32\n"]
    ),
    max_size=25,
)


@settings(max_examples=300)
@given(body=pieces)
def test_allowed_opcodes_in_any_order_are_read_or_refused(tmp_path_factory, body):
    path = tmp_path_factory.getbasetemp() / "any"
    read_or_refused(path, hostile_files.bare(b"(" + b"".join(body) + b"t"))
