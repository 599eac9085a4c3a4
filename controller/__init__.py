"""The OpenFlow 1.3 controller: forwarding, statistics, link backlog, operator API."""
