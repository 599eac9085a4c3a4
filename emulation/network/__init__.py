"""The emulated network: namespaces, a private Open vSwitch, shaped queues."""
