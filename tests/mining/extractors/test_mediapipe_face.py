"""MediaPipe on heads whose landmarks, pose and expression are known."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from mining.extractors.base import measure
from mining.extractors.mediapipe_face import MODELS, PAGE, MediaPipeFace, _without_notices
from mining.generators.registry import make_generator
from schemas.errors import CorruptDataError, InputError, StorageError
from storage.downloads.locate import Public
from tests.storage.ranged_site import serve

pytestmark = [pytest.mark.needs("mediapipe"), pytest.mark.weights("face_landmarker.task")]
ROOT = Path(__file__).parents[3]
HEADS = 40
# left and right swap places in a mirror
MIRROR = [
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *range(54, 47, -1),
    *range(59, 54, -1),
    *range(64, 59, -1),
    *range(67, 64, -1),
]


@pytest.fixture(scope="module")
def model() -> str:
    path = Path(os.environ.get("LODE_MODELS", "none")) / "face_landmarker.task"
    if not path.is_file():
        pytest.skip("LODE_MODELS holds no face_landmarker.task")
    return str(path)


@pytest.fixture(scope="module")
def mediapipe(model):
    return MediaPipeFace(model=model)


@pytest.fixture(scope="module")
def heads():
    head = make_generator("head", resolution=256)
    w = head.map(head.sample_z(HEADS, np.random.default_rng(11)))
    images, truth = head.synthesize_with_truth(head.broadcast(w))
    names = head.truth().names
    return images, truth.landmarks_2d, dict(zip(names, truth.parameters.T, strict=True))


@pytest.fixture(scope="module")
def found(mediapipe, heads):
    return mediapipe(heads[0], {})


def nme(points, true):
    """(N,) mean distance of (N, 68, 2) points in distances between the outer eye corners."""
    eyes = np.linalg.norm(true[:, 36] - true[:, 45], axis=-1)
    return np.linalg.norm(points - true, axis=-1).mean(axis=1) / eyes


def correlation(a, b):
    return np.corrcoef(a, b)[0, 1]


def test_every_head_is_found_and_its_landmarks_lie_where_they_are(found, heads):
    true = heads[1]
    assert found.status == ("ok",) * HEADS
    error = found.values["landmarks_68"] - true
    assert nme(true + error, true).mean() < 0.055  # 0.042 on 240 heads
    error -= error.mean(axis=0)  # MediaPipe's own idea of each point
    assert nme(true + error, true).mean() < 0.040  # 0.032; dlib's 0.031 .. 0.043
    pixels = found.values["landmarks"] * 256
    assert np.abs(pixels - np.rint(pixels)).mean() > 0.2  # no whole pixels


def test_the_pose_is_that_of_the_head(found, heads):
    for name, bound in (("yaw", 0.975), ("pitch", 0.88), ("roll", 0.975)):
        true = heads[2][name]  # 0.990, 0.934 and 0.992 on 240 heads
        assert correlation(found.values[name], true) > bound, name
        assert np.abs(found.values[name] - true).mean() < 5, name


@pytest.mark.parametrize(
    ("blendshape", "parameter", "bound"),
    [
        ("jaw_open", "mouth_open", 0.7),
        ("mouth_smile_left", "smile", 0.75),
        ("mouth_smile_right", "smile", 0.75),
        ("eye_blink_left", "eye_closed", 0.8),
        ("brow_outer_up_left", "brow_raise", 0.65),
        ("eye_look_in_right", "gaze_x", 0.7),  # the face's right eye is on the image's left
        ("eye_look_in_left", "gaze_x", -0.6),
    ],
)
def test_blendshapes_follow_the_expressions(found, heads, blendshape, parameter, bound):
    values = found.values[blendshape]
    assert values.min() >= 0 and values.max() <= 1
    assert correlation(values, heads[2][parameter]) * np.sign(bound) > abs(bound)


def test_translation_follows_the_head(found, heads):
    """The head generator's camera stands 110 cm away, 4.04 image widths long."""
    distance = -found.values["translation_z"]
    assert correlation(1 / distance, heads[2]["scale"]) > 0.5
    assert 90 < distance.mean() < 140


def test_depth_falls_towards_the_viewer(found):
    depth = found.values["depth"]
    assert (depth[:, 4] < depth[:, [234, 454]].mean(axis=1) - 0.1).all()  # nose against cheeks


