//! Where kernel structure members lie: a reader of the BTF format (`Documentation/bpf/btf.rst` in Linux), as far as
//! byte offsets by dotted path need it. aya parses BTF too, but keeps the types to itself; the `btf-rs` crate is LGPL, which
//! a statically linked Apache-2.0 program cannot take.

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: usize = 24;

/// Nested anonymous structures and typedefs that are followed; a cycle in a broken file ends here.
const DEPTH_MAX: u32 = 32;

const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;

/// The types of one kernel, in the file's own form: it describes some 150,000 of them, of which a few dozen are asked for.
pub(super) struct Btf<'a> {
    strings: &'a [u8],
    types: &'a [u8],
    /// Where each type begins; 0 is void.
    positions: Vec<u32>,
    /// The types that are structures.
    structures: Vec<u32>,
}

/// One type, taken apart as far as it is needed.
enum Type<'a> {
    /// Bytes, and members.
    Composite(u32, Members<'a>),
    /// Typedefs and qualifiers: another type under a name.
    Alias(u32),
    Other,
}

/// The three words that begin every type.
struct Head {
    name: u32,
    kind: u32,
    count: usize,
    is_bit_field: bool,
    size_or_type: u32,
}

struct Members<'a> {
    words: Words<'a>,
    left: usize,
    is_bit_field: bool,
}

struct Member {
    name: u32,
    type_id: u32,
    bit_offset: u32,
}

/// What is wrong with the file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BtfError {
    #[error("no BTF header")]
    Header,
    #[error("truncated at type {0}")]
    Truncated(usize),
    #[error("type {0} is of the unknown kind {1}")]
    UnknownKind(usize, u32),
}

impl<'a> Btf<'a> {
    /// Of the contents of `/sys/kernel/btf/vmlinux`.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        let (types, strings) = sections(bytes).ok_or(BtfError::Header)?;
        let mut btf = Self { strings, types, positions: vec![0], structures: Vec::new() };
        let mut words = Words(types);
        while !words.0.is_empty() {
            btf.note_type(&mut words)?;
        }
        Ok(btf)
    }

    /// Byte offset of a member, through anonymous structures and unions; `None` where there is none, or it is a bit field.
    /// Of the empty path the structure's size.
    pub(super) fn offset(&self, structure: &str, path: &str) -> Option<u32> {
        let mut type_id = self.structure(structure)?;
        if let (true, Type::Composite(bytes, _)) = (path.is_empty(), self.type_of(type_id)?) {
            return Some(bytes);
        }
        let mut bits = 0;
        for name in path.split('.') {
            let (offset, member_type) = self.member(type_id, name, 0)?;
            bits += offset;
            type_id = member_type;
        }
        (bits % 8 == 0).then_some(bits / 8)
    }

    /// Notes where the next type begins, and goes on to the one behind it.
    fn note_type(&mut self, words: &mut Words<'_>) -> Result<(), BtfError> {
        let number = self.positions.len();
        let truncated = BtfError::Truncated(number);
        // The header counts their bytes in 32 bits.
        let position = u32::try_from(self.types.len() - words.0.len()).unwrap_or(u32::MAX);
        let head = words.head().ok_or(truncated)?;
        let bytes = trailing_bytes(head.kind, head.count).ok_or(BtfError::UnknownKind(number, head.kind))?;
        words.skip(bytes).ok_or(BtfError::Truncated(number))?;
        self.positions.push(position);
        if head.kind == KIND_STRUCT {
            self.structures.push(u32::try_from(number).unwrap_or(0));
        }
        Ok(())
    }

    /// The first of this name.
    fn structure(&self, name: &str) -> Option<u32> {
        self.structures.iter().copied().find(|id| {
            let head = self.words_at(*id).and_then(|mut words| words.head());
            head.is_some_and(|head| self.is_string(head.name, name))
        })
    }

    fn type_of(&self, id: u32) -> Option<Type<'a>> {
        let mut words = self.words_at(id)?;
        let Head { kind, count, is_bit_field, size_or_type, .. } = words.head()?;
        Some(match kind {
            KIND_STRUCT | KIND_UNION => Type::Composite(size_or_type, Members { words, left: count, is_bit_field }),
            // typedef, volatile, const, restrict, type tag
            8..=11 | 18 => Type::Alias(size_or_type),
            _ => Type::Other,
        })
    }

    fn member(&self, type_id: u32, name: &str, depth: u32) -> Option<(u32, u32)> {
        if depth > DEPTH_MAX {
            return None;
        }
        let mut members = match self.type_of(type_id)? {
            Type::Alias(target) => return self.member(target, name, depth + 1),
            Type::Composite(_, members) => members,
            Type::Other => return None,
        };
        members.find_map(|member| {
            if member.name != 0 {
                return self.is_string(member.name, name).then_some((member.bit_offset, member.type_id));
            }
            let (offset, type_id) = self.member(member.type_id, name, depth + 1)?;
            Some((member.bit_offset + offset, type_id))
        })
    }

    fn is_string(&self, offset: u32, text: &str) -> bool {
        let bytes = self.strings.get(offset as usize..).unwrap_or_default();
        bytes.strip_prefix(text.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }

    fn words_at(&self, id: u32) -> Option<Words<'a>> {
        // Type 0 has no bytes.
        let position = *self.positions.get(id as usize).filter(|_| id != 0)?;
        Some(Words(self.types.get(position as usize..)?))
    }
}

