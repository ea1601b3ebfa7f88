//! UID sets and the folder index: compressed bitmaps with rank and select.
