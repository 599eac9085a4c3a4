"""One real run on this machine: network, devices, units, clock, recorder, clean-up."""
