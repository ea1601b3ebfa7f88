//! Gauges from a server's metrics page: Prometheus' text format, read with a plain HTTP request.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What is kept when nothing else is asked for: gauges with one of these in their names.
const TELLING: [&str; 7] = [
    "queue",
    "connections",
    "sessions",
    "watched",
    "backlog",
    "pending",
    "in_flight",
];

/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest page that is read.
const LONGEST_PAGE: u64 = 8 << 20;

/// At most so many series are kept of a page.
const MOST_SERIES: usize = 64;

/// Where a page is and what of it is wanted.
#[derive(Debug, Clone)]
pub(super) struct Page {
    authority: String,
    path: String,
    /// Metrics that begin with one of these; when empty, what is [`TELLING`].
    prefixes: Vec<String>,
}

impl Page {
    /// From `http://host:port/path`.
    pub(super) fn new(url: &str, prefixes: &[String]) -> Result<Self> {
        let Some(rest) = url.strip_prefix("http://") else {
            bail!("metrics: {url} does not begin with http://");
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/metrics"),
        };
        let authority = match authority.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => authority.to_owned(),
            _ => format!("{authority}:80"),
        };
        Ok(Self {
            authority,
            path: path.to_owned(),
            prefixes: prefixes.to_vec(),
        })
    }

    /// Fetches it and picks the gauges: name (with labels) and value.
    pub(super) async fn read(&self) -> Result<BTreeMap<String, f64>> {
        let text = timeout(PATIENCE, self.fetch())
            .await
            .with_context(|| format!("no metrics from {} within 2 s", self.authority))??;
        Ok(self.pick(&text))
    }

    /// HTTP/1.0, so that the body ends with the connection and comes in one piece.
    async fn fetch(&self) -> Result<String> {
        let mut stream = TcpStream::connect(&self.authority).await?;
        let request = format!("GET {} HTTP/1.0\r\nHost: {}\r\n\r\n", self.path, self.authority);
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::with_capacity(64 << 10);
        stream.take(LONGEST_PAGE).read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").context("the answer is no HTTP")?;
        let status = head.lines().next().unwrap_or_default();
        ensure!(status.contains(" 200"), "the metrics page answers {status}");
        Ok(body.to_owned())
    }

    fn pick(&self, text: &str) -> BTreeMap<String, f64> {
        let mut picked: BTreeMap<String, f64> = BTreeMap::new();
        let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# TYPE ") {
                kinds.extend(comment.trim().split_once(' '));
                continue;
            }
            let Some((name, labels, value)) = sample(line) else {
                continue;
            };
            if !self.wants(name, kinds.get(name).copied()) {
                continue;
            }
            let key = key(name, labels);
            if picked.len() < MOST_SERIES || picked.contains_key(&key) {
                *picked.entry(key).or_default() += value;
            }
        }
        picked
    }

    fn wants(&self, name: &str, kind: Option<&str>) -> bool {
        if !self.prefixes.is_empty() {
            return self
                .prefixes
                .iter()
                .any(|prefix| name.starts_with(prefix.as_str()));
        }
        matches!(kind, Some("gauge" | "untyped")) && TELLING.iter().any(|word| name.contains(word))
    }
}

/// Name, labels and value of a line; none when it is a comment or not a number.
fn sample(line: &str) -> Option<(&str, &str, f64)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (name, rest) = line.split_at(line.find(['{', ' '])?);
    let (labels, rest) = match rest.strip_prefix('{') {
        // A label's value may hold a brace; the last one ends the labels.
        Some(rest) => rest.rsplit_once('}')?,
        None => ("", rest),
    };
    // A time may follow the value.
    let value: f64 = rest.split_ascii_whitespace().next()?.parse().ok()?;
    value.is_finite().then_some((name, labels, value))
}

/// The name with those labels that tell series apart; an exporter's own scope does not.
fn key(name: &str, labels: &str) -> String {
    let labels: Vec<&str> = labels
        .split(',')
        .filter(|label| !label.is_empty() && !label.starts_with("otel_scope_"))
        .collect();
    match labels.is_empty() {
        true => name.to_owned(),
        false => format!("{name}{{{}}}", labels.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const TEXT: &str = "# HELP postrider_connections_open Open connections\n\
        # TYPE postrider_connections_open gauge\n\
        postrider_connections_open{otel_scope_name=\"postrider\",protocol=\"imap\"} 12\n\
        postrider_connections_open{otel_scope_name=\"postrider\",protocol=\"smtp\"} 3 1700000000\n\
        # TYPE queue_depth gauge\n\
        queue_depth 5\n\
        # TYPE queue_attempts_total counter\n\
        queue_attempts_total 99\n\
        # TYPE memory gauge\n\
        memory NaN\n";

    fn page(prefixes: &[&str]) -> Page {
        let prefixes: Vec<String> = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        Page::new("http://127.0.0.1:9625/metrics", &prefixes).expect("an address")
    }

    #[test]
    fn telling_gauges_are_kept() {
        let picked = page(&[]).pick(TEXT);
        let expected = [
            ("postrider_connections_open{protocol=\"imap\"}", 12.0),
            ("postrider_connections_open{protocol=\"smtp\"}", 3.0),
            ("queue_depth", 5.0),
        ];
        assert_eq!(
            picked,
            expected.map(|(name, value)| (name.to_owned(), value)).into()
        );
    }

    #[test]
    fn whoever_asks_gets_counters_too() {
        let picked = page(&["queue_"]).pick(TEXT);
        assert_eq!(picked.len(), 2);
        assert_eq!(picked["queue_attempts_total"], 99.0);
    }

    #[test]
    fn addresses() {
        let page = Page::new("http://mx.hamburger.edu", &[]).expect("an address");
        assert_eq!(
            (page.authority.as_str(), page.path.as_str()),
            ("mx.hamburger.edu:80", "/metrics")
        );
        assert!(Page::new("https://mx.hamburger.edu/metrics", &[]).is_err());
    }

    #[tokio::test]
    async fn a_page_is_read_over_http() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.expect("a request");
            assert!(request[..length].starts_with(b"GET /metrics HTTP/1.0\r\n"));
            stream
                .write_all(b"HTTP/1.0 200 OK\r\n\r\n# TYPE queue gauge\nqueue 7\n")
                .await
                .expect("sent");
        });
        let page = Page::new(&format!("http://{address}/metrics"), &[]).expect("an address");
        assert_eq!(page.read().await.expect("gauges")["queue"], 7.0);
        server.await.expect("served");
    }
}
