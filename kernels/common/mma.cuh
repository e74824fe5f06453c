// Tensor-core building blocks: mma.sync m16n8k16 (bf16 in, f32 out), ldmatrix, cp.async.
// Fragment layouts: PTX ISA, "Matrix fragments for mma.m16n8k16 with floating point type". With
// g = lane / 4 and q = lane % 4, a thread holds
//   A (16 x 16, row): a[0] (g, 2q..) a[1] (g+8, 2q..) a[2] (g, 2q+8..) a[3] (g+8, 2q+8..)
//   B (16 x 8, col):  b[0] (2q.., g) b[1] (2q+8.., g)
//   C (16 x 8):       c[0..1] (g, 2q..) c[2..3] (g+8, 2q..)
#pragma once
#include "common/vec.cuh"

__device__ __forceinline__ void mma_16816(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ u32 shared_address(const void* p) {
    return static_cast<u32>(__cvta_generic_to_shared(p));
}

// Four 8 x 8 matrices of 16-bit elements; lane i gives the address of row i % 8 of matrix i / 8,
// as a pointer or as a shared address.
__device__ __forceinline__ void ldmatrix_x4(u32 (&r)[4], u32 row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(row)
                 : "memory");
}

__device__ __forceinline__ void ldmatrix_x4(u32 (&r)[4], const void* row) {
    ldmatrix_x4(r, shared_address(row));
}

__device__ __forceinline__ void ldmatrix_x4_trans(u32 (&r)[4], u32 row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(row)
                 : "memory");
}

__device__ __forceinline__ void ldmatrix_x4_trans(u32 (&r)[4], const void* row) {
    ldmatrix_x4_trans(r, shared_address(row));
}

// 16 bytes global to shared, asynchronously; zeros where `valid` is false (nothing is read then).
__device__ __forceinline__ void cp_async_16(u32 to, const void* from, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                 "r"(valid ? 16 : 0)
                 : "memory");
}

__device__ __forceinline__ void cp_async_16(void* to, const void* from, bool valid) {
    cp_async_16(shared_address(to), from, valid);
}

// The same for one 4-byte element: no alignment to ask for, any element order in shared memory.
__device__ __forceinline__ void cp_async_4(void* to, const void* from, bool valid) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(to)),
                 "l"(from), "r"(valid ? 4 : 0)
                 : "memory");
}

__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most N of this thread's newest groups are still in flight. Other threads' copies
// are visible only after a __syncthreads() that follows.
template <int N> __device__ __forceinline__ void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

__device__ __forceinline__ u32 pack_bf16(float lo, float hi) {
    const __nv_bfloat162 v = __floats2bfloat162_rn(lo, hi);
    return *reinterpret_cast<const u32*>(&v);
}
