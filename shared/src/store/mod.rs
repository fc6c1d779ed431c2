//! The adapters of the ports: DynamoDB, and memory.

#[cfg(feature = "lambda")]
pub mod dynamodb;
pub mod memory;
