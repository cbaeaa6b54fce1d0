"""Soft labels. Source: Hinton et al. 2015, arXiv 1503.02531, section 2."""

import torch.nn.functional as F
from torch import Tensor


def kl_each(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    """KL(softmax(teacher / t); softmax(student / t)) of each row of logits (n, k): at least 0, (n,)."""
    log_s = F.log_softmax(student.float() / temperature, 1)
    log_t = F.log_softmax(teacher.float() / temperature, 1)
    return F.kl_div(log_s, log_t, reduction="none", log_target=True).sum(1)


def kld_loss(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    """t^2 KL(softmax(teacher / t); softmax(student / t)) of logits (n, k): sum over classes, mean over the batch."""
    return temperature**2 * kl_each(student, teacher, temperature=temperature).mean()
