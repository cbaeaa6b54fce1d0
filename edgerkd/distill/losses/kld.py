"""Soft labels. Source: Hinton et al. 2015, arXiv 1503.02531, section 2."""

import torch.nn.functional as F
from torch import Tensor


def kld_loss(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    """t^2 KL(softmax(teacher / t); softmax(student / t)) of logits (n, k): sum over classes, mean over the batch."""
    log_s = F.log_softmax(student.float() / temperature, 1)
    log_t = F.log_softmax(teacher.float() / temperature, 1)
    return temperature**2 * F.kl_div(log_s, log_t, reduction="batchmean", log_target=True)
