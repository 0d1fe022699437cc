//! Oversight experiments: PPO and REINFORCE with gradient routing
