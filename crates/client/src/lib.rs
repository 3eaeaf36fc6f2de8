//! `SocketDriver`: a Socket.IO v4 client.
