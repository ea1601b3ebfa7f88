//! UID sets and the folder index: compressed bitmaps with rank and select.
//!
//! [`UidSet`] is a set of UIDs (its bytes are the portable roaring format, as the contracts have it). [`FolderIndex`] is a
//! folder at one version: which UIDs exist, and which bear which system flag. Both are cheap to share (`Arc`) and cost
//! logarithmic time for sequence number to UID and back, whatever the size of the folder.
