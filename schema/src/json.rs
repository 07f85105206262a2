//! JSON Schemas and custom resource definitions.
