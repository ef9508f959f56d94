//! Short pieces of text as machine words: eight digits are made and stored at a time, without a loop or
//! a branch on how many they are.

/// Up to eight characters, the first in the lowest byte.
#[derive(Clone, Copy)]
pub(crate) struct Word {
    pub(super) characters: u64,
    /// How many they are; what is behind them is anything.
    pub(super) used: u32,
}

/// Room for `N` characters, and how many of them are written.
pub(crate) struct Room<'t, const N: usize> {
    pub(super) text: &'t mut [u8; N],
    pub(super) at: usize,
}

const ZEROS: u64 = u64::from_le_bytes([b'0'; 8]);
/// What is taken from eight zeros to make them spaces.
const ZERO_TO_SPACE: u64 = u64::from_le_bytes([b'0' - b' '; 8]);
/// What moves a hexadecimal digit above 9 to 16 and more.
const SIXES: u64 = u64::from_le_bytes([6; 8]);
const ONES: u64 = u64::from_le_bytes([1; 8]);

impl Word {
    /// What makes a digit above 9 an upper-case letter.
    pub(super) const UPPER: u64 = (b'A' - b'9' - 1) as u64;

    /// What makes a digit above 9 a lower-case letter.
    pub(super) const LOWER: u64 = (b'a' - b'9' - 1) as u64;

    /// The first number with more than eight digits.
    pub(crate) const NINE_DIGITS: u64 = 100_000_000;

    /// A number in decimal; none if it has more than eight digits.
    #[inline]
    pub(crate) const fn decimal(value: u64) -> Option<Word> {
        Word::zeros(value, 1)
    }

    /// A small number in decimal.
    #[inline]
    pub(crate) const fn short(value: u8) -> Word {
        let digits = eight_digits(value as u64);
        let zeros = leading_zeros(digits);
        Word {
            characters: (digits + ZEROS) >> (8 * zeros),
            used: 8 - zeros,
        }
    }

    /// A number with zeros before it, up to `width` digits, at most 8.
    #[inline]
    pub(crate) const fn zeros(value: u64, width: u32) -> Option<Word> {
        if value >= Word::NINE_DIGITS {
            return None;
        }
        let digits = eight_digits(value);
        let mut zeros = leading_zeros(digits);
        if width > 8 - zeros {
            zeros = 8 - if width < 8 { width } else { 8 };
        }
        Some(Word {
            characters: (digits + ZEROS) >> (8 * zeros),
            used: 8 - zeros,
        })
    }

    /// A number with spaces before it, up to the last eight columns of `width`; none if it has more
    /// digits than those.
    #[inline]
    pub(crate) const fn right(value: u64, width: usize) -> Option<Word> {
        if value >= Word::NINE_DIGITS {
            return None;
        }
        let digits = eight_digits(value);
        let zeros = leading_zeros(digits);
        let width = if width < 8 { width as u32 } else { 8 };
        if 8 - zeros > width {
            return None;
        }
        let to_spaces = ZERO_TO_SPACE & ((1 << (8 * zeros)) - 1);
        Some(Word {
            // No shift by 64 for no columns: a number has one digit at least.
            characters: (digits + ZEROS - to_spaces) >> (8 * (8 - width)),
            used: width,
        })
    }

    /// All eight digits of a number below [`Word::NINE_DIGITS`].
    #[inline]
    pub(super) const fn eight(value: u64) -> Word {
        Word {
            characters: eight_digits(value) + ZEROS,
            used: 8,
        }
    }

    /// A number in hexadecimal, with zeros before it up to `width` digits.
    #[inline]
    pub(crate) const fn hex(value: u32, width: u32, letters: u64) -> Word {
        let digits = eight_nibbles(value);
        let mut zeros = leading_zeros(digits);
        if width > 8 - zeros {
            zeros = 8 - if width < 8 { width } else { 8 };
        }
        let above_nine = (digits + SIXES) >> 4 & ONES;
        Word {
            characters: (digits + ZEROS + above_nine * letters) >> (8 * zeros),
            used: 8 - zeros,
        }
    }
}

impl<const N: usize> Room<'_, N> {
    /// Appends the first `used` of `M` characters.
    ///
    /// # Panics
    /// If there is not room for all `M`.
    #[inline]
    pub(crate) fn store<const M: usize>(&mut self, all: &[u8; M], used: usize) -> &mut Self {
        self.text[self.at..self.at + M].copy_from_slice(all);
        self.at += used;
        self
    }

    /// Appends text.
    ///
    /// # Panics
    /// If there is not room.
    #[inline]
    pub(crate) fn str(&mut self, text: &str) -> &mut Self {
        let end = self.at + text.len();
        self.text[self.at..end].copy_from_slice(text.as_bytes());
        self.at = end;
        self
    }

    /// Appends up to eight characters.
    ///
    /// # Panics
    /// If there is not room for eight.
    #[inline]
    pub(crate) fn word(&mut self, word: Word) -> &mut Self {
        self.store(&word.characters.to_le_bytes(), word.used as usize)
    }

    /// Appends a position as a line's start has it, the lower half padded.
    #[inline]
    pub(crate) fn lsn(&mut self, value: u64) -> &mut Self {
        self.word(Word::hex((value >> 32) as u32, 1, Word::UPPER));
        self.str("/").word(Word::hex(value as u32, 8, Word::UPPER))
    }
}

/// The eight decimal digits of a number below 10^8, one in a byte, the first in the lowest: halves,
/// then quarters, then digits, all of a level at once.
#[inline]
const fn eight_digits(value: u64) -> u64 {
    let halves = (value / 10_000) | ((value % 10_000) << 32);
    // Division by 100, exact up to 9999.
    let high = (halves * 10_486) >> 20 & 0x0000_007F_0000_007F;
    let pairs = high | (halves - 100 * high) << 16;
    // Division by 10, exact up to 99.
    let tens = (pairs * 103) >> 10 & 0x000F_000F_000F_000F;
    tens | (pairs - 10 * tens) << 8
}

/// The eight hexadecimal digits of a number, one in a byte, the first in the lowest.
#[inline]
const fn eight_nibbles(value: u32) -> u64 {
    let value = value as u64;
    let halves = (value | value << 16) & 0x0000_FFFF_0000_FFFF;
    let bytes = (halves | halves << 8) & 0x00FF_00FF_00FF_00FF;
    let nibbles = (bytes | bytes << 4) & 0x0F0F_0F0F_0F0F_0F0F;
    nibbles.swap_bytes()
}

/// How many of eight digits are zeros before the first other one, or before the last.
#[inline]
const fn leading_zeros(digits: u64) -> u32 {
    // The last digit counts as one that is not zero.
    (digits | 1 << 56).trailing_zeros() / 8
}
