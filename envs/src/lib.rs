//! Vectorised gridworlds with partial oversight, on ndarray
