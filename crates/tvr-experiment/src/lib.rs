//! Recipe, plan, training, evaluation and record.
