"""Backbones: image to embedding, once per content.

One ONNX file, two engines over it (OpenVINO and ONNX Runtime), one door: `registry.load_backbone`.
Pixels come in ready-made, `(n, size_px, size_px, 3)` uint8; how to make them is stated by the
backbone's `preprocessing` and done in `listlens.images`.
"""
