//! A line of a container's output with its time before it, as an engine writes it when it is asked to.

use bytes::Bytes;
use jiff::Timestamp;

/// No time is longer.
const LONGEST: usize = 40;

/// Takes its time off a line. None if it does not begin with one.
pub fn dated(line: &Bytes) -> Option<(Timestamp, Bytes)> {
    let end = line.iter().take(LONGEST).position(|byte| *byte == b' ')?;
    let time = str::from_utf8(&line[..end]).ok()?.parse().ok()?;
    Some((time, line.slice(end + 1..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_taken_off_and_nothing_else() {
        let taken = |line: &'static str| {
            dated(&Bytes::from_static(line.as_bytes()))
                .map(|(time, rest)| (time.to_string(), String::from_utf8(rest.to_vec()).unwrap()))
        };
        let nanos = "2026-01-01T06:00:00.123456789Z";
        assert_eq!(
            taken(&format!("{nanos}  two words\n").leak()[..]),
            Some((nanos.to_owned(), " two words\n".to_owned()))
        );
        assert_eq!(taken("2026-01-01T06:00:00.000000000Z "), Some(("2026-01-01T06:00:00Z".to_owned(), String::new())));
        for undated in ["", "\n", "it starts\n", "2026-01-01", "2026-01-01T06:00:00Z\n", " 2026-01-01T06:00:00Z x"] {
            assert_eq!(taken(undated), None, "{undated}");
        }
        assert_eq!(dated(&Bytes::from_static(b"\xff\xfe x")), None);
    }
}