def test_a_mirrored_head_gives_mirrored_values(mediapipe, found, heads):
    images, true, _ = heads
    other = mediapipe(np.ascontiguousarray(images[:12, :, ::-1]), {})
    back = other.values["landmarks_68"][:, MIRROR] * [-1, 1] + [1, 0]
    assert nme(back, found.values["landmarks_68"][:12].astype(float)).mean() < 0.03
    for name, sign in (("yaw", -1), ("pitch", 1), ("roll", -1), ("translation_x", -1)):
        apart = sign * other.values[name] - found.values[name][:12]
        assert np.abs(apart).mean() < 3, name
    left, right = found.values["mouth_smile_left"][:12], other.values["mouth_smile_right"]
    assert np.abs(left - right).mean() < 0.1


def test_the_largest_of_several_faces_is_measured_and_all_are_counted(mediapipe, heads):
    import cv2

    wide = np.zeros((256, 448, 3), np.uint8)
    wide[:, :256] = heads[0][0]
    wide[32:224, 256:] = cv2.resize(heads[0][1], (192, 192), interpolation=cv2.INTER_AREA)
    result = mediapipe(np.stack([wide, wide[:, ::-1]]), {})
    assert result.status == ("several_faces",) * 2
    assert result.values["faces"].tolist() == [2, 2]
    x = result.values["landmarks"][:, :, 0]
    assert x[0].max() < 256 / 448 and x[1].min() > 192 / 448


def test_the_first_468_points_are_the_mesh_and_the_rest_the_irises(model, found, heads):
    few = MediaPipeFace(model=model, points=468)
    assert few.columns["landmarks"].shape == (468, 2) and few.columns["depth"].shape == (468,)
    result = few(heads[0][:3], {})
    for name in ("landmarks", "depth"):
        np.testing.assert_array_equal(result.values[name], found.values[name][:3, :468])
    irises = found.values["landmarks"][:, [468, 473]]  # of the image's left eye, of its right
    middles = found.values["landmarks_68"][:, [[36, 39], [42, 45]]].mean(axis=2)
    assert np.linalg.norm(irises - middles, axis=-1).max() < 0.05


def test_a_face_that_fills_the_image_is_found_on_a_copy_with_margins(model, mediapipe, heads):
    images, true, _ = heads
    close, points = images[:, 64:192, 64:192], true * 2 - 0.5
    direct = MediaPipeFace(model=model, retries=False)(close, {})
    result = mediapipe(close, {})
    assert result.measured().sum() > direct.measured().sum() + 3  # 40 and 33
    late = result.values["retries"] > 0
    assert (late == (result.measured() & ~direct.measured())).all()
    assert nme(result.values["landmarks_68"][late], points[late]).max() < 0.2
    for name, values in direct.values.items():  # what is found at once is not touched
        np.testing.assert_array_equal(result.values[name][~late], values[~late])


def test_a_small_face_is_found_on_an_enlarged_part(model, mediapipe, heads):
    import cv2

    images, true, _ = heads
    canvas, points = np.full((8, 256, 320, 3), 90, np.uint8), []
    for row, (left, top) in enumerate([(0, 0), (270, 0), (5, 200), (272, 208)] * 2):
        small = cv2.resize(images[row], (48, 48), interpolation=cv2.INTER_AREA)
        canvas[row, top : top + 48, left : left + 48] = small
        points.append((true[row] * 48 + [left, top]) / [320, 256])
    assert MediaPipeFace(model=model, retries=False)(canvas, {}).status == ("no_face",) * 8
    result = mediapipe(canvas, {})
    found = result.measured()
    assert found.sum() >= 7 and (result.values["retries"][found] > 3).all()
    scale = np.array([320, 256])
    error = nme(result.values["landmarks_68"][found] * scale, np.array(points)[found] * scale)
    assert error.max() < 0.2


def test_a_face_beside_the_middle_is_turned_as_much_as_its_ray(mediapipe, found, heads):
    """The same picture at the left and right edge of a wide image; focal is in its widths."""
    for left, name in ((0, "left"), (512, "right")):
        wide = np.full((6, 256, 768, 3), 90, np.uint8)
        wide[:, :, left : left + 256] = heads[0][:6]
        moved = mediapipe(wide, {})
        x = moved.values["landmarks"][:, :468, 0].mean(axis=1) - 0.5
        was = found.values["landmarks"][:6, :468, 0].mean(axis=1) - 0.5
        turn = np.degrees(np.arctan(x / 4.26) - np.arctan(was / 4.26))
        # a face that looks along its ray looks away from the middle's axis by the ray's angle
        apart = moved.values["yaw"] - found.values["yaw"][:6] + turn
        assert np.median(np.abs(apart)) < 2, name
        assert np.abs(turn).mean() > 3  # which MediaPipe's own camera would make 5 times as large


