//! A world of one rank.

use cudarc::driver::CudaContext;
use cudarc::nccl::{Comm, Id, ReduceOp};

use crate::common::simulate;

#[test]
fn collectives_of_one_rank_copy() {
    simulate(
        "nccl::collectives_of_one_rank_copy",
        0..5,
        || {
            let context = CudaContext::new(0).unwrap();
            let stream = context.new_stream().unwrap();
            let comm = Comm::from_rank(stream.clone(), 0, 1, Id::new().unwrap()).unwrap();
            assert_eq!((comm.rank(), comm.world_size()), (0, 1));
            let sent = stream.clone_htod(&[1.5_f32; 40]).unwrap();
            let mut reduced = stream.alloc_zeros::<f32>(40).unwrap();
            comm.all_reduce(&sent, &mut reduced, &ReduceOp::Sum).unwrap();
            comm.all_reduce_in_place(&mut reduced, &ReduceOp::Avg).unwrap();
            let mut spread = stream.alloc_zeros::<f32>(40).unwrap();
            comm.broadcast(Some(&reduced), &mut spread, 0).unwrap();
            assert_eq!(stream.clone_dtoh(&spread).unwrap(), [1.5; 40]);
        },
        |outcome| outcome.clean(),
    );
}

#[test]
fn two_ranks_are_refused() {
    simulate(
        "nccl::two_ranks_are_refused",
        0..1,
        || {
            let stream = CudaContext::new(0).unwrap().new_stream().unwrap();
            assert!(Comm::from_rank(stream, 0, 2, Id::new().unwrap()).is_err());
        },
        |outcome| outcome.found("2 ranks: one is modelled"),
    );
}

#[test]
fn reducing_what_nothing_wrote_is_found() {
    simulate(
        "nccl::reducing_what_nothing_wrote_is_found",
        0..3,
        || {
            let stream = CudaContext::new(0).unwrap().new_stream().unwrap();
            let comm = Comm::from_rank(stream.clone(), 0, 1, Id::new().unwrap()).unwrap();
            // SAFETY: the missing initialisation is the point.
            let mut buffer = unsafe { stream.alloc::<f32>(16).unwrap() };
            let _ = comm.all_reduce_in_place(&mut buffer, &ReduceOp::Sum);
            let _ = stream.synchronize();
        },
        |outcome| outcome.found("ncclAllReduce in place"),
    );
}
