"""How a training runs on the machine: device, processes, precision, CUDA graphs, data fed ahead."""
