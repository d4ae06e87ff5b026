//! Where to dial (DIAL-1).
