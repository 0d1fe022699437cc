//! What candle lacks for training: seeded initialisers, optimisers with saved state, fused CPU operations
