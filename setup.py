"""Packaging. `cli`, `export` and `configs` live beside the library and install as its subpackages."""

from pathlib import Path

from setuptools import find_packages, setup

PARTS = {f"tfnoisekd.{folder}": folder for folder in ("cli", "export", "configs")}
WEB = ["*.html", "*.css", "*.js", "*.txt"]


def packages():
    """The library's packages, and those of each part under the name they install as."""
    found = find_packages(include=["tfnoisekd", "tfnoisekd.*"])
    for name, folder in PARTS.items():
        found += [name, *(f"{name}.{inner}" for inner in find_packages(folder))]
    return found


setup(
    name="tfnoisekd",
    version="0.1.0",
    description="Noise as a resource for knowledge distillation, in Keras: from training to the edge",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10,<3.14",
    packages=packages(),
    package_dir=PARTS,
    package_data={
        "tfnoisekd": ["py.typed"],
        "tfnoisekd.pretrained": ["*.keras", "*.json"],
        "tfnoisekd.report": ["*.yaml"],
        "tfnoisekd.report.html": WEB,
        "tfnoisekd.configs": ["*.yaml", "*/*.yaml"],
        "tfnoisekd.export.web_page": WEB,
    },
    install_requires=[
        "tensorflow>=2.18",  # the home backend: training, SavedModel and LiteRT conversion
        "keras>=3.12",  # models, losses, callbacks; 3.12 brought keras.distillation, whose loss interface ours follow
        "tensorflow-datasets>=4.9.6",  # CIFAR-10, SVHN and every other catalogued data set by name
        "etils<1.14; python_version < '3.11'",  # of TFDS: 1.14 left Python 3.10, and older pips search for hours
        "importlib_resources",  # TFDS imports it without declaring it
        "keras-tuner>=1.4.7",  # hyper-parameter search over the noise settings
        "tensorboard>=2.18",  # training logs; keras-tuner imports it without declaring it
        "cleverhans>=4.0",  # the PGD attack that robustness is measured with
        "tf2onnx>=1.16",  # Keras to ONNX
        "onnxruntime>=1.18",  # runs the ONNX file that was written, so that it is proven before it counts
        "ai-edge-litert>=1.0",  # runs the TFLite file that was written (tf.lite.Interpreter is deprecated for it)
        "scikit-learn>=1.4",  # the embedded digits: real scans that need no download
        "pillow>=10.0",  # reads JPEG and PNG folders, resizes images
        "opencv-python-headless>=4.9",  # blurs, warps and JPEG of the corruptions
        "scipy>=1.11",  # t intervals, exact binomial bounds of certified robustness, zooms and filters
        "matplotlib>=3.8",  # figures of an evaluation, PNG and SVG
        "loky>=3.4",  # processes that make corrupted images, started afresh and safe beside TensorFlow
        "jinja2>=3.1",  # the page of a report, with everything escaped
        "numpy>=1.26",  # batches, augmentation and metrics
        "pydantic>=2.6",  # typed, strict configuration
        "pyyaml>=6.0",  # configuration files
        "filelock>=3.12",  # keeps two processes from training the same run or teacher at once
        "click>=8.1",  # the command line; its options are made from the configuration, which Typer cannot do
        "rich>=13.0",  # tables and the progress bar of the command line
    ],
    extras_require={
        "robust": [
            "adversarial-robustness-toolbox>=1.19",  # APGD and Square on TensorFlow, beside cleverhans' PGD
        ],
        "ray": [
            "ray>=2.40",  # grids and searches that outgrow one machine
        ],
        "test": [
            "ray>=2.40",  # the tests run a grid on it
            "adversarial-robustness-toolbox>=1.19",  # the tests attack with it
            "pytest>=8.0",  # the test runner
            "markdown-it-py>=3.0",  # reads the report's Markdown as a page would
            "pytest-xdist>=3.7",  # spreads the tests over the cores
            "jax>=0.4.36",  # the second backend that the mathematics is tested on
            "setuptools>=70",  # builds the wheel that the packaging test installs
            "wheel",  # the same, without the network
        ],
        "dev": ["ruff>=0.6"],  # lint and format
    },
    entry_points={"console_scripts": ["tfnoisekd = tfnoisekd.cli.main:main"]},
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
