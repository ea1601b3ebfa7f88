//! SMTP out: takes units from the queue, delivers, retries, notifies.
//!
//! # Duty
//! Sends each unit of the outbound queue straight to the recipient's server (RFC 5321 §5), and when that is not possible, later
//! or back to the sender as a delivery status notification (RFC 3464). Delivers late to accounts of ours what `smtp-ingress` could
//! not deliver in time. Serves the operators' view of the queue.
//!
//! It does not know how messages are stored (the `MailStore` contract reads and delivers them), whose an address is (the
//! `Directory` contract resolves senders who are to be told), or how the queue keeps its rows and wakes units up
//! ([`postrider_queue`]).
//!
//! # Inputs
//! Wake-ups of the queue; message content in pieces of 256 KiB; DNS; the replies of other servers.
//!
//! # Outputs
//! SMTP connections to port 25 of mail exchangers, and to whatever [`Routes`] and operators name; local deliveries;
//! notifications, as units of the queue; steps `attempt`, `delivered`, `deferred`, `failed`, `notified` and `cancelled` in the
//! journal, with the other server's reply; the gRPC `Queue` contract, by [`Operator`].
//!
//! # The way of a unit
//! 1. It becomes due ([`dispatch`]). Its destination is looked up: an operator's reroute, else the routes, else the MX
//!    records, else the domain's own addresses ([`resolve`]).
//! 2. It waits at its [`site`]: one set of exchangers. Senders take turns. Connections to a site begin with two, grow with success and
//!    shrink with 421 and silence.
//! 3. It is claimed, then a host is connected to ([`connect`]): by preference, equal ones in random order, IPv6 and IPv4 in turn; with
//!    STARTTLS where offered, whatever the certificate (the journal says so), and once more in the clear when its handshake fails.
//! 4. It goes over the connection ([`conversation`]), and so do the next units of the site, each with a MAIL FROM of its own.
//! 5. Each recipient's reply decides: 2yz it is done, 5yz the sender is told, 4yz or silence it is tried again.
//!
//! # Failures
//! * A server that cannot be reached is left alone for a minute (at most half of the first retry's wait); what waits for it is put off by the queue's schedule. Other
//!   destinations do not notice: nothing here waits for one.
//! * A connection that is lost behind the end of the message leaves it open whether the server has it. It is sent again (RFC
//!   5321 §4.5.4.1), so in that window a recipient may get it twice.
//! * A connection that was kept open and is found closed says nothing of the unit, which is sent over a new one at once.
//! * No such domain, null MX, our own host as best exchanger: the sender is told at once. SERVFAIL, no answer: later.
//! * Mail-store, directory or queue away: the unit waits. A notification that cannot be made stays owed, and is made before
//!   anything else happens to the unit.
//! * The process dies: claims lapse or are forgotten, and what was being sent is sent again.
//!
//! # Draining
//! [`Worker::run`] stops claiming, lets what is being sent end within [`Settings::drain`], and gives the rest back.
//!
//! # Configuration
//! `[outbound]`, and the retry schedule in `[queue]`: see [`Settings`], which documents every default.
//!
//! # Limits
//! Connections in all and to one site, units waiting in all and for one site (more are put off), message bytes in memory, messages and
//! minutes per connection: [`settings::Limits`], [`settings::Reuse`]. Every wait for another server is bounded (RFC 5321 §4.5.3.2).
//!
//! # Metrics
//! `postrider.delivery.attempts`, `.recipients` (by outcome), `.notifications` (by kind), `.connections`, `.postponed`,
//! `.duration`.

mod attempt;
mod connect;
mod content;
mod conversation;
mod dispatch;
mod grpc;
mod local;
mod notify;
mod operate;
mod record;
mod resolve;
mod routes;
pub mod settings;
mod shared;
mod site;
mod worker;

pub use operate::{Filter, Operator};
pub use resolve::{Exchangers, Resolver, Trouble};
pub use routes::{Host, RouteError, Routes};
pub use settings::Settings;
pub use worker::{Parts, Worker};
