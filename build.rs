//! Has the linker send the program's calls of `read` through `__wrap_read` (src/bin/immuta-fs/read_shim.rs), which is how
//! interrupts of blocked reads get past fuser. Only the program that mounts: the library and the tools do not
//! define it. GNU ld, gold, lld and mold all take the flag.

fn main() {
    println!("cargo:rustc-link-arg-bin=immuta-fs=-Wl,--wrap=read");
    println!("cargo:rerun-if-changed=build.rs");
}
