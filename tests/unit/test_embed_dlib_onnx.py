"""dlib's serialised network, read without dlib and run as ONNX, against a second implementation and against dlib."""

from __future__ import annotations

import math
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from understudy import weights
from understudy.embed import dlib_format, dlib_onnx
from understudy.embed.base import Embedder
from understudy.embed.dlib_chip import CHIP_SIZE, TEMPLATE, aligned_chip
from understudy.errors import InvalidInputError, MissingExtraError, MissingWeightsError, WeightsDigestError
from understudy.runtime.onnx import open_session

CACHES = b"110" + 3 * (b"\x01\x02" + 4 * b"\x01\x00")

ALL_SHOWN = np.ones(5, np.float32)
HOPPER = np.array([[221.4, 200.0], [304.3, 192.2], [265.9, 237.4], [235.9, 279.7], [304.0, 273.1]])
ASTRONAUT = np.array([[203.2, 101.7], [247.0, 104.5], [223.3, 125.1], [203.4, 142.3], [241.3, 144.4]])


def integer(value: int) -> bytes:
    magnitude = abs(value)
    size = max((magnitude.bit_length() + 7) // 8, 1)
    return bytes([size | (0x80 if value < 0 else 0)]) + magnitude.to_bytes(size, "little")


def integers(*values: int) -> bytes:
    return b"".join(integer(value) for value in values)


def real(value: float) -> bytes:
    fraction, exponent = math.frexp(value)
    return integers(int(fraction * 2**24), exponent - 24)


def text(value: str) -> bytes:
    return integer(len(value)) + value.encode()


def tensor(values: np.ndarray) -> bytes:
    return integers(2, values.size, 1, 1, 1) + values.astype("<f4").tobytes()


class TinyNetwork:
    """A network of dlib's kind, written as dlib writes it and computed with numpy, layer by layer."""

    def __init__(self, size: int) -> None:
        self.rng = np.random.default_rng(3)
        self.head: list[int] = []
        self.body: list[bytes] = []
        self.size = size
        self.mean = (120.5, 116.25, 104.0)
        self.steps: list = []

    def file(self) -> bytes:
        head = integers(1) + text("loss_metric_2") + real(0.04) + real(0.6)
        head += integers(*reversed(self.head))
        head += text("input_rgb_image_sized") + b"".join(real(m) for m in self.mean) + integers(self.size, self.size)
        return head + b"".join(self.body)

    def layer(self, content: bytes) -> None:
        innermost = not self.head
        self.head.append(3 if innermost else 2)
        self.body.append(content + CACHES + (integer(1) if innermost else b""))

    def tag(self, step) -> None:
        self.head.append(1)
        self.steps.append(step)

    def con(self, n_in: int, n_out: int, kernel: int, stride: int, padding: int) -> None:
        w = self.rng.normal(0, 0.5 / kernel, (n_out, n_in, kernel, kernel)).astype(np.float32)
        b = self.rng.normal(0, 0.1, n_out).astype(np.float32)
        shape = integers(n_out, kernel, kernel, stride, stride, padding, padding)
        alias = integers(1, *w.shape) + integers(1, 1, n_out, 1, 1)
        rates = real(1.0) * 3 + integers(0, 11)
        self.layer(text("con_4") + tensor(np.concatenate([w.ravel(), b])) + shape + alias + rates)

        def step(x):
            x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
            windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (1, 2))[:, ::stride, ::stride]
            return np.einsum("chwij,ocij->ohw", windows, w) + b[:, None, None]

        self.steps.append(lambda x, _: step(x))

    def affine(self, n: int) -> None:
        g, b = self.rng.uniform(0.5, 2, n).astype(np.float32), self.rng.normal(0, 0.3, n).astype(np.float32)
        alias = integers(1, 1, n, 1, 1)
        self.layer(text("affine_") + tensor(np.concatenate([g, b])) + alias * 2 + integer(0))
        self.steps.append(lambda x, _: x * g[:, None, None] + b[:, None, None])

    def relu(self) -> None:
        self.layer(text("relu_"))
        self.steps.append(lambda x, _: np.maximum(x, 0))

    def pool(self, name: str, window: int, stride: int) -> None:
        self.layer(text(name) + integers(window, window, stride, stride, 0, 0))
        reduce = np.max if name.startswith("max") else np.mean

        def step(x):
            if window == 0:
                return reduce(x, axis=(1, 2), keepdims=True)
            windows = np.lib.stride_tricks.sliding_window_view(x, (window, window), (1, 2))[:, ::stride, ::stride]
            return reduce(windows, axis=(3, 4))

        self.steps.append(lambda x, _: step(x))

    def block(self, n_in: int, n_out: int, stride: int) -> None:
        self.tag(lambda x, tags: tags.__setitem__("tag1", x) or x)
        self.con(n_in, n_out, 3, stride, 1 if stride == 1 else 0)
        self.affine(n_out)
        self.relu()
        self.con(n_out, n_out, 3, 1, 1)
        self.affine(n_out)
        if stride == 2:
            self.tag(lambda x, tags: tags.__setitem__("tag2", x) or x)
            self.tag(lambda _, tags: tags["tag1"])
            self.pool("avg_pool_2", 2, 2)
        self.layer(text("add_prev_"))

        def add(x, tags):
            other = tags["tag2" if stride == 2 else "tag1"]
            total = np.zeros(np.maximum(x.shape, other.shape))
            for part in (x, other):
                total[: part.shape[0], : part.shape[1], : part.shape[2]] += part
            return total

        self.steps.append(add)
        self.relu()

    def fc(self, n_in: int, n_out: int) -> None:
        w = self.rng.normal(0, 0.3, (n_in, n_out)).astype(np.float32)
        alias = integers(1, n_in, n_out, 1, 1) + integers(1, 0, 0, 0, 0)
        self.layer(text("fc_2") + integers(n_out, n_in) + tensor(w.ravel()) + alias + integer(1) + real(1.0) * 4)
        self.steps.append(lambda x, _: x.ravel() @ w)

    def embed(self, chip: np.ndarray) -> np.ndarray:
        x = (chip.astype(np.float64).transpose(2, 0, 1) - np.reshape(self.mean, (3, 1, 1))) / 256
        tags: dict = {}
        for step in self.steps:
            x = step(x, tags)
        return x


