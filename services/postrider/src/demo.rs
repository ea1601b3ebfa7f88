//! Two nodes, `crepes.fr` and `hamburger.edu`, and Alice's letter to Bob.
//!
//! Each node is a whole one with a data directory and ports of its own. Between client and server stands a [`tap`], which
//! passes on every byte and prints every line: what is shown is what was said on the wire.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postrider_proto::{mailstore, operations};
use postrider_runtime::shutdown;
use postrider_types::{Address, Secret};

use crate::admin::failure;
use crate::agent::{Dialogue, Encryption, Letter, Submission, describe};

mod imap;
mod place;
mod pop3;
mod stage;
mod tap;

use place::Place;
use tap::Tap;

/// How long the letter may take from server to server.
const JOURNEY: Duration = Duration::from_secs(30);

const ALICE: Person = Person {
    address: "alice@crepes.fr",
    name: "Alice",
    password: "crepes",
};
const BOB: Person = Person {
    address: "bob@hamburger.edu",
    name: "Bob",
    password: "hungry",
};

/// Somebody with a mailbox.
struct Person {
    address: &'static str,
    name: &'static str,
    password: &'static str,
}

/// Shows the journey; then serves until it is told to stop, unless `once`.
pub async fn run(data: Option<PathBuf>, once: bool) -> Result<()> {
    let stop = shutdown::on_signal().context("cannot watch for signals")?;
    let temporary = match data {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("postrider-demo-").tempdir()?),
    };
    let directory = data.unwrap_or_else(|| {
        temporary
            .as_ref()
            .map_or_else(PathBuf::new, |it| it.path().to_owned())
    });
    let demo = Demo::open(&directory).await?;
    let journey = tokio::select! {
        journey = demo.journey() => journey,
        () = stop.cancelled() => Ok(()),
    };
    if journey.is_ok() && !once && !stop.is_cancelled() {
        demo.table();
        stop.cancelled().await;
    }
    demo.close().await;
    journey
}

/// The two nodes and the taps between them.
struct Demo {
    alices: Place,
    bobs: Place,
    /// Between the two servers.
    between: Tap,
}

impl Demo {
    async fn open(directory: &Path) -> Result<Self> {
        stage::title("Two mail servers start");
        let bobs = Place::open("hamburger.edu", &directory.join("hamburger.edu"), 20_000, None).await?;
        let between = Tap::closed(bobs.address("smtp")?, Dialogue::new("    ")).await?;
        let route = Some(("hamburger.edu", between.address()));
        let alices = Place::open("crepes.fr", &directory.join("crepes.fr"), 10_000, route).await?;
        for (place, person) in [(&alices, &ALICE), (&bobs, &BOB)] {
            place
                .welcome(person.address, person.name, person.password)
                .await?;
            stage::say(&format!(
                "{} is up; {} has the mailbox {}",
                place.name, person.name, person.address
            ));
        }
        Ok(Self {
            alices,
            bobs,
            between,
        })
    }

    /// Every step of the letter; an error names the one that did not work.
    async fn journey(&self) -> Result<()> {
        stage::title("1  Alice's agent hands her letter to her own server (SMTP with AUTH)");
        stage::who("C = Alice's agent", "S = crepes.fr, submission");
        self.submit().await.context("submission")?;

        stage::title("2  Her server carries it straight to Bob's server (SMTP)");
        stage::who("C = crepes.fr", "S = hamburger.edu, port 25 in the real world");
        // Until now it was closed: the worker was about to begin while Alice's agent said goodbye.
        self.between.turn_on();
        self.arrival().await.context("the way from server to server")?;

        stage::title("3  Bob reads it with POP3, and leaves it on the server");
        stage::who("C = Bob's agent", "S = hamburger.edu");
        let tap = Tap::open(self.bobs.address("pop3")?, Dialogue::new("    ")).await?;
        let letter = pop3::read(tap.address(), "bob", BOB.password)
            .await
            .context("POP3")?;
        ensure!(
            letter.contains("How about pickles?"),
            "POP3: what arrived is not what Alice wrote"
        );

        stage::title("4  Bob reads it with IMAP, on another device");
        stage::who("C = Bob's other agent", "S = hamburger.edu");
        let tap = Tap::open(self.bobs.address("imap")?, Dialogue::new("    ")).await?;
        let letter = imap::read(tap.address(), BOB.address, BOB.password)
            .await
            .context("IMAP")?;
        ensure!(
            letter.contains("How about pickles?"),
            "IMAP: what arrived is not what Alice wrote"
        );

        for (number, place) in [(5, &self.alices), (6, &self.bobs)] {
            stage::title(&format!(
                "{number}  Where the letter went, as {} recorded it",
                place.name
            ));
            self.trace(place)
                .await
                .with_context(|| format!("the trace at {}", place.name))?;
        }
        stage::title("Every step worked");
        Ok(())
    }

