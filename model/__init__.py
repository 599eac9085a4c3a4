"""The system model of the paper, Sections III and IV, as typed Python: no sockets, no torch."""
