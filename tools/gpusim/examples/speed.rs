//! How many warp instructions a second one core executes: `cargo run --release -p gpusim --example speed`.
//!
//! Four loops of one block of 256 threads: arithmetic, shared memory, global memory, matrix products.
//! This is the speed of the simulator on this machine, and says nothing about a card.

use gpusim::exec::{LaunchConfig, Session, run};
use gpusim::memory::DeviceMemory;
use gpusim::ptx::load;
use std::time::Instant;

/// Body of a loop in which %r0 counts, %t is the thread, %s and %rd1 are its 16 bytes of memory.
const LOOPS: [(&str, &str); 4] = [
    (
        "arithmetic",
        "fma.rn.f32 %f0, %f0, %f1, %f2; mul.f32 %f2, %f1, %f1; mad.lo.u32 %r1, %r1, 5, %t;
        xor.b32 %r2, %r1, %r0; shf.l.wrap.b32 %r2, %r2, %r2, 7; add.f32 %f1, %f1, %f0;",
    ),
    (
        "shared",
        "st.shared.f32 [%s], %f0; bar.sync 0; ld.shared.f32 %f1, [%x]; fma.rn.f32 %f0, %f0, %f1, %f1;
        bar.sync 0;",
    ),
    (
        "global",
        "ld.global.f32 %f1, [%rd1]; fma.rn.f32 %f0, %f0, %f1, %f1; st.global.f32 [%rd1], %f0;",
    ),
    (
        "matrix",
        "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r1, %r2, %r3, %r4}, [%m];
        mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f0, %f1, %f2, %f3}, {%r1, %r2, %r3, %r4},
        {%r1, %r2}, {%f0, %f1, %f2, %f3};
        mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f4, %f5, %f6, %f7}, {%r1, %r2, %r3, %r4},
        {%r3, %r4}, {%f4, %f5, %f6, %f7};",
    ),
];

fn kernel(body: &str) -> String {
    format!(
        ".version 8.7\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 p, .param .u32 n)\n{{
        .reg .b32 %t, %n, %s, %x, %m, %r<8>; .reg .f32 %f<8>; .reg .b64 %rd<4>; .reg .pred %p;
        .shared .align 16 .b8 tile[4096]; mov.u32 %t, %tid.x; ld.param.u32 %n, [n];
        ld.param.u64 %rd1, [p]; mad.wide.u32 %rd1, %t, 4, %rd1; mov.u32 %r0, 0;
        mov.u32 %m, tile; mad.lo.u32 %s, %t, 4, %m; xor.b32 %x, %t, 33; mad.lo.u32 %x, %x, 4, %m;
        mad.lo.u32 %m, %t, 16, %m; mov.u32 %r1, 0; st.shared.v4.u32 [%m], {{%r1, %r1, %r1, %r1}};
        mov.f32 %f0, 0f3F800000; mov.f32 %f1, %f0; mov.f32 %f2, %f0; mov.f32 %f3, %f0;
        mov.f32 %f4, %f0; mov.f32 %f5, %f0; mov.f32 %f6, %f0; mov.f32 %f7, %f0; bar.sync 0;
        LOOP: {body} add.u32 %r0, %r0, 1; setp.lt.u32 %p, %r0, %n; @%p bra LOOP; ret;\n}}\n"
    )
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!(
        "{:<12} {:>6} {:>26} {:>22}",
        "loop", "races", "warp instructions", "million a second"
    );
    for races in [true, false] {
        for (name, body) in LOOPS {
            let mut memory = DeviceMemory::new(1 << 20)?;
            let mut session = Session::new(1);
            session.races = races;
            let module = load(&kernel(body), &mut memory)?;
            let buffer = memory.alloc(1024, "buffer").ok_or("no memory")?;
            memory.fill(buffer, &[0], 1024)?;
            let mut params = buffer.to_le_bytes().to_vec();
            params.extend(20_000_u32.to_le_bytes());
            let config = LaunchConfig {
                grid: [1; 3],
                block: [256, 1, 1],
                dynamic_shared_bytes: 0,
                max_dynamic_shared_bytes: None,
                params,
            };
            let start = Instant::now();
            run(&module.kernels[0], &config, &mut memory, &mut session)?;
            let seconds = start.elapsed().as_secs_f64();
            if let Some(found) = session.findings.list().first() {
                return Err(found.to_string().into());
            }
            let count = session.counters["k"].warp_instructions;
            println!("{name:<12} {races:>6} {count:>26} {:>22.1}", count as f64 / seconds / 1e6);
        }
    }
    Ok(())
}
