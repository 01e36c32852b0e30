//! Numbers as Clojure has them on the JVM: `Long`, `BigInteger` or `Double`, compared and printed as there.

use std::cmp::Ordering;

#[derive(Debug)]
pub enum JvmNumber {
    Big { is_negative: bool, text: String },
    Double(f64),
    Long(i64),
}

impl JvmNumber {
    pub fn of(text: &str) -> Self {
        if text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
            return Self::Double(text.parse().expect("JSON numbers are numbers of Rust, too"));
        }
        match text.parse() {
            Ok(long) => Self::Long(long),
            Err(_) => Self::Big { is_negative: text.starts_with('-'), text: text.to_owned() },
        }
    }

    /// With a whole number.
    pub fn compare(&self, with: i64) -> Ordering {
        match self {
            Self::Big { is_negative: true, .. } => Ordering::Less,
            Self::Big { is_negative: false, .. } => Ordering::Greater,
            Self::Double(double) => double.partial_cmp(&(with as f64)).expect("JSON has no NaN"),
            Self::Long(long) => long.cmp(&with),
        }
    }

    /// Rounded down, within 64 bits.
    pub fn floor(&self) -> i64 {
        match self {
            Self::Big { is_negative: true, .. } => i64::MIN,
            Self::Big { is_negative: false, .. } => i64::MAX,
            Self::Double(double) => double.floor() as i64,
            Self::Long(long) => *long,
        }
    }

    /// `toString`
    pub fn print(&self) -> String {
        match self {
            Self::Big { text, .. } => text.clone(),
            Self::Double(double) => print_double(*double),
            Self::Long(long) => long.to_string(),
        }
    }
}

/// `java.lang.Double.toString`: the shortest digits that tell it from its neighbours, plain from 10^-3 to below 10^7.
fn print_double(double: f64) -> String {
    let sign = if double.is_sign_negative() { "-" } else { "" };
    let magnitude = double.abs();
    if magnitude.is_infinite() {
        return format!("{sign}Infinity");
    }
    if magnitude == 0.0 {
        return format!("{sign}0.0");
    }
    let scientific = format!("{magnitude:e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("it has an exponent");
    let exponent: i32 = exponent.parse().expect("it is a number");
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let text = if (-3..7).contains(&exponent) {
        let (whole, fraction) = match usize::try_from(exponent) {
            Ok(exponent) if digits.len() > exponent + 1 => {
                (digits[..=exponent].to_owned(), digits[exponent + 1..].to_owned())
            }
            Ok(exponent) => (format!("{digits:0<width$}", width = exponent + 1), "0".to_owned()),
            Err(_) => ("0".to_owned(), format!("{}{digits}", "0".repeat(exponent.unsigned_abs() as usize - 1))),
        };
        format!("{whole}.{fraction}")
    } else {
        let fraction = if digits.len() > 1 { &digits[1..] } else { "0" };
        format!("{}.{fraction}E{exponent}", &digits[..1])
    };
    format!("{sign}{text}")
}
