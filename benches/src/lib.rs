//! Criterion benches of tvr, in `benches/benches`; peers in `benches/peers`.
