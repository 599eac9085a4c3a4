"""The crowd-edge graph as Mininet topologies with shaped links."""
