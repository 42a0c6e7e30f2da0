"""Prints the PESQ score of a degraded WAV file beside its reference.

score.py nb|wb REFERENCE DEGRADED
"""

import sys
import wave

import numpy
from pesq import pesq


def read(path):
    with wave.open(path) as file:
        rate = file.getframerate()
        return rate, numpy.frombuffer(file.readframes(file.getnframes()), dtype="<i2")


mode, reference, degraded = sys.argv[1:]
rate, said = read(reference)
_, heard = read(degraded)
print(pesq(rate, said, heard, mode))
