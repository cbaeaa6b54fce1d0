"""All that training and evaluating need, imported at once.

A package that is missing or broken is said before hours of work and not after them: every job that has torch imports
this first. Not torchvision and scikit-learn, which take seconds: they read data and build networks, and are imported
there, where nothing has been worked for yet.
"""

import onnx  # noqa: F401  see above
import safetensors  # noqa: F401  see above
import torch  # noqa: F401  see above
