//! Sizes in the words of engines. Pure.

/// Reads `512m`, `1.5g`, `64MiB` or a number of bytes; every unit counts in 1024, as the engine's do.
pub(crate) fn engine_bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let size = number.parse::<f64>().ok()? * factor as f64;
    // Beyond this a float can't count single bytes any more.
    (size.is_finite() && size < 9e15).then_some(size as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_count_in_1024() {
        for (text, size) in [("512m", 512 << 20), ("1.5g", 3 << 29), ("64MB", 64 << 20), ("10", 10), ("2 GiB", 2 << 30)]
        {
            assert_eq!(engine_bytes(text), Some(size), "{text}");
        }
        for text in ["", "m", "1x", "-1", "99999999999999t"] {
            assert_eq!(engine_bytes(text), None, "{text}");
        }
    }
}
