//! The rows of a run's table unless its recipe says otherwise, as the table names them; claims speak of them.

/// Scores as they are.
pub const RAW: &str = "raw";
/// Dual softmax over the test queries.
pub const DUAL_SOFTMAX: &str = "dual-softmax:temperature=1";
/// Sinkhorn biases: from the test queries (NCL's oracle), or from the training queries where the model has a bank.
pub const SINKHORN: &str = "sinkhorn:tau=1,iterations=50";