impl Iterator for Members<'_> {
    type Item = Member;

    fn next(&mut self) -> Option<Member> {
        self.left = self.left.checked_sub(1)?;
        self.words.member(self.is_bit_field)
    }
}

/// Bytes that follow the three words of a type; `None`: unknown kind.
fn trailing_bytes(kind: u32, count: usize) -> Option<usize> {
    match kind {
        // pointer, forward, typedef and qualifiers, function, float, type tag
        2 | 7..=12 | 16 | 18 => Some(0),
        // integer, variable, declaration tag
        1 | 14 | 17 => Some(4),
        // array
        3 => Some(12),
        // enum, function prototype
        6 | 13 => Some(count * 8),
        // structure, union, data section, enum of 64 bits
        KIND_STRUCT | KIND_UNION | 15 | 19 => Some(count * 12),
        _ => None,
    }
}

/// The type and the string section.
fn sections(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut words = Words(bytes);
    let (magic_version_flags, header_bytes, types_at) = words.triple()?;
    let (types_bytes, strings_at, strings_bytes) = words.triple()?;
    if magic_version_flags & 0xffff != u32::from(MAGIC) || (header_bytes as usize) < HEADER_BYTES {
        return None;
    }
    let section = |at: u32, length: u32| {
        let start = header_bytes.checked_add(at)? as usize;
        bytes.get(start..start.checked_add(length as usize)?)
    };
    Some((section(types_at, types_bytes)?, section(strings_at, strings_bytes)?))
}

/// Little-endian words, taken from the front. (Both architectures that Tercel knows are little-endian.)
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    fn next(&mut self) -> Option<u32> {
        let (word, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*word))
    }

    fn triple(&mut self) -> Option<(u32, u32, u32)> {
        Some((self.next()?, self.next()?, self.next()?))
    }

    fn head(&mut self) -> Option<Head> {
        let (name, info, size_or_type) = self.triple()?;
        let (kind, count) = ((info >> 24) & 0x1f, (info & 0xffff) as usize);
        Some(Head { name, kind, count, is_bit_field: info >> 31 != 0, size_or_type })
    }

    /// In structures with bit fields the upper eight bits of the offset are the field's width.
    fn member(&mut self, is_bit_field: bool) -> Option<Member> {
        let (name, type_id, offset) = self.triple()?;
        Some(Member { name, type_id, bit_offset: if is_bit_field { offset & 0xff_ffff } else { offset } })
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.get(bytes..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types: 1 `int`; 2 anonymous union {int b}; 3 `outer` {int a; <2>; <typedef 4> d}; 4 typedef `T` → 5; 5 `inner` {int x; int y}.
    fn sample() -> Vec<u8> {
        let strings = b"\0int\0outer\0a\0b\0d\0T\0inner\0x\0y\0";
        let at = |name: &str| {
            let needle = [b"\0", name.as_bytes(), b"\0"].concat();
            u32::try_from(strings.windows(needle.len()).position(|w| w == needle).unwrap() + 1).unwrap()
        };
        let info = |kind: u32, count: u32| kind << 24 | count;
        let types: Vec<u32> = [
            vec![at("int"), info(1, 0), 4, 32],
            vec![0, info(KIND_UNION, 1), 4, at("b"), 1, 0],
            vec![at("outer"), info(KIND_STRUCT, 3), 16, at("a"), 1, 0, 0, 2, 32, at("d"), 4, 64],
            vec![at("T"), info(8, 0), 5],
            vec![at("inner"), info(KIND_STRUCT, 2), 8, at("x"), 1, 0, at("y"), 1, 32],
        ]
        .concat();
        let types_bytes = u32::try_from(types.len() * 4).unwrap();
        let header = [0x0001_eb9f, 24, 0, types_bytes, types_bytes, u32::try_from(strings.len()).unwrap()];
        header.iter().chain(&types).flat_map(|word| word.to_le_bytes()).chain(strings.iter().copied()).collect()
    }

    #[test]
    fn members_are_found_through_anonymous_unions_and_typedefs() {
        let bytes = sample();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.offset("outer", "a"), Some(0));
        assert_eq!(btf.offset("outer", "b"), Some(4));
        assert_eq!(btf.offset("outer", "d.y"), Some(12));
        assert_eq!((btf.offset("outer", ""), btf.offset("nosuch", "")), (Some(16), None));
        assert_eq!(btf.offset("outer", "nosuch"), None);
        assert_eq!(btf.offset("nosuch", "a"), None);
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error_and_not_a_panic() {
        let whole = sample();
        for length in 0..whole.len() {
            assert!(Btf::parse(&whole[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn every_offset_that_the_kernel_side_reads_exists_in_the_running_kernel() {
        let Ok(bytes) = std::fs::read(super::super::BTF_PATH) else {
            eprintln!("SKIPPED: this kernel shows no BTF");
            return;
        };
        let btf = Btf::parse(&bytes).unwrap();
        let offsets = super::super::machine::resolve_offsets(&btf);
        let mut missing = Vec::new();
        offsets.for_each(|name, offset| {
            if offset == tercel_sensor_abi::Offsets::MISSING && name != "task_loginuid" {
                missing.push(name);
            }
        });
        assert!(missing.is_empty(), "{missing:?}");
    }
}
