//! What is left out of what an image is built from, as `.containerignore` and `.dockerignore` say it.

use globset::{GlobBuilder, GlobMatcher};

/// The files that say what is left out; the first one that is there counts.
pub(in crate::host::linux) const FILES: [&str; 2] = [".containerignore", ".dockerignore"];
/// The longest such file that is read.
pub(in crate::host::linux) const LONGEST: u64 = 64 << 10;

/// Patterns, of which the last one that fits decides.
#[derive(Debug, Default)]
pub(in crate::host::linux) struct Ignore(Vec<Pattern>);

#[derive(Debug)]
struct Pattern {
    glob: GlobMatcher,
    keeps: bool,
}

impl Ignore {
    /// Reads the patterns of a file. What `always` names is never left out.
    ///
    /// # Errors
    /// One sentence about the pattern that can't be understood.
    pub(in crate::host::linux) fn new(text: &str, always: &[&str]) -> Result<Self, String> {
        let lines = text.trim_start_matches('\u{feff}').lines().filter(|line| !line.starts_with('#')).map(str::trim);
        let mut patterns = Vec::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let (keeps, path) = line.strip_prefix('!').map_or((false, line), |path| (true, path.trim()));
            let path = plain(path);
            if !path.is_empty() {
                patterns.push(Pattern { glob: glob(&path, line)?, keeps });
            }
        }
        if !patterns.is_empty() {
            for path in always {
                patterns.push(Pattern { glob: glob(&globset::escape(&plain(path)), path)?, keeps: true });
            }
        }
        Ok(Self(patterns))
    }

    /// Returns true if a path is left out, either by itself or with a directory above it.
    pub(in crate::host::linux) fn leaves_out(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let above: Vec<&str> = ends.map(|end| &path[..end]).collect();
        let fits = |pattern: &&Pattern| above.iter().any(|path| pattern.glob.is_match(path));
        self.0.iter().rev().find(fits).is_some_and(|pattern| !pattern.keeps)
    }

    /// Returns true if something in a directory that is left out may be kept all the same.
    pub(in crate::host::linux) fn has_exceptions(&self) -> bool {
        self.0.iter().any(|pattern| pattern.keeps)
    }
}

fn glob(path: &str, line: &str) -> Result<GlobMatcher, String> {
    let glob = GlobBuilder::new(path).literal_separator(true).backslash_escape(true).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|error| format!("`{line}` is no pattern: {}", error.kind()))
}

/// Returns a pattern without a slash at its ends and without dots that mean nothing.
fn plain(path: &str) -> String {
    path.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out(text: &str, paths: &[&str]) -> Vec<bool> {
        let ignore = Ignore::new(text, &["Containerfile"]).unwrap();
        paths.iter().map(|path| ignore.leaves_out(path)).collect()
    }

    #[test]
    fn a_pattern_begins_at_the_top_and_takes_what_is_below() {
        let paths = ["target", "target/debug/app", "src/target", "targets"];
        assert_eq!(left_out("# built\n\n target/ \n", &paths), [true, true, false, false]);
        assert_eq!(left_out("**/target", &paths), [true, true, true, false]);
        assert_eq!(left_out("/target", &paths), [true, true, false, false]);
    }

    #[test]
    fn a_star_stays_in_its_directory() {
        let paths = ["a.log", "sub/a.log", "a.txt"];
        assert_eq!(left_out("*.log", &paths), [true, false, false]);
        assert_eq!(left_out("**/*.log", &paths), [true, true, false]);
        assert_eq!(left_out("?.txt", &paths), [false, false, true]);
    }

    #[test]
    fn the_last_pattern_that_fits_decides() {
        let paths = ["docs/a.md", "docs/keep/b.md", "c.md"];
        assert_eq!(left_out("docs\n!docs/keep", &paths), [true, false, false]);
        assert_eq!(left_out("!docs/keep\ndocs", &paths), [true, true, false]);
        assert_eq!(left_out("*\n!c.md", &paths), [true, true, false]);
    }

    #[test]
    fn what_says_how_to_build_is_always_there() {
        assert_eq!(left_out("*", &["Containerfile", "src"]), [false, true]);
        assert!(Ignore::new("[", &[]).unwrap_err().contains("`[`"));
    }
}
