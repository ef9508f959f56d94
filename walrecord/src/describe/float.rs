//! Floating-point numbers as C's `%g` writes them. Only metapages of hash indexes log some.

use std::io::Write;

use crate::describe::Text;

/// Appends a number with six significant digits, in plain or scientific notation, whichever is
/// shorter, without trailing zeros: `0`, `300`, `1e+06`, `1.23457e+07`.
pub(super) fn general(out: &mut Text, value: f64) {
    if !value.is_finite() {
        let sign = if value.is_sign_negative() { "-" } else { "" };
        let name = if value.is_nan() { "nan" } else { "inf" };
        out.str(sign).str(name);
        return;
    }
    // Sign, six digits, point, `e`, and an exponent of at most four characters.
    let mut buffer = [0; 16];
    let mut rest = &mut buffer[..];
    let written = write!(rest, "{value:.5e}").map(|()| 16 - rest.len());
    let text = str::from_utf8(&buffer[..written.unwrap_or(0)]).unwrap_or_default();
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let unsigned = mantissa.trim_start_matches('-');
    if unsigned.len() < mantissa.len() {
        out.byte(b'-');
    }
    let (first, others) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let others = others.trim_end_matches('0');
    match exponent {
        -4..0 => {
            out.str("0.").str(&"000"[..(-1 - exponent) as usize]);
            out.str(first).str(others);
        }
        0..6 => plain(out, first, others, exponent as usize),
        _ => {
            out.str(first);
            if !others.is_empty() {
                out.byte(b'.').str(others);
            }
            out.str(if exponent < 0 { "e-" } else { "e+" });
            let magnitude = exponent.unsigned_abs();
            if magnitude < 10 {
                out.byte(b'0');
            }
            out.dec(magnitude);
        }
    }
}

/// A digit before the point and some behind it, with the point moved `exponent` places to the right.
fn plain(out: &mut Text, first: &str, others: &str, exponent: usize) {
    let before = others.len().min(exponent);
    out.str(first).str(&others[..before]);
    out.str(&"00000"[..exponent - before]);
    if before < others.len() {
        out.byte(b'.').str(&others[before..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected texts are those of glibc's `printf`.
    #[test]
    fn numbers_are_those_of_printf() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (10.0, "10"),
            (-300.5, "-300.5"),
            (123_456.0, "123456"),
            (999_999.5, "1e+06"),
            (1_000_000.0, "1e+06"),
            (1_000_005.0, "1e+06"),
            (1_000_015.0, "1.00002e+06"),
            (12_345_678.0, "1.23457e+07"),
            (0.0001, "0.0001"),
            (0.000_123_456_7, "0.000123457"),
            (0.000_012_5, "1.25e-05"),
            (0.1, "0.1"),
            (1e100, "1e+100"),
            (f64::MIN, "-1.79769e+308"),
            (5e-324, "4.94066e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            let mut text = Text::new();
            general(&mut text, value);
            assert_eq!(str::from_utf8(text.as_bytes()), Ok(expected));
        }
    }
}