@pytest.fixture(scope="module")
def tiny() -> TinyNetwork:
    network = TinyNetwork(50)
    network.con(3, 4, 7, 2, 0)  # 50 -> 22
    network.affine(4)
    network.relu()
    network.pool("max_pool_2", 3, 2)  # 22 -> 10
    network.block(4, 4, 1)
    network.block(4, 6, 2)  # main path 10 -> 4, skip 10 -> 5, channels 6 and 4
    network.block(6, 6, 1)
    network.pool("avg_pool_2", 0, 1)
    network.fc(6, 5)
    return network


@pytest.fixture(scope="module")
def tiny_session(tiny):
    return open_session(dlib_onnx.model_bytes(dlib_format.read_network(tiny.file())))


def chips(n: int, size: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("encoded", "value"),
    [("0100", 0), ("01ff", 255), ("020001", 256), ("8105", -5), ("04ffffff7f", 2**31 - 1)],
)
def test_integers_are_sign_size_and_bytes_from_the_low_end(encoded, value):
    assert dlib_format._Reader(bytes.fromhex(encoded)).integer() == value


def test_a_real_number_is_mantissa_times_two_to_the_exponent():
    assert dlib_format._Reader(bytes.fromhex("01038102")).real() == 0.75


def test_layers_come_in_the_order_in_which_data_flows(tiny):
    network = dlib_format.read_network(tiny.file())
    names = [type(layer).__name__ for layer in network.layers]
    assert names[:5] == ["Convolution", "Affine", "Relu", "MaxPool", "TagOrSkip"]
    assert names[-2:] == ["AveragePool", "FullyConnected"]
    assert names.count("TagOrSkip") == 5
    assert network.mean_rgb == (120.5, 116.25, 104.0)
    assert network.input_size == (50, 50)


@pytest.mark.parametrize("cut", [1, 40, 2000, -1])
def test_a_truncated_file_is_refused(tiny, cut):
    with pytest.raises(InvalidInputError):
        dlib_format.read_network(tiny.file()[:cut])


def test_bytes_after_the_network_are_refused(tiny):
    with pytest.raises(InvalidInputError, match="end of the file"):
        dlib_format.read_network(tiny.file() + b"\x00")


def test_a_layer_that_is_not_known_is_named_in_the_error(tiny):
    with pytest.raises(InvalidInputError, match="rule_"):
        dlib_format.read_network(tiny.file().replace(b"relu_", b"rule_", 1))


