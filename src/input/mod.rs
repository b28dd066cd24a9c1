//! Bytes in, events to publish out.
