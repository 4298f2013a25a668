/* SPDX-License-Identifier: Apache-2.0 */
/* The stack pointer is the CPU's own affair; what C wants to be zero is made so. */
.section .start, "ax"
.global start
start:
    la t0, bss_start
    la t1, bss_end
1:  bgeu t0, t1, 2f
    sw zero, 0(t0)
    addi t0, t0, 4
    j 1b
2:  call main
3:  j 3b
