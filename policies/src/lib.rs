//! Routed policy networks: experts, gate, mixture, value nets, and their fused CPU path.
