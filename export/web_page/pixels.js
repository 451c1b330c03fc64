// From an image file to the numbers that the model takes, as Python's `folder:` data does it.

const MAX_PIXELS = 2 ** 26; // as in Python: a small file can claim a huge image
const MAX_FILE_BYTES = 2 ** 26;
const PRECISION_BITS = 22; // Pillow resizes in integers with so many bits behind the point
const STRIP = 128; // rows read at once: phones limit the size of a canvas

/** An error that says in words what a person can do about an image. */
class ImageProblem extends Error {}

/** Decodes a file without colour management, upright. */
async function decode(file) {
  const name = file.name ? `“${file.name}”` : "This";
  if (file.size > MAX_FILE_BYTES) {
    const size = Math.round(file.size / 2 ** 20);
    throw new ImageProblem(`${name} is too large: ${size} MB of at most ${MAX_FILE_BYTES / 2 ** 20} MB. Choose a smaller image.`);
  }
  let bitmap;
  try {
    const options = { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" };
    bitmap = await createImageBitmap(file, options);
  } catch {
    throw new ImageProblem(`${name} can't be read as an image, or is too large. Choose a JPEG, PNG or WebP file.`);
  }
  if (bitmap.width * bitmap.height > MAX_PIXELS) {
    const millions = Math.round((bitmap.width * bitmap.height) / 1e6);
    bitmap.close();
    throw new ImageProblem(`${name} is too large: ${millions} million pixels of at most 67 million. Choose a smaller image.`);
  }
  return bitmap;
}

/** The part of the image that is used: all of it, or the middle in the model's proportions. */
function region(bitmap, model, cropped) {
  if (!cropped) return { x: 0, y: 0, width: bitmap.width, height: bitmap.height };
  const scale = Math.min(bitmap.width / model.width, bitmap.height / model.height);
  const width = Math.max(1, Math.round(model.width * scale));
  const height = Math.max(1, Math.round(model.height * scale));
  return { x: Math.floor((bitmap.width - width) / 2), y: Math.floor((bitmap.height - height) / 2), width, height };
}

/** Pixels of the model's size and channels, 0 to 255, row by row with the channels last. */
function modelPixels(bitmap, part, model) {
  // First across, then down, rounded in between: the order decides the last bit.
  const narrow = new Uint8Array(part.height * model.width * model.channels);
  const across = filters(part.width, model.width);
  for (let top = 0; top < part.height; top += STRIP) {
    const rows = Math.min(STRIP, part.height - top);
    const strip = readStrip(bitmap, part, top, rows, model.channels);
    const target = narrow.subarray(top * model.width * model.channels);
    for (let row = 0; row < rows; row++) {
      for (let channel = 0; channel < model.channels; channel++) {
        resample(strip, row * part.width * model.channels + channel, model.channels,
                 target, row * model.width * model.channels + channel, model.channels, across);
      }
    }
  }
  const pixels = new Uint8Array(model.height * model.width * model.channels);
  const stride = model.width * model.channels;
  const down = filters(part.height, model.height);
  for (let column = 0; column < stride; column++) resample(narrow, column, stride, pixels, column, stride, down);
  return pixels;
}

/** Some rows of the image with 1 channel (grey) or 3 (RGB). */
function readStrip(bitmap, part, top, rows, channels) {
  const canvas = document.createElement("canvas");
  canvas.width = part.width;
  canvas.height = rows;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingEnabled = false;
  context.drawImage(bitmap, -part.x, -part.y - top);
  const rgba = context.getImageData(0, 0, part.width, rows).data;
  const pixels = new Uint8Array(part.width * rows * channels);
  for (let i = 0, j = 0; i < rgba.length; i += 4) {
    if (channels === 1) {
      pixels[j++] = (rgba[i] * 19595 + rgba[i + 1] * 38470 + rgba[i + 2] * 7471 + 32768) >> 16; // Pillow's grey
    } else {
      pixels[j++] = rgba[i];
      pixels[j++] = rgba[i + 1];
      pixels[j++] = rgba[i + 2];
    }
  }
  return pixels;
}

/** For each pixel of a resized line, the first source pixel and the weights: Pillow's antialiased bilinear filter. */
function filters(size, newSize) {
  const scale = size / newSize;
  const support = Math.max(1, scale);
  return Array.from({ length: newSize }, (_, i) => {
    const center = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const last = Math.min(size, Math.trunc(center + support + 0.5));
    const weights = [];
    for (let x = first; x < last; x++) weights.push(Math.max(0, 1 - Math.abs((x - center + 0.5) / support)));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return { first, weights: weights.map((weight) => Math.trunc(0.5 + (weight / total) * 2 ** PRECISION_BITS)) };
  });
}

/** Resizes one line of pixels: a row or a column of one channel. */
function resample(source, start, step, target, targetStart, targetStep, lineFilters) {
  lineFilters.forEach(({ first, weights }, i) => {
    let sum = 2 ** (PRECISION_BITS - 1);
    let position = start + first * step;
    for (const weight of weights) {
      sum += source[position] * weight;
      position += step;
    }
    target[targetStart + i * targetStep] = Math.min(255, sum >> PRECISION_BITS);
  });
}

/** The model's input: pixels in its value range, type and layout. */
function modelInput(pixels, model) {
  const [low, high] = model.value_range;
  const data = model.dtype === "uint8" ? new Uint8Array(pixels.length) : new Float32Array(pixels.length);
  const area = model.height * model.width;
  for (let i = 0; i < pixels.length; i++) {
    const place = model.layout === "NCHW" ? (i % model.channels) * area + Math.floor(i / model.channels) : i;
    data[place] = model.dtype === "uint8" ? pixels[i] : low + (high - low) * (pixels[i] / 255);
  }
  const { height, width, channels } = model;
  const shape = model.layout === "NCHW" ? [1, channels, height, width] : [1, height, width, channels];
  return new ort.Tensor(model.dtype, data, shape);
}

/** Draws the model's pixels. */
function paint(pixels, model, canvas) {
  canvas.width = model.width;
  canvas.height = model.height;
  const image = new ImageData(model.width, model.height);
  for (let i = 0; i < model.width * model.height; i++) {
    for (let channel = 0; channel < 3; channel++) {
      image.data[4 * i + channel] = pixels[i * model.channels + Math.min(channel, model.channels - 1)];
    }
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}
