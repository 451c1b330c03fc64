"""Common corruptions: CIFAR-10-C's 19, made on the fly for any images, or read as published.

    from tfnoisekd.evaluation import corruptions

    corruptions.corrupt(images, "fog", severity=3)                      # the images
    corruptions.evaluate(student, data.test, data.class_names)          # mCA and natural robustness of a model

Definitions and constants are those of `ImageNet-C/create_c/make_cifar_c.py` in github.com/hendrycks/robustness
(Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019),
which made CIFAR-10-C. With the same draws, the images are that code's but for the last digits and what follows.

Known differences from the published images:

- The draws: they were made once, without a seed. Here they depend on (seed, corruption, severity, position) alone.
- Frost: drawn textures by default, see `frost_textures`.
- Motion blur and the fall of snow: an own kernel (`motion`) in place of ImageMagick, equal to version 6.9's within one
  level.
- Glass blur: as that code computes, which is not what it says: see `blur.glass_blur`.
- Spatter: where noise exceeds white it is clipped, not wrapped around, and an image on which no drop falls stays as it
  is, where that code divides by zero.
- Elastic: SciPy interpolates exactly where OpenCV 3 and 4 did on a grid of 1/32 pixel, up to three levels apart.
- The last digit: what lies within a thousandth below a level counts as that level (`levels`).
- Libraries: libjpeg, OpenCV, Pillow and SciPy of today; `evaluate` notes their versions.

Sizes other than 32x32: what is given in pixels stays in pixels (blur radii, displacements of glass, drops, flakes, the
grain of frost), so it does less to a larger image; what is given as a share of the side stays one (zoom, pixelate,
elastic). Fog's clouds fill the smallest power of two that holds the image. Frost textures are enlarged where they are
smaller than the image. One channel: treated as such, and where colour matters (`catalog.Corruption.coloured`) as a grey
image of three that is turned back into one.

What grows with the severity is meant to be the difficulty. The distance from the clean image, pixel by pixel, need
not: with the published constants that of elastic_transform falls, and those of glass_blur, motion_blur, frost, spatter
and saturate do not rise at every step.

One concept a file: `catalog` (names and constants), `noise`, `blur`, `weather`, `light`, `digital` and `spatter` (the
corruptions), `motion`, `zoom`, `fractal`, `frost_textures` and `levels` (what they are made of), `generation` (an image
and its draws), `parallel`, `generated`, `published`, `archives`, `alignment` and `sources` (where images come from),
`results` and `evaluation`.
"""

from tfnoisekd.evaluation.corruptions.catalog import BENCHMARK, NAMES, SEVERITIES
from tfnoisekd.evaluation.corruptions.evaluation import evaluate
from tfnoisekd.evaluation.corruptions.generation import corrupt

__all__ = ["BENCHMARK", "NAMES", "SEVERITIES", "corrupt", "evaluate"]
