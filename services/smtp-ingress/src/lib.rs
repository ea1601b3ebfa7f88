//! SMTP in: port 25 and submission.
