"""Runtimes: an exported file, opened with the runtime that a device uses; its layout and quantisation stay inside."""

import warnings
from pathlib import Path

import numpy as np

from tfnoisekd.evaluation import prediction
from tfnoisekd.export import checks, files, pixels

BATCH_SIZE = 256


def open_file(format, path, threads=1):
    """Opens an exported file.

    Args:
        format: "tflite", "onnx" or "saved_model".
        path: The file, or the folder of a SavedModel.
        threads: Number of threads that one inference may use, at least 1. For a SavedModel TensorFlow's own setting
            holds, which is one for the whole process: tf.config.threading.set_intra_op_parallelism_threads.

    Returns:
        A `Runtime`.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
        ImportError: If the runtime is not installed.
        ValueError: If the format or the number of threads is none of the above.

    Example:

    >>> file = open_file("tflite", "student.tflite")
    >>> file.run(dataset.test.images).argmax(axis=1)  # classes, whatever the file's types are
    >>> file.prepare(dataset.test.images[0])  # once, outside of what is timed
    >>> file.invoke()  # this is the latency
    """
    files.check_exported(format, Path(path), RUNTIMES)
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ValueError(f"`threads` must be an integer of at least 1. Received: threads={threads!r}")
    with files.quiet():
        return RUNTIMES[format](Path(path), threads)


class Runtime:
    """A file that can be run. Made by `open_file`; not for several threads at once.

    Attributes:
        input_dtype: What the file itself takes: "float32" in [0, 1], "uint8" in 0..255, or "int8", quantised.
        image_shape: (height, width, channels) of an image, as given to `run`; the file may want channels first.
        channels_first: Whether it does.
        batch: The batch size that the file is fixed to, or None.
        output_kind: "logits" or "probabilities".
    """

    def run(self, images, batch_size=BATCH_SIZE):
        """What the file gives for any number of images, whatever batch size it is fixed to.

        Args:
            images: Array (n, height, width, channels), uint8 or float in [0, 1].
            batch_size: Images per inference, where the file takes any number.

        Returns:
            float32 array (n, num_classes), dequantised: logits or probabilities, see `output_kind`.

        Raises:
            ValueError: If the images are empty, out of range or of another shape.
        """
        prediction.check_images(images, self.image_shape)
        size, outputs = self.batch or batch_size, []
        for start in range(0, len(images), size):
            chunk = images[start : start + size]
            self._feed(self._filled(self.encode(chunk)))
            self.invoke()
            outputs.append(self.result()[: len(chunk)])
        return np.concatenate(outputs)

    def run_single(self, image):
        """As `run`, of one image (height, width, channels), alone in its batch: float32 (1, num_classes)."""
        self.prepare(image)
        self.invoke()
        return self.result()[:1]

    def prepare(self, image):
        """Puts one image (height, width, channels) in place, in the file's own type and layout, for `invoke`."""
        prediction.check_images(image[None], self.image_shape)
        self._feed(self._filled(self.encode(image[None])))

    def invoke(self):
        """One inference of what `prepare` put in place, and nothing else: the part to time; repeat it at will."""
        raise NotImplementedError

    def result(self):
        """What the last `invoke` gave, float32 (batch, num_classes), dequantised."""
        raise NotImplementedError

    def encode(self, images):
        """Images (n, height, width, channels), uint8 or float in [0, 1], as an array that the file itself takes."""
        images = pixels.to_bytes(images) if self.input_dtype == "uint8" else pixels.to_unit(images)
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2)) if self.channels_first else images

    def _filled(self, encoded):
        missing = self.batch - len(encoded) if self.batch else 0
        return np.pad(encoded, ((0, missing), (0, 0), (0, 0), (0, 0)), mode="edge") if missing else encoded

    def _feed(self, encoded):
        raise NotImplementedError


