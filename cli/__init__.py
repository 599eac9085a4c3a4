"""The verbs of `./lab`, one thin module each: parse, call, print."""

__version__ = "0.1.0"
