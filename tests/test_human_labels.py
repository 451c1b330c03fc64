"""Labels that people gave: CIFAR-10N's layout, matched by position, and every file that is not what it must be."""

import pickle
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from tfnoisekd.data import load
from tfnoisekd.data.human_labels import KEYS

COUNT, CLASSES = 400, 4
CLEAN = np.arange(COUNT) % CLASSES
WRONG_SHARES = {
    "aggre_label": 0.09,
    "worse_label": 0.4,
    "random_label1": 0.17,
    "random_label2": 0.18,
    "random_label3": 0.17,
}


def human():
    """CIFAR-10N's arrays for 400 images: another class for an exact share of the examples."""
    random = np.random.default_rng(0)
    arrays = {"clean_label": CLEAN.astype(np.uint8)}
    for key, share in WRONG_SHARES.items():
        labels = CLEAN.copy()
        chosen = random.choice(COUNT, round(share * COUNT), replace=False)
        labels[chosen] = (labels[chosen] + random.integers(1, CLASSES, len(chosen))) % CLASSES
        arrays[key] = labels.astype(np.uint8)
    return arrays


HUMAN = human()


@pytest.fixture
def file(tmp_path):
    np.savez(tmp_path / "cifar10n.npz", **HUMAN)
    return tmp_path / "cifar10n.npz"