class TFLite(Runtime):
    """LiteRT; TensorFlow's own interpreter, which is deprecated, only where LiteRT is not installed."""

    channels_first = False

    def __init__(self, path, threads):
        self.interpreter = interpreter(path, threads)
        (signature,) = self.interpreter.get_signature_list().values()
        (self.output_kind,) = signature["outputs"]
        (self._input,), (self._output,) = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        self.input_dtype = np.dtype(self._input["dtype"]).name
        batch, *shape = (int(side) for side in self._input["shape_signature"])
        self.image_shape, self.batch = tuple(shape), None if batch == -1 else batch
        self._size = None

    def encode(self, images):
        encoded = super().encode(images)
        if self.input_dtype != "int8":
            return encoded
        scale, zero_point = self._input["quantization"]
        return np.clip(np.rint(encoded / np.float32(scale)) + zero_point, -128, 127).astype(np.int8)

    def _feed(self, encoded):
        if len(encoded) != self._size:
            if self.batch is None:
                self.interpreter.resize_tensor_input(self._input["index"], encoded.shape, strict=True)
            self.interpreter.allocate_tensors()
            self._size = len(encoded)
        self.interpreter.set_tensor(self._input["index"], encoded)

    def invoke(self):
        self.interpreter.invoke()

    def result(self):
        output = self.interpreter.get_tensor(self._output["index"])
        if not np.issubdtype(output.dtype, np.integer):
            return output
        scale, zero_point = self._output["quantization"]
        return ((output.astype(np.int32) - zero_point) * scale).astype(np.float32)


class ONNX(Runtime):
    """ONNX Runtime on the CPU, one operator after the other."""

    def __init__(self, path, threads):
        onnxruntime = checks.require("onnxruntime", "onnx", "onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        (image,), (output,) = self.session.get_inputs(), self.session.get_outputs()
        self._name, self.output_kind = image.name, output.name
        self.input_dtype = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}[image.type]
        # No shape says for sure which side the channels are, so the file's metadata does.
        self.channels_first = self.session.get_modelmeta().custom_metadata_map.get("layout") == "NCHW"
        batch, *shape = image.shape
        self.image_shape = (*shape[1:], shape[0]) if self.channels_first else tuple(shape)
        self.batch = batch if isinstance(batch, int) else None

    def _feed(self, encoded):
        self._inputs = {self._name: encoded}

    def invoke(self):
        (self._outputs,) = self.session.run([self.output_kind], self._inputs)

    def result(self):
        return self._outputs


class SavedModel(Runtime):
    """Plain `tf.saved_model.load`, on the CPU: where the logits to agree with come from."""

    channels_first = False

    def __init__(self, path, threads):
        import tensorflow as tf

        with tf.device("/CPU:0"):
            self.loaded = tf.saved_model.load(str(path))  # kept: a signature alone does not keep its variables alive
        self._function = self.loaded.signatures["serving_default"]
        (image,) = self._function.structured_input_signature[1].values()
        (self.output_kind,) = self._function.structured_outputs
        self.input_dtype = image.dtype.name
        self.batch, *shape = image.shape
        self.image_shape = tuple(shape)

    def _feed(self, encoded):
        import tensorflow as tf

        with tf.device("/CPU:0"):
            self._image = tf.constant(encoded)

    def invoke(self):
        import tensorflow as tf

        with tf.device("/CPU:0"):
            # As an array, so that the call is over when it returns.
            self._outputs = self._function(image=self._image)[self.output_kind].numpy()

    def result(self):
        return self._outputs


RUNTIMES = {"tflite": TFLite, "onnx": ONNX, "saved_model": SavedModel}


def interpreter(path, threads, delegates=True):
    """LiteRT's interpreter of a file, or TensorFlow's; without the default delegates it shows the file as it is."""
    try:
        from ai_edge_litert import interpreter as lite
    except ImportError:
        from tensorflow.lite.python import interpreter as lite
    resolvers = lite.OpResolverType
    resolver = resolvers.AUTO if delegates else resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's says that LiteRT is to be used, which is known
        return lite.Interpreter(model_path=str(path), num_threads=threads, experimental_op_resolver_type=resolver)
