//! An event that could not be processed: its failure record, and the way back.
