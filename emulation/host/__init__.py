"""What touches Linux: netlink, external commands, processes, cgroups, uids and settings."""
