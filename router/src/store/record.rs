//! A value as it lies on the disk: a version byte, a checksum, then what the caller gave.

use super::Table;

/// Version byte and checksum.
pub(super) const HEAD_BYTES: usize = 5;

/// The layout described above.
const VERSION: u8 = 1;

/// Why a stored value cannot be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    #[error("shorter than {HEAD_BYTES} bytes")]
    Short,
    #[error("version {0}, known is {VERSION}")]
    Version(u8),
    #[error("the checksum does not match")]
    Checksum,
}

/// Makes `stored` the value with the head in front. The checksum holds table and key too: a value found elsewhere is a wrong one.
pub(super) fn seal(table: Table, key: &[u8], value: &[u8], stored: &mut Vec<u8>) {
    stored.clear();
    stored.push(VERSION);
    stored.extend_from_slice(&checksum(table, key, value).to_le_bytes());
    stored.extend_from_slice(value);
}

/// The value without its head.
pub(super) fn unseal<'a>(table: Table, key: &[u8], stored: &'a [u8]) -> Result<&'a [u8], Damage> {
    let (head, value) = stored.split_first_chunk::<HEAD_BYTES>().ok_or(Damage::Short)?;
    let [version, sum @ ..] = *head;
    if version != VERSION {
        return Err(Damage::Version(version));
    }
    if u32::from_le_bytes(sum) != checksum(table, key, value) {
        return Err(Damage::Checksum);
    }
    Ok(value)
}

fn checksum(table: Table, key: &[u8], value: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(table.name().as_bytes());
    sum.update(&(key.len() as u64).to_le_bytes());
    sum.update(key);
    sum.update(value);
    sum.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(table: Table, key: &[u8], value: &[u8]) -> Vec<u8> {
        let mut stored = b"what was there".to_vec();
        super::seal(table, key, value, &mut stored);
        stored
    }

    #[test]
    fn a_value_comes_back_as_it_was_given() {
        for value in [&b""[..], b"x", &[0; 10_000]] {
            assert_eq!(unseal(Table::Alerts, b"k", &seal(Table::Alerts, b"k", value)), Ok(value));
        }
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let stored = seal(Table::Windows, b"key", b"value");
        for bit in 0..stored.len() * 8 {
            let mut flipped = stored.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(Table::Windows, b"key", &flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_value_of_another_key_or_table_or_with_a_part_missing_is_damaged() {
        let stored = seal(Table::Windows, b"key", b"value");
        assert_eq!(unseal(Table::Windows, b"kez", &stored), Err(Damage::Checksum));
        assert_eq!(unseal(Table::Digests, b"key", &stored), Err(Damage::Checksum));
        assert_eq!(unseal(Table::Windows, b"key", &stored[..9]), Err(Damage::Checksum));
        assert_eq!(unseal(Table::Windows, b"key", &stored[..4]), Err(Damage::Short));
    }

    #[test]
    fn the_layout_stays() {
        assert_eq!(seal(Table::Alerts, b"k", b"v"), [1, 237, 16, 174, 62, b'v']);
    }
}
