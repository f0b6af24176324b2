/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * init of the synthesized helper on AArch64: what x86_64.S does, with the same
 * table and the same answers. Leaf: the link register is never stored, so it
 * needs no signature; bti c is where the kernel's indirect call lands.
 *
 * A store is a compare and exchange by load and store exclusive, which every
 * ARMv8 has, and a barrier behind it: other processors see the stores in order.
 */
	.text
	.globl	init_module
init_module:
	hint	#34			/* bti c */
	ldr	x1, table
	ldp	x2, x3, [x1]
	ldr	x0, [x2]
	mov	w4, #65536
next_module:
	cmp	x0, x3
	b.eq	found
	cmp	x0, x2
	b.eq	absent
	ldr	x0, [x0]
	subs	w4, w4, #1
	b.ne	next_module
absent:
	mov	w0, #-1000
	ret
found:
	ldp	x4, x5, [x1, #16]
	add	x1, x1, #32
	mov	w6, #0
compare:
	cmp	w6, w4
	b.eq	compared
	ldp	x7, x8, [x1]
	ldr	x9, [x1, #16]
	ldr	x7, [x7]
	and	x7, x7, x8
	cmp	x7, x9
	b.ne	differs
	add	x1, x1, #24
	add	w6, w6, #1
	b	compare
differs:
	mov	w0, #-1100
	sub	w0, w0, w6
	ret
compared:
	mov	w6, #0
store:
	cmp	w6, w5
	b.eq	stored
	ldp	x7, x8, [x1]
	ldp	x9, x10, [x1, #16]
	cmp	w8, #4
	b.eq	store_half
retry_store:
	ldaxr	x11, [x7]
	cmp	x11, x9
	b.ne	undo
	stlxr	w12, x10, [x7]
	cbnz	w12, retry_store
	b	next_store
store_half:
	ldaxr	w11, [x7]
	cmp	w11, w9
	b.ne	undo
	stlxr	w12, w10, [x7]
	cbnz	w12, store_half
next_store:
	dmb	ish
	add	x1, x1, #32
	add	w6, w6, #1
	b	store
undo:
	clrex
	mov	w13, w6
undo_next:
	cbz	w13, undone
	sub	x1, x1, #32
	sub	w13, w13, #1
	ldp	x7, x8, [x1]
	ldp	x9, x10, [x1, #16]
	cmp	w8, #4
	b.eq	undo_half
retry_undo:
	ldaxr	x11, [x7]
	cmp	x11, x10
	b.ne	undo_left
	stlxr	w12, x9, [x7]
	cbnz	w12, retry_undo
	b	undo_stored
undo_half:
	ldaxr	w11, [x7]
	cmp	w11, w10
	b.ne	undo_left
	stlxr	w12, w9, [x7]
	cbnz	w12, undo_half
undo_stored:
	dmb	ish
	b	undo_next
undo_left:
	clrex
	b	undo_next
undone:
	mov	w0, #-1200
	sub	w0, w0, w6
	ret
stored:
	mov	w0, #-125
	ret
	.balign	8, 0
table:
	.quad	0			/* R_AARCH64_ABS64 */
