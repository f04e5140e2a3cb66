"""Fine-tuning: a backbone that learns too, where the labels allow it (extra `finetune`).

Any ONNX backbone becomes a trainable PyTorch graph (`graph`), is trained from the frozen head's
solution on (`loop`), and goes back into the same ONNX form. Whether it is used is decided on
listings that it never saw (`compare`). Nothing else imports PyTorch.
"""
