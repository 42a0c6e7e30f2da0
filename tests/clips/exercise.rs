//! What must hold for any file at all. The fuzz target runs this too.

use std::time::Duration;

use ringwire::sound::clip::{BYTES_PER_SECOND, Clip, ClipLimits};
use ringwire::sound::format::SampleRate;

/// Decodes a file, and checks what is said of it.
pub fn exercise(file: &[u8]) {
    let limits = ClipLimits {
        max_duration: Duration::from_secs(5),
    };
    match Clip::decode(file, limits) {
        Ok(clip) => {
            let full = clip.samples(SampleRate::Full).len();
            assert_ne!(full, 0);
            assert_eq!(clip.samples(SampleRate::Wide).len(), full.div_ceil(3));
            assert_eq!(clip.samples(SampleRate::Narrow).len(), full.div_ceil(6));
            assert!(clip.duration() <= limits.max_duration);
            assert!(clip.size() as u64 <= 5 * BYTES_PER_SECOND);
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() < 300, "{text}");
            assert!(!text.contains(char::is_control), "{text:?}");
        }
    }
}