def test_a_weight_that_is_not_finite_is_refused(tiny):
    content = tiny.file()
    start = content.index(b"affine_") + len(b"affine_") + len(integers(2, 8, 1, 1, 1))
    with pytest.raises(InvalidInputError, match="not finite"):
        dlib_format.read_network(content[:start] + np.array([np.nan], "<f4").tobytes() + content[start + 4 :])


def test_the_onnx_network_agrees_with_a_second_implementation(tiny, tiny_session):
    batch = chips(3, 50)
    (got,) = tiny_session.run({"chips": batch})
    expected = np.stack([tiny.embed(chip) for chip in batch])
    assert got.shape == (3, 5)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_network_of_other_structure_is_refused():
    network = TinyNetwork(20)
    network.con(3, 4, 7, 2, 0)
    network.layer(text("add_prev_"))
    with pytest.raises(InvalidInputError, match="tag"):
        dlib_onnx.model_bytes(dlib_format.read_network(network.file()))


def test_converting_twice_gives_the_same_bytes_and_a_valid_model(tiny, tmp_path):
    onnx = pytest.importorskip("onnx")
    source = tmp_path / "net.dat"
    source.write_bytes(tiny.file())
    for name in ("one", "two"):
        dlib_onnx.convert(source, tmp_path / name / "net.onnx")
    first, second = ((tmp_path / name / "net.onnx").read_bytes() for name in ("one", "two"))
    assert first == second
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["net.onnx"]
    onnx.checker.check_model(onnx.load_from_string(first), full_check=True)


@pytest.fixture
def own_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(weights.MIRROR_VARIABLE, raising=False)
    return tmp_path / "understudy"


@pytest.fixture
def tiny_in_the_registry(tiny, tmp_path, monkeypatch) -> weights.Entry:
    """The tiny network in the place of dlib's; returns the entry of what it is converted to."""
    source = tmp_path / "tiny.dat"
    source.write_bytes(tiny.file())
    content = dlib_onnx.model_bytes(dlib_format.read_network(tiny.file()))
    common = {"task": "", "licence": "", "training_data": "", "source": ""}
    found = {
        dlib_onnx.SOURCE: weights.Entry(
            dlib_onnx.SOURCE, kind="dlib", file=source.name, sha256=weights.file_digest(source), size=1, **common
        ),
        dlib_onnx.CONVERTED: weights.Entry(
            dlib_onnx.CONVERTED, kind="onnx", file="tiny.onnx", sha256=sha256(content).hexdigest(), size=1, **common
        ),
    }
    monkeypatch.setattr(weights, "_registry", lambda: found)
    monkeypatch.setenv(weights.MIRROR_VARIABLE, str(tmp_path))
    return found[dlib_onnx.CONVERTED]


def test_the_converted_network_is_cached_under_its_registered_digest(own_cache, tiny_in_the_registry):
    assert dlib_onnx.converted_network() == own_cache / "tiny.onnx"
    assert weights.find(dlib_onnx.CONVERTED) == own_cache / "tiny.onnx"
    assert [path.name for path in own_cache.iterdir()] == ["tiny.onnx"]


def test_a_damaged_file_in_the_cache_is_converted_anew(own_cache, tiny_in_the_registry):
    own_cache.mkdir()
    (own_cache / "tiny.onnx").write_bytes(b"half a netw")
    assert weights.file_digest(dlib_onnx.converted_network()) == tiny_in_the_registry.sha256


def test_a_cache_that_cannot_be_written_leaves_the_network_in_memory(own_cache, tiny_in_the_registry):
    own_cache.write_text("a file where the folder should be")
    network = dlib_onnx.converted_network()
    assert isinstance(network, bytes)
    assert sha256(network).hexdigest() == tiny_in_the_registry.sha256


def test_a_conversion_with_another_digest_is_refused_and_not_kept(own_cache, tiny_in_the_registry, monkeypatch):
    monkeypatch.setattr(dlib_onnx, "model_bytes", lambda _: b"another network")
    with pytest.raises(WeightsDigestError, match=tiny_in_the_registry.sha256):
        dlib_onnx.converted_network()
    assert not own_cache.exists()


def test_without_either_network_the_weights_are_missing(own_cache, tiny_in_the_registry, tmp_path):
    (tmp_path / "tiny.dat").unlink()
    with pytest.raises(MissingWeightsError, match="dlib_face_recognition_resnet_v1"):
        dlib_onnx.converted_network()


