"""What the outputs of an ONNX file mean.

A layout is recognised where names and shapes are unambiguous, else the user names it. One layout is
one small record; each module holds the layouts of one idea.
"""