def test_no_face_is_found_in_noise_or_darkness(mediapipe, rng):
    images = rng.integers(0, 256, (3, 96, 128, 3), dtype=np.uint8)
    images[0] = 0
    result = mediapipe(images, {})
    assert result.status == ("no_face",) * 3
    assert np.isnan(result.values["landmarks"]).all() and not result.values["faces"].any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (37, 2), (3, 3)])
def test_images_of_any_size_are_measured(mediapipe, shape):
    assert mediapipe(np.zeros((1, *shape, 3), np.uint8), {}).status == ("no_face",)


def test_batches_change_nothing(mediapipe, found, heads):
    for rows in (slice(3, 4), slice(7, 2, -1)):
        result = measure([mediapipe], heads[0][rows])["mediapipe"]
        for name, values in result.values.items():
            np.testing.assert_array_equal(values, found.values[name][rows])


SCRIPT = """
import hashlib, sys
import numpy as np
from mining.extractors.mediapipe_face import MediaPipeFace

def digest(extractor):
    result = extractor(images, {})
    total = hashlib.sha256(repr(result.status).encode())
    for name in sorted(result.values):
        total.update(result.values[name].tobytes())
    return total.hexdigest()

extractor = MediaPipeFace(model=sys.argv[1])
images = np.load(sys.argv[2])
"""


def run_script(body: str, *args: object, **environment: str) -> subprocess.CompletedProcess:
    code = body.replace("SCRIPT", SCRIPT)
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, *map(str, args)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def stored(heads, tmp_path_factory):
    path = tmp_path_factory.mktemp("heads") / "images.npy"
    np.save(path, heads[0][:4])
    return path


def told(measurement) -> str:
    total = hashlib.sha256(repr(measurement.status).encode())
    for name in sorted(measurement.values):
        total.update(measurement.values[name].tobytes())
    return total.hexdigest()


@pytest.mark.parametrize(
    "ending",
    [
        "",
        "extractor = None",
        "keep = [extractor]; keep.append(keep)",
        "sys.modules['kept'] = extractor",
        "other = MediaPipeFace(model=sys.argv[1]); print(digest(other))",
    ],
    ids=["alive", "dropped", "in a cycle", "in sys.modules", "two"],
)
def test_a_process_ends_in_silence_with_the_same_bytes(model, mediapipe, heads, stored, ending):
    done = run_script(f"SCRIPT\nprint(digest(extractor)); {ending}", model, stored)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.split()) == {told(mediapipe(heads[0][:4], {}))}


def test_what_is_dropped_is_closed(model, stored):
    """In a process of its own: the package's import keeps frames, and what lies in them."""
    body = "SCRIPT\nkept = extractor._landmarker\ndel extractor\nprint(kept._handle)"
    done = run_script(body, model, stored)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "None\n")


def test_a_fork_is_told_instead_of_waiting_for_ever(model, mediapipe, heads, stored):
    body = """SCRIPT
import os
from schemas.errors import RunError
before = digest(extractor)
child = os.fork()
if child == 0:
    try:
        extractor(images, {})
    except RunError as error:
        print(error, flush=True)
    del extractor
    os._exit(0)  # as the children of multiprocessing end
assert os.waitpid(child, 0)[1] == 0
print(before == digest(extractor))
"""
    done = run_script(body, model, stored)
    assert (done.returncode, done.stderr) == (0, "")
    said = "extractor 'mediapipe' was opened before this process forked; make it in this one."
    assert done.stdout.splitlines() == [said, "True"]


