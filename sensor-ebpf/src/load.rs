//! What user space injects before the load: frozen read-only data. See `tercel_sensor_abi::load`.

use tercel_sensor_abi::{Offsets, Settings};

#[unsafe(no_mangle)]
static OFFSETS: Offsets = Offsets::ZERO;

#[unsafe(no_mangle)]
static SETTINGS_V2: Settings = Settings { task_is_btf: 0, has_task_registers: 0 };

#[inline(always)]
pub fn offsets() -> &'static Offsets {
    &OFFSETS
}

#[inline(always)]
pub fn settings() -> &'static Settings {
    &SETTINGS_V2
}

/// One offset. Volatile, or LLVM would fold the zeros that stand there at build time.
macro_rules! offset {
    ($member:ident) => {{
        // SAFETY: a static that is initialised before the program is loaded.
        unsafe { core::ptr::read_volatile(core::ptr::addr_of!($crate::load::offsets().$member)) }
    }};
}

/// One setting; volatile for the same reason.
macro_rules! setting {
    ($member:ident) => {{
        // SAFETY: as above.
        unsafe { core::ptr::read_volatile(core::ptr::addr_of!($crate::load::settings().$member)) }
    }};
}