def test_without_onnx_the_message_names_the_extra(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"understudy\[identity\]"):
        dlib_onnx.model_bytes(dlib_format.read_network(tiny.file()))


def dlib_weights() -> Path:
    try:
        return weights.find(dlib_onnx.SOURCE)
    except MissingWeightsError as error:
        pytest.skip(str(error))


@pytest.mark.weights
def test_the_converted_network_has_the_digest_in_the_registry(own_cache):
    dlib_weights()
    pytest.importorskip("onnx")
    assert weights.file_digest(dlib_onnx.converted_network()) == weights.entry(dlib_onnx.CONVERTED).sha256


@pytest.mark.weights
def test_embeddings_are_those_of_dlib_itself(own_cache):
    source = dlib_weights()
    dlib = pytest.importorskip("dlib")
    pytest.importorskip("onnx")
    batch = np.stack(
        [aligned_chip(view, keypoints, ALL_SHOWN) for view, keypoints in portraits()] + list(chips(2, 150))
    )
    got = dlib_onnx.DlibOnnxEmbedder().embed_chips(batch)
    network = dlib.face_recognition_model_v1(str(source))
    expected = np.array([network.compute_face_descriptor(chip) for chip in batch])
    np.testing.assert_allclose(got, expected, atol=1e-5)


def portraits() -> list[tuple[np.ndarray, np.ndarray]]:
    folder = Path(dlib_onnx.__file__).parents[1] / "portraits"
    named = (("grace_hopper.jpg", HOPPER), ("astronaut.png", ASTRONAUT))
    return [(np.asarray(Image.open(folder / name).convert("RGB")), points) for name, points in named]


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    dlib_weights()
    pytest.importorskip("onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield dlib_onnx.DlibOnnxEmbedder()


@pytest.mark.weights
def test_a_face_keeps_its_embedding_when_the_picture_is_turned_and_shrunk(embedder):
    (hopper, keypoints), (astronaut, others) = portraits()
    original = embedder.embed(hopper, keypoints, ALL_SHOWN)
    turned = np.ascontiguousarray(np.rot90(hopper)[::2, ::2])  # (x, y) -> (y, width - x), at half the size
    points = np.stack([keypoints[:, 1], hopper.shape[1] - keypoints[:, 0]], axis=1) / 2
    assert np.linalg.norm(embedder.embed(turned, points, ALL_SHOWN) - original) < 0.2
    assert np.linalg.norm(embedder.embed(astronaut, others, ALL_SHOWN) - original) > 0.6


@pytest.mark.weights
def test_one_embedder_gives_the_same_bytes_in_threads_batches_and_alone(embedder):
    batch = np.concatenate([chips(3, CHIP_SIZE), [aligned_chip(*face, ALL_SHOWN) for face in portraits()]])
    alone = [embedder.embed_chips(chip[None])[0].tobytes() for chip in batch]
    with ThreadPoolExecutor(4) as pool:
        assert [e.tobytes() for e in pool.map(lambda chip: embedder.embed_chips(chip[None])[0], batch)] == alone
    assert [e.tobytes() for e in embedder.embed_chips(batch)] == alone


@pytest.mark.weights
def test_the_embedder_keeps_the_protocol_and_tells_its_digest(embedder):
    assert isinstance(embedder, Embedder)
    assert embedder.digests() == {dlib_onnx.CONVERTED: weights.entry(dlib_onnx.CONVERTED).sha256}
    assert embedder.embed_chips(chips(0, CHIP_SIZE)).shape == (0, 128)
    with pytest.raises(InvalidInputError, match=r"\(N, 150, 150, 3\)"):
        embedder.embed_chips(chips(1, 149))


@pytest.mark.weights
def test_small_and_turned_faces_cannot_be_judged(embedder):
    assert embedder.can_judge(TEMPLATE, ALL_SHOWN, np.array([0, 0, 40, 50]))
    assert not embedder.can_judge(TEMPLATE, ALL_SHOWN, np.array([0, 0, 39.5, 50]))
    profile = TEMPLATE * [0.5, 1]
    assert not embedder.can_judge(profile, ALL_SHOWN, np.array([0, 0, 40, 50]))


def test_without_the_weights_the_extra_is_missing(own_cache, tiny_in_the_registry, tmp_path):
    (tmp_path / "tiny.dat").unlink()
    with pytest.raises(MissingExtraError, match=r"understudy\[identity\]"):
        dlib_onnx.DlibOnnxEmbedder()
