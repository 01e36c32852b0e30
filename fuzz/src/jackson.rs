//! JSON as Metabase reads it: Jackson's grammar, with what Cheshire switches on (raw control characters in strings), what it
//! leaves behind (text after the first value), and Jackson's own limits (`StreamReadConstraints`).

const MAX_DEPTH: usize = 1000;
const MAX_DIGITS: usize = 1000;

#[derive(Debug)]
pub enum Json {
    Array(Vec<Json>),
    Bool(bool),
    Null,
    Number(String),
    Object(Vec<(String, Json)>),
    String(String),
}

/// Not read.
#[derive(Debug)]
pub struct Refused;

/// The first value; none where there is nothing but white space.
pub fn first_value(bytes: &[u8]) -> Result<Option<Json>, Refused> {
    let text: Vec<char> = String::from_utf8_lossy(bytes).chars().collect();
    let mut reader = Reader { text, at: 0, depth: 0 };
    reader.skip_white_space();
    if reader.peek().is_none() {
        return Ok(None);
    }
    let value = reader.value()?;
    // An object, an array and a string end themselves; behind a number has to be white space. Behind true, false and null Jackson takes
    // some characters that the service refuses: no token is accepted for either.
    let is_end = |next: char| match value {
        Json::Number(_) => " \t\r\n".contains(next),
        Json::Bool(_) | Json::Null => " \t\r\n\"[]{},:".contains(next),
        Json::Array(_) | Json::Object(_) | Json::String(_) => true,
    };
    if reader.peek().is_some_and(|next| !is_end(next)) {
        return Err(Refused);
    }
    Ok(Some(value))
}

struct Reader {
    text: Vec<char>,
    at: usize,
    depth: usize,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self) -> Result<char, Refused> {
        let next = self.peek().ok_or(Refused)?;
        self.at += 1;
        Ok(next)
    }

    fn skip_white_space(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\r' | '\n')) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Result<Json, Refused> {
        match self.peek().ok_or(Refused)? {
            '{' => self.nested(Self::object),
            '[' => self.nested(Self::array),
            '"' => self.string().map(Json::String),
            't' => self.word("true", Json::Bool(true)),
            'f' => self.word("false", Json::Bool(false)),
            'n' => self.word("null", Json::Null),
            _ => self.number().map(Json::Number),
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, Refused> {
        for expected in word.chars() {
            if self.take()? != expected {
                return Err(Refused);
            }
        }
        Ok(value)
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Json, Refused>) -> Result<Json, Refused> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Refused);
        }
        self.at += 1;
        self.skip_white_space();
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn array(&mut self) -> Result<Json, Refused> {
        let mut items = Vec::new();
        if self.peek() == Some(']') {
            self.at += 1;
            return Ok(Json::Array(items));
        }
        loop {
            self.skip_white_space();
            items.push(self.value()?);
            self.skip_white_space();
            match self.take()? {
                ',' => {}
                ']' => return Ok(Json::Array(items)),
                _ => return Err(Refused),
            }
        }
    }

    fn object(&mut self) -> Result<Json, Refused> {
        let mut members = Vec::new();
        if self.peek() == Some('}') {
            self.at += 1;
            return Ok(Json::Object(members));
        }
        loop {
            self.skip_white_space();
            let name = self.string()?;
            self.skip_white_space();
            if self.take()? != ':' {
                return Err(Refused);
            }
            self.skip_white_space();
            members.push((name, self.value()?));
            self.skip_white_space();
            match self.take()? {
                ',' => {}
                '}' => return Ok(Json::Object(members)),
                _ => return Err(Refused),
            }
        }
    }

    /// In UTF-16, as on the JVM; half a pair becomes U+FFFD.
    fn string(&mut self) -> Result<String, Refused> {
        if self.take()? != '"' {
            return Err(Refused);
        }
        let mut units: Vec<u16> = Vec::new();
        loop {
            let unit = match self.take()? {
                '"' => return Ok(String::from_utf16_lossy(&units)),
                '\\' => self.escape()?,
                other => {
                    units.extend_from_slice(other.encode_utf16(&mut [0; 2]));
                    continue;
                }
            };
            units.push(unit);
        }
    }

    fn escape(&mut self) -> Result<u16, Refused> {
        Ok(match self.take()? {
            'b' => 0x08,
            'f' => 0x0c,
            'n' => 0x0a,
            'r' => 0x0d,
            't' => 0x09,
            'u' => {
                let mut unit = 0;
                for _ in 0..4 {
                    let digit = self.take()?.to_digit(16).ok_or(Refused)?;
                    unit = unit << 4 | u16::try_from(digit).map_err(|_| Refused)?;
                }
                unit
            }
            '"' => 0x22,
            '/' => 0x2f,
            '\\' => 0x5c,
            _ => return Err(Refused),
        })
    }

    fn number(&mut self) -> Result<String, Refused> {
        let begin = self.at;
        if self.peek() == Some('-') {
            self.at += 1;
        }
        let leading_zero = self.peek() == Some('0');
        let mut digits = self.digits()?;
        if leading_zero && digits > 1 {
            return Err(Refused);
        }
        if self.peek() == Some('.') {
            self.at += 1;
            digits += self.digits()?;
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            self.at += 1;
            if matches!(self.peek(), Some('+' | '-')) {
                self.at += 1;
            }
            digits += self.digits()?;
        }
        // Of the number as a whole: whole part, fraction and exponent together.
        if digits > MAX_DIGITS {
            return Err(Refused);
        }
        Ok(self.text[begin..self.at].iter().collect())
    }

    /// How many; at least one.
    fn digits(&mut self) -> Result<usize, Refused> {
        let begin = self.at;
        while self.peek().is_some_and(|next| next.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == begin { Err(Refused) } else { Ok(self.at - begin) }
    }
}
