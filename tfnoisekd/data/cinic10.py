"""CINIC-10 (Darlow et al., 2018) for TensorFlow Datasets, which has no builder of it: the classes of CIFAR-10, photos
of ImageNet.

Importing this module registers the builder; `tfds:cinic10/imagenet_sample` does that by itself. Images are read out of
the published archive, whose 270,000 files are never unpacked.

CINIC-10 has 9,000 images of 32x32 pixels for each of ten classes in each of three parts: 2,000 from CIFAR-10 (its
training images among them) and 7,000 shrunk from ImageNet. Only the latter are out of the distribution that a model
trained on CIFAR-10 knows. Published figures on "2,100 ImageNet images a class" do not say which: here they are drawn
from the archive's test part alone, so that whoever trains or chooses on its other parts still has an unseen set.
"""

import contextlib
import dataclasses
import hashlib
import tarfile
from collections import Counter, defaultdict
from pathlib import Path

import tensorflow_datasets as tfds

URL = "https://datashare.ed.ac.uk/bitstream/handle/10283/3192/CINIC-10.tar.gz"
ARCHIVE, FOLDER = "CINIC-10.tar.gz", "CINIC-10"
FILES = {URL: (ARCHIVE, FOLDER)}  # what in the manual folder stands for the download
ARCHIVE_MD5 = "6ee4d0c996905fe93221de577967a372"  # the publisher gives no stronger one
IMAGES_PER_CLASS = 9000  # in each part
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SPLITS = {"train": "train", "valid": "validation", "test": "test"}  # the archive's name of each part, and that of TFDS


@dataclasses.dataclass(eq=False)
class Cinic10Config(tfds.core.BuilderConfig):
    """Which of the images.

    Args:
        name: What the selection is called; another seed needs another name, under which it is prepared.
        cifar10: Whether the images from CIFAR-10 are among them.
        images_per_class: How many to draw from each class of each part, without replacement; None for all.
        seed: Integer that alone decides, with the names of the files, which are drawn.
    """

    cifar10: bool = False
    images_per_class: int | None = None
    seed: int = 0

    def choose(self, names):
        """The chosen ones of these names (`part/class/file.png`), as a set that does not depend on their order.

        Raises:
            ValueError: If a class has fewer than `images_per_class`.
        """
        groups = defaultdict(list)
        for name in names:
            folder, _, file = name.rpartition("/")
            if self.cifar10 or not file.startswith("cifar"):
                groups[folder].append(name)
        if self.images_per_class is None:
            return {name for group in groups.values() for name in group}
        if few := [
            f"{folder} ({len(group)})" for folder, group in groups.items() if len(group) < self.images_per_class
        ]:
            raise ValueError(
                f"`images_per_class` must be at most the number of images in each class. Received: "
                f"images_per_class={self.images_per_class} with {', '.join(sorted(few)[:5])}"
            )
        return {name for group in groups.values() for name in sorted(group, key=self._rank)[: self.images_per_class]}

    def _rank(self, name):
        # A hash instead of a random generator: no library's stream, and no file beside this one, moves it.
        return hashlib.sha256(f"{self.seed}:{name}".encode()).digest()


class Cinic10(tfds.core.GeneratorBasedBuilder):
    """Builder of CINIC-10 with the published parts, as `train`, `validation` and `test`.

    Configurations: `imagenet` (7,000 images a class and part, all from ImageNet; the default), `imagenet_sample` (2,100
    of them a class and part, drawn with seed 0; its `test` is the out-of-distribution set of 21,000 images) and `all`
    (9,000; those from CIFAR-10 are known to a model that was trained on it).

    Every example has an `id` (the file's name in its part, such as `airplane/n02690373_1234`), `image` and `label`.

    Example:

    >>> data.load("tfds:cinic10/imagenet_sample").test.images.shape
    (21000, 32, 32, 3)
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"Put {URL} here as {ARCHIVE}, or unpacked as {FOLDER}/train, valid and test."
    BUILDER_CONFIGS = [  # noqa: RUF012 (TFDS declares it so)
        Cinic10Config(name="imagenet", description="The images from ImageNet."),
        Cinic10Config(name="imagenet_sample", description="2,100 of them a class and part.", images_per_class=2100),
        Cinic10Config(name="all", description="The images from ImageNet and CIFAR-10.", cifar10=True),
    ]

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description="CINIC-10: the classes of CIFAR-10, with images from ImageNet and CIFAR-10.",
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Text(),
                    "image": tfds.features.Image(shape=(32, 32, 3)),
                    "label": tfds.features.ClassLabel(names=CLASSES),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://doi.org/10.7488/ds/2448",
            citation="Darlow, Crowley, Antoniou, Storkey: CINIC-10 is not ImageNet or CIFAR-10. arXiv:1810.03505, 2018",
        )

    def _split_generators(self, dl_manager):
        source = _source(dl_manager)
        names = [name for name, _ in _files(source)]
        _check_complete(names, source)
        chosen = self.builder_config.choose(names)
        return {split: self._generate_examples(source, part, chosen) for part, split in SPLITS.items()}

    def _generate_examples(self, source, part, chosen):
        for name, file in _files(source):
            if name in chosen and name.startswith(f"{part}/"):
                identity = name.removeprefix(f"{part}/").removesuffix(".png")
                yield identity, {"id": identity, "image": file, "label": identity.partition("/")[0]}


def _source(dl_manager):
    """The archive or the folder that was put in the manual folder, else the downloaded archive."""
    with contextlib.suppress(AssertionError):  # TFDS raises it where the manual folder is missing or empty
        for name in (ARCHIVE, FOLDER):
            if (path := Path(dl_manager.manual_dir) / name).exists():
                return _checked(path)
    return _checked(Path(dl_manager.download(URL)))


def _checked(source):
    if source.is_dir():
        return source
    with open(source, "rb") as file:
        digest = hashlib.md5(usedforsecurity=False)
        while block := file.read(2**20):
            digest.update(block)
    if digest.hexdigest() != ARCHIVE_MD5:
        raise ValueError(
            f"{source} must be the published archive, of MD5 {ARCHIVE_MD5}. Received: MD5 {digest.hexdigest()}; "
            "remove it and download it again"
        )
    return source


def _files(source):
    """Yields each image of an archive or folder: its name as `part/class/file.png`, and an open binary file."""
    opened = _files_in_folder(source) if source.is_dir() else _files_in_archive(source)
    for name, file in opened:
        part, _, rest = "/".join(name.split("/")[-3:]).partition("/")
        label, _, base = rest.partition("/")
        if part in SPLITS and label in CLASSES and base.endswith(".png") and not base.startswith("."):
            yield f"{part}/{label}/{base}", file


def _files_in_folder(folder):
    for path in folder.glob("*/*/*.png"):
        with open(path, "rb") as file:
            yield path.as_posix(), file


def _files_in_archive(archive):
    # As a stream: a look-up of each file would decompress the archive from its start again and again.
    with tarfile.open(archive, "r|*") as opened:
        for member in opened:
            if member.isfile():
                yield member.name, opened.extractfile(member)


def _check_complete(names, source):
    counts = Counter(name.rpartition("/")[0] for name in names)
    folders = [f"{part}/{label}" for part in SPLITS for label in CLASSES]
    if wrong := [f"{folder} with {counts[folder]}" for folder in folders if counts[folder] != IMAGES_PER_CLASS]:
        raise ValueError(
            f"{source} must hold {IMAGES_PER_CLASS} images in each class of train, valid and test. Received: "
            f"{', '.join(wrong[:3])}{', ...' if len(wrong) > 3 else ''}; unpack the published archive again"
        )
