"""Measured: Keras MobileNet fed by tf.data. Called by run.py.

tf.data decodes in full and resizes as `tf.image.resize` does by default: bilinear, without
antialiasing, which is cheap and changes the embedding.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from meter import Meter

BATCH = 32


def load(path: tf.Tensor) -> tf.Tensor:
    pixels = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
    return tf.image.resize(pixels, (224, 224)) / 127.5 - 1


def embeddings(model: keras.Model, folder: Path) -> np.ndarray:
    paths = sorted(str(path) for path in folder.rglob("*.jpg"))
    photos = tf.data.Dataset.from_tensor_slices(paths)
    batches = photos.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH)
    found: np.ndarray = model.predict(batches.prefetch(tf.data.AUTOTUNE), verbose=0)
    return found.astype(np.float16)


def main() -> None:
    model = keras.applications.MobileNet(weights=None, include_top=False, pooling="avg")
    embeddings(model, Path(sys.argv[1]))
    with tempfile.TemporaryFile() as out:
        meter = Meter()
        found = embeddings(model, Path(sys.argv[2]))
        np.save(out, found)
        meter.report(len(found), runs_on=f"tensorflow {tf.__version__} f32")


if __name__ == "__main__":
    main()
