"""A user's policy: an unprivileged process without network, with one pipe to its device."""
