//! Private ids: by showing one a client proves that a socket was its own.
//!
//! A pid is the socket's id and a keyed hash of it, so nothing has to be remembered for a socket that is
//! connected, and nobody can make one.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use idae_socket_protocol::Sid;
use subtle::ConstantTimeEq;

/// 128 bits of the hash: as hard to guess as the key.
const TAG_BYTES: usize = 16;

pub(super) struct Pids(hmac::Key);

impl Pids {
    /// With a key of its own, which no other gateway and no later start has.
    pub(super) fn new() -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()))
    }

    pub(super) fn pid(&self, sid: &Sid) -> String {
        format!("{sid}.{}", URL_SAFE_NO_PAD.encode(self.tag(sid)))
    }

    pub(super) fn sid_of(&self, pid: &str) -> Option<Sid> {
        let (sid, tag) = pid.split_once('.')?;
        let sid = Sid::parse(sid)?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        bool::from(tag.as_slice().ct_eq(&self.tag(&sid))).then_some(sid)
    }

    fn tag(&self, sid: &Sid) -> [u8; TAG_BYTES] {
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&hmac::sign(&self.0, sid.as_bytes()).as_ref()[..TAG_BYTES]);
        tag
    }
}
