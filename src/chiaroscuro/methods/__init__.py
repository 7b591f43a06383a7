"""Methods of explanation, all on the same targets and the same scale."""

from chiaroscuro.methods.catalogue import METHODS, method_named
from chiaroscuro.methods.explaining import explain
from chiaroscuro.methods.method import Method
from chiaroscuro.methods.question import Answer, Question

__all__ = ["METHODS", "Answer", "Method", "Question", "explain", "method_named"]
