//! Checking that every row has its bytes.

use postrider_types::ContentId;
use rusqlite::{Connection, params};

use crate::database::locate;
use crate::segment;
use crate::{Database, Result, schema};

/// Contents checked between two reports of progress.
const PAGE: usize = 500;

/// What a check tells while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// How far it is.
    Progress {
        /// Contents checked.
        done: u64,
        /// Contents in all, about.
        total: u64,
    },
    /// Something is wrong: one line, lower case, for people.
    Finding(String),
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verified {
    /// Contents checked.
    pub contents: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Findings reported. None: all is well.
    pub findings: u64,
}

impl Database {
    /// Checks the database file, that every row of a content has its record and every record its checksums, that every holder holds
    /// something, and the segments' counts. Reads everything once; blocks the calling thread and reads with a connection of its own.
    pub fn verify(&self, mut report: impl FnMut(Report)) -> Result<Verified> {
        let _files_stay = self.core.removal.lock();
        let connection = schema::open_reader(&self.core.dir)?;
        let mut check = Check {
            database: self,
            connection,
            result: Verified::default(),
            report: &mut report,
        };
        check.tables()?;
        check.segments()?;
        check.holders()?;
        check.contents()?;
        Ok(check.result)
    }
}

struct Check<'a> {
    database: &'a Database,
    connection: Connection,
    result: Verified,
    report: &'a mut dyn FnMut(Report),
}

impl Check<'_> {
    fn finding(&mut self, text: String) {
        self.result.findings += 1;
        (self.report)(Report::Finding(text));
    }

    fn tables(&mut self) -> Result<()> {
        let lines = self
            .connection
            .prepare("PRAGMA integrity_check(100)")?
            .query_map([], |row| row.get::<_, String>(0))?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        for line in lines.into_iter().filter(|line| line != "ok") {
            self.finding(format!("{}: {line}", schema::FILE));
        }
        Ok(())
    }

    fn segments(&mut self) -> Result<()> {
        // The counts are compared with the rows in one statement, so that writes meanwhile do not look like defects.
        let sql = "SELECT segment.id, committed, live, records,
                       coalesce(sum(40 + length + iif(length > 65536, (length + 65535) / 65536 * 4, 0)), 0), count(content.id)
                   FROM segment LEFT JOIN content ON content.segment = segment.id GROUP BY segment.id";
        type Row = (u64, u64, i64, i64, i64, i64);
        let rows: Vec<Row> = self
            .connection
            .prepare(sql)?
            .query_map([], |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                    row.get(5)?,
                ))
            })?
            .collect::<rusqlite::Result<_>>()?;
        for (number, committed, live, records, rows_live, rows_records) in rows {
            let name = segment::name(number);
            match std::fs::metadata(self.database.core.files.dir().join(&name)) {
                Ok(file) if file.len() >= committed => {}
                Ok(file) => self.finding(format!("{name}: has {} bytes instead of {committed}", file.len())),
                Err(error) => self.finding(format!("{name}: {error}")),
            }
            if (live, records) != (rows_live, rows_records) {
                self.finding(format!(
                    "{name}: counts {records} records of {live} bytes, rows name {rows_records} of {rows_live}"
                ));
            }
        }
        Ok(())
    }

    fn holders(&mut self) -> Result<()> {
        let sql = "SELECT hex(content), hex(holder) FROM content_holder
                   WHERE NOT EXISTS (SELECT 1 FROM content WHERE id = content_holder.content) LIMIT 1000";
        let rows: Vec<(String, String)> = self
            .connection
            .prepare(sql)?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        for (content, holder) in rows {
            self.finding(format!("content {content} is held by {holder} and missing"));
        }
        Ok(())
    }

    fn contents(&mut self) -> Result<()> {
        let total =
            self.connection
                .query_row("SELECT coalesce(sum(records), 0) FROM segment", [], |row| {
                    row.get(0)
                })?;
        let mut after: Vec<u8> = Vec::new();
        loop {
            let ids: Vec<Vec<u8>> = self
                .connection
                .prepare_cached("SELECT id FROM content WHERE id > ?1 ORDER BY id LIMIT ?2")?
                .query_map(params![after, PAGE], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            for id in &ids {
                match ContentId::from_slice(id) {
                    Some(id) => self.content(id)?,
                    None => self.finding("a content id does not have 16 bytes".into()),
                }
            }
            (self.report)(Report::Progress {
                done: self.result.contents,
                total,
            });
            match ids.into_iter().next_back() {
                Some(last) => after = last,
                None => return Ok(()),
            }
        }
    }

    fn content(&mut self, id: ContentId) -> Result<()> {
        // Looked up again: it may have been moved or deleted since the page was read.
        let Some(at) = locate(&self.connection, id)? else {
            return Ok(());
        };
        self.result.contents += 1;
        self.result.bytes += at.length;
        match self.database.core.files.get(at.segment) {
            Ok(Some(file)) => {
                if let Err(error) = segment::read_record(&file, &at) {
                    self.finding(error.to_string());
                }
            }
            Ok(None) => self.finding(format!(
                "the segment of content {id} is missing: {}",
                segment::name(at.segment)
            )),
            Err(error) => self.finding(error.to_string()),
        }
        Ok(())
    }
}
