"""What runs on a CUDA device: matrix products by cuBLASLt."""
