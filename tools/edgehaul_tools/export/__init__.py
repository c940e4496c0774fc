"""Export: a training run becomes one ONNX file that says itself how to run it."""
