//! Running a program of the Java virtual machine: which Java, its jars, its options, its class archive.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Engine, Failed, Kind};

/// The Java that both engines run on: Cassandra 5.0 knows 11 and 17, Kafka 4 needs 17.
const VERSION: &str = "17";

const KAFKA_POM: &str = include_str!("../kafka/pom.xml");
const CASSANDRA_POM: &str = include_str!("../cassandra/pom.xml");

/// For servers that live for minutes on a machine with few cores: the collector without threads of its own, the quick compiler only,
/// no shared statistics file, and an end instead of a life without memory.
const COMMON: [&str; 4] = [
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
];

/// The name of a class archive in the folder of the node that writes it at its clean stop.
const FRESH_ARCHIVE: &str = "classes.jsa";

/// Java with the jars of one kind of engine.
pub struct Java {
    program: PathBuf,
    /// The whole version, as in `17.0.15+6`.
    version: String,
    library: PathBuf,
    kind: Kind,
    jars: Vec<PathBuf>,
}

impl Java {
    /// Finds Java and the jars of `kind` under `library`; fetches the jars with Maven when they are not there.
    /// `say` hears of what takes long.
    pub fn with_jars(kind: Kind, library: &Path, say: fn(&str)) -> Result<Self, Failed> {
        let (program, version) = find()?;
        let folder = library.join(kind.name());
        let pom = if kind == Kind::Kafka {
            KAFKA_POM
        } else {
            CASSANDRA_POM
        };
        // The pom lies beside the jars once all of them are there.
        let mark = folder.join("pom.xml");
        if fs::read_to_string(&mark).ok().as_deref() != Some(pom) {
            say(&format!("fetching the jars of {} with Maven", kind.name()));
            fetch(&folder, pom)?;
        }
        let mut jars: Vec<PathBuf> = fs::read_dir(&folder)
            .map_err(|error| Failed::at(&folder, &error))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "jar"))
            .collect();
        // A class archive is believed only under the class path that it was written under.
        jars.sort();
        Ok(Self {
            program,
            version,
            library: library.to_owned(),
            kind,
            jars,
        })
    }

    /// Java alone, without inherited options.
    pub fn program(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env_remove("JDK_JAVA_OPTIONS")
            .env_remove("JAVA_TOOL_OPTIONS");
        command
    }

    /// All jars.
    pub fn class_path(&self) -> String {
        let jars: Vec<String> = self.jars.iter().map(|jar| jar.display().to_string()).collect();
        jars.join(":")
    }

    /// The command that runs an engine: options and class path are written to `java.args` in its folder, for whoever wants to know
    /// them and so that the list of processes stays readable.
    pub fn command(
        &self,
        engine: Engine,
        folder: &Path,
        own: &[String],
        main: &[&str],
    ) -> Result<Command, Failed> {
        let mut options: Vec<String> = COMMON.iter().map(|option| (*option).to_owned()).collect();
        options.extend(self.archive(engine, folder));
        options.extend_from_slice(own);
        options.extend(["-cp".to_owned(), self.class_path()]);
        let quoted: Vec<String> = options.iter().map(|option| format!("\"{option}\"\n")).collect();
        let path = folder.join("java.args");
        fs::write(&path, quoted.concat()).map_err(|error| Failed::at(&path, &error))?;
        let mut command = self.program();
        command.arg(format!("@{}", path.display())).args(main);
        Ok(command)
    }

    /// A class archive saves a third to a half of the processor time of a start. The first node writes one at its first clean stop.
    fn archive(&self, engine: Engine, folder: &Path) -> Vec<String> {
        let archive = archive(&self.library, self.kind, &self.version);
        if archive.exists() {
            vec![format!("-XX:SharedArchiveFile={}", archive.display())]
        } else if engine.node() == 1 {
            let fresh = folder.join(FRESH_ARCHIVE);
            vec![
                format!("-XX:ArchiveClassesAtExit={}", fresh.display()),
                "-Xlog:cds=off".to_owned(),
                "-Xlog:cds+dynamic=off".to_owned(),
            ]
        } else {
            Vec::new()
        }
    }
}

/// Takes the class archive that an engine wrote when it ended in good order, if it wrote one.
pub fn keep_archive(engine: Engine, folder: &Path, library: &Path) {
    let fresh = folder.join(FRESH_ARCHIVE);
    if !fresh.exists() {
        return;
    }
    if let Ok((_, version)) = find() {
        // Without the archive the next start is slower, no more.
        let _ = fs::rename(&fresh, archive(library, engine.kind(), &version));
    }
}

/// Another Java cannot read it.
fn archive(library: &Path, kind: Kind, version: &str) -> PathBuf {
    library.join(format!("{}-{version}.jsa", kind.name()))
}

/// The Java that `JAVA_HOME` or the path names, and its version.
fn find() -> Result<(PathBuf, String), Failed> {
    let program = std::env::var_os("JAVA_HOME")
        .map(|home| PathBuf::from(home).join("bin/java"))
        .filter(|program| program.exists())
        .unwrap_or_else(|| "java".into());
    let advice = "install Java 17 (Debian: openjdk-17-jre-headless) or set JAVA_HOME to one";
    let output = Command::new(&program)
        .arg("-version")
        .output()
        .map_err(|error| Failed(format!("{}: {error}; {advice}", program.display())))?;
    let said = String::from_utf8_lossy(&output.stderr);
    // openjdk version "17.0.15" 2025-04-15
    let version = said.split('"').nth(1).unwrap_or_default().to_owned();
    if version.split('.').next() == Some(VERSION) {
        return Ok((program, version));
    }
    let first = said.lines().next().unwrap_or("nothing");
    Err(Failed(format!(
        "{} is not Java 17 but says: {first}; {advice}",
        program.display()
    )))
}

/// Fetches what the pom names into the folder, as a whole or not at all.
fn fetch(folder: &Path, pom: &str) -> Result<(), Failed> {
    let part = folder.with_extension("part");
    let _ = fs::remove_dir_all(&part);
    fs::create_dir_all(&part).map_err(|error| Failed::at(&part, &error))?;
    let file = part.join("pom.xml");
    fs::write(&file, pom).map_err(|error| Failed::at(&file, &error))?;
    let output = Command::new("mvn")
        .args(["-B", "-ntp", "-q", "-f"])
        .arg(&file)
        .arg("dependency:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", part.display()))
        .arg("-DincludeScope=runtime")
        .output()
        .map_err(|error| Failed(format!("mvn: {error}; install Maven (Debian: maven)")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        let first = said
            .lines()
            .find(|line| line.contains("ERROR"))
            .unwrap_or("no reason");
        return Err(Failed(format!("Maven cannot fetch the jars: {first}")));
    }
    let _ = fs::remove_dir_all(folder);
    fs::rename(&part, folder).map_err(|error| Failed::at(folder, &error))
}
