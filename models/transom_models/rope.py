"""Rotary position embedding: by how much each pair of a head turns per position. Plain numbers."""


def rope_frequencies(theta: float, rotary_dim: int) -> tuple[float, ...]:
    """theta^(-2i/d) for each pair i (RoFormer, Su et al. 2021), in f64; radians per position."""
    return tuple(theta ** (-2.0 * i / rotary_dim) for i in range(rotary_dim // 2))
