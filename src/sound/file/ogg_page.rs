//! Pages of Ogg (RFC 3533 section 6): made, found again, and changed in place.

/// A page's header without the table of its segments.
pub const HEADER: usize = 27;
/// Segments of a page at most.
pub const MAX_SEGMENTS: usize = 255;
/// The first page of its stream.
pub const FIRST: u8 = 0x02;
/// The last page of its stream.
pub const LAST: u8 = 0x04;

const FLAGS: usize = 5;
const GRANULE: usize = 6;
const SERIAL: usize = 14;
const CRC: usize = 22;
const SEGMENTS: usize = 26;

/// A page that is being filled with whole packets.
#[derive(Default)]
pub struct Page {
    lacing: Vec<u8>,
    body: Vec<u8>,
}

impl Page {
    /// Whether a packet of this many bytes still fits.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.lacing.len() + bytes / 255 < MAX_SEGMENTS
    }

    pub fn is_empty(&self) -> bool {
        self.lacing.is_empty()
    }

    /// Adds a packet for which there is room.
    pub fn push(&mut self, packet: &[u8]) {
        // RFC 3533 section 5: segments of 255, and a shorter one to end with.
        self.lacing
            .extend(std::iter::repeat_n(255, packet.len() / 255));
        self.lacing.push((packet.len() % 255) as u8);
        self.body.extend_from_slice(packet);
    }

    /// The page as bytes; it is empty afterwards.
    pub fn take(&mut self, flags: u8, granule: u64, serial: u32, sequence: u32) -> Vec<u8> {
        let mut page = Vec::with_capacity(HEADER + self.lacing.len() + self.body.len());
        page.extend_from_slice(b"OggS\0");
        page.push(flags);
        page.extend_from_slice(&granule.to_le_bytes());
        page.extend_from_slice(&serial.to_le_bytes());
        page.extend_from_slice(&sequence.to_le_bytes());
        page.extend_from_slice(&[0; 4]);
        page.push(self.lacing.len() as u8);
        page.append(&mut self.lacing);
        page.append(&mut self.body);
        seal(&mut page);
        page
    }
}

/// The length of the whole page at the start of these bytes, if one is there.
pub fn length(bytes: &[u8]) -> Option<usize> {
    let header = bytes.get(..HEADER)?;
    if !header.starts_with(b"OggS\0") {
        return None;
    }
    let table = bytes.get(HEADER..HEADER + usize::from(header[SEGMENTS]))?;
    let body: usize = table.iter().copied().map(usize::from).sum();
    Some(HEADER + table.len() + body)
}

/// Whether the page is as it was written.
pub fn is_sound(page: &[u8]) -> bool {
    let mut copy = page.to_vec();
    seal(&mut copy);
    copy == page
}

/// The position at the page's end.
pub fn granule(page: &[u8]) -> u64 {
    let mut granule = [0; 8];
    granule.copy_from_slice(&page[GRANULE..SERIAL]);
    u64::from_le_bytes(granule)
}

/// Makes it the last page of its stream.
pub fn set_last(page: &mut [u8]) {
    page[FLAGS] |= LAST;
    seal(page);
}

/// What the page holds.
pub fn body(page: &[u8]) -> &[u8] {
    &page[HEADER + usize::from(page[SEGMENTS])..]
}

/// RFC 3533 section 6, field 7: over the whole page with a checksum of zero.
fn seal(page: &mut [u8]) {
    page[CRC..CRC + 4].fill(0);
    let crc = page.iter().fold(0, |crc: u32, byte| {
        (crc << 8) ^ CRC_TABLE[usize::from((crc >> 24) as u8 ^ byte)]
    });
    page[CRC..CRC + 4].copy_from_slice(&crc.to_le_bytes());
}

/// The generator polynomial of RFC 3533.
const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc << 1) ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};
