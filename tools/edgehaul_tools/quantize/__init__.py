"""Post-training int8 quantization of any ONNX model."""