    async fn submit(&self) -> Result<()> {
        let tap = Tap::open(self.alices.address("submission")?, Dialogue::new("    ")).await?;
        let letter = Letter {
            from: format!("{} <{}>", ALICE.name, ALICE.address),
            to: vec![format!("{} <{}>", BOB.name, BOB.address)],
            subject: "Condiments".into(),
            text: Some("Do you like ketchup?\nHow about pickles?\n".into()),
            ..Letter::default()
        };
        let (message, ..) = letter.write()?;
        let submission = Submission {
            host: tap.address().ip().to_string(),
            port: tap.address().port(),
            encryption: Encryption::None,
            roots: None,
            credentials: Some((ALICE.address.into(), Secret::new(ALICE.password))),
            name: "alices-laptop.crepes.fr".into(),
            sender: Address::new(ALICE.address)?,
            recipients: vec![Address::new(BOB.address)?],
            message: message.into(),
        };
        let outcome = submission.send(None).await?;
        let refused = outcome
            .verdicts
            .iter()
            .find(|it| !matches!(it, postrider_smtp::client::Verdict::Delivered(_)));
        ensure!(
            refused.is_none(),
            "refused: {}",
            refused.map(describe).unwrap_or_default()
        );
        Ok(())
    }

    /// Waits until Bob's mailbox holds the letter.
    async fn arrival(&self) -> Result<()> {
        let account = self.bobs.account(BOB.address).await?;
        let there = async {
            loop {
                let request = mailstore::GetAccountRequest { account };
                let held = self
                    .bobs
                    .client
                    .mail_store()
                    .get_account(request)
                    .await
                    .map_err(failure)?
                    .into_inner();
                // The connection is kept for a next letter, so this is the sign that the first has come.
                if held.messages > 0 {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(JOURNEY, there)
            .await
            .context("the letter did not arrive in 30 seconds")??;
        self.between.quiet().await;
        Ok(())
    }

    async fn trace(&self, place: &Place) -> Result<()> {
        let request = operations::TraceRequest {
            here: true,
            from: ALICE.address.into(),
            ..Default::default()
        };
        // The journal is written a moment after the fact.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut steps = place
            .client
            .operations()
            .trace(request)
            .await
            .map_err(failure)?
            .into_inner();
        let mut count = 0;
        while let Some(step) = steps.message().await.map_err(failure)? {
            count += 1;
            stage::step(&step);
        }
        ensure!(count > 0, "nothing is recorded");
        Ok(())
    }

    fn table(&self) {
        stage::title("Both servers keep running: try them");
        for (place, person) in [(&self.alices, &ALICE), (&self.bobs, &BOB)] {
            stage::say(&format!(
                "{:<14} user {}, password {}",
                place.name, person.address, person.password
            ));
            for (listener, address) in place.addresses() {
                stage::say(&format!("  {listener:<12} {address}"));
            }
            stage::say(&format!("  data         {}\n", place.data.display()));
        }
        if let Ok(address) = self.bobs.address("smtp") {
            stage::say(&format!("By hand:   telnet {} {}", address.ip(), address.port()));
        }
        if let Ok(address) = self.alices.address("submission") {
            stage::say(&format!(
                "By agent:  POSTRIDER_PASSWORD={} postrider send --server {address} --auth {} --from {} --to {} \
                 --subject Again --body 'And mustard?' --show-dialogue",
                ALICE.password, ALICE.address, ALICE.address, BOB.address
            ));
        }
        stage::say(&format!(
            "Trace:     postrider trace --to {} --data {}",
            BOB.address,
            self.alices.data.display()
        ));
        stage::say("Ctrl-C ends both.");
    }

    async fn close(self) {
        self.alices.close().await;
        self.bobs.close().await;
    }
}
