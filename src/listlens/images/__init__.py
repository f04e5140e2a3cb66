"""Bytes to pixels and measures: reading, decoding, preprocessing, measuring, flagging a photo.

The only home of preprocessing: training, command line, API and batch all call
`listlens.images.prepare.prepare`, so equal bytes give equal pixels everywhere.
"""
