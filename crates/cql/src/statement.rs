//! Statements, as engines declare them.

/// A statement: text and what kind of work it is. Declared as a constant; prepared once per session, at first use. Tables are named without
/// a keyspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Statement {
    pub(crate) cql: &'static str,
    pub(crate) kind: Kind,
}

/// Kinds of work: each has its own consistency, deadline, policies and figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A read of what a majority has: sees every write that was acknowledged before it.
    Read,
    /// A linearizable read: also ends a conditional write whose coordinator died.
    SerialRead,
    /// An unconditional write; repeating it must be harmless.
    Write,
    /// A conditional write.
    Conditional,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::Read, Kind::SerialRead, Kind::Write, Kind::Conditional];

    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Read => "read",
            Kind::SerialRead => "serial_read",
            Kind::Write => "write",
            Kind::Conditional => "conditional",
        }
    }

    /// Whether it may change something.
    pub(crate) fn writes(self) -> bool {
        matches!(self, Kind::Write | Kind::Conditional)
    }
}

impl Statement {
    /// A `SELECT` at LOCAL_QUORUM.
    pub const fn read(cql: &'static str) -> Self {
        Self {
            cql,
            kind: Kind::Read,
        }
    }

    /// A `SELECT` of one partition at LOCAL_SERIAL.
    pub const fn serial_read(cql: &'static str) -> Self {
        Self {
            cql,
            kind: Kind::SerialRead,
        }
    }

    /// An `INSERT`, `UPDATE` or `DELETE` without a condition. Also what stands beside the condition in a conditional batch.
    pub const fn write(cql: &'static str) -> Self {
        Self {
            cql,
            kind: Kind::Write,
        }
    }

    /// An `INSERT`, `UPDATE` or `DELETE` with `IF`.
    pub const fn conditional(cql: &'static str) -> Self {
        Self {
            cql,
            kind: Kind::Conditional,
        }
    }

    /// Its text.
    pub const fn cql(&self) -> &'static str {
        self.cql
    }

    /// The table it is about, for metrics.
    pub fn table(&self) -> &'static str {
        let mut words = self.cql.split_ascii_whitespace();
        // `SELECT … FROM table`, `DELETE … FROM table`, `INSERT INTO table`, `UPDATE table`.
        let _ = words.find(|word| matches!(*word, "FROM" | "INTO" | "UPDATE"));
        words.next().unwrap_or("none")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_says_its_table() {
        for cql in [
            "SELECT version FROM account WHERE account = ? LIMIT 1",
            "INSERT INTO account (account, kind) VALUES (?, 3) IF NOT EXISTS",
            "UPDATE account SET version = ? WHERE account = ? IF version = ?",
            "DELETE FROM account USING TIMESTAMP ? WHERE account = ?",
        ] {
            assert_eq!(Statement::read(cql).table(), "account", "{cql}");
        }
        assert_eq!(Statement::read("TRUNCATE").table(), "none");
    }
}
