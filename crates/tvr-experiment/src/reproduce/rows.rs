//! The rows of a run's table that claims speak of, as the table names them.

/// Scores as they are.
pub const RAW: &str = "raw";
/// Dual softmax over the test queries.
pub const DUAL_SOFTMAX: &str = "dual-softmax:temperature=1";
/// Sinkhorn biases from the test queries: NCL's oracle.
pub const SINKHORN: &str = "sinkhorn:tau=1,iterations=50";
/// Sinkhorn biases from a bank of training queries.
pub const SINKHORN_BANK: &str = "sinkhorn:tau=1,iterations=50 (bank)";
