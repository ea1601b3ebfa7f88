//! RFC 5322 and MIME: structure with offsets, envelope, building, conversion to 7 bits, status notifications.
