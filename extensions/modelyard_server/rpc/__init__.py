"""The Open Inference Protocol over gRPC: messages, their tensors, the service. Imported only where a port is set."""
