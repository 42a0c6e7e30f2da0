"""Prints the PESQ score of a degraded WAV file beside its reference.

score.py nb|wb REFERENCE DEGRADED

Both have one rate. What was heard may begin earlier or later than what was
said: it is cut to where it fits best.
"""

import sys
import wave

import numpy
from pesq import pesq


def read(path):
    with wave.open(path) as file:
        rate = file.getframerate()
        return rate, numpy.frombuffer(file.readframes(file.getnframes()), dtype="<i2")


def aligned(said, heard):
    """As many samples of `heard` as `said` has, from the lag of the highest
    cross-correlation on; what is missing is silence."""
    size = 1 << (len(said) + len(heard)).bit_length()
    spectrum = numpy.fft.rfft(heard, size) * numpy.conj(numpy.fft.rfft(said, size))
    likeness = numpy.fft.irfft(spectrum, size)
    lag = int(numpy.argmax(likeness))
    if lag >= len(heard):
        # The upper half is what lies before the beginning.
        lag -= size
    cut = heard[max(lag, 0) : max(lag + len(said), 0)]
    out = numpy.zeros(len(said), dtype="<i2")
    first = max(-lag, 0)
    out[first : first + len(cut)] = cut
    return out


mode, reference, degraded = sys.argv[1:]
rate, said = read(reference)
_, heard = read(degraded)
print(pesq(rate, said, aligned(said, heard), mode))
