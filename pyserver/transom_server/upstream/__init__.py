"""Models that other servers run, under names of this one."""
