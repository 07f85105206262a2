//! References to images.
