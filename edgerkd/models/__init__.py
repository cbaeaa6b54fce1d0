"""Networks: families, costs, storage, and a trained network as a `Classifier`."""
