//! Payloads framed by a big-endian 32-bit length; -1 is a tombstone.

/// Appends one frame.
pub fn write(out: &mut Vec<u8>, payload: Option<&[u8]>) {
    let Some(payload) = payload else {
        return out.extend_from_slice(&(-1i32).to_be_bytes());
    };
    // Fits: a batch, and so a payload, ends before 4 GiB.
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    out.extend_from_slice(payload);
}

/// What is wrong with a stream of frames, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// A length that is negative and not -1.
    Length {
        /// Which frame, from 1.
        frame: u64,
        /// At which byte of the stream it begins.
        at: u64,
        /// What it says.
        length: i32,
    },
    /// The stream ends within a frame.
    Truncated {
        /// Which frame, from 1.
        frame: u64,
        /// At which byte of the stream it begins.
        at: u64,
        /// Bytes that are missing, of the length itself or of the payload.
        missing: u64,
    },
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FrameError::Length { frame, at, length } => write!(
                f,
                "frame {frame} at byte {at}: its length is {length}; frames begin with a big-endian 32-bit length, -1 \
                 for a tombstone"
            ),
            FrameError::Truncated { frame, at, missing } => {
                let bytes = if *missing == 1 { "byte" } else { "bytes" };
                write!(f, "frame {frame} at byte {at}: the input ends {missing} {bytes} too early")
            }
        }
    }
}

impl std::error::Error for FrameError {}

/// Takes a stream of frames apart, from a buffer that its reader keeps filling.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    frames: u64,
    bytes: u64,
}

impl Decoder {
    /// Takes the first frame off `buffer`: its payload, in which `None` is a tombstone. No frame while the buffer holds
    /// less than a whole one: read more after what is left.
    pub fn take<'a>(&mut self, buffer: &mut &'a [u8]) -> Result<Option<Option<&'a [u8]>>, FrameError> {
        let Some((head, rest)) = buffer.split_first_chunk::<4>() else { return Ok(None) };
        let length = i32::from_be_bytes(*head);
        if length < -1 {
            return Err(FrameError::Length { frame: self.frames + 1, at: self.bytes, length });
        }
        let (payload, rest) = match usize::try_from(length) {
            Err(_) => (None, rest),
            Ok(length) => match rest.split_at_checked(length) {
                Some((payload, rest)) => (Some(payload), rest),
                None => return Ok(None),
            },
        };
        self.bytes += (buffer.len() - rest.len()) as u64;
        self.frames += 1;
        *buffer = rest;
        Ok(Some(payload))
    }

    /// How many bytes the first frame of `buffer` takes, as far as can be told: how much to read.
    pub fn wanted(buffer: &[u8]) -> usize {
        let length = buffer.first_chunk::<4>().map_or(0, |head| i32::from_be_bytes(*head).max(0));
        4 + length as usize
    }

    /// The stream has ended with `rest` not taken.
    pub fn finish(&self, rest: &[u8]) -> Result<(), FrameError> {
        if rest.is_empty() {
            return Ok(());
        }
        let missing = Decoder::wanted(rest).saturating_sub(rest.len()) as u64;
        Err(FrameError::Truncated { frame: self.frames + 1, at: self.bytes, missing })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_come_back_however_they_are_cut(
            payloads in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..40)), 0..20),
            step in 1usize..50,
        ) {
            let mut stream = Vec::new();
            payloads.iter().for_each(|payload| write(&mut stream, payload.as_deref()));
            let (mut decoder, mut waiting, mut seen) = (Decoder::default(), Vec::new(), Vec::new());
            for piece in stream.chunks(step) {
                waiting.extend_from_slice(piece);
                let mut rest = &waiting[..];
                while let Some(payload) = decoder.take(&mut rest).unwrap() {
                    seen.push(payload.map(<[u8]>::to_vec));
                }
                waiting = rest.to_vec();
            }
            prop_assert_eq!(decoder.finish(&waiting), Ok(()));
            prop_assert_eq!(seen, payloads);
        }
    }

    #[test]
    fn a_cut_or_foreign_stream_is_named() {
        let mut stream = Vec::new();
        write(&mut stream, Some(b"abc"));
        write(&mut stream, Some(b"defgh"));
        let (mut decoder, mut rest) = (Decoder::default(), &stream[..stream.len() - 2]);
        assert_eq!(decoder.take(&mut rest), Ok(Some(Some(&b"abc"[..]))));
        assert_eq!(decoder.take(&mut rest), Ok(None));
        let error = decoder.finish(rest).unwrap_err();
        assert_eq!(error.to_string(), "frame 2 at byte 7: the input ends 2 bytes too early");
        let mut text = &b"\xffext, not frames"[..];
        assert!(matches!(Decoder::default().take(&mut text), Err(FrameError::Length { frame: 1, .. })));
    }
}