def write(path, positions, **others):
    """An npz data set of the images at some positions of the original training set; each image shows its position."""
    positions = np.asarray(positions)
    images = np.stack([positions // 256, positions % 256], axis=-1)[:, None, None]
    np.savez(path, images=images, labels=CLEAN[positions], **others)
    return f"npz:{path}"


def position(images):
    return images[:, 0, 0, 0].astype(int) * 256 + images[:, 0, 0, 1]


@pytest.mark.parametrize("kind", KEYS)
def test_each_kind_reads_its_array(kind, file, tmp_path):
    data = load(write(tmp_path / "a.npz", range(COUNT)), corruption_kind=kind, corruption_file=file)
    where = position(data.train.images)
    np.testing.assert_array_equal(data.train.indices, where)
    np.testing.assert_array_equal(data.train.labels, HUMAN[KEYS[kind]][where])
    for held in (data.validation, data.test):
        np.testing.assert_array_equal(held.labels, CLEAN[position(held.images)])
    changed = data.train.labels != CLEAN[where]
    assert data.corruption.true_rate == changed.mean()
    assert (data.corruption.kind, data.corruption.rate, data.corruption.seed) == (kind, None, None)
    np.testing.assert_array_equal(data.corruption.indices, where[changed])
    np.testing.assert_array_equal(data.corruption.true_labels, CLEAN[where[changed]])
    if kind == "cifar10n:clean":
        assert data.corruption.n == 0


def test_a_part_in_any_order_is_matched_by_its_indices(file, tmp_path):
    chosen = np.random.default_rng(1).permutation(COUNT)[:150]
    name = write(tmp_path / "a.npz", chosen, indices=chosen.astype(np.int32))
    data = load(name, corruption_kind="cifar10n:worse", corruption_file=str(file))
    np.testing.assert_array_equal(data.train.labels, HUMAN["worse_label"][position(data.train.images)])
    assert 0.25 < data.corruption.true_rate < 0.55


def test_a_folder_with_an_order_file_is_matched_by_it(file, tmp_path):
    order = []
    for index in np.random.default_rng(2).permutation(COUNT)[:40]:
        path = tmp_path / "photos" / "train" / f"class{CLEAN[index]}" / f"{1000 - index:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), (index // 256, index % 256, 0), np.uint8)).save(path)
        order.append((index, f"train/{path.parent.name}/{path.name}"))
    lines = [f"train/class{CLEAN[index]}/{1000 - index:04d}.png" for index in range(COUNT)]
    assert all(lines[index] == name for index, name in order)
    (tmp_path / "photos" / "order").mkdir()
    (tmp_path / "photos" / "order" / "train.txt").write_text("\n".join(lines) + "\n")
    data = load(f"folder:{tmp_path / 'photos'}", corruption_kind="cifar10n:worse", corruption_file=file)
    np.testing.assert_array_equal(data.train.indices, position(data.train.images))
    np.testing.assert_array_equal(data.train.labels, HUMAN["worse_label"][data.train.indices])


@pytest.mark.parametrize("rate", [0.4, 0.41, 0.39])
def test_a_rate_near_the_files_is_taken(rate, file, tmp_path):
    name = write(tmp_path / "a.npz", range(COUNT))
    data = load(name, label_corruption=rate, corruption_kind="cifar10n:worse", corruption_file=file)
    assert data.corruption.rate == rate
    same = load(name, corruption_kind="cifar10n:worse", corruption_file=file)
    np.testing.assert_array_equal(data.train.labels, same.train.labels)


def fails(match, data, error=ValueError, **options):
    with pytest.raises(error, match=match) as raised:
        load(data, **{"corruption_kind": "cifar10n:worse", **options})
    assert "\n" not in str(raised.value)


def test_another_rate_is_an_error_that_names_the_files(file, tmp_path):
    # The file is read before the images: their being absent does not matter yet.
    fails(
        r"what the file says, 0.4000 for cifar10n:worse in .*cifar10n.npz .*label_corruption=0.2; leave it out",
        "npz:nowhere.npz",
        label_corruption=0.2,
        corruption_file=file,
    )


def test_another_length_names_both(file, tmp_path):
    fails(
        r"one label for each of the 399 training images. Received: .*cifar10n.npz with 400 labels; .*number them",
        write(tmp_path / "part.npz", range(COUNT - 1)),
        corruption_file=file,
    )
    fails(
        "labels for all positions of the training images, up to 400. Received: .*with 400 labels$",
        write(tmp_path / "far.npz", range(COUNT), indices=np.arange(COUNT) + 1),
        corruption_file=file,
    )


def test_another_order_is_noticed(file, tmp_path):
    shuffled = np.random.default_rng(0).permutation(COUNT)
    fails(
        r"`clean_label` of .* must be the labels of the data.*agreement on \d\d.\d\d% of 400, less than 99.9%.*`ind",
        write(tmp_path / "shuffled.npz", shuffled),
        corruption_file=file,
    )


def test_one_in_a_thousand_labels_may_differ(file, tmp_path):
    def differing_at_7(count):
        labels = np.where(np.arange(count) == 7, 0, np.arange(count) % CLASSES)
        np.savez(tmp_path / "a.npz", images=np.zeros((count, 4, 4)), labels=labels)
        return f"npz:{tmp_path / 'a.npz'}"

    fails(r"agreement on 99.75% of 400, less than 99.9%", differing_at_7(400), corruption_file=file)
    np.savez(file, **{key: np.tile(labels, 5) for key, labels in HUMAN.items()})
    data = load(
        differing_at_7(2000), corruption_kind="cifar10n:clean", corruption_file=file, test_size=4, validation_size=0
    )
    # The data's own label is the true one.
    assert [array.tolist() for array in data.corruption.arrays().values()] == [[7], [0], [3]]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"worse_label": HUMAN["worse_label"] + 1},
            r"must lie in 0..3, the classes of the data. Received: \d+ outside",
        ),
        ({"clean_label": HUMAN["clean_label"] + 1}, r"must lie in 0..3.*the first of them 4 at position 3"),
        ({"worse_label": HUMAN["worse_label"][:-1]}, "must have one length. Received: 400 and 399"),
        ({"worse_label": np.eye(4)[HUMAN["worse_label"]]}, r"`worse_label` of .* must have shape \(N,\)"),
        ({"worse_label": HUMAN["worse_label"] + 0.5}, "must be whole numbers"),
        ({"worse_label": HUMAN["worse_label"].astype(object)}, "`corruption_file` reads no object arrays.*`--unsafe`"),
        ({key: labels[:0] for key, labels in HUMAN.items()}, "must hold at least one label. Received: none"),
    ],
)
def test_arrays_that_are_not_labels_are_refused(arrays, message, tmp_path):
    np.savez(tmp_path / "b.npz", **(HUMAN | arrays))
    fails(message, write(tmp_path / "a.npz", range(COUNT)), corruption_file=tmp_path / "b.npz")


def test_missing_arrays_are_named_with_those_found(tmp_path):
    np.savez(tmp_path / "b.npz", clean_label=CLEAN, noisy_label=CLEAN)
    message = (
        "needs the arrays `clean_label`, `worse_label`. .*without `worse_label`; it has `clean_label`, `noisy_label`"
    )
    fails(message, "digits", corruption_file=tmp_path / "b.npz")


