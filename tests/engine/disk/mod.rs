//! What a simulated disk keeps of a workload, and what the workload is owed.

pub(crate) mod life;
