//! SMTP out: takes units from the queue, delivers, retries, notifies.
