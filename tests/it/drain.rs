//! The drain: what clients of two replicas notice when one of them is told to stop.
