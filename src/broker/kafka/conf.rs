//! A client's configuration: pairs of text, and what is wrong with one of them in words.

use std::ffi::{CString, c_char};

use super::sys::{self, rd_kafka_conf_res_t as Answer, rd_kafka_conf_t};

/// Long enough for every text that the library writes about a configuration.
pub const ERROR_TEXT: usize = 1024;

/// A configuration that no client owns yet.
pub struct Conf(*mut rd_kafka_conf_t);

impl Conf {
    /// The library's defaults.
    pub fn new() -> Conf {
        // SAFETY: allocates.
        Conf(unsafe { sys::rd_kafka_conf_new() })
    }

    /// Sets one property, also one of topics. Errors: the library's words, which may repeat the value.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let (Ok(name), Ok(value)) = (CString::new(key), CString::new(value)) else {
            return Err(format!("'{key}' has a NUL in it"));
        };
        let mut words: [c_char; ERROR_TEXT] = [0; ERROR_TEXT];
        // SAFETY: all four live during the call, which copies what it keeps and ends its text with a NUL.
        let answer = unsafe {
            sys::rd_kafka_conf_set(self.0, name.as_ptr(), value.as_ptr(), words.as_mut_ptr(), words.len())
        };
        match answer {
            Answer::RD_KAFKA_CONF_OK => Ok(()),
            // SAFETY: as above.
            _ => Err(unsafe { sys::text(words.as_ptr()) }),
        }
    }

    /// The configuration, for the library's calls.
    pub fn raw(&mut self) -> *mut rd_kafka_conf_t {
        self.0
    }

    /// Given away to a client, which frees it.
    pub fn give(self) -> *mut rd_kafka_conf_t {
        std::mem::ManuallyDrop::new(self).0
    }
}

impl Drop for Conf {
    fn drop(&mut self) {
        // SAFETY: ours, and nobody took it.
        unsafe { sys::rd_kafka_conf_destroy(self.0) }
    }
}
