"""All methods on the same targets and the same scale: how each answers, and what it needs."""

from chiaroscuro.methods.catalogue import METHODS, Method, method_named
from chiaroscuro.methods.explaining import explain
from chiaroscuro.methods.question import Answer, Question

__all__ = ["METHODS", "Answer", "Method", "Question", "explain", "method_named"]