def test_a_trusted_file_may_hold_objects(file, tmp_path):
    np.savez(file, **{key: labels.astype(object) for key, labels in HUMAN.items()})
    name = write(tmp_path / "a.npz", range(COUNT))
    data = load(name, corruption_kind="cifar10n:worse", corruption_file=file, unsafe=True)
    np.testing.assert_array_equal(data.train.labels, HUMAN["worse_label"][data.train.indices])


class Trap:
    """What a pickle may do when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("unsafe", [False, True])
@pytest.mark.parametrize("name", ["human.npy", "human.pkl", "human.pt"])
def test_pickles_are_refused_unread_with_the_way_to_convert_them(name, unsafe, tmp_path):
    path, trap = tmp_path / name, Trap(str(tmp_path / "sprung"))
    if name == "human.npy":
        np.save(path, np.array({"clean_label": trap}, dtype=object), allow_pickle=True)
    elif name == "human.pkl":
        path.write_bytes(pickle.dumps(trap))
    else:  # as torch.save writes it
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("human/data.pkl", pickle.dumps(trap))
    loader = r"numpy.load\(.*allow_pickle=True\).item\(\)" if name == "human.npy" else r"torch.load\(.*\)"
    message = rf"needs a file written by np.savez.*if you trust it: python -c .*savez\('human.npz', \*\*{loader}\)"
    fails(message, "digits", corruption_file=path, unsafe=unsafe)
    assert not (tmp_path / "sprung").exists()


def test_the_advised_conversion_works(file, tmp_path, run_python, monkeypatch):
    np.save(tmp_path / "human.npy", HUMAN)
    with pytest.raises(ValueError, match="convert it") as raised:
        load("digits", corruption_kind="cifar10n:worse", corruption_file=tmp_path / "human.npy")
    monkeypatch.chdir(tmp_path)
    run_python(str(raised.value).partition('python -c "')[2].rstrip('"'))
    data = load(
        write(tmp_path / "a.npz", range(COUNT)),
        corruption_kind="cifar10n:worse",
        corruption_file=tmp_path / "human.npz",
    )
    assert data.corruption.n > 0


def test_files_that_are_not_there_or_damaged(file, tmp_path):
    fails("needs an existing file .*nowhere.npz", "digits", FileNotFoundError, corruption_file="nowhere.npz")
    fails(r"`corruption_file` needs a file. Received: the folder", "digits", corruption_file=tmp_path)
    content = file.read_bytes()
    for keep in (0, 3, len(content) // 2):
        file.write_bytes(content[:keep])
        fails(
            "`corruption_file` needs a complete file.*copied or downloaded, do that again",
            "digits",
            corruption_file=file,
        )


def test_an_order_file_must_name_every_training_image_once(tmp_path):
    for name in ("ant", "cat"):
        for i in range(3):
            path = tmp_path / "train" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 8, 3), i, np.uint8)).save(path)
    shutil.copytree(tmp_path / "train", tmp_path / "test")
    names = [f"train/{name}/{i}.png" for i in (2, 0, 1) for name in ("cat", "ant")]
    order = tmp_path / "order" / "train.txt"
    order.parent.mkdir()
    order.write_text("\n".join(["train/cat/gone.png", *names, "", ""]))
    data = load(f"folder:{tmp_path}", validation_size=0)
    # ant 0, 1, 2, cat 0, 1, 2 are read; the image in front of them is not here, and counts.
    np.testing.assert_array_equal(data.train.indices, [4, 6, 2, 3, 5, 1])
    assert data.test.indices is None
    for text, message in (
        (
            "\n".join(names[1:]),
            "must name every training image, by a line such as train/ant/0.png. .*5 names, without train/cat/2",
        ),
        ("\n".join([*names, names[0]]), "must name each file once. Received: train/cat/2.png more than once"),
    ):
        order.write_text(text)
        with pytest.raises(ValueError, match=message):
            load(f"folder:{tmp_path}")
    order.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="must be a text file in UTF-8"):
        load(f"folder:{tmp_path}")


@pytest.mark.parametrize(
    "indices",
    [[0, 1], [0, 1, 1, 2], [-1, 0, 1, 2], [0.0, 1.0, 2.0, 3.0], [[0, 1, 2, 3]], [0, 1, 2, 10**9]],
)
def test_indices_of_a_file_must_be_positions(indices, tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((4, 8, 8)), labels=[0, 1, 0, 1], indices=indices)
    with pytest.raises(
        ValueError, match=r"`indices` of .*shape \(4,\), whole numbers in 0..99999999, each once. Received"
    ):
        load(f"npz:{tmp_path / 'a.npz'}")