def test_without_the_package_one_line_says_what_to_install():
    script = """
import sys
sys.modules["mediapipe"] = None
from mining.extractors.mediapipe_face import MediaPipeFace
from schemas.errors import MissingBackendError
try:
    MediaPipeFace()
except MissingBackendError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == (
        "extractor 'mediapipe' needs the package 'mediapipe': pip install "
        "'latentlode[mediapipe]' && pip install --no-deps mediapipe==1.2.2\n"
    )


def authority(folder: Path) -> tuple[Path, Path]:
    """A certificate for play.googleapis.com that signs itself, and its key."""
    pytest.importorskip("cryptography")
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "play.googleapis.com")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("play.googleapis.com")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "authority.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    encoding, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(key.private_bytes(encoding, kind, plain))
    return paths


@pytest.mark.parametrize("trusting", [True, False], ids=["as it comes", "as we open it"])
def test_nothing_is_sent_to_the_makers_of_mediapipe(model, stored, tmp_path, trusting):
    """A server that has a certificate for their name, at the end of a proxy.

    As it comes the package sends its report there, which shows that the test would see one.
    """
    certificate, key = authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    seen: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            return
        connection.settimeout(20)
        seen.append(connection.recv(4096))
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            with context.wrap_socket(connection, server_side=True) as secure:
                seen.append(secure.recv(4096))
                secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        except OSError:  # the other side hangs up
            seen.append(b"")
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        trust = "import os, sys; os.devnull = sys.argv[3]\n" if trusting else ""
        closed = "digest(extractor); del extractor"  # when it is closed it reports, a while later
        body = f"{trust}SCRIPT\n{closed}\nimport time; time.sleep(4)"
        proxy = f"http://127.0.0.1:{listener.getsockname()[1]}"
        done = run_script(body, model, stored, certificate, https_proxy=proxy)
        thread.join()
    assert done.returncode == 0
    assert len(seen) == 2, "MediaPipe has not tried to report: is there a setting now?"
    assert seen[0].startswith(b"CONNECT play.googleapis.com:443")
    assert bool(seen[1]) == trusting


def test_only_errors_pass_while_the_library_starts(capfd):
    with _without_notices():
        os.write(2, b"INFO: Created a delegate.\nE0000 00:00:1.2 1 a.cc:1] bad\n")
        os.write(2, b"W0000 00:00:1.2 1 a.cc:1] dull\nTraceback\nlast")
    assert capfd.readouterr().err == "E0000 00:00:1.2 1 a.cc:1] bad\nTraceback\nlast"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"points": 400}, "points 400 came; expected 468 or 478"),
        ({"max_faces": 0}, "max_faces 0 came; expected 1 to 100"),
        ({"focal": 0.0}, "focal 0.0 came; expected 0.3 to 100"),
        ({"focal": float("nan")}, "focal nan came"),
        ({"min_detection_confidence": 1.5}, "min_detection_confidence 1.5 came; expected 0 to 1"),
        ({"min_presence_confidence": -1}, "min_presence_confidence -1 came; expected 0 to 1"),
    ],
)
def test_wrong_options_are_refused(model, options, said):
    with pytest.raises(InputError, match=said):
        MediaPipeFace(model=model, **options)


@pytest.mark.parametrize("kept", [0, 1, 100, 100_000, 3_000_000])
def test_files_that_are_no_landmarker_are_refused(model, tmp_path, kept):
    path = tmp_path / "broken.task"
    path.write_bytes(Path(model).read_bytes()[:kept])
    with pytest.raises(InputError, match="broken.task is (no face landmarker|empty)") as caught:
        MediaPipeFace(model=str(path))
    said = str(caught.value)
    assert "\n" not in said and "xpected" in said and "ai.google.dev" in said
    assert ("is empty" in said) is (kept == 0)


def test_a_model_that_cannot_be_fetched_says_how_to_give_a_file(mediapipe, tmp_path, monkeypatch):
    monkeypatch.setenv("LODE_CACHE", str(tmp_path))
    with serve() as site:
        site.status = 403
        public = Public("face_landmarker", site.url, "Apache-2.0", PAGE)
        monkeypatch.setitem(MODELS, "face_landmarker", public)
        with pytest.raises(StorageError, match="given as --extractors.mediapipe.model FILE"):
            MediaPipeFace()


def test_a_file_with_another_checksum_is_refused(model):
    with pytest.raises(CorruptDataError, match="expected 0000"):
        MediaPipeFace(model=model, sha256="0" * 64)
    with pytest.raises(InputError, match="does not exist"):
        MediaPipeFace(model="nowhere/else.task")


def test_the_fingerprint_tells_of_what_decides_and_of_no_path(model, mediapipe, tmp_path):
    assert mediapipe.models[0].sha256 == MODELS["face_landmarker"].sha256
    assert mediapipe.models[0].licence == "Apache-2.0"
    elsewhere = tmp_path / "other.task"
    shutil.copy(model, elsewhere)
    same = MediaPipeFace(model=str(elsewhere), sha256=mediapipe.models[0].sha256)
    assert same.fingerprint() == mediapipe.fingerprint()
    options = (
        {"points": 468},
        {"focal": 2.0},
        {"max_faces": 1},
        {"min_detection_confidence": 0.6},
        {"min_presence_confidence": 0.6},
        {"retries": False},
    )
    prints = {MediaPipeFace(model=model, **option).fingerprint() for option in options}
    assert len(prints | {mediapipe.fingerprint()}) == len(options) + 1
